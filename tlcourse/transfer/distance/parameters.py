"""Between the weights of two networks of one architecture."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse.transfer.distance.inputs import array


class OtherArchitecture(ValueError):
    """Two sets of weights have other names or shapes, so that no distance between them exists."""


def parameter_distance(a: nn.Module | Mapping[str, Tensor], b: nn.Module | Mapping[str, Tensor]) -> float:
    """Euclidean distance of two networks' parameters, in the weights' own units; symmetric.

    a, b: modules, of which the parameters count, or mappings name → tensor, of which the real-valued ones do; leave the
    heads out, they rarely fit.
    Smaller is nearer. Range: 0 to ∞. To compare: networks of one architecture, best from one start: a network whose
    hidden units are permuted computes the same and is far away. Says nothing of the target unless one of the two was
    trained on it. Needs one architecture.
    Raises OtherArchitecture, a ValueError, where names or shapes differ; ValueError on NaN and where nothing is left.
    """
    a, b = _weights(a), _weights(b)
    lone = sorted(a.keys() ^ b.keys())
    if lone:
        where = "first" if lone[0] in a else "second"
        raise OtherArchitecture(
            f"{len(lone)} parameters are in one network only, as {lone[0]!r} in the {where}; "
            "compare networks of one architecture, without their heads"
        )
    if not a:
        raise ValueError("no parameters to compare; give networks or mappings with real-valued tensors")
    squared = 0.0
    for name in a:
        if a[name].shape != b[name].shape:
            raise OtherArchitecture(
                f"{name!r} is {tuple(a[name].shape)} in the first network and {tuple(b[name].shape)} in the "
                "second; compare networks of one architecture, without their heads"
            )
        difference = array(a[name], f"{name!r} of the first") - array(b[name], f"{name!r} of the second")
        squared += float(np.square(difference).sum())
    return float(np.sqrt(squared))


def _weights(network: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = network.named_parameters() if isinstance(network, nn.Module) else network.items()
    tensors = {n: v if isinstance(v, Tensor) else torch.as_tensor(np.asarray(v)) for n, v in named}
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
