"""Feed-forward, activations, normalisation and the random start, for every transformer."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


# By the names of official configurations; gelu_new is the tanh approximation of Hendrycks & Gimpel (2016).
ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function that configurations call name. Raises ValueError that lists the known names."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


class FeedForward(nn.Module):
    """Two linear layers, each position by itself: (..., D) → (..., d_inner) → (..., D)."""

    def __init__(self, d_model: int, d_inner: int, activation_name: str = "gelu"):
        super().__init__()
        self.activation = activation(activation_name)
        self.up = nn.Linear(d_model, d_inner)
        self.down = nn.Linear(d_inner, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean 0 and variance 1 over the last dimension, then scale and shift (Ba et al. 2016): nn.LayerNorm, spelt out."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * weight + bias


def as_generator(seed: int | torch.Generator) -> torch.Generator:
    """A generator on the CPU from a seed; a generator as it is, so that several parts can draw from one."""
    return seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)


@torch.no_grad()
def start_normal(module: nn.Module, sd: float, generator: torch.Generator) -> None:
    """BERT's and GPT-2's random start: matrices and tables normal (0, sd), biases 0, norms 1 and 0.

    The row of an embedding's padding_idx is 0, as nn.Embedding itself starts it. A module built on the meta device,
    which spares PyTorch's own start, gets its memory here.
    """
    for part in module.modules():
        if any(parameter.is_meta for parameter in part.parameters(recurse=False)):
            part.to_empty(device=generator.device, recurse=False)
        if isinstance(part, nn.Linear | nn.Embedding):
            part.weight.normal_(0.0, sd, generator=generator)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        if getattr(part, "padding_idx", None) is not None:
            nn.init.zeros_(part.weight[part.padding_idx])
        if isinstance(getattr(part, "bias", None), Tensor):
            nn.init.zeros_(part.bias)
