"""Blocks that the transformer models share, each as short as its formula.

Shapes: B batch, T positions (S where queries and keys differ), D width, A heads, K width of a head, V vocabulary;
images (B, C, H, W). A mask is boolean and says where a query may look: True is seen, False is hidden.
"""

import math
from collections.abc import Callable

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


def causal_mask(n_queries: int, n_keys: int | None = None, device: torch.device | None = None) -> Tensor:
    """(T, S) boolean: a query sees its own and earlier positions. The queries are the last T of the S positions."""
    n_keys = n_queries if n_keys is None else n_keys
    if not 1 <= n_queries <= n_keys:
        raise ValueError(
            f"{n_queries} queries for {n_keys} keys; queries are the last positions, so at most as many"
        )
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def padding_mask(attention_mask: Tensor | None, input_ids: Tensor) -> Tensor | None:
    """(B, 1, 1, S) boolean for all heads and queries, or None where nothing is padded, which is faster.

    attention_mask: (B, S), 1 or True for a word, 0 or False for padding; None: no padding. Raises ValueError when its
    shape is not that of input_ids, on other values, and on a row of padding alone.
    """
    if attention_mask is None:
        return None
    if attention_mask.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask {tuple(attention_mask.shape)} for input_ids {tuple(input_ids.shape)}; give both as (B, T)"
        )
    mask = attention_mask if attention_mask.dtype == torch.bool else attention_mask != 0
    if not torch.compiler.is_compiling():  # a graph cannot depend on values, so there the mask always stays
        if mask.dtype != attention_mask.dtype and not torch.equal(
            mask.to(attention_mask.dtype), attention_mask
        ):
            raise ValueError(
                "attention_mask holds values other than 0 and 1; give 1 for a word, 0 for padding"
            )
        if mask.all():
            return None
        if not (full := mask.any(-1)).all():
            row = int(full.logical_not().nonzero()[0])
            raise ValueError(
                f"row {row} of attention_mask is padding alone; leave such rows out of the batch"
            )
    return mask[:, None, None, :]


def check_ids(ids: Tensor, n: int, name: str = "input_ids", limit: str = "vocab_size") -> None:
    """Raise ValueError unless ids is a non-empty (B, T) tensor of integers in 0 … n − 1."""
    if ids.dim() != 2 or ids.numel() == 0:
        raise ValueError(
            f"{name} has shape {tuple(ids.shape)}; give (B, T), at least one row and one position"
        )
    if ids.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{name} is {ids.dtype}; give integers, torch.long")
    if torch.compiler.is_compiling():
        return
    low, high = (int(x) for x in ids.aminmax())
    if low < 0 or high >= n:
        raise ValueError(f"{name} holds {low if low < 0 else high}, outside 0…{n - 1} ({limit}={n})")


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
        q, k, v = (
            split_heads(part(x), self.n_heads) for part in (self.query, self.key, self.value)
        )  # (B, A, T, K)
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            _, weights = attention(q, k, v, mask)
            heads = F.dropout(weights, dropout) @ v
        else:
            weights, heads = None, fused_attention(q, k, v, mask, dropout=dropout)
        return self.output(merge_heads(heads)), weights


def check_heads(d_model: int, n_heads: int) -> None:
    """Raise ValueError, with the nearest numbers that work, unless n_heads divides d_model."""
    if n_heads < 1 or d_model % n_heads:
        near = sorted((h for h in range(1, d_model + 1) if d_model % h == 0), key=lambda h: abs(h - n_heads))[
            :3
        ]
        raise ValueError(
            f"n_heads={n_heads} does not divide d_model={d_model}; try n_heads={' or '.join(map(str, sorted(near)))}"
        )


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


def patches(images: Tensor, size: int) -> Tensor:
    """Cut images (B, C, H, W) into squares of size × size, row by row: (B, T, C·size²), T = (H/size)·(W/size).

    Raises ValueError unless size divides height and width.
    """
    if images.dim() != 4 or size < 1 or images.shape[2] % size or images.shape[3] % size:
        raise ValueError(f"patches of {size} × {size} do not tile images {tuple(images.shape)}, (B, C, H, W)")
    x = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, C, H/size, size, W/size, size)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


class PatchEmbedding(nn.Module):
    """Images in, words out: each patch through one linear layer, (B, C, H, W) → (B, T, D) (Dosovitskiy et al. 2021)."""

    def __init__(self, size: int, d_model: int, n_channels: int = 3):
        super().__init__()
        self.size = size
        self.project = nn.Linear(n_channels * size**2, d_model)

    def forward(self, images: Tensor) -> Tensor:
        return self.project(patches(images, self.size))


@torch.no_grad()
def start_normal(module: nn.Module, sd: float, generator: torch.Generator) -> None:
    """BERT's and GPT-2's random start: matrices and tables normal (0, sd), biases 0, norms 1 and 0.

    The row of an embedding's padding_idx is 0, as nn.Embedding itself starts it.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.weight.normal_(0.0, sd, generator=generator)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        if getattr(part, "padding_idx", None) is not None:
            nn.init.zeros_(part.weight[part.padding_idx])
        if isinstance(getattr(part, "bias", None), Tensor):
            nn.init.zeros_(part.bias)
