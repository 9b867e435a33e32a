"""Encoder and decoder of images: strided convolutions down to a code, transposed ones up again (Masci et al. 2011)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.layers import as_generator, check_images, start_convolutional
from tlcourse.models.autoencoder.configs import ImageConfig


class ImageEncoder(nn.Module):
    """Images (B, C, H, W) → codes (B, n_latent): 4 × 4 convolutions with stride 2, ReLUs, one linear layer."""

    def __init__(self, config: ImageConfig, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config, self.n_latent = config, config.n_latent
        channels, height, width = config.smallest
        with torch.device("meta"):  # no memory and no numbers yet: start_convolutional gives both
            self.stages = nn.ModuleList(
                nn.Conv2d(n_in, n_out, 4, 2, 1)
                for n_in, n_out in pairwise((config.n_channels, *config.widths))
            )
            self.to_code = nn.Linear(channels * height * width, config.n_latent)
        start_convolutional(self, as_generator(seed))

    def forward(self, images: Tensor) -> Tensor:
        """Raises ValueError on images of another size or number of channels."""
        check_images(images, self.config.n_channels, 2 ** len(self.config.widths))
        if images.shape[2:] != (self.config.height, self.config.width):
            raise ValueError(
                f"images of {images.shape[2]} × {images.shape[3]} for an encoder of {self.config.height} × "
                f"{self.config.width}; resize them, or build it for their size"
            )
        return self.to_code(self.maps(images).flatten(1))

    def maps(self, images: Tensor) -> Tensor:
        """What the last stage gives: (B, C', H / stride, W / stride)."""
        x = images
        for stage in self.stages:
            x = F.relu(stage(x))
        return x


class ImageDecoder(nn.Module):
    """Codes (B, n_latent) → images (B, C, H, W), of any value: means, or logits for a loss that wants those.

    A kernel of 4 overlaps evenly at stride 2, so that no chequerboard shows (Odena et al. 2016).
    """

    def __init__(self, config: ImageConfig, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config, self.n_latent = config, config.n_latent
        channels, height, width = config.smallest
        with torch.device("meta"):
            self.from_code = nn.Linear(config.n_latent, channels * height * width)
            self.stages = nn.ModuleList(
                nn.ConvTranspose2d(n_in, n_out, 4, 2, 1)
                for n_in, n_out in pairwise((*config.widths[::-1], config.n_channels))
            )
        start_convolutional(self, as_generator(seed))

    def forward(self, codes: Tensor) -> Tensor:
        x = self.from_code(codes).unflatten(1, self.config.smallest)  # (B, C', H / stride, W / stride)
        for stage in self.stages:
            x = stage(F.relu(x))
        return x
