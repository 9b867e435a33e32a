"""Attention pooling: a learned query looks over tokens or patches and says where it looked."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tlcourse.layers import as_generator, attention, check_heads, padding_mask, split_heads


class Pooled(NamedTuple):
    """features: (B, D); weights: (B, A, T) for tokens, (B, A, H, W) for a feature map, each head's sum to one."""

    features: Tensor
    weights: Tensor


class AttentionPooling(nn.Module):
    """A weighted mean over positions, whose weights a learned query chooses for each input.

    Each of A heads has a query of width K = D / A, and pools its own slice of the features, which pass unchanged: the
    result lies in the same space as the mean. Queries start at zero, so that it starts as the mean over what the mask
    shows, exactly. Lin et al. (2017), "A structured self-attentive sentence embedding", pool by learned queries;
    Ilse et al. (2018) show the weights as evidence. seed: of the key matrix. Raises ValueError when n_heads does not
    divide d_model.
    """

    def __init__(self, d_model: int, n_heads: int = 1, *, seed: int | torch.Generator = 0) -> None:
        super().__init__()
        if d_model < 1:
            raise ValueError(f"d_model={d_model} must be at least 1: the width of the features")
        check_heads(d_model, n_heads)
        self.d_model = d_model
        self.n_heads = n_heads
        self.query = nn.Parameter(torch.zeros(n_heads, 1, d_model // n_heads))
        # No bias: one number added to all scores of a query changes no weight.
        self.key = nn.Linear(d_model, d_model, bias=False, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            self.key.weight.normal_(0.0, d_model**-0.5, generator=as_generator(seed))

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Pooled:
        """x: tokens (B, T, D), or a feature map (B, D, H, W); attention_mask: (B, T), 1 is seen, for tokens alone.

        Raises ValueError on other shapes, on nan, on a mask that does not fit, and on a row of padding alone.
        """
        is_map = x.dim() == 4
        if x.dim() not in (3, 4) or x.shape[1 if is_map else 2] != self.d_model:
            raise ValueError(
                f"x is {tuple(x.shape)}; give tokens (B, T, {self.d_model}) or a map (B, {self.d_model}, H, W)"
            )
        if bad := int((~x.isfinite()).flatten(1).any(1).sum()):
            raise ValueError(
                f"{bad} of {len(x)} rows of x hold nan or infinite values; leave those inputs out"
            )
        if is_map and attention_mask is not None:
            raise ValueError("attention_mask is for tokens (B, T, D); a feature map has no padding")
        tokens = x.flatten(2).transpose(1, 2) if is_map else x  # (B, T, D), for a map T = H · W
        mask = padding_mask(attention_mask, tokens[:, :, 0])  # (B, 1, 1, T)
        k = split_heads(self.key(tokens), self.n_heads)  # (B, A, T, K)
        v = split_heads(tokens, self.n_heads)  # (B, A, T, K)
        q = self.query.expand(len(x), -1, -1, -1)  # (B, A, 1, K)
        output, weights = attention(q, k, v, mask)  # (B, A, 1, K), (B, A, 1, T)
        weights = weights.squeeze(2)  # (B, A, T)
        return Pooled(output.flatten(1), weights.unflatten(2, x.shape[2:]) if is_map else weights)

    def extra_repr(self) -> str:
        return f"d_model={self.d_model}, n_heads={self.n_heads}"
