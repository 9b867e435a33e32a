"""Which parameters move, and why batch-norm layers move without any."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tlcourse.transfer.finetuning.patterns import matches, select

_FLAG = "_trained_before_hold"
_HANDLES = "_freeze_handles"


@dataclass(frozen=True)
class Count:
    """Numbers of scalar parameters; `share` is trainable / total, between 0 and 1."""

    trainable: int
    total: int

    @property
    def share(self) -> float:
        return self.trainable / self.total if self.total else 0.0


class StatisticsHold:
    """Batch-norm layers held in evaluation mode; end it with `remove()` or by leaving its `with` block.

    names: the dotted names of the layers held.
    """

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        self.names = list(layers)
        self._handles = [handle for layer in layers.values() for handle in _hold(layer)]

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> "StatisticsHold":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def freeze(model: nn.Module, *patterns: str, hold_statistics: bool = False) -> list[str]:
    """Stop parameters from training; without patterns, all of them. Returns the names that changed.

    Frozen parameters do not stop batch-norm layers from updating their running statistics in training mode.
    `hold_statistics` also holds those under the patterns, until `unfreeze` is called for one of their
    parameters. A parameter shared by two modules is frozen under both names.
    Raises ValueError for a pattern that matches no parameter.
    """
    changed = _set_requires_grad(model, patterns, False)
    if hold_statistics:
        for name, layer in _with_statistics(model):
            if not hasattr(layer, _HANDLES) and _is_chosen(name, layer, patterns):
                setattr(layer, _HANDLES, _hold(layer))
    return changed


def unfreeze(model: nn.Module, *patterns: str) -> list[str]:
    """Let parameters train again; without patterns, all of them. Returns the names that changed.

    Undoes `freeze`, and what its `hold_statistics` held; a hold made by the function of that name stays.
    Raises ValueError for a pattern that matches no parameter.
    """
    changed = _set_requires_grad(model, patterns, True)
    for name, layer in _with_statistics(model):
        if hasattr(layer, _HANDLES) and _is_chosen(name, layer, patterns):
            for handle in layer.__dict__.pop(_HANDLES):
                handle.remove()
    return changed


def hold_statistics(model: nn.Module) -> StatisticsHold:
    """Keep every layer with running statistics in evaluation mode while the model trains.

    Such a layer normalises by its stored mean and variance and leaves them as they are, whatever
    `model.train()` says, until the returned hold is removed. Its weight and bias train unless frozen.
    """
    return StatisticsHold(dict(_with_statistics(model)))


def trainable_parameters(model: nn.Module) -> Count:
    """Count scalar parameters, a shared one once."""
    parameters = list(model.parameters())
    return Count(
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        total=sum(p.numel() for p in parameters),
    )


def _set_requires_grad(model: nn.Module, patterns: tuple[str, ...], value: bool) -> list[str]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    changed = []
    for name in select(parameters, patterns or ("*",)):
        parameter = parameters[name]
        if parameter.requires_grad != value and parameter.is_floating_point():
            parameter.requires_grad_(value)
            changed.append(name)
    return changed


def _with_statistics(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if isinstance(getattr(module, "running_mean", None), Tensor):
            yield name, module


def _is_chosen(name: str, layer: nn.Module, patterns: tuple[str, ...]) -> bool:
    names = [name, *(f"{name}.{own}" if name else own for own, _ in layer.named_parameters())]
    return not patterns or any(matches(n, pattern) for n in names for pattern in patterns)


def _hold(layer: nn.Module) -> tuple[RemovableHandle, RemovableHandle]:
    """Hooks rather than `layer.eval()`: a training loop calls `model.train()` again and again."""
    return (
        layer.register_forward_pre_hook(_enter_evaluation),
        layer.register_forward_hook(_leave_evaluation, always_call=True),
    )


def _enter_evaluation(layer: nn.Module, inputs: Any) -> None:
    if layer.training:
        setattr(layer, _FLAG, True)
        layer.training = False


def _leave_evaluation(layer: nn.Module, inputs: Any, output: Any) -> None:
    if layer.__dict__.pop(_FLAG, False):
        layer.training = True
