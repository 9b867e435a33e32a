"""Attention: as a graph that one can look at, as one fused kernel, and as a module of many heads.

Shapes: B batch, T queries, S keys, D width, A heads, K width of a head. A mask is boolean: True is seen.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention, step by step (Vaswani et al. 2017): output and weights.

    q: (..., T, K); k: (..., S, K); v: (..., S, any); mask: boolean, broadcastable to (..., T, S).
    The weights (..., T, S) are a graph from T queries to S keys: each row sums to one. A query that may look nowhere
    gets weights and output of zero. Raises ValueError on widths or masks that do not fit.
    """
    _check_attention(q, k, v, mask)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., T, S)
    if mask is None:
        weights = scores.softmax(-1)
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(-1)
        weights = weights.masked_fill(~mask.any(-1, keepdim=True), 0.0)  # a row of -inf alone gave nan
    return weights @ v, weights


def fused_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """The output of `attention` from one kernel that never stores the (T, S) weights (Dao et al. 2022).

    causal: query t sees keys 0…t, without a mask in memory; it takes T = S and no mask. dropout: share of the weights
    set to zero, on every call. Raises ValueError as `attention` does.
    """
    _check_attention(q, k, v, mask)
    if causal and (mask is not None or q.shape[-2] != k.shape[-2]):
        raise ValueError(
            f"causal=True goes without a mask and with as many queries as keys, not {q.shape[-2]} and {k.shape[-2]}; "
            "combine the mask with causal_mask(T, S) by &, and leave causal out"
        )
    if mask is not None and mask.dim() == 1:
        mask = mask[None]  # the kernel wants a row for each query
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, dropout_p=dropout)


def _check_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}: q and k need one width (last), "
            "k and v one number of positions (last but one)"
        )
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype}; give a boolean one, True where a query may look")
    wanted = (*q.shape[:-1], k.shape[-2])
    fits = all(m in (1, w) for m, w in zip(mask.shape[::-1], wanted[::-1], strict=False))
    if not fits or mask.dim() > len(wanted):
        raise ValueError(f"mask {tuple(mask.shape)} does not broadcast to {wanted}, (..., queries, keys)")


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """(B, T, D) → (B, A, T, K) without a copy; `merge_heads` undoes it."""
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, A, T, K) → (B, T, D)."""
    return x.transpose(1, 2).flatten(2)


class MultiHeadAttention(nn.Module):
    """Self-attention of A heads side by side, each of width K = D / A (Vaswani et al. 2017, section 3.2.2).

    forward: x (B, T, D) and a mask broadcastable to (B, A, T, T) → output (B, T, D), and weights (B, A, T, T) where
    need_weights asks for them, else None: the fused kernel does not have them. dropout acts on the weights in training.
    Raises ValueError when n_heads does not divide d_model.
    """

    def __init__(self, d_model: int, n_heads: int, *, bias: bool = True, dropout: float = 0.0):
        super().__init__()
        check_heads(d_model, n_heads)
        self.n_heads = n_heads
        self.dropout = dropout
        # Three matrices rather than one of three: each can be looked at, frozen or given a LoRA of its own.
        self.query = nn.Linear(d_model, d_model, bias=bias)
        self.key = nn.Linear(d_model, d_model, bias=bias)
        self.value = nn.Linear(d_model, d_model, bias=bias)
        self.output = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        heads, weights = self._heads(x, mask, need_weights)  # q, k and v are let go before the last product
        return self.output(merge_heads(heads)), weights

    def _heads(self, x: Tensor, mask: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        """Each head's output (B, A, T, K), and the weights (B, A, T, T) or None."""
        q, k, v = (split_heads(part(x), self.n_heads) for part in (self.query, self.key, self.value))
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            return fused_attention(q, k, v, mask, dropout=dropout), None
        _, weights = attention(q, k, v, mask)
        return F.dropout(weights, dropout) @ v, weights


def check_heads(d_model: int, n_heads: int) -> None:
    """Raise ValueError, with the nearest numbers that work, unless n_heads divides d_model."""
    if n_heads < 1 or d_model % n_heads:
        divisors = [h for h in range(1, d_model + 1) if d_model % h == 0]
        near = sorted(sorted(divisors, key=lambda h: abs(h - n_heads))[:3])
        raise ValueError(
            f"n_heads={n_heads} does not divide d_model={d_model}; try n_heads={' or '.join(map(str, near))}"
        )
