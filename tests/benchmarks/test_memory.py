"""Peaks of memory: of tensors exactly, of a process, and each side by itself."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import memory, sides

MB = 2**20
ROOT = Path(__file__).resolve().parents[2]


def test_the_peak_is_what_was_held_at_once():
    before = torch.ones(3 * MB)  # not the work's

    def work():
        first = torch.empty(MB, dtype=torch.uint8)
        second = torch.empty(4 * MB, dtype=torch.uint8)
        del first, second
        third = torch.empty(2 * MB, dtype=torch.uint8)
        before.add_(1)
        return third

    assert memory.peak_tensor_bytes(work) == 5 * MB
    assert memory.peak_tensor_bytes(lambda: [torch.empty(MB, dtype=torch.uint8) for _ in range(7)]) == 7 * MB


@pytest.mark.skipif(memory.peak_resident_bytes(lambda: torch.ones(1)) is None, reason="Linux alone tells it")
def test_a_process_grows_by_what_is_written():
    # In a process of its own: what this one freed before, and keeps, would be filled again without growing.
    code = "import torch; from benchmarks import memory; "
    code += f"print(memory.peak_resident_bytes(lambda: torch.ones({64 * MB}, dtype=torch.uint8)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    grown = int(done.stdout)
    assert 60 * MB < grown < 90 * MB


def test_another_system_tells_nothing(monkeypatch):
    monkeypatch.setattr(memory.Path, "exists", lambda path: False)
    assert memory.peak_resident_bytes(lambda: torch.ones(1)) is None


@pytest.mark.parametrize("side", ["ours", "theirs"])
@pytest.mark.parametrize("kind", memory.KINDS)
def test_each_kind_of_work_takes_its_logits_at_least(tiny, tmp_path, side, kind):
    network = tiny["gpt2-124m"]
    network.ours(network.config).save_pretrained(tmp_path)
    found = memory.measure("gpt2-124m", side, kind, str(tmp_path), (2, 32))
    logits = 2 * 61 * 4 * (1 if kind == "generation" else 32)
    assert logits < found["tensors"] < 100 * 2 * 32 * 61 * 4
    again = memory.measure("gpt2-124m", side, kind, str(tmp_path), (2, 32))
    assert found["tensors"] == again["tensors"]


def test_a_fresh_process_measures(tmp_path):
    network = sides.NETWORKS["gpt2-mini"]
    network.ours(network.config).save_pretrained(tmp_path)
    found = memory.in_a_process("gpt2-mini", "ours", "generation", str(tmp_path), (1, 8))
    assert found["tensors"] > 4096 * 4


def test_what_a_process_said_last_is_told(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first >&2; echo out of memory >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(memory.sys, "executable", str(python))
    with pytest.raises(RuntimeError, match=r"forward of gpt2-mini, ours, failed: out of memory"):
        memory.in_a_process("gpt2-mini", "ours", "forward", str(tmp_path), (1, 8))
