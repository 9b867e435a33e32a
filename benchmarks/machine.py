"""What the machine gives at most: floating-point operations and bytes a second, measured in the run that cites them."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

FLAGS = ("avx512_bf16", "amx_bf16", "svebf16", "bf16")  # of /proc/cpuinfo: products of bfloat16 in hardware


def limits(*, width: int = 2048, n_bytes: int = 256 * 2**20, seconds: float = 2.0) -> dict[str, float]:
    """matmul_gflops: of a float32 product of two (width, width) matrices; read_gbytes: of summing n_bytes a second.

    The best of the runs that fit into the seconds, half for each: a limit is what was reached, not what is usual.
    Sizes are far above the caches, so that memory is what is measured.
    """
    left, right = torch.randn(width, width), torch.randn(width, width)
    product = torch.empty(width, width)
    table = torch.ones(n_bytes // 4)
    with torch.inference_mode():
        multiply = _best(lambda: torch.mm(left, right, out=product), seconds / 2)
        read = _best(table.sum, seconds / 2)
    return {"matmul_gflops": 2 * width**3 / multiply / 1e9, "read_gbytes": 4 * table.numel() / read / 1e9}


def bfloat16_instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The instructions that multiply bfloat16, as Linux calls them; "none", or "unknown" on another system."""
    if not cpuinfo.exists():
        return "unknown"
    words = set(cpuinfo.read_text(encoding="utf-8").split())
    return ", ".join(flag for flag in FLAGS if flag in words) or "none"


def _best(work: Callable[[], object], seconds: float) -> float:
    work()
    end, best = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < end or best == float("inf"):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best
