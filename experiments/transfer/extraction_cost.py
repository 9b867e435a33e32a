"""What extraction costs, and that it leaves the model as it was.  make experiment NAME=transfer/extraction_cost

Run it alone on the machine. Times: features of the same sentences by a plain forward loop, by `extract`, and by
`extract` into a cache and out of it, in turns, so that a slow minute falls on all alike; processor time, one thread.
Memory: how far the resident size of a fresh process rises at most while a small network's features of up to 100,000
inputs are made, kept in memory or in a cache; the inputs themselves are made batch by batch. Unchanged: every tensor,
mode and hook of four networks before and after, and their outputs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from tlcourse import datasets, results
from tlcourse.models import encoders
from tlcourse.models.bert import Bert
from tlcourse.models.resnet import RESNET_MINI, ResNet
from tlcourse.transfer import extraction

COST = results.load_script(results.SCRIPTS / "pretrained" / "attention_cost.py")
SETTINGS = {
    "texts": [192, 768],  # editorials, in batches of like length
    "batch_size": 32,
    "rounds": [24, 8],  # of each number of texts
    "inputs": [1_000, 10_000, 30_000, 100_000],
    "width": 1024,  # of the features whose memory is measured
    "rows": 500,  # of a batch there
    "networks": ["minilm", "bert-mini", "efficientnet-lite0", "resnet-mini"],
}
STUDY = results.Study(
    "transfer/extraction_cost", SETTINGS, assets=["minilm", "sentiment", "efficientnet-lite0"]
)


# ---------------------------------------------------------------- time


def sentence_batches(n_texts: int) -> list[dict[str, Tensor]]:
    texts = datasets.texts(datasets.sentiment("editorials")[:n_texts])
    data = encoders.encode_texts(texts)
    order = sorted(range(len(data)), key=lambda i: data.lengths[i])
    size = SETTINGS["batch_size"]
    batches = [
        encoders.collate_sentences([data[i] for i in order[n : n + size]]) for n in range(0, len(data), size)
    ]
    return [{key: batch[key] for key in ("input_ids", "attention_mask")} for batch in batches]


def ways(folder: Path, n_texts: int) -> dict[str, Callable[[], Tensor]]:
    """The same features, four times."""
    model, batches = Bert.from_pretrained("minilm").eval(), sentence_batches(n_texts)
    layers = {"": extraction.mean_tokens}
    warm = folder / "warm"
    extraction.extract(model, batches, layers, cache=warm)

    def plain() -> Tensor:
        with torch.inference_mode():
            return torch.cat([extraction.mean_tokens(model(**batch), batch) for batch in batches])

    def cold() -> Tensor:
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            return extraction.extract(model, batches, layers, cache=fresh)[""].clone()

    return {
        "plain loop": plain,
        "extract": lambda: extraction.extract(model, batches, layers)[""],
        "into a cache": cold,
        "out of a cache": lambda: extraction.extract(model, batches, layers, cache=warm)[""],
    }


def times(texts: int) -> dict:
    """Processor seconds of each way, one a round; who goes first alternates."""
    with tempfile.TemporaryDirectory() as folder:
        calls = ways(Path(folder), texts)
        expected = calls["plain loop"]()
        far = {
            name: float((call() - expected).abs().max() / expected.abs().max())
            for name, call in calls.items()
        }
        found: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(dict(zip(SETTINGS["texts"], SETTINGS["rounds"], strict=True))[texts]):
            for name in list(calls)[:: 1 if number % 2 else -1]:
                start = time.process_time()
                calls[name]()
                found[name].append(round(time.process_time() - start, 6))
    return {"task": "times", "texts": texts, "rounds": found, "apart": far}


# ---------------------------------------------------------------- memory


class Inputs:
    """Batches of random rows, made anew whenever they are read, so that nothing but the features can pile up."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.n // SETTINGS["rows"]):
            yield torch.randn(SETTINGS["rows"], 16, generator=generator)


def grow(way: str, n: int) -> int:
    """Bytes by which this process's resident size rises at most while features of n inputs are made."""
    model = nn.Sequential(nn.Linear(16, SETTINGS["width"]), nn.ReLU())
    with tempfile.TemporaryDirectory() as folder:
        cache = folder if way == "in a cache" else None
        extraction.extract(model, Inputs(2 * SETTINGS["rows"]), "", cache=cache)  # what has to be loaded, is
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        before = COST.resident("VmRSS")
        kept = extraction.extract(model, Inputs(n), "", cache=cache)
        assert len(kept[""]) == n
        return COST.resident("VmHWM") - before


def memory(way: str) -> dict:
    """Peak bytes for every number of inputs, each in a process of its own; None where the system is not Linux."""
    grown = []
    for n in SETTINGS["inputs"]:
        command = [sys.executable, __file__, "--grow", json.dumps([way, n])]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if not Path("/proc/self/clear_refs").exists():
            grown.append(None)
            continue
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        grown.append(json.loads(done.stdout))
    sizes = [n * SETTINGS["width"] * 4 for n in SETTINGS["inputs"]]
    return {"task": "memory", "way": way, "bytes": grown, "features": sizes}


# ---------------------------------------------------------------- unchanged


def network(name: str) -> tuple[nn.Module, list, str]:
    """A network, batches for it, and a layer in its middle."""
    generator = torch.Generator().manual_seed(0)
    if name in ("minilm", "bert-mini"):
        ids = [torch.randint(5, 1000, (4, 12), generator=generator) for _ in range(3)]
        return Bert.from_pretrained(name), [{"input_ids": i} for i in ids], "layers.2.feed_forward"
    if name == "efficientnet-lite0":
        images = [torch.randn(4, 3, 64, 64, generator=generator) for _ in range(3)]
        return encoders.efficientnet_lite0(), images, "blocks.3"
    images = [torch.randn(4, 3, 28, 28, generator=generator) for _ in range(3)]
    return ResNet(RESNET_MINI), images, "stages.1"


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def unchanged(name: str) -> dict:
    """In training mode, where batch norm's statistics and dropout would move."""
    model, batches, layer = network(name)

    def outputs() -> list[Tensor]:
        model.eval()
        with torch.inference_mode():
            found = [model(**b) if isinstance(b, dict) else model(b) for b in batches]
        model.train()
        return found

    expected = outputs()
    before, modes = extraction.content(model), [m.training for m in model.modules()]
    n_hooks = hooks(model)
    extraction.extract(model, batches, layer)
    return {
        "task": "unchanged",
        "network": name,
        "tensors": len(before),
        "same_tensors": extraction.content(model) == before,
        "same_modes": [m.training for m in model.modules()] == modes,
        "same_hooks": hooks(model) == n_hooks,
        "same_outputs": all(torch.equal(a, b) for a, b in zip(outputs(), expected, strict=True)),
    }


def plan() -> dict:
    jobs = {f"unchanged {name}": (unchanged, {"name": name}) for name in SETTINGS["networks"]}
    jobs |= {f"memory {way}": (memory, {"way": way}) for way in ("in memory", "in a cache")}
    return jobs | {f"times {n}": (times, {"texts": n}) for n in SETTINGS["texts"]}


def main() -> None:
    STUDY.write(STUDY.run(plan(), workers=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--grow"]:
        print(json.dumps(grow(*json.loads(sys.argv[2]))))
    else:
        main()
