"""Content as a name: what a value holds, a function does, a model weighs, as one sha256."""

import contextlib
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

import numpy as np
from torch import Tensor, nn

from tlcourse.transfer.extraction.guard import content, tensor_digest


def digest(*values: Any) -> str:
    """sha256 of what the values hold (see `describe`), 64 hexadecimal digits."""
    return hashlib.sha256(repr([describe(value) for value in values]).encode()).hexdigest()


def describe(value: Any) -> Any:
    """A value as nested tuples of text that are equal where the content is.

    Numbers, text, None; tensors, arrays, models; mappings, sequences, dataclasses of such. Of a function: its name, its
    code, its defaults and what it closes over; not the functions that it calls in turn. Raises TypeError for others.
    """
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return type(value).__name__, repr(value)
    if isinstance(value, Tensor):
        return "tensor", tensor_digest(value)
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        data = np.ascontiguousarray(value)
        return "array", str(data.dtype), data.shape, hashlib.sha256(data.tobytes()).hexdigest()
    if isinstance(value, nn.Module):
        return "model", repr(value), tuple(content(value).items()), _settings(value)
    if isinstance(value, Mapping):
        return "mapping", tuple((describe(key), describe(item)) for key, item in value.items())
    if isinstance(value, (tuple, list, np.ndarray)):
        return "sequence", tuple(describe(item) for item in value)
    if isinstance(value, FunctionType):
        inside = [cell.cell_contents for cell in value.__closure__ or ()]
        settings = (value.__defaults__, value.__kwdefaults__, inside)
        return "function", value.__module__, value.__qualname__, _code(value.__code__), describe(settings)
    if isinstance(value, functools.partial):
        return "partial", describe(value.func), describe(value.args), describe(value.keywords)
    if isinstance(value, (type, BuiltinFunctionType)):
        return "name", value.__module__, value.__qualname__
    if is_dataclass(value):
        settings = {field.name: getattr(value, field.name) for field in fields(value)}
        return "dataclass", type(value).__qualname__, describe(settings)
    raise TypeError(
        f"a {type(value).__module__}.{type(value).__qualname__} cannot be named by content; give tensors, arrays, "
        "numbers, text, mappings, sequences or functions, or go without a cache"
    )


def _settings(model: nn.Module) -> tuple:
    """What the modules of a model hold beside tensors and modules, by name, as far as it can be described."""
    found = []
    for name, module in model.named_modules():
        found.append((name, f"{type(module).__module__}.{type(module).__qualname__}"))
        for key, value in vars(module).items():
            if key == "training" or key.startswith("_") or not _is_plain(value):
                continue
            with contextlib.suppress(TypeError):  # a field of a dataclass may be anything
                found.append((f"{name}.{key}", describe(value)))
    return tuple(found)


def _is_plain(value: Any) -> bool:
    """Whether a value holds numbers, text and functions alone, and not, say, the model that it belongs to.

    A function that closes over something may close over the model.
    """
    if isinstance(value, Mapping):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    if isinstance(value, FunctionType):
        return not value.__closure__
    plain = (bool, int, float, complex, str, bytes, Tensor, np.ndarray, np.generic, type)
    return value is None or isinstance(value, plain) or is_dataclass(value)


def _code(code: CodeType) -> tuple:
    inner = tuple(_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts)
    return code.co_code.hex(), code.co_names, code.co_varnames, inner
