"""Agreement of two rankings where the top matters most: weighted Kendall's τ (Vigna 2015)."""

from collections.abc import Sequence

import numpy as np

from tlcourse.metrics.intervals import Interval, statistic_bootstrap


def weighted_tau(x: Sequence[float], y: Sequence[float]) -> float:
    """Weighted Kendall's τ of two scores of the same items; −1 … 1.

    x, y: (n,), larger is better, ±∞ allowed. A pair of items counts 1/(1 + rank) for each of its two, with rank 0 for
    the best; τ is the mean of two, with ranks by x and by y. Pairs tied in x or y count for neither order, and their
    weight leaves that score's norm, as in τ-b. Vigna (2015), "A weighted correlation index for rankings with ties".
    Raises ValueError on lengths that differ, on fewer than two items, on NaN, on a score that is the same for all.
    """
    x, y = _scores(x, "x"), _scores(y, "y")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} scores and y {len(y)}; give both for the same items")
    return (_tau(x, y) + _tau(y, x)) / 2


def weighted_tau_interval(
    x: Sequence[float],
    y: Sequence[float],
    *,
    groups: Sequence | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """`weighted_tau` with a percentile bootstrap interval over the items.

    x, y: (n,) as there; groups: (n,) labels of what is resampled whole, such as the layers of one network; None:
    items. An item drawn twice ties with itself and adds nothing. With eight items the interval spans much of −1 … 1:
    that is the state of knowledge, not a fault.
    Raises ValueError as `weighted_tau` and `statistic_bootstrap` do; with three items and fewer, too many resamples
    hold one item alone.
    """
    weighted_tau(x, y)  # bad input is named here
    places = [np.unique(np.asarray(v, dtype=np.float64), return_inverse=True)[1] for v in (x, y)]
    return statistic_bootstrap(
        weighted_tau, *places, groups=groups, n_resamples=n_resamples, level=level, seed=seed
    )


def _tau(x: np.ndarray, y: np.ndarray) -> float:
    """With ranks by x, and by y where x ties."""
    rank = np.empty(len(x))
    rank[np.lexsort((y, x))[::-1]] = np.arange(len(x))
    weight = 1 / (1 + rank)
    weight = weight[:, None] + weight  # (n, n) of a pair; each pair twice, and so in the norms
    order_x, order_y = (np.sign(v[:, None] - v) for v in (_finite(x), _finite(y)))
    norm = np.sqrt((weight * np.abs(order_x)).sum() * (weight * np.abs(order_y)).sum())
    return float(np.clip((weight * order_x * order_y).sum() / norm, -1, 1))


def _finite(x: np.ndarray) -> np.ndarray:
    """Places instead of scores, so that ∞ − ∞ is a tie."""
    return np.unique(x, return_inverse=True)[1]


def _scores(values: Sequence[float], name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"{name} has shape {values.shape}; give one dimension with at least 2 scores")
    if np.isnan(values).any():
        raise ValueError(
            f"{name}: {int(np.isnan(values).sum())} of {len(values)} scores are NaN; drop those items"
        )
    if (values == values[0]).all():
        raise ValueError(f"{name} is {values[0]} for all {len(values)} items; it ranks nothing")
    return values
