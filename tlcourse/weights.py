"""Weights from a file into a module, by an explicit table of names, or not at all.

A key table says for every name of a checkpoint what becomes of it. `{}` stands for a whole number, such as a
layer's, and stands in the target again; None drops a tensor on purpose:

    KEYS = {"h.{}.attn.c_attn.weight": ("blocks.{}.qkv.weight", transpose),
            "h.{}.ln_1.bias": "blocks.{}.norm.bias",
            "h.{}.attn.bias": None}

Nothing is matched silently: whatever is missing, left over or of another shape is listed in one error, and then
the module is as it was before.
"""

import hashlib
import os
import pickle
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

KeyTable = Mapping[str, str | tuple[str, Callable[[Tensor], Tensor]] | None]

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
        start = file.read(4)
    if start == b"PK\x03\x04" or start[:1] == b"\x80":
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


def translate(state: Mapping[str, Tensor], keys: KeyTable) -> dict[str, Tensor]:
    """The tensors of a checkpoint under our names, transformed as the table says.

    Raises WeightsError that lists every name that no key matches, every key that matches no name (those that drop
    are not missed), and every two names that lead to one.
    """
    for key, target in keys.items():
        pattern = target[0] if isinstance(target, tuple) else target
        if pattern is not None and pattern.count("{}") != key.count("{}"):
            raise ValueError(f"{key!r} and its target {pattern!r} need the same number of {{}}")
    rules = [
        (re.compile(re.escape(key).replace(r"\{\}", r"(\d+)")), key, target) for key, target in keys.items()
    ]
    used, unknown, clashes, sources, translated = set(), [], [], {}, {}
    for name, tensor in state.items():
        found = [(match, key, target) for rule, key, target in rules if (match := rule.fullmatch(name))]
        if not found:
            unknown.append(name)
            continue
        # A literal key outranks one with placeholders.
        match, key, target = min(found, key=lambda hit: hit[1].count("{}"))
        used.add(key)
        if target is None:
            continue
        pattern, transform = (target, None) if isinstance(target, str) else target
        ours = pattern.format(*match.groups())
        if ours in sources:
            clashes.append(f"{sources[ours]} and {name} both become {ours}")
        sources[ours] = name
        translated[ours] = tensor if transform is None else transform(tensor)
    missing = [key for key, target in keys.items() if target is not None and key not in used]
    _raise("the checkpoint does not fit the key table", unknown=unknown, missing=missing, clashes=clashes)
    return translated


def load_into(model: nn.Module, state: Mapping[str, Tensor], keys: KeyTable | None = None) -> None:
    """Copy a checkpoint into model, all of it or, with an error, nothing.

    keys: the table for `translate`; None where the names are the model's own. A tied tensor (one tensor under two
    names) may come under one of its names or, with equal values, under all. The model's dtypes and devices stay.
    Raises WeightsError that lists every missing, unexpected, misshapen or contradictory tensor.
    """
    state = dict(state) if keys is None else translate(state, keys)
    wanted = {n: t for n, t in model.state_dict(keep_vars=True).items() if isinstance(t, Tensor)}
    names_of: dict[int, list[str]] = {}
    for name, tensor in wanted.items():
        names_of.setdefault(id(tensor), []).append(name)
    given = {name: [n for n in names_of[id(wanted[name])] if n in state] for name in wanted}
    misshapen = [
        f"{name}: {_kind(state[name])} in the checkpoint, {_kind(wanted[name])} in the model"
        for name in wanted.keys() & state.keys()
        if state[name].shape != wanted[name].shape
        or state[name].is_floating_point() != wanted[name].is_floating_point()
    ]
    contradictory = [
        f"{' and '.join(names)}: one tensor in the model, two values in the checkpoint"
        for names in ([n for n in tied if n in state] for tied in names_of.values())
        if any(not torch.equal(state[names[0]], state[other]) for other in names[1:])
    ]
    _raise(
        f"the checkpoint does not fit the {type(model).__name__}; nothing was loaded",
        missing=[name for name in wanted if not given[name]],
        unexpected=[name for name in state if name not in wanted],
        misshapen=sorted(misshapen),
        contradictory=contradictory,
    )
    with torch.no_grad():
        for names in names_of.values():
            wanted[names[0]].copy_(state[given[names[0]][0]])


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


def content_hash(path: str | Path) -> str:
    """sha256 of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    dtype = dtype if tensor.is_floating_point() else None
    return tensor.detach().to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _raise(heading: str, **lists: list[str]) -> None:
    if any(lists.values()):
        lines = [f"  {kind} ({len(names)}): {', '.join(names)}" for kind, names in lists.items() if names]
        raise WeightsError("\n".join([heading, *lines]))
