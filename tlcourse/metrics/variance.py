"""Where a spread comes from: scores of every row with every column, taken apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlcourse.metrics.intervals import Interval, require_finite, require_level


@dataclass(frozen=True)
class Spread:
    """Standard deviations in the unit of the scores: of rows, of columns, and of what neither explains."""

    rows: Interval
    columns: Interval
    rest: Interval


def crossed_spread(
    scores: Sequence[Sequence[float]], *, level: float = 0.95, n_draws: int = 20_000, seed: int = 0
) -> Spread:
    """Standard deviations of the parts of score = mean + row + column + rest, rows and columns drawn at random.

    scores: (R, C), one for each row with each column. The variances are those of the analysis of variance, zero where
    it gives less (Searle, Casella & McCulloch 1992, ch. 4); their intervals are generalised confidence intervals for
    normal parts (Weerahandi 1993), zero included. Raises ValueError on fewer than two rows or columns, on NaN, on level
    outside (0, 1).
    """
    table = _table(scores)
    require_level(level)
    R, C = table.shape
    row, column, mean = table.mean(1), table.mean(0), table.mean()
    rest = table - row[:, None] - column + mean
    squares = np.array([C * ((row - mean) ** 2).sum(), R * ((column - mean) ** 2).sum(), (rest**2).sum()])
    freedom = np.array([R - 1, C - 1, (R - 1) * (C - 1)])
    expected = np.random.default_rng(seed).chisquare(freedom, size=(n_draws, 3))
    found = _deviations(squares / freedom, R, C)
    drawn = _deviations(squares / expected, R, C)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Spread(
        *(Interval(float(e), float(a), float(b), level) for e, a, b in zip(found, low, high, strict=True))
    )


def _deviations(mean_squares: np.ndarray, R: int, C: int) -> np.ndarray:
    """Mean squares of rows, columns and rest (…, 3) → standard deviations (…, 3)."""
    row, column, rest = np.moveaxis(mean_squares, -1, 0)
    variances = np.stack([(row - rest) / C, (column - rest) / R, rest], axis=-1)
    return np.sqrt(np.maximum(variances, 0))


def _table(scores: Sequence[Sequence[float]]) -> np.ndarray:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"scores have shape {table.shape}; give at least two rows and two columns")
    require_finite(table, "scores")
    return table
