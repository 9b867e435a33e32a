"""How far a reconstruction is from its target: element by element, averaged over chosen ones, or as a likelihood.

Shapes: x stands for the shape of the data, such as (B, C, H, W); text is (B, T) ids and (B, P, V) logits, P ≥ T.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def squared_errors(reconstruction: Tensor, target: Tensor) -> Tensor:
    """(a − b)², element by element, x. Raises ValueError on another shape, which would broadcast in silence."""
    _check(reconstruction, target)
    return (reconstruction - target).square()


def token_errors(logits: Tensor, input_ids: Tensor) -> Tensor:
    """−log p of each token in nats, (B, T), from logits (B, P, V). Positions beyond T are not scored."""
    if logits.dim() != 3 or input_ids.dim() != 2 or len(logits) != len(input_ids):
        raise ValueError(
            f"logits {tuple(logits.shape)} for ids {tuple(input_ids.shape)}; give (B, P, V), (B, T)"
        )
    n = input_ids.shape[1]
    if n > logits.shape[1]:
        raise ValueError(f"{n} tokens, but the decoder makes {logits.shape[1]}; cut the texts to that length")
    return F.cross_entropy(logits[:, :n].transpose(1, 2), input_ids.long(), reduction="none")


def mean_where(errors: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the chosen elements only, (): the others move neither the value nor the gradient.

    chosen: boolean, broadcastable to errors: an attention_mask.bool(), or the hidden parts. Raises ValueError where
    it is not boolean, does not fit, or chooses nothing.
    """
    fits = chosen.dim() == errors.dim() and all(
        c in (1, n) for c, n in zip(chosen.shape, errors.shape, strict=True)
    )
    if chosen.dtype != torch.bool or not fits:
        raise ValueError(
            f"chosen is {chosen.dtype} {tuple(chosen.shape)}; give booleans for errors {tuple(errors.shape)}"
        )
    chosen = chosen.expand_as(errors)
    if not chosen.any():
        raise ValueError("nothing is chosen, so there is no mean; hide or keep one element at least")
    return errors[chosen].mean()


def gaussian_log_likelihood(mean: Tensor, target: Tensor, sd: float = 1.0) -> Tensor:
    """log N(target; mean, sd²) of each row in nats, (B,). Raises ValueError unless sd is above 0."""
    if not (math.isfinite(sd) and sd > 0):
        raise ValueError(f"sd={sd} must be a positive number")
    errors = squared_errors(mean, target).flatten(1)  # (B, N)
    return -0.5 * (errors.sum(1) / sd**2 + errors.shape[1] * math.log(2 * math.pi * sd**2))


def bernoulli_log_likelihood(logits: Tensor, target: Tensor) -> Tensor:
    """log p of targets in 0…1 under independent coins with these logits, each row in nats, (B,)."""
    _check(logits, target)
    if target.min() < 0 or target.max() > 1:
        raise ValueError(
            f"targets run from {float(target.min()):.3g} to {float(target.max()):.3g}; a coin's are in 0…1"
        )
    return -F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).sum(1)


def token_log_likelihood(logits: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """log p of the words that are no padding, each row in nats, (B,). attention_mask: (B, T), 1 for a word."""
    errors = token_errors(logits, input_ids)
    if attention_mask is not None:
        errors = errors * attention_mask.to(errors.dtype)
    return -errors.sum(1)


def _check(reconstruction: Tensor, target: Tensor) -> None:
    if reconstruction.shape != target.shape:
        raise ValueError(
            f"a reconstruction of shape {tuple(reconstruction.shape)} for a target of {tuple(target.shape)}; "
            "both need one shape"
        )
