"""A classifier or a regressor on the codes of an autoencoder: the encoder kept as it is, tuned, or trained jointly.

Two stages: train the autoencoder, then a head on its codes, with the encoder frozen or tuned. Jointly: one loss from
the start, of the task and of the reconstruction, whose gradients meet in the encoder (Le et al. 2018).
"""

import copy
import math
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from tlcourse.layers import as_generator, start_convolutional
from tlcourse.models.autoencoder.plain import Autoencoder


class Joint(NamedTuple):
    """outputs: (B, n_outputs) of the head; reconstruction: of the decoder, from the same codes."""

    outputs: Tensor
    reconstruction: Tensor


class CodeModel(nn.Module):
    """An autoencoder and one linear layer on its codes: inputs → (B, n_outputs), logits or values.

    The autoencoder is copied; the caller's stays as it is. frozen: the encoder does not train and stays in evaluation
    mode; otherwise it is tuned with the head. seed: of the head's start, that of nn.Linear.
    Raises ValueError for n_outputs < 1.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        n_outputs: int,
        *,
        frozen: bool,
        seed: int | torch.Generator = 0,
    ):
        super().__init__()
        if type(n_outputs) is not int or n_outputs < 1:
            raise ValueError(f"n_outputs={n_outputs!r} must be a whole number of at least 1")
        self.autoencoder = copy.deepcopy(autoencoder)
        self.frozen = frozen
        self.autoencoder.requires_grad_(not frozen)
        with torch.device("meta"):
            self.head = nn.Linear(autoencoder.n_latent, n_outputs)
        start_convolutional(self.head, as_generator(seed))
        self.train(autoencoder.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.autoencoder.eval()
        return self

    def features(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Codes (B, n_latent), without a graph where the encoder is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.autoencoder.encode(inputs, attention_mask)

    def forward(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.head(self.features(inputs, attention_mask))

    def both(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Joint:
        """Outputs and reconstruction for a joint loss. Raises ValueError where the encoder is frozen."""
        if self.frozen:
            raise ValueError("the encoder is frozen, a joint loss cannot train it; build with frozen=False")
        codes = self.features(inputs, attention_mask)
        return Joint(self.head(codes), self.autoencoder.decode(codes))


def joint_loss(task: Tensor, reconstruction: Tensor, weight: float) -> Tensor:
    """(1 − weight) · task + weight · reconstruction; both are means over the batch, in units that compare.

    weight: 0 is the classifier alone, 1 the autoencoder alone. Raises ValueError outside 0…1.
    """
    if not (math.isfinite(weight) and 0 <= weight <= 1):
        raise ValueError(f"weight={weight} must lie in 0…1, the share of the reconstruction")
    return (1 - weight) * task + weight * reconstruction
