"""Denoising: the encoder reads a damaged input, the decoder is to give the whole one (Vincent et al. 2008).

Copying does not help then; what does is to know how inputs usually look.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlcourse.models.autoencoder.plain import Autoencoder

Corruption = Callable[[Tensor, torch.Generator | None], Tensor]


@dataclass(frozen=True)
class GaussianNoise:
    """Adds normal noise of standard deviation sd to every number."""

    sd: float

    def __post_init__(self) -> None:
        if not 0 < self.sd < float("inf"):
            raise ValueError(f"sd={self.sd} must be a positive number")

    def __call__(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if not inputs.is_floating_point():
            raise ValueError(
                f"inputs are {inputs.dtype}, to which no noise is added; for ids take TokenNoise"
            )
        device = inputs.device if generator is None else generator.device
        noise = torch.randn(inputs.shape, generator=generator, device=device, dtype=inputs.dtype)
        return inputs + self.sd * noise.to(inputs.device)


@dataclass(frozen=True)
class MaskingNoise:
    """Sets a share of the numbers to 0, each for itself."""

    share: float

    def __post_init__(self) -> None:
        _check_share(self.share)

    def __call__(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return inputs.masked_fill(_chosen(inputs, self.share, generator), 0)


@dataclass(frozen=True)
class TokenNoise:
    """Puts mask_id in place of a share of the tokens, each for itself; those of special_ids, padding too, stay."""

    share: float
    mask_id: int
    special_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_share(self.share)

    def __call__(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        special = torch.isin(inputs, torch.tensor(self.special_ids, dtype=inputs.dtype, device=inputs.device))
        return inputs.masked_fill(_chosen(inputs, self.share, generator) & ~special, self.mask_id)


class DenoisingAutoencoder(Autoencoder):
    """Autoencoder whose inputs are damaged in training mode; in evaluation mode it reads them as they are.

    corruption: one of the noises here, or a function of inputs and generator; not part of a checkpoint. The target of
    the loss is the undamaged input.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, corruption: Corruption = GaussianNoise(0.3)):
        super().__init__(encoder, decoder)
        self.corruption = corruption

    def forward(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """generator: of the damage; None for torch's own."""
        if self.training:
            inputs = self.corruption(inputs, generator)
        return super().forward(inputs, attention_mask)


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise ValueError(
            f"share={share} must lie between 0 and 1; 0 damages nothing, 1 leaves nothing to read"
        )


def _chosen(inputs: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    device = inputs.device if generator is None else generator.device
    return (torch.rand(inputs.shape, generator=generator, device=device) < share).to(inputs.device)
