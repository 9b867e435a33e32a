"""Files of weights: read with care, written complete or not at all."""

import hashlib
import os
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

PICKLES = (".pth", ".pt", ".bin")


class WeightsError(ValueError):
    """A weight file that cannot be read, or that does not fit the module."""


def load_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, from .safetensors, or from PyTorch's .pth, .pt, .bin by `weights_only=True`.

    Raises FileNotFoundError; WeightsError on another ending, on a file that is cut off, on a pickle that is named
    .safetensors, on a pickle that holds anything but tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give a .safetensors or .pth file of weights")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    if path.suffix not in PICKLES:
        known = ", ".join((".safetensors", *PICKLES))
        raise WeightsError(f"{path} ends in {path.suffix!r}; weights are read from {known}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"{path} holds more than tensors, or is no PyTorch file; it was not opened, because a pickle can run"
            f" code ({reason}). Save its state_dict() alone, better as .safetensors"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} cannot be read ({error}); is it cut off? Fetch it again") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        inside = (
            f"the entries {', '.join(map(str, list(state)[:5]))}"
            if isinstance(state, Mapping)
            else "no names"
        )
        raise WeightsError(
            f"{path} holds a {type(state).__name__} with {inside}, not tensors by name; save the state_dict in it"
            " to a file of its own"
        )
    return dict(state)


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        start = file.read(9)
    # The length of the header comes first, and a length may begin with any byte, but the header begins with {.
    if start[8:] != b"{" and (start[:4] == b"PK\x03\x04" or start[:1] == b"\x80"):
        raise WeightsError(
            f"{path} is a pickle, not a safetensors file; get the .safetensors file of this model, or, if you trust"
            " its source, rename it to .pth"
        )
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        size = path.stat().st_size
        raise WeightsError(
            f"{path} ({size:,} bytes) is damaged or cut off ({error}); fetch it again"
        ) from error


def save(state: Mapping[str, Tensor], path: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Write tensors to a .safetensors file, complete or not at all; what was at path before stays until then.

    A tensor that stands under two names (tied weights) is written once, under the first. dtype: to convert
    floating-point tensors to. Raises OSError where the disk is full or not writable, ValueError on another ending.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} ends in {path.suffix!r}; weights are saved as .safetensors")
    unique: dict[tuple, str] = {}
    for name, tensor in state.items():
        # Empty tensors have no address and are never one another.
        unique.setdefault((tensor.data_ptr() or name, tensor.shape, tensor.stride(), tensor.dtype), name)
    tensors = {name: _copy(state[name], dtype) for name in unique.values()}
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".partial")
    try:
        os.close(handle)
        safetensors.torch.save_file(tensors, partial, metadata={"format": "pt"})
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except safetensors.SafetensorError as error:
        raise OSError(
            f"{path} could not be written ({error}); free space there, or save elsewhere"
        ) from error
    finally:
        Path(partial).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file, complete or not at all. Raises OSError where the disk is full or not writable."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".partial")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def content_hash(path: str | Path) -> str:
    """sha256 of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    dtype = dtype if tensor.is_floating_point() else None
    return tensor.detach().to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)
