"""Mixed learning: two networks, each with its own loss, that have some layers in common."""

import copy
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import zip_longest
from typing import Any

from torch import Tensor, nn


class MixedModel(nn.Module):
    """Two networks whose chosen layers are one and the same module; each network keeps its own task and loss.

    networks: name → module, two of them; copies are made, the caller's stay as they are. shared: dotted names of
    layers, or, where the networks name them differently, {name in the first: name in the second}. A shared layer starts
    with the first network's values, and both losses train it. The running statistics of a batch norm in it follow the
    inputs of both networks: share it only where these are of one kind. Losses are summed outside, by `joint_loss`.
    Raises ValueError for an unknown layer (listing the nearest), layers that differ in kind, settings or shapes, hold
    no parameters, lie within each other, or hold a weight that their own network uses elsewhere too.
    """

    def __init__(self, networks: Mapping[str, nn.Module], shared: Sequence[str] | Mapping[str, str]) -> None:
        super().__init__()
        if len(networks) != 2:
            raise ValueError(f"{len(networks)} networks, {list(networks)}; give two by name")
        if isinstance(shared, str):
            shared = (shared,)
        pairs = dict(shared) if isinstance(shared, Mapping) else {name: name for name in shared}
        if not pairs:
            raise ValueError("shared names no layer; without any, these are two models")
        self.networks = nn.ModuleDict({name: copy.deepcopy(network) for name, network in networks.items()})
        self.shared = pairs
        first, second = self.networks.values()
        for network, layers in ((first, list(pairs)), (second, list(pairs.values()))):
            _check_layers(network, layers)
        for ours, theirs in pairs.items():
            _check_alike(ours, first.get_submodule(ours), theirs, second.get_submodule(theirs))
        for ours, theirs in pairs.items():
            _replace(second, second.get_submodule(theirs), first.get_submodule(ours))

    def shared_parameters(self) -> dict[str, nn.Parameter]:
        """What both losses train, by its name in the first network."""
        first = next(iter(self.networks.values()))
        return {
            f"{layer}.{name}": parameter
            for layer in self.shared
            for name, parameter in first.get_submodule(layer).named_parameters()
        }

    def forward(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """inputs: network → a tensor, or keyword arguments in a mapping. {network: output}, of those that have inputs.

        Raises ValueError for a name that is no network's, and where there is no input.
        """
        unknown = [name for name in inputs if name not in self.networks]
        if unknown or not inputs:
            raise ValueError(f"inputs for {list(inputs)}; give them for one or both of {list(self.networks)}")
        return {
            name: self.networks[name](x) if isinstance(x, Tensor) else self.networks[name](**x)
            for name, x in inputs.items()
        }


def _check_layers(network: nn.Module, layers: Sequence[str]) -> None:
    """That the layers exist, are apart from each other, and hold weights nobody else in the network uses."""
    modules = {name: module for name, module in network.named_modules() if name}
    for layer in layers:
        if layer not in modules:
            near = get_close_matches(layer, list(modules), n=3, cutoff=0.0)
            raise ValueError(
                f"no layer {layer!r} in {type(network).__name__}; nearest: "
                f"{', '.join(map(repr, near)) or 'it has no layers'}"
            )
        if not any(True for _ in modules[layer].parameters()):
            raise ValueError(f"{layer!r} ({type(modules[layer]).__name__}) has no parameters to share")
        if outer := [other for other in layers if layer.startswith(f"{other}.")]:
            raise ValueError(f"{layer!r} lies in {outer[0]!r}, which is shared as a whole; name one of them")
        if layers.count(layer) > 1:
            raise ValueError(f"{layer!r} is to be shared twice; name each layer once")
        inside = set(modules[layer].modules())
        own = {id(p) for p in modules[layer].parameters()}
        for name, module in network.named_modules():
            if module not in inside and any(id(p) in own for p in module.parameters(recurse=False)):
                raise ValueError(
                    f"{layer!r} holds a weight that {name!r} of the same network uses too (tied); share a layer "
                    "around both, or untie them"
                )


def _check_alike(ours: str, a: nn.Module, theirs: str, b: nn.Module) -> None:
    """By what they print and the shapes they hold: a stride that differs would change the second network unseen."""
    for x, y in zip_longest(_facts(a), _facts(b), fillvalue="nothing"):
        if x != y:
            raise ValueError(
                f"{ours!r} of the first network and {theirs!r} of the second differ: {x.strip()} and {y.strip()}; "
                "share layers of one kind and shape"
            )


def _facts(module: nn.Module) -> list[str]:
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in module.state_dict().items()]
    return [*repr(module).splitlines(), *shapes]


def _replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Wherever it hangs in the tree: one module may hang in several places."""
    for parent in list(network.modules()):
        for key, child in parent._modules.items():
            if child is old:
                parent._modules[key] = new
