"""The machine a chapter runs on: its profile, device, seeds, and what to record about it.

Two profiles, one notebook: `cpu` is the default; TLCOURSE_PROFILE=gpu asks for `gpu`, which is never chosen
silently.
"""

import os
import platform
import random
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

PROFILES = ("cpu", "gpu")
_RECORDED = (
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "accelerate",
    "tokenizers",
)
_MAX_SEED = 2**32 - 1  # numpy's


def profile() -> str:
    """'cpu' or 'gpu', from the environment variable TLCOURSE_PROFILE; 'cpu' where it is not set.

    Raises ValueError on another value, RuntimeError on gpu without a CUDA device.
    """
    name = os.environ.get("TLCOURSE_PROFILE", "").strip() or "cpu"
    if name not in PROFILES:
        raise ValueError(
            f"TLCOURSE_PROFILE={name!r} is no profile; set it to {' or '.join(PROFILES)}, or unset it"
        )
    if name == "gpu" and not torch.cuda.is_available():
        raise RuntimeError(
            f"TLCOURSE_PROFILE=gpu, but torch {torch.__version__} finds no CUDA device; choose a GPU runtime "
            "(Colab: Runtime → Change runtime type), or set TLCOURSE_PROFILE=cpu"
        )
    return name


def sizes(*, cpu: Mapping, gpu: Mapping) -> SimpleNamespace:
    """The sizes of the profile in use, as attributes.

    `sizes(cpu={"labels": 500}, gpu={"labels": 2000}).labels` is 500 on cpu.
    Raises ValueError where one profile names a size that the other lacks.
    """
    if cpu.keys() != gpu.keys():
        lopsided = ", ".join(sorted(cpu.keys() ^ gpu.keys()))
        raise ValueError(f"sizes given for one profile only: {lopsided}; give every size for cpu and gpu")
    return SimpleNamespace(**(cpu if profile() == "cpu" else gpu))


def device() -> torch.device:
    """The device of the profile in use. Raises as `profile` does."""
    return torch.device("cuda" if profile() == "gpu" else "cpu")


def seed_everything(seed: int) -> torch.Generator:
    """Seed random, numpy and torch (all devices); returns a CPU generator seeded alike.

    Raises ValueError on a seed that is not an integer of 0…2³²−1.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed <= _MAX_SEED:
        raise ValueError(f"seed={seed!r} is not an integer of 0…{_MAX_SEED}; try seed=0")
    seed = int(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries still draw from numpy's global state
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def environment() -> dict[str, str | int]:
    """What a measured number depends on: versions, processor, threads. No host name, no paths."""
    return {
        "profile": profile(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _RECORDED},
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if profile() == "gpu" else "cpu",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The processor's model name; its architecture where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
