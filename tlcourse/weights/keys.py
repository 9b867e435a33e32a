"""Weights from a file into a module, by an explicit table of names, or not at all.

A key table says for every name of a checkpoint what becomes of it. `{}` stands for a whole number, such as a
layer's, and stands in the target again; None drops a tensor on purpose:

    KEYS = {"h.{}.attn.c_attn.weight": ("blocks.{}.qkv.weight", transpose),
            "h.{}.ln_1.bias": "blocks.{}.norm.bias",
            "h.{}.attn.bias": None}

Nothing is matched silently: whatever is missing, left over or of another shape is listed in one error, and then
the module is as it was before.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from tlcourse.weights.files import WeightsError

KeyTable = Mapping[str, str | tuple[str, Callable[[Tensor], Tensor]] | None]


def translate(state: Mapping[str, Tensor], keys: KeyTable) -> dict[str, Tensor]:
    """The tensors of a checkpoint under our names, transformed as the table says.

    Raises WeightsError that lists every name that no key matches, every key that matches no name (those that drop
    are not missed), every two names that lead to one, and every tensor of a shape that its transform does not take.
    """
    for key, target in keys.items():
        pattern = target[0] if isinstance(target, tuple) else target
        if pattern is not None and pattern.count("{}") != key.count("{}"):
            raise ValueError(f"{key!r} and its target {pattern!r} need the same number of {{}}")
    rules = [
        (re.compile(re.escape(key).replace(r"\{\}", r"(\d+)")), key, target) for key, target in keys.items()
    ]
    used, unknown, clashes, misshapen, sources, translated = set(), [], [], [], {}, {}
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
        try:
            translated[ours] = tensor if transform is None else transform(tensor)
        except RuntimeError as error:  # of a shape that the transform was not made for
            misshapen.append(f"{name}: {_kind(tensor)} ({error})")
    missing = [key for key, target in keys.items() if target is not None and key not in used]
    _raise(
        "the checkpoint does not fit the key table",
        unknown=unknown,
        missing=missing,
        clashes=clashes,
        misshapen=misshapen,
    )
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


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _raise(heading: str, **lists: list[str]) -> None:
    if any(lists.values()):
        lines = [f"  {kind} ({len(names)}): {', '.join(names)}" for kind, names in lists.items() if names]
        raise WeightsError("\n".join([heading, *lines]))
