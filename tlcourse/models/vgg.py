"""VGG: small convolutions, one after another, then fully connected layers (Simonyan & Zisserman 2015).

A stage is a run of 3 × 3 convolutions of one width, ended by a pooling that halves height and width.
Shapes: B batch, C channels; images and maps (B, C, H, W); D width of the features, L classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.layers import as_generator, check_images, in_fast_layout, start_convolutional
from tlcourse.weights import ImageClassifier

NORM_TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class VGGConfig:
    """Sizes of a VGG; without arguments those of VGG-16. Raises ValueError on sizes that cannot be.

    n_convolutions, widths: for each stage; batch_norm: after each convolution (Ioffe & Szegedy 2015); pool: the maps
    are averaged to pool × pool before the hidden layers, whatever the image's size; hidden: widths of the fully
    connected layers below the head, dropout acts behind each; num_classes: outputs of the head.
    """

    n_convolutions: tuple[int, ...] = (2, 2, 3, 3, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    batch_norm: bool = False
    n_channels: int = 3
    pool: int = 7
    hidden: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.5
    num_classes: int = 1000

    def __post_init__(self) -> None:
        for name in ("n_convolutions", "widths", "hidden"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists only
        if len(self.n_convolutions) != len(self.widths) or not self.widths:
            raise ValueError(
                f"n_convolutions={self.n_convolutions} and widths={self.widths}; give one of each for every stage"
            )
        sizes = {"n_channels": self.n_channels, "pool": self.pool, "num_classes": self.num_classes}
        for name in ("n_convolutions", "widths", "hidden"):
            sizes |= {f"{name}[{i}]": value for i, value in enumerate(getattr(self, name))}
        for name, value in sizes.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number of at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must be at least 0 and below 1")

    @property
    def stride(self) -> int:
        """Pixels of the image to one of the last maps, and the smallest image."""
        return 2 ** len(self.widths)


VGG_11 = VGGConfig((1, 1, 2, 2, 2))
VGG_13 = VGGConfig((2, 2, 2, 2, 2))
VGG_16 = VGGConfig()
VGG_19 = VGGConfig((2, 2, 4, 4, 4))
PLANS = (VGG_11, VGG_13, VGG_16, VGG_19)
PLANS += tuple(replace(plan, batch_norm=True) for plan in PLANS)
# For images of 28 to 96 pixels: 0.26 M and 1.81 M parameters.
VGG_MINI = VGGConfig((1, 1, 2), (32, 64, 128), True, pool=1, hidden=(128,), num_classes=10)
VGG_SMALL = VGGConfig((2, 2, 3), (64, 128, 256), True, pool=1, hidden=(256,), num_classes=10)


class Convolution(nn.Module):
    """3 × 3 convolution, batch norm where the configuration has it, ReLU: (B, C, H, W) → (B, C', H, W)."""

    def __init__(self, n_in: int, n_out: int, batch_norm: bool):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(n_out) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class VGG(ImageClassifier):
    """Images (B, C, H, W) → logits (B, L), in three steps: `maps`, `features`, `head`.

    The random start is torchvision's: convolutions as He et al. (2015), linear layers normal with sd 0.01.
    seed: a number, or a torch.Generator to draw on.
    """

    MODEL_TYPE, CONFIG, FIRST = "vgg", VGGConfig, "stages.0.0.conv.weight"
    PLANS = PLANS

    def __init__(self, config: VGGConfig = VGG_16, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config = config
        with torch.device("meta"):  # no memory and no numbers yet: start_convolutional gives both
            self.stages = nn.ModuleList()
            n_in = config.n_channels
            for n_convolutions, width in zip(config.n_convolutions, config.widths, strict=True):
                inputs = (n_in, *[width] * (n_convolutions - 1))
                layers = [Convolution(n, width, config.batch_norm) for n in inputs]
                self.stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
                n_in = width
            self.hidden = nn.Sequential()
            n_in *= config.pool**2
            for width in config.hidden:
                self.hidden.extend([nn.Linear(n_in, width), nn.ReLU(), nn.Dropout(config.dropout)])
                n_in = width
            self.head = nn.Linear(n_in, config.num_classes)
        start_convolutional(self, as_generator(seed), linear_sd=0.01)
        if config.stride >= 32:  # for photographs: a training step is faster so, see in_fast_layout
            self.to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, L). Raises ValueError on another number of channels and on images smaller than the stride."""
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """What the head reads: (B, D)."""
        pooled = F.adaptive_avg_pool2d(self.maps(images), self.config.pool)
        return self.hidden(pooled.flatten(1))

    def maps(self, images: Tensor) -> Tensor:
        """What the last stage gives: (B, C, H / stride, W / stride)."""
        check_images(
            images, self.config.n_channels, self.config.stride, "enlarge them, or build a VGG(VGG_MINI)"
        )
        x = in_fast_layout(images)
        for stage in self.stages:
            x = stage(x)
        return x

    @staticmethod
    def keys(config: VGGConfig) -> dict[str, str]:
        """torchvision numbers convolutions, norms, ReLUs and poolings through, hidden layers and head likewise."""
        keys, number = {}, 0
        for stage, n_convolutions in enumerate(config.n_convolutions):
            for i in range(n_convolutions):
                ours = f"stages.{stage}.{i}"
                keys |= {f"features.{number}.{kind}": f"{ours}.conv.{kind}" for kind in ("weight", "bias")}
                if config.batch_norm:
                    keys |= {f"features.{number + 1}.{kind}": f"{ours}.norm.{kind}" for kind in NORM_TENSORS}
                number += 3 if config.batch_norm else 2
            number += 1
        for i in range(0, 3 * len(config.hidden), 3):
            keys |= {f"classifier.{i}.{kind}": f"hidden.{i}.{kind}" for kind in ("weight", "bias")}
        last = 3 * len(config.hidden)
        return keys | {f"classifier.{last}.{kind}": f"head.{kind}" for kind in ("weight", "bias")}


def vgg11(num_classes: int = 1000, batch_norm: bool = False, *, seed: int | torch.Generator = 0) -> VGG:
    """VGG-11 with random weights, 132.86 M parameters for 1,000 classes."""
    return VGG(replace(VGG_11, num_classes=num_classes, batch_norm=batch_norm), seed=seed)


def vgg13(num_classes: int = 1000, batch_norm: bool = False, *, seed: int | torch.Generator = 0) -> VGG:
    """VGG-13 with random weights, 133.05 M parameters for 1,000 classes."""
    return VGG(replace(VGG_13, num_classes=num_classes, batch_norm=batch_norm), seed=seed)


def vgg16(num_classes: int = 1000, batch_norm: bool = False, *, seed: int | torch.Generator = 0) -> VGG:
    """VGG-16 with random weights, 138.36 M parameters for 1,000 classes."""
    return VGG(replace(VGG_16, num_classes=num_classes, batch_norm=batch_norm), seed=seed)


def vgg19(num_classes: int = 1000, batch_norm: bool = False, *, seed: int | torch.Generator = 0) -> VGG:
    """VGG-19 with random weights, 143.67 M parameters for 1,000 classes."""
    return VGG(replace(VGG_19, num_classes=num_classes, batch_norm=batch_norm), seed=seed)
