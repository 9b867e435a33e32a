"""The outputs of chosen layers for one batch, caught by hooks that are gone afterwards."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tlcourse.transfer.extraction.guard import evaluating

Reduce = Callable[[Any, Any], Tensor]
Layers = str | Sequence[str] | Mapping[str, Reduce | None]


class _Place(NamedTuple):
    module: nn.Module
    run: int | None  # which of the layer's runs in one forward pass; None: it has one
    reduce: Reduce | None


class FeatureExtractor:
    """`FeatureExtractor(model, layers)(batch)` → {layer: features (B, ...)}; the model stays as it is.

    layers: dotted names of modules, as in `model.named_modules()`; "" is the model itself. A mapping gives each name
    a function reduce(output, batch) → (B, ...) that chooses or pools (see `mean_tokens`, `part`). Where a layer runs
    several times in one forward pass, "name#0" is its first run. forward(model, batch): by default model(**batch) for
    a mapping, else model(batch). Runs in evaluation mode without gradients; what it returns shares no memory with the
    model, so that a layer that works in place does not overwrite it.
    Raises ValueError for an unknown layer, one that did not run or ran several times, one that returns no tensor.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Layers,
        *,
        forward: Callable[[nn.Module, Any], Any] | None = None,
    ) -> None:
        self.model = model
        self.forward = _call if forward is None else forward
        if isinstance(layers, str):
            layers = (layers,)
        reduces = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers)
        if not reduces:
            raise ValueError("no layers; name at least one, as in FeatureExtractor(model, ['layer4'])")
        modules = dict(model.named_modules(remove_duplicate=False))
        self._places = {name: _place(name, modules, reduce) for name, reduce in reduces.items()}

    @property
    def reduces(self) -> dict[str, Reduce | None]:
        """The layers by name, in the order given, with what reduces their outputs."""
        return {name: place.reduce for name, place in self._places.items()}

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        caught: dict[str, Tensor] = {}
        runs: Counter[str] = Counter()
        handles = [
            place.module.register_forward_hook(_hook(name, place, batch, caught, runs))
            for name, place in self._places.items()
        ]
        try:
            with evaluating(self.model), torch.no_grad():
                self.forward(self.model, batch)
        finally:
            for handle in handles:
                handle.remove()
        for name, place in self._places.items():
            _check_runs(name, place, runs[name])
        return {name: caught[name] for name in self._places}


def _hook(name: str, place: _Place, batch: Any, caught: dict[str, Tensor], runs: Counter) -> Callable:
    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if runs[name] == (place.run or 0):
            caught[name] = _own(name, output, batch, place.reduce)
        runs[name] += 1

    return keep


def _own(name: str, output: Any, batch: Any, reduce: Reduce | None) -> Tensor:
    """A copy made at once: the next layer may be a ReLU that works in place."""
    try:
        value = output if reduce is None else reduce(output, batch)
    except ValueError as error:
        raise ValueError(f"layer {name!r}: {error}") from error
    if not isinstance(value, Tensor):
        keys = (
            list(value)
            if isinstance(value, Mapping)
            else range(len(value))
            if hasattr(value, "__len__")
            else []
        )
        raise ValueError(
            f"layer {name!r} gives a {type(value).__name__}, not a tensor; choose a part of it, as in "
            f"layers={{{name!r}: part({next(iter(keys), 0)!r})}}, or name a layer inside it"
        )
    if value.ndim == 0 or value.numel() == 0:
        raise ValueError(
            f"layer {name!r} gives features of shape {tuple(value.shape)}; one row per item is needed"
        )
    return value.detach().clone(memory_format=torch.contiguous_format)


def _place(name: str, modules: Mapping[str, nn.Module], reduce: Reduce | None) -> _Place:
    if not isinstance(name, str):
        raise TypeError(f"layer {name!r} is a {type(name).__name__}; give its dotted name")
    plain, _, run = name.partition("#")
    if name not in modules and run.isdecimal():
        name, which = plain, int(run)
    else:
        which = None
    if name not in modules:
        near = get_close_matches(name, [known for known in modules if known], n=3, cutoff=0.0)
        hint = ", ".join(map(repr, near)) or "this model has no layers but itself, ''"
        raise ValueError(f"no layer {name!r} among {len(modules) - 1}; nearest: {hint}")
    return _Place(modules[name], which, reduce)


def _check_runs(name: str, place: _Place, runs: int) -> None:
    if runs == 0:
        inside = next((f"{name}.{child}".lstrip(".") for child, _ in place.module.named_children()), None)
        hint = f"name one inside it, as {inside!r}" if inside else "name one that forward calls"
        raise ValueError(
            f"layer {name!r} ({type(place.module).__name__}) did not run in the forward pass; {hint}"
        )
    if place.run is None and runs > 1:
        raise ValueError(
            f"layer {name!r} ran {runs} times in one forward pass; name one run, {name + '#0'!r} to "
            f"{f'{name}#{runs - 1}'!r}, or the layer around it"
        )
    if place.run is not None and place.run >= runs:
        raise ValueError(f"layer {name!r} ran {runs} times in one forward pass; its last run is #{runs - 1}")


def _call(model: nn.Module, batch: Any) -> Any:
    if isinstance(batch, (tuple, list)):
        raise ValueError(
            f"a batch is a {type(batch).__name__} of {len(batch)}; say what of it the model gets, as in "
            "forward=lambda model, batch: model(batch[0])"
        )
    return model(**batch) if isinstance(batch, Mapping) else model(batch)
