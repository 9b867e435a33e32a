"""Bilinear fusion: every feature of one view times every feature of another."""

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.layers import as_generator
from tlcourse.transfer.fusion.views import Views, check_views, check_widths


class BilinearFusion(nn.Module):
    """Learned products over pairs of views: out[o] = Σ over pairs v < w of xᵥᵀ W[o] x_w, plus bias; (B, width).

    rank None: each pair has a whole W, (width, Dᵥ, D_w): Tenenbaum & Freeman (2000), "Separating style and content
    with bilinear models". rank r: W[o] = Σ over r of P[o, r] · uᵣ vᵣᵀ, that is P (U xᵥ ∘ V x_w), with
    r · (Dᵥ + D_w + width) parameters in place of width · Dᵥ · D_w: Kim et al. (2017), "Hadamard product for low-rank
    bilinear pooling".
    The random start keeps a variance of one: inputs of variance one give outputs of variance one.
    Raises ValueError for fewer than two views, a width or a rank below 1.
    """

    def __init__(
        self,
        widths: Sequence[int],
        width: int,
        *,
        rank: int | None = None,
        bias: bool = True,
        seed: int | torch.Generator = 0,
    ) -> None:
        super().__init__()
        self.widths = check_widths(widths, at_least=2)
        if width < 1:
            raise ValueError(f"width={width} must be at least 1")
        if rank is not None and rank < 1:
            raise ValueError(f"rank={rank} must be at least 1; None for whole matrices")
        self.width = width
        self.rank = rank
        self.pairs = tuple(combinations(range(len(self.widths)), 2))
        generator = as_generator(seed)

        def start(*shape: int, variance: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator) * variance**0.5)

        share = 1 / len(self.pairs)  # of the output's variance, for each pair
        sizes = [(self.widths[v], self.widths[w]) for v, w in self.pairs]
        self.whole, self.left, self.right, self.out = (nn.ParameterList() for _ in range(4))
        for d, e in sizes:
            if rank is None:
                self.whole.append(start(width, d, e, variance=share / (d * e)))
            else:
                self.left.append(start(rank, d, variance=1 / d))
                self.right.append(start(rank, e, variance=1 / e))
                self.out.append(start(width, rank, variance=share / rank))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def matrices(self, pair: tuple[int, int]) -> Tensor:
        """W of a pair of views, (width, Dᵥ, D_w), multiplied out where it is of low rank."""
        if pair not in self.pairs:
            raise ValueError(f"no pair {pair}; the pairs are {list(self.pairs)}")
        i = self.pairs.index(pair)
        if self.rank is None:
            return self.whole[i]
        return torch.einsum("or,rd,re->ode", self.out[i], self.left[i], self.right[i])

    def forward(self, views: Views) -> Tensor:
        check_views(views, self.widths)
        parts = [self._pair(i, views[v], views[w]) for i, (v, w) in enumerate(self.pairs)]
        total = torch.stack(parts).sum(0)  # (B, width)
        return total if self.bias is None else total + self.bias

    def _pair(self, i: int, x: Tensor, y: Tensor) -> Tensor:
        if self.rank is None:
            return F.bilinear(x, y, self.whole[i])
        return F.linear(F.linear(x, self.left[i]) * F.linear(y, self.right[i]), self.out[i])

    def extra_repr(self) -> str:
        return f"widths={list(self.widths)}, width={self.width}, rank={self.rank}"
