"""ResNet: blocks that add to what they were given, so that depth does not hinder training (He et al. 2016).

A block computes F(x) by two or three convolutions and gives relu(F(x) + x); where the shape changes, x goes through a
1 × 1 convolution first. Without the addition it is the plain network that the paper compares with.
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
EXPANSION = 4  # a bottleneck's last convolution widens by it


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes of a ResNet; without arguments those of ResNet-18. Raises ValueError on sizes that cannot be.

    n_blocks, widths: for each stage, which halves height and width, but the first; bottleneck: blocks of 1 × 1,
    3 × 3, 1 × 1 convolutions, four times as wide outside as inside, in place of two 3 × 3; small_stem: one 3 × 3
    convolution at full size, for small images, in place of 7 × 7 with stride 2 and pooling; residual: False for the
    plain network; num_classes: outputs of the head.
    """

    n_blocks: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: bool = False
    small_stem: bool = False
    residual: bool = True
    n_channels: int = 3
    num_classes: int = 1000

    def __post_init__(self) -> None:
        for name in ("n_blocks", "widths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists only
        if len(self.n_blocks) != len(self.widths) or not self.widths:
            raise ValueError(
                f"n_blocks={self.n_blocks} and widths={self.widths}; give one of each for every stage"
            )
        sizes = {"n_channels": self.n_channels, "num_classes": self.num_classes}
        for name in ("n_blocks", "widths"):
            sizes |= {f"{name}[{i}]": value for i, value in enumerate(getattr(self, name))}
        for name, value in sizes.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number of at least 1")

    @property
    def stride(self) -> int:
        """Pixels of the image to one of the last maps, and the smallest image."""
        return (1 if self.small_stem else 4) * 2 ** (len(self.widths) - 1)

    @property
    def n_features(self) -> int:
        return self.widths[-1] * (EXPANSION if self.bottleneck else 1)


RESNET_18 = ResNetConfig()
RESNET_34 = ResNetConfig((3, 4, 6, 3))
RESNET_50 = ResNetConfig((3, 4, 6, 3), bottleneck=True)
# For images of 28 to 96 pixels: the paper's ResNet-20 (section 4.2), 0.27 M parameters, and a shallow one, 0.08 M.
RESNET_20 = ResNetConfig((3, 3, 3), (16, 32, 64), small_stem=True, num_classes=10)
RESNET_MINI = ResNetConfig((1, 1, 1), (16, 32, 64), small_stem=True, num_classes=10)


class ConvNorm(nn.Module):
    """A convolution, whose bias is the batch norm's: (B, C, H, W) → (B, C', H / stride, W / stride)."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Block(nn.Module):
    """relu(F(x) + x): (B, C, H, W) → (B, C', H / stride, W / stride).

    The stride of a bottleneck is in its 3 × 3 convolution, as in torchvision; the paper has it in the first.
    """

    def __init__(self, n_in: int, width: int, stride: int, bottleneck: bool, residual: bool):
        super().__init__()
        if bottleneck:
            n_out = EXPANSION * width
            layers = [ConvNorm(n_in, width, 1), ConvNorm(width, width, 3, stride), ConvNorm(width, n_out, 1)]
        else:
            n_out = width
            layers = [ConvNorm(n_in, width, 3, stride), ConvNorm(width, n_out, 3)]
        self.layers = nn.ModuleList(layers)
        self.residual = residual
        changes = stride != 1 or n_in != n_out
        self.shortcut = ConvNorm(n_in, n_out, 1, stride) if residual and changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.layers[:-1]:
            y = F.relu(layer(y))
        y = self.layers[-1](y)
        if not self.residual:
            return F.relu(y)
        return (y + self.shortcut(x)).relu_()  # in place on the sum, which nobody else has seen


class ResNet(ImageClassifier):
    """Images (B, C, H, W) → logits (B, L), in three steps: `maps`, `features`, `head`.

    The random start is torchvision's: convolutions as He et al. (2015), the head as nn.Linear.
    seed: a number, or a torch.Generator to draw on.
    """

    MODEL_TYPE, CONFIG, FIRST = "resnet", ResNetConfig, "stem.conv.weight"
    PLANS = (RESNET_18, RESNET_34, RESNET_50)

    def __init__(self, config: ResNetConfig = RESNET_18, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config = config
        with torch.device("meta"):  # no memory and no numbers yet: start_convolutional gives both
            n_in = config.widths[0]
            self.stem = ConvNorm(config.n_channels, n_in, *((3, 1) if config.small_stem else (7, 2)))
            self.stages = nn.ModuleList()
            for stage, (n_blocks, width) in enumerate(zip(config.n_blocks, config.widths, strict=True)):
                blocks = []
                for i in range(n_blocks):
                    stride = 2 if stage > 0 and i == 0 else 1
                    blocks.append(Block(n_in, width, stride, config.bottleneck, config.residual))
                    n_in = width * EXPANSION if config.bottleneck else width
                self.stages.append(nn.Sequential(*blocks))
            self.head = nn.Linear(config.n_features, config.num_classes)
        start_convolutional(self, as_generator(seed))
        if config.stride >= 32:  # for photographs: a training step is faster so, see in_fast_layout
            self.to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, L). Raises ValueError on another number of channels and on images smaller than the stride."""
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """What the head reads, the mean of the last maps: (B, D)."""
        return self.maps(images).mean((2, 3))

    def maps(self, images: Tensor) -> Tensor:
        """What the last stage gives: (B, D, H / stride, W / stride), rounded up."""
        hint = "enlarge them, or build a ResNet(RESNET_MINI)"
        check_images(images, self.config.n_channels, self.config.stride, hint)
        x = F.relu(self.stem(in_fast_layout(images)))
        if not self.config.small_stem:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
        return x

    @staticmethod
    def keys(config: ResNetConfig) -> dict[str, str]:
        """torchvision counts stages, convolutions and norms from 1, and keeps convolution and norm apart."""
        layers = {"conv1": "stem.conv", "bn1": "stem.norm"}
        n_layers = 3 if config.bottleneck else 2
        n_in = config.widths[0]
        for stage, (n_blocks, width) in enumerate(zip(config.n_blocks, config.widths, strict=True)):
            n_out = width * EXPANSION if config.bottleneck else width
            for i in range(n_blocks):
                theirs, ours = f"layer{stage + 1}.{i}", f"stages.{stage}.{i}"
                for n in range(n_layers):
                    layers[f"{theirs}.conv{n + 1}"] = f"{ours}.layers.{n}.conv"
                    layers[f"{theirs}.bn{n + 1}"] = f"{ours}.layers.{n}.norm"
                if config.residual and i == 0 and (stage > 0 or n_in != n_out):
                    layers |= {f"{theirs}.downsample.0": f"{ours}.shortcut.conv"}
                    layers |= {f"{theirs}.downsample.1": f"{ours}.shortcut.norm"}
            n_in = n_out
        keys = {"fc.weight": "head.weight", "fc.bias": "head.bias"}
        for theirs, ours in layers.items():
            for kind in NORM_TENSORS if ours.endswith("norm") else ("weight",):
                keys[f"{theirs}.{kind}"] = f"{ours}.{kind}"
        return keys


def resnet18(num_classes: int = 1000, *, seed: int | torch.Generator = 0) -> ResNet:
    """ResNet-18 with random weights, 11.69 M parameters for 1,000 classes."""
    return ResNet(replace(RESNET_18, num_classes=num_classes), seed=seed)


def resnet34(num_classes: int = 1000, *, seed: int | torch.Generator = 0) -> ResNet:
    """ResNet-34 with random weights, 21.80 M parameters for 1,000 classes."""
    return ResNet(replace(RESNET_34, num_classes=num_classes), seed=seed)


def resnet50(num_classes: int = 1000, *, seed: int | torch.Generator = 0) -> ResNet:
    """ResNet-50 with random weights, 25.56 M parameters for 1,000 classes."""
    return ResNet(replace(RESNET_50, num_classes=num_classes), seed=seed)
