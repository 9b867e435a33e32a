"""The machine's limits: rates from the best run, and the processor's instructions."""

import pytest
import torch

from benchmarks import machine


def test_limits_are_operations_and_bytes_over_the_best_time(monkeypatch):
    done = []

    def clocked(work, seconds):
        done.append((work(), seconds))
        return 0.5

    monkeypatch.setattr(machine, "_best", clocked)
    found = machine.limits(width=8, n_bytes=4096, seconds=3.0)
    assert found == pytest.approx({"matmul_gflops": 2 * 8**3 / 0.5 / 1e9, "read_gbytes": 4096 / 0.5 / 1e9})
    (product, first), (total, second) = done
    assert product.shape == (8, 8) and total == 1024 and first == second == 1.5


def test_the_best_run_counts_and_one_is_always_made(monkeypatch):
    clock = iter([0.0, 0.1, 0.2, 0.9, 1.0, 1.1, 1.5, 2.7])
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(clock))
    # Runs of 0.7 and 0.4 s fit into two seconds.
    assert machine._best(lambda: None, 2.0) == pytest.approx(0.4)
    monkeypatch.setattr(machine.time, "perf_counter", iter([0.0, 5.0, 5.0, 5.3, 5.4]).__next__)
    assert machine._best(lambda: None, 2.0) == pytest.approx(0.3)


def test_limits_of_this_machine_are_numbers():
    found = machine.limits(width=64, n_bytes=2**16, seconds=0.01)
    assert all(0 < value < float("inf") for value in found.values()) and not torch.is_inference_mode_enabled()


def test_the_instructions_are_those_of_the_processor(tmp_path):
    info = tmp_path / "cpuinfo"
    assert machine.bfloat16_instructions(info) == "unknown"
    info.write_text("flags : fpu avx512f amx_bf16 avx512_bf16 avx512_bf16x\n")
    assert machine.bfloat16_instructions(info) == "avx512_bf16, amx_bf16"
    info.write_text("flags : fpu avx2\n")
    assert machine.bfloat16_instructions(info) == "none"
