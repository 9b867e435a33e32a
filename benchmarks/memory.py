"""How much memory a piece of work takes beyond the model: one side at a time, each in a process of its own.

Two figures. `tensors`: the most that tensors made by the work held at once, from PyTorch's own record of each
allocation; exact, and the same again on every run. `resident`: how much the process itself grew, with what libraries
set aside and the allocator cannot give back; Linux only, and a little different each time.
"""

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks import sides, work
from benchmarks.work import Work

KINDS = ("forward", "training step", "generation")
ROOT = Path(__file__).resolve().parent.parent


def peak_tensor_bytes(run: Work) -> int:
    """Most bytes of tensors that run held at once, those it began with not counted.

    The profiler writes the running total at each allocation into its trace, which is where it can be read.
    """
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as record:
        kept = run()  # until the end, as a caller keeps it
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        record.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    del kept
    held, most = 0, 0
    for event in sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"]):
        held += event["args"]["Bytes"]
        most = max(most, held)
    return most


def peak_resident_bytes(run: Work) -> int | None:
    """How far the process grew above its size before; None where the system does not tell.

    Memory that the process freed earlier and keeps is filled again without growing: it is given back first.
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    _give_back()
    before = _field(status, "VmRSS")
    reset.write_text("5")  # the high-water mark starts anew from the present size
    kept = run()
    del kept
    return max(0, _field(status, "VmHWM") - before)


def _give_back() -> None:
    """Memory that was freed and kept goes back to the system, where the C library can: growth is then not hidden."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _field(status: Path, name: str) -> int:
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def measure(network: str, side: str, kind: str, folder: str, shape: tuple[int, int]) -> dict:
    """In this process: load one side from the folder, run, and say what it took.

    shape: rows and positions of the batch, of the prompt for a generation, which adds a quarter of that.
    """
    found = sides.NETWORKS[network]
    load = sides.load_ours if side == "ours" else sides.load_theirs
    model = load(found, folder)
    for parameter in model.parameters():
        parameter.data.sum()  # a mapped file is in memory only once it was read
    n_rows, length = shape
    batch = work.random_batch(found.config.vocab_size, (length,) * n_rows, masked=found.masked)
    run = {
        "forward": lambda: work.forward(model, batch),
        "training step": lambda: work.training_step(model, batch),
        "generation": lambda: work.generation(model, batch.input_ids, length // 4),
    }[kind]()
    resident = peak_resident_bytes(run)  # the first run: gradients and the optimizer's state come into being
    return {"resident": resident, "tensors": peak_tensor_bytes(run)}


def in_a_process(network: str, side: str, kind: str, folder: str, shape: tuple[int, int]) -> dict:
    """`measure` in a fresh process. Raises RuntimeError with what that process said last."""
    arguments = json.dumps([network, side, kind, folder, list(shape)])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", arguments], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(f"{kind} of {network}, {side}, failed: {said[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(measure(*json.loads(sys.argv[1]))))
