"""Encoder and decoder of vectors; without hidden layers both are linear, and together they can do what PCA does."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from tlcourse.layers import as_generator, start_convolutional
from tlcourse.models.autoencoder.configs import VectorConfig


class VectorEncoder(nn.Module):
    """(B, n_inputs) → codes (B, n_latent), ReLUs between the layers."""

    def __init__(self, config: VectorConfig, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config, self.n_latent = config, config.n_latent
        self.layers = _stack((config.n_inputs, *config.hidden, config.n_latent), as_generator(seed))

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.dim() != 2 or inputs.shape[1] != self.config.n_inputs:
            raise ValueError(
                f"inputs {tuple(inputs.shape)} for vectors of {self.config.n_inputs}; give (B, n_inputs), "
                "images by images.flatten(1)"
            )
        return self.layers(inputs)


class VectorDecoder(nn.Module):
    """Codes (B, n_latent) → (B, n_inputs), the encoder's layers in reverse."""

    def __init__(self, config: VectorConfig, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config, self.n_latent = config, config.n_latent
        self.layers = _stack((config.n_latent, *config.hidden[::-1], config.n_inputs), as_generator(seed))

    def forward(self, codes: Tensor) -> Tensor:
        return self.layers(codes)


def _stack(widths: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    with torch.device("meta"):
        layers = nn.Sequential()
        for n_in, n_out in pairwise(widths):
            layers.extend([nn.Linear(n_in, n_out), nn.ReLU()])
    layers = layers[:-1]  # what comes out may be negative
    start_convolutional(layers, generator)
    return layers
