"""From the stored records to the page that one reads: benchmarks/README.md."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.pairs import median_ratio

HEAD = """# Ours against transformers and torchvision

Written by `make bench` (all parts, about 18 minutes on two quiet cores); one part alone: `make bench ONLY=generation`.
Both sides compute the same from the same weights in the same process (but for LogME, see there): ours against
transformers with its `sdpa` attention, VGG and ResNet against torchvision's. They run in turns; a ratio is the median
over pairs of (their time / time of ours), so above 1 ours is faster, with its 95 % bootstrap interval. An aim is
reached where the lower end of the interval is at least that.
"""
SPEED = """
## Speed

One row is a batch (rows × positions; generation: prompt, and how many tokens it makes; images × their two sides in
pixels). The last column says what ours reaches of the machine's limit measured in the same run: of its matrix product
where a batch is read at once, of its memory bandwidth where each new token reads all weights.
"""
MEMORY = """
## Memory

What the work takes beyond the model, each side in a fresh process, MB (10⁶ bytes). Tensors: the most that was held at
once, from PyTorch's record of allocations, in a second run, when the optimizer's state exists. Process: how far the
whole process grew in the first run, memory that loading had freed given back before; it varies by some percent.
"""
HALF = """
## Weights in bfloat16

The ratio is (time of the other / time of ours in bfloat16).
"""
QUALITY = """
## Perplexity in bfloat16

The book's own checkpoints on held-out text of what they learned.
"""
LOGME = """
## LogME

Here the two do not compute the same: LogME, a score of features for a target's labels, stands against its costliest
step, one thin singular value decomposition (SVD) of the same features in float64, by the function that LogME itself
calls. The ratio is (time of the SVD / time of LogME): at 0.667 LogME takes one and a half times as long.
"""
MACHINE = """
## Where and when
"""
Body = Mapping  # one results file


def load(folder: Path) -> dict[str, Body]:
    """The results files by part. Raises FileNotFoundError where there is none."""
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))
    }
    if not found:
        raise FileNotFoundError(f"no results in {folder}; measure with: make bench")
    return found


def write(bodies: Mapping[str, Body]) -> str:
    """The whole page, with a section for each kind of record that is there."""
    records = [(body, record) for body in bodies.values() for record in body["records"]]
    against = [(b, r) for b, r in records if "ours" in r and "wall" in r["ours"]]
    sections = [
        (SPEED, speed([(b, r) for b, r in against if "against" not in r and "svd" not in r])),
        (MEMORY, memory([r for _, r in records if "ours" in r and "tensors" in r["ours"]])),
        (HALF, half([(b, r) for b, r in against if "against" in r])),
        (QUALITY, quality([r for _, r in records if "perplexity" in r])),
        (LOGME, logme([r for _, r in against if "svd" in r])),
        (MACHINE, machine(bodies)),
    ]
    return HEAD + "".join(f"{text}\n{rows}" for text, rows in sections if rows)


def speed(records: Sequence[tuple[Body, Mapping]]) -> str:
    header = ["network", "work", "batch", "ours", "theirs", "ratio", "pairs", "aim", "of the limit"]
    rows = [
        [
            r["network"],
            r["task"] + (", padded" if r.get("rows") == "padded" else ""),
            batch(r),
            duration(r, "ours"),
            duration(r, "theirs"),
            ratio(r),
            str(len(r["ours"]["wall"])),
            aim(r),
            share(body, r),
        ]
        for body, r in records
    ]
    return lines(header, rows)


def half(records: Sequence[tuple[Body, Mapping]]) -> str:
    header = [
        "batch",
        "ours in bfloat16",
        "other",
        "its time",
        "ratio",
        "aim",
        "of the limit",
        "instructions",
    ]
    rows = [
        [
            batch(r),
            duration(r, "ours"),
            r["against"],
            duration(r, "theirs"),
            ratio(r),
            aim(r),
            share(body, r),
            r["instructions"],
        ]
        for body, r in records
    ]
    return lines(header, rows)


def memory(records: Sequence[Mapping]) -> str:
    header = [
        "network", "work", "batch", "tensors: ours", "transformers", "ratio", "process: ours", "transformers"
    ]  # fmt: skip
    rows = []
    for r in records:
        ours, theirs = r["ours"], r["theirs"]
        resident = ["not told" if s["resident"] is None else megabytes(s["resident"]) for s in (ours, theirs)]
        tensors = [megabytes(ours["tensors"]), megabytes(theirs["tensors"])]
        relation = f"{ours['tensors'] / theirs['tensors']:.3f}"
        rows.append([r["network"], r["task"], batch(r), *tensors, relation, *resident])
    return lines(header, rows)


def quality(records: Sequence[Mapping]) -> str:
    header = ["checkpoint", "text", "perplexity", "float32", "bfloat16", "change"]
    rows = []
    for r in records:
        for per, single in r["perplexity"]["float32"].items():
            low = r["perplexity"]["bfloat16"][per]
            change = f"{low / single - 1:+.2%}"
            rows.append([r["checkpoint"], r["corpus"], per, f"{single:.4f}", f"{low:.4f}", change])
    return lines(header, rows)


def logme(records: Sequence[Mapping]) -> str:
    header = ["samples × features", "classes", "LogME", "SVD alone", "by", "ratio", "pairs", "aim"]
    rows = [
        [
            batch(r),
            str(r["n_classes"]),
            duration(r, "ours"),
            duration(r, "theirs"),
            r["svd"],
            ratio(r),
            str(len(r["ours"]["wall"])),
            aim(r),
        ]
        for r in records
    ]
    return lines(header, rows)


def machine(bodies: Mapping[str, Body]) -> str:
    header = [
        "part", "date", "seconds", "processor", "kernels", "threads", "matrix product", "memory", "versions"
    ]  # fmt: skip
    rows = []
    for name, body in bodies.items():
        e, limit = body["environment"], body["limits"]
        libraries = ("torch", "torchvision", "transformers")
        versions = ", ".join([f"Python {e['python']}", *(f"{name} {e[name]}" for name in libraries)])
        rates = [f"{limit['matmul_gflops']:.0f} GFLOP/s", f"{limit['read_gbytes']:.1f} GB/s"]
        where = [e["processor"], e["kernels"], str(e["threads"])]
        rows.append([name, body["date"], str(body["seconds"]), *where, *rates, versions])
    return lines(header, rows)


def batch(record: Mapping) -> str:
    shape = " × ".join(map(str, record["shape"]))
    return shape + (f", {record['n_new']} new" if "n_new" in record else "")


def duration(record: Mapping, side: str) -> str:
    """Median milliseconds of a run; of a generation for each new token, and tokens a second of all rows."""
    seconds = statistics.median(record[side]["wall"])
    if "n_new" not in record:
        return f"{1000 * seconds:.0f} ms"
    rate = record["shape"][0] * record["n_new"] / seconds
    return f"{1000 * seconds / record['n_new']:.2f} ms, {rate:,.0f} tokens/s"


def ratio(record: Mapping) -> str:
    return f"{median_ratio(record['theirs']['wall'], record['ours']['wall']):.3f}"


def aim(record: Mapping) -> str:
    if record["aim"] is None:
        return "–"
    reached = median_ratio(record["theirs"]["wall"], record["ours"]["wall"]).low >= record["aim"]
    return f"{record['aim']:g}: {'reached' if reached else 'missed'}"


def share(body: Body, record: Mapping) -> str:
    """What ours reaches of the machine's limit, by its median time."""
    seconds = statistics.median(record["ours"]["wall"])
    if "bytes" in record:
        reached, limit, unit = record["bytes"] / seconds / 1e9, body["limits"]["read_gbytes"], "GB/s"
        return f"{reached:.1f} {unit}, {reached / limit:.0%}"
    reached, limit, unit = record["flops"] / seconds / 1e9, body["limits"]["matmul_gflops"], "GFLOP/s"
    return f"{reached:.0f} {unit}, {reached / limit:.0%}"


def megabytes(n: int) -> str:
    return f"{n / 1e6:,.1f}"


def lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; nothing where there are no rows."""
    if not rows:
        return ""
    every = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in every)
