"""What attention costs as texts grow: time and memory, step by step and fused, alone and in its layer.

make experiment NAME=pretrained/attention_cost

Run it alone on the machine: the times are by the clock, one thread. A round measures every length once, both ways in
turn, so that a slow minute falls on all alike; exponents are fitted in each round, and their interval is over rounds.
Memory is the most that PyTorch's allocator held beyond the inputs, as its profiler counts it, the same on every run;
as a check, how far the resident size of a fresh process rises at one length.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tlcourse import layers, metrics, results
from tlcourse.models.bert import BertConfig

SETTINGS = {
    "lengths": [64, 128, 256, 512, 1024, 2048, 4096],
    "fit_from": 512,  # tokens: what grows slowest in the formula still weighs in shorter ones
    "rounds": 7,
    "least_seconds": 0.03,  # of a measurement: short ones are repeated
    "layer": {"d_model": 256, "n_heads": 4, "d_inner": 1024},
    "passes": ["forward", "training"],
    "ways": ["step by step", "fused"],
    "parts": ["attention", "layer"],
    "process_length": 2048,
}
STUDY = results.Study(
    "pretrained/attention_cost", SETTINGS, assets=[], plan=("main", "plan", "exponents", "slopes")
)


def work(part: str, way: str, direction: str, length: int) -> Callable[[], None]:
    """One pass over one text of random states: attention of all heads alone, or a whole layer of an encoder.

    step by step: with the (T, T) weights in memory. training: forward and backward.
    """
    generator = torch.Generator().manual_seed(length)
    config = BertConfig(dropout=0.0, attention_dropout=0.0, **SETTINGS["layer"])
    training = direction == "training"
    if part == "attention":
        shape = (1, config.n_heads, length, config.d_model // config.n_heads)
        inputs = [torch.randn(shape, generator=generator, requires_grad=training) for _ in range(3)]

        def forward() -> Tensor:
            if way == "fused":
                return layers.fused_attention(*inputs)
            return layers.attention(*inputs)[0]

    else:
        layer = layers.EncoderLayer(config)
        layers.start_normal(layer, 0.02, generator)
        layer.requires_grad_(training)
        x = torch.randn(1, length, config.d_model, generator=generator, requires_grad=training)

        def forward() -> Tensor:
            return layer(x, need_weights=way == "step by step")[0]

    def once() -> None:
        if not training:
            with torch.inference_mode():
                forward()
            return
        # Gradients are handed over, not added up, so that every pass costs the same.
        out = forward()
        leaves = inputs if part == "attention" else [x, *layer.parameters()]
        torch.autograd.grad(out, leaves, torch.ones_like(out))

    return once


# ---------------------------------------------------------------- time


def seconds(call: Callable[[], None]) -> float:
    """Mean seconds of a call, repeated until they can be measured."""
    start, n = time.perf_counter(), 0
    while n == 0 or time.perf_counter() - start < SETTINGS["least_seconds"]:
        call()
        n += 1
    return (time.perf_counter() - start) / n


def times(part: str, direction: str) -> dict:
    """Seconds of every length, both ways, in rounds: way → rounds of lengths."""
    calls = {
        (way, length): work(part, way, direction, length)
        for way in SETTINGS["ways"]
        for length in SETTINGS["lengths"]
    }
    for call in calls.values():
        call()
    found: dict[str, list] = {way: [] for way in SETTINGS["ways"]}
    for number in range(SETTINGS["rounds"]):
        measured = {}
        for length in SETTINGS["lengths"]:
            # The one that comes first warms the caches for the other: they take turns.
            for way in SETTINGS["ways"][:: 1 if number % 2 else -1]:
                measured[way, length] = seconds(calls[way, length])
        for way in SETTINGS["ways"]:
            found[way].append([round(measured[way, length], 8) for length in SETTINGS["lengths"]])
    return {"task": "times", "part": part, "pass": direction, "rounds": found}


# ---------------------------------------------------------------- memory


def peak_bytes(call: Callable[[], None]) -> int:
    """The most that PyTorch's allocator held during a call beyond what it held before."""
    call()
    profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
    profile.start()
    call()
    profile.stop()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]"]
    held = np.cumsum([change for _, change in sorted(changes, key=lambda pair: pair[0])])
    return int(max(held, default=0))


def memory(part: str, direction: str) -> dict:
    """Peak bytes of every length: way → lengths."""
    found = {
        way: [peak_bytes(work(part, way, direction, length)) for length in SETTINGS["lengths"]]
        for way in SETTINGS["ways"]
    }
    return {"task": "memory", "part": part, "pass": direction, "bytes": found}


def whole_process(part: str, way: str, direction: str) -> dict:
    """How far one pass raises the resident size of a fresh process, in bytes, beside the allocator's count."""
    length = SETTINGS["process_length"]
    arguments = json.dumps([part, way, direction, length])
    command = [sys.executable, __file__, "--grow", arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    grown = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    counted = peak_bytes(work(part, way, direction, length))
    key = {"task": "process", "part": part, "way": way, "pass": direction, "length": length}
    return key | {"grown": json.loads(grown), "counted": counted}


def grow(part: str, way: str, direction: str, length: int) -> int | None:
    """Bytes by which this process's resident size rises at most; None where the system is not Linux.

    A short pass comes first, so that what has to be loaded is. getrusage's peak is no use here: it starts from the
    size of the process that started this one.
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    work(part, way, direction, 16)()
    call = work(part, way, direction, length)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """VmRSS, the resident size now, or VmHWM, its peak, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


# ---------------------------------------------------------------- what grows how fast


def slopes(values: Sequence[Sequence[float]]) -> list[float]:
    """For each row, the exponent of the power of the length that fits it best, over the longer lengths."""
    first = SETTINGS["lengths"].index(SETTINGS["fit_from"])
    x = np.log(SETTINGS["lengths"][first:])
    return [float(np.polyfit(x, np.log(row[first:]), 1)[0]) for row in values]


def exponents(records: dict[str, dict]) -> dict:
    """Of time, with an interval over rounds; of memory, which does not vary."""
    found = {}
    for record in records.values():
        name = f"{record['task']} {record['part']} {record['pass']}"
        for way in SETTINGS["ways"]:
            if record["task"] == "times":
                interval = metrics.seed_interval(slopes(record["rounds"][way]))
                found[f"{name} {way}"] = [interval.estimate, interval.low, interval.high]
            elif record["task"] == "memory":
                found[f"{name} {way}"] = slopes([record["bytes"][way]])
    return found


def plan() -> dict:
    jobs = {
        f"{function.__name__} {part} {direction}": (function, {"part": part, "direction": direction})
        for function in (memory, times)
        for part in SETTINGS["parts"]
        for direction in SETTINGS["passes"]
    }
    for way in SETTINGS["ways"]:
        arguments = {"part": "attention", "way": way, "direction": "forward"}
        jobs[f"process attention forward {way}"] = (whole_process, arguments)
    return jobs


def main() -> None:
    records = STUDY.run(plan(), workers=1)
    STUDY.write(records, exponents=exponents(records))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--grow"]:
        print(json.dumps(grow(*json.loads(sys.argv[2]))))
    else:
        main()
