"""Losses and scores of pretraining, comparable between tokenizers where they are per byte."""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.pretraining.masking import IGNORED


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of labelled tokens, in nats: of masked words or of next tokens alike.

    logits: (..., V); labels: (...), −100 where none. Raises ValueError on shapes that do not fit and where nothing is
    labelled, for then the mean is no number.
    """
    _check(logits, labels)
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)


def token_nats(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each token in nats, shape of labels; 0 where there is no label. Raises as `token_loss`."""
    _check(logits, labels)
    nats = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return nats.view_as(labels)


def pair_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of next sentence or sentence order, in nats. logits: (B, 2); labels: (B,)."""
    _check(logits, labels)
    return F.cross_entropy(logits, labels)


@torch.no_grad()
def masked_word_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the labelled tokens whose logit is the highest, the first of equals. Raises as `token_loss`."""
    _check(logits, labels)
    labelled = labels != IGNORED
    return (logits.argmax(-1) == labels)[labelled].float().mean().item()


def bits_per_byte(nats_per_token: float, n_tokens: int, texts: Iterable[str]) -> float:
    """Bits that a model spends on each byte (UTF-8) of texts, whatever its tokens are.

    nats_per_token: mean loss over the n_tokens that stand for exactly these texts.
    Raises ValueError on a loss that is negative or not finite, on no tokens, on texts without a byte.
    """
    if not (math.isfinite(nats_per_token) and nats_per_token >= 0):
        raise ValueError(
            f"nats_per_token={nats_per_token} is no cross entropy; it is finite and not negative"
        )
    if n_tokens < 1:
        raise ValueError(f"n_tokens={n_tokens} must be at least 1")
    n_bytes = sum(len(text.encode()) for text in texts)
    if not n_bytes:
        raise ValueError("the texts have no bytes; give those that the tokens stand for")
    return nats_per_token * n_tokens / math.log(2) / n_bytes


def perplexity_per_byte(nats_per_token: float, n_tokens: int, texts: Iterable[str]) -> float:
    """2 to the power of `bits_per_byte`: 256 for a model that knows nothing. Raises as that does."""
    return 2 ** bits_per_byte(nats_per_token, n_tokens, texts)


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim < 2 or logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} for labels of shape {tuple(labels.shape)}; "
            "logits have one dimension more, the vocabulary, at the end"
        )
    if not bool((labels != IGNORED).any()):
        raise ValueError(f"all {labels.numel()} labels are {IGNORED}: nothing to score; use a larger batch")
