"""A model as a list of layers, input first: a learning rate for each, and when each begins to train."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import nn

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class LayerGroup:
    """Parameters treated alike: `name` of the layer (or "first … last"), `names` of its parameters."""

    name: str
    names: tuple[str, ...]


def layer_groups(model: nn.Module, n: int | None = None) -> list[LayerGroup]:
    """Split a model into its layers, input first, the head last; every parameter is in exactly one group.

    Containers are opened down to the blocks they repeat (a BERT layer, a residual block). A norm belongs
    to the layer before it, a bare parameter to the layer after it, neighbouring embeddings to each other.
    Order is that of registration, so a model must define its modules in the order in which it calls them.
    A shared parameter counts where it comes first.
    n: merge neighbours into n groups; the last layer stays alone.
    Raises ValueError where there are fewer than n layers, or no parameters.
    """
    layers = _layers(model)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no parameters to group")
    if n is None:
        return layers
    if not 1 <= n <= len(layers):
        raise ValueError(
            f"n={n} groups from the {len(layers)} layers of {type(model).__name__}; "
            f"choose n from 1 to {len(layers)}"
        )
    if n == 1:
        return [_merge(layers)]
    body = layers[:-1]
    edges = [len(body) * i // (n - 1) for i in range(n)]
    return [_merge(body[a:b]) for a, b in pairwise(edges)] + layers[-1:]


def discriminative_lr(
    model: nn.Module, base_lr: float, decay: float = 1 / 2.6, *, groups: Sequence[LayerGroup] | None = None
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: base_lr for the head, decay times less for each layer below it.

    Returns dicts with `params`, `lr`, `name`, input first; frozen parameters are included, so that they
    can be unfrozen later. Howard & Ruder (2018), "Universal language model fine-tuning for text
    classification", divide by 2.6 for each layer.
    Raises ValueError for base_lr ≤ 0, decay outside (0, 1], groups that do not cover the model.
    """
    if not (math.isfinite(base_lr) and base_lr > 0):
        raise ValueError(f"base_lr={base_lr} is no learning rate; give a positive number such as 1e-3")
    if not 0 < decay <= 1:
        hint = f"; did you mean 1/{decay}?" if decay > 1 else ""
        raise ValueError(f"decay={decay} must be above 0 and at most 1 (1 gives all layers one rate){hint}")
    groups = layer_groups(model) if groups is None else groups
    parameters = dict(model.named_parameters())
    _check_cover(parameters, groups)
    top = len(groups) - 1
    return [
        {
            "params": [parameters[name] for name in group.names],
            "lr": base_lr * decay ** (top - i),
            "name": group.name,
        }
        for i, group in enumerate(groups)
    ]


class GradualUnfreezing:
    """Callback for `tlcourse.training.fit`: train the last group, then open one more below it at a time.

    epochs_per_group: epochs until the next group opens. Only parameters of the given groups are touched,
    so a group that is left out keeps its state. Batch-norm layers of frozen groups still update their
    running statistics unless held; see `hold_statistics`. Howard & Ruder (2018).
    Raises ValueError without groups, for epochs_per_group < 1, for groups of another model.
    """

    def __init__(self, groups: Sequence[LayerGroup], epochs_per_group: int = 1) -> None:
        if not groups:
            raise ValueError("no groups to unfreeze; make them with layer_groups(model)")
        if epochs_per_group < 1:
            raise ValueError(f"epochs_per_group={epochs_per_group} must be at least 1")
        self.groups = tuple(groups)
        self.epochs_per_group = epochs_per_group

    def on_start(self, model: nn.Module) -> None:
        self.on_epoch(model, 0)

    def on_epoch(self, model: nn.Module, epoch: int) -> None:
        """Set the state for the epoch that begins; the first is 0."""
        first_open = len(self.groups) - 1 - epoch // self.epochs_per_group
        parameters = dict(model.named_parameters())
        _check_known(parameters, self.groups)
        for i, group in enumerate(self.groups):
            for name in group.names:
                if parameters[name].is_floating_point():  # others, such as int8 codes, never train
                    parameters[name].requires_grad_(i >= first_open)


def _layers(model: nn.Module) -> list[LayerGroup]:
    seen: set[int] = set()
    layers: list[tuple[str, list[str], nn.Module | None]] = []
    waiting: list[str] = []  # bare parameters and leading norms, until a layer comes
    for unit, module, parameters in _units(model):
        names = []
        for name, parameter in parameters:
            if id(parameter) not in seen:
                seen.add(id(parameter))
                names.append(name)
        if not names:
            continue
        is_norm = module is not None and _is_norm(module)
        both_embed = layers and isinstance(module, nn.Embedding) and isinstance(layers[-1][2], nn.Embedding)
        if module is None or (is_norm and not layers):
            waiting += names
        elif is_norm or both_embed:
            layers[-1][1].extend(waiting + names)
            waiting = []
        else:
            layers.append((unit, waiting + names, module))
            waiting = []
    if waiting:
        if layers:
            layers[-1][1].extend(waiting)
        else:
            layers.append((type(model).__name__, waiting, None))
    return [LayerGroup(name, tuple(names)) for name, names, _ in layers]


def _units(model: nn.Module) -> Iterator[tuple[str, nn.Module | None, list[tuple[str, nn.Parameter]]]]:
    """Yield (dotted name, module, its named parameters); the module is None for a bare parameter of a
    container.
    """
    inner = [m for m in model.modules() if m is not model and not isinstance(m, _CONTAINERS)]
    kinds = Counter(type(m) for m in inner if any(True for _ in m.children()) and not _is_norm(m))
    blocks = {kind for kind, count in kinds.items() if count > 1}

    def opens(module: nn.Module) -> bool:
        if isinstance(module, _CONTAINERS):
            return True
        return type(module) not in blocks and any(
            type(m) in blocks or (isinstance(m, _CONTAINERS) and _n_layers(m) > 1) for m in module.modules()
        )

    def walk(
        module: nn.Module, name: str
    ) -> Iterator[tuple[str, nn.Module | None, list[tuple[str, nn.Parameter]]]]:
        prefix = f"{name}." if name else ""
        own = [(prefix + key, p) for key, p in module.named_parameters(recurse=False)]
        if own:
            yield name, None, own
        for key, child in module.named_children():
            if opens(child):
                yield from walk(child, prefix + key)
            else:
                yield prefix + key, child, list(child.named_parameters(prefix + key))

    if any(True for _ in model.children()):
        yield from walk(model, "")
    else:
        yield type(model).__name__, None, list(model.named_parameters())


def _is_norm(module: nn.Module) -> bool:
    return all(p.ndim <= 1 for p in module.parameters())


def _n_layers(container: nn.Module) -> int:
    return sum(any(True for _ in child.parameters()) for child in container.children())


def _merge(groups: Sequence[LayerGroup]) -> LayerGroup:
    name = groups[0].name if len(groups) == 1 else f"{groups[0].name} … {groups[-1].name}"
    return LayerGroup(name, tuple(name for group in groups for name in group.names))


def _check_known(parameters: dict[str, nn.Parameter], groups: Sequence[LayerGroup]) -> None:
    unknown = [name for group in groups for name in group.names if name not in parameters]
    if unknown:
        raise ValueError(
            f"{len(unknown)} names in the groups are no parameters of this model, the first {unknown[0]!r}; "
            "make the groups anew with layer_groups(model)"
        )


def _check_cover(parameters: dict[str, nn.Parameter], groups: Sequence[LayerGroup]) -> None:
    _check_known(parameters, groups)
    count = Counter(name for group in groups for name in group.names)
    wrong = [name for name in parameters if count[name] != 1]
    if wrong:
        raise ValueError(
            f"each parameter must be in exactly one group; {wrong[0]!r} is in {count[wrong[0]]} "
            f"({len(wrong)} parameters are wrong); make the groups with layer_groups(model)"
        )
