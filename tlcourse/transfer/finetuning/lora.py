"""Low-rank adaptation: learn a small update of a weight matrix instead of the matrix (Hu et al. 2021)."""

import math
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LoRA(nn.Module):
    """One nn.Linear whose weight W (out, in) stays as it is, plus a learned update (alpha / rank) · B A.

    lora_A: (rank, in), random; lora_B: (out, rank), zero, so that the output starts unchanged. Both are
    float32 where W is of half precision. dropout acts on the input of A, in training only. W and its bias
    are frozen. Hu et al. (2021), "LoRA: Low-rank adaptation of large language models".
    Raises ValueError for a rank that is no whole number of 1 … min(in, out), alpha ≤ 0, dropout outside [0, 1).
    """

    def __init__(
        self,
        linear: nn.Linear,
        *,
        rank: int = 8,
        alpha: float = 16,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        out_features, in_features = linear.weight.shape
        if not (isinstance(rank, Integral) and 1 <= rank <= min(in_features, out_features)):
            raise ValueError(
                f"rank={rank} for a {in_features} → {out_features} nn.Linear; "
                f"choose a rank from 1 to {min(in_features, out_features)}"
            )
        if not (math.isfinite(alpha) and alpha > 0):
            raise ValueError(f"alpha={alpha} must be positive; the update is scaled by alpha / rank")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must be at least 0 and below 1")
        self.base = linear
        self.scale = alpha / rank
        self.dropout = dropout
        self._base_flags = [p.requires_grad for p in linear.parameters()]
        linear.requires_grad_(False)

        weight = linear.weight
        dtype = torch.float32 if weight.dtype in (torch.float16, torch.bfloat16) else weight.dtype
        a = torch.empty(rank, in_features, dtype=dtype, device=generator.device if generator else "cpu")
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)  # as nn.Linear starts its weight
        self.lora_A = nn.Parameter(a.to(weight.device))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank, dtype=dtype, device=weight.device))
        self.register_buffer("_unmerged_weight", None, persistent=False)
        self.train(linear.training)

    @property
    def rank(self) -> int:
        return self.lora_A.shape[0]

    @property
    def merged(self) -> bool:
        return self._unmerged_weight is not None

    @property
    def weight(self) -> Tensor:
        """W, for code that asks a layer for its type or device; the update is in it after a merge only."""
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def update(self) -> Tensor:
        """The learned change of the weight, (out, in)."""
        return self.scale * (self.lora_B @ self.lora_A)

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)  # (..., out)
        if self.merged:
            return y
        h = F.dropout(x.to(self.lora_A.dtype), self.dropout, self.training)
        h = F.linear(h, self.lora_A)  # (..., rank)
        if h.dtype != y.dtype or y.dim() < 2:
            return y + (F.linear(h, self.lora_B) * self.scale).to(y.dtype)
        # One kernel multiplies, scales and adds.
        z = torch.addmm(y.flatten(0, -2), h.flatten(0, -2), self.lora_B.t().to(h.dtype), alpha=self.scale)
        return z.view_as(y)

    @torch.no_grad()
    def merge(self) -> None:
        """Add the update to W. W as it was is kept, so that `unmerge` gives back the same bits."""
        if self.merged:
            raise RuntimeError("this LoRA is merged already; unmerge() it first")
        weight = self.base.weight
        merged = (weight.to(self.lora_A.dtype) + self.update()).to(weight.dtype)
        if not torch.isfinite(merged).all():
            raise FloatingPointError(
                f"merged weight is not finite in {weight.dtype}; look at lora_A and lora_B"
            )
        self._unmerged_weight = weight.clone()
        weight.copy_(merged)

    @torch.no_grad()
    def unmerge(self) -> None:
        if not self.merged:
            raise RuntimeError("this LoRA is not merged; merge() it first")
        self.base.weight.copy_(self._unmerged_weight)
        self._unmerged_weight = None

    def released(self) -> nn.Linear:
        """The nn.Linear inside, training or frozen as it was found."""
        for parameter, flag in zip(self.base.parameters(), self._base_flags, strict=True):
            parameter.requires_grad_(flag)
        return self.base

    def extra_repr(self) -> str:
        return f"rank={self.rank}, scale={self.scale:g}, dropout={self.dropout:g}"
