"""Fusions without parameters: concatenate, add, multiply; and the average of what each view believes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tlcourse.transfer.fusion.views import Views, check_views, check_widths, one_width


class ConcatFusion(nn.Module):
    """Views side by side: (B, D) each → (B, sum of D). The baseline: a linear head on it is a sum of linear heads."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        self.width = sum(self.widths)

    def forward(self, views: Views) -> Tensor:
        check_views(views, self.widths)
        return torch.cat(list(views), 1)


class SumFusion(nn.Module):
    """The sum of all views, of one width D: (B, D). It means something where feature d is one thing in every view.

    Raises ValueError where the widths differ.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.width = one_width(widths, "SumFusion")
        self.widths = tuple(widths)

    def forward(self, views: Views) -> Tensor:
        check_views(views, self.widths)
        return torch.stack(list(views)).sum(0)


class ProductFusion(nn.Module):
    """The element-wise product of all views, of one width D: (B, D). Feature d is large where all views agree on it.

    Raises ValueError where the widths differ.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.width = one_width(widths, "ProductFusion")
        self.widths = tuple(widths)

    def forward(self, views: Views) -> Tensor:
        check_views(views, self.widths)
        return torch.stack(list(views)).prod(0)


class ProbabilityAverage(nn.Module):
    """The mean of the class probabilities (B, C) that a classifier of each view gives: late fusion, the other baseline.

    weights: positive, one for each view, scaled to sum to one; None: equal. Raises ValueError on weights that are not,
    and, when called, on rows that are no probabilities.
    """

    def __init__(self, n_views: int, *, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        shares = [1.0] * n_views if weights is None else list(weights)
        if n_views < 1 or len(shares) != n_views or not all(math.isfinite(s) and s > 0 for s in shares):
            raise ValueError(f"weights={weights} for n_views={n_views}; give a positive number for each view")
        self.weights = tuple(share / sum(shares) for share in shares)

    def forward(self, views: Views) -> Tensor:
        check_views(views, [None] * len(self.weights))
        if len({view.shape[1] for view in views}) > 1:
            raise ValueError(
                f"views give {[view.shape[1] for view in views]} classes; all must know the same ones"
            )
        for number, view in enumerate(views):
            _check_probabilities(number, view)
        return sum(weight * view for weight, view in zip(self.weights, views, strict=True))


def _check_probabilities(number: int, view: Tensor) -> None:
    # Half precision keeps three digits, and a softmax in it sums to one no better.
    tolerance = 1e-2 if view.dtype in (torch.float16, torch.bfloat16) else 1e-4
    sums = view.double().sum(1)
    wrong = ~((sums - 1).abs() <= tolerance) | (view < 0).any(1)
    if wrong.any():
        row = int(wrong.int().argmax())
        raise ValueError(
            f"view {number}, row {row} sums to {sums[row]:.4g}, its smallest entry is {view[row].min():.4g}: no "
            "probabilities; apply softmax to logits first"
        )
