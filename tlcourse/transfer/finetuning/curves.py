"""Score against number of labels, with the data growing step by step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

TrainAndScore = Callable[[int, int, Any], tuple[float, Any]]


@dataclass(frozen=True, eq=False)
class LabelCurve:
    """Scores by seed and size.

    scores: (S, n_sizes) float, a row per seed; warm: whether each size started from the one before.
    """

    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    scores: np.ndarray
    warm: bool


def label_curve(
    train_and_score: TrainAndScore, sizes: Sequence[int], seeds: Sequence[int], *, warm: bool = False
) -> LabelCurve:
    """Train on growing numbers of labels, for each seed, and keep the scores.

    train_and_score(size, seed, start_state) → (score, state): trains on `size` labels from start_state
    and returns a finite score and the state it ended in. start_state is None for a fresh start; when
    warm, it is what the same seed returned for the size before. Ash & Adams (2020), "On warm-starting
    neural network training", show that a warm start can end worse than a fresh one.
    Raises ValueError for sizes that do not grow, for seeds that repeat, for a score that is not finite.
    """
    sizes, seeds = tuple(sizes), tuple(seeds)
    if not sizes or sizes[0] < 1 or any(b <= a for a, b in pairwise(sizes)):
        raise ValueError(f"sizes={sizes} must be positive and grow, as in (50, 100, 200)")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={seeds} must be distinct, at least one")
    scores = np.empty((len(seeds), len(sizes)))
    for i, seed in enumerate(seeds):
        state = None
        for j, size in enumerate(sizes):
            score, end = train_and_score(size, seed, state)
            if not math.isfinite(score):
                raise ValueError(
                    f"score {score} for size={size}, seed={seed}; train_and_score must return a finite one"
                )
            scores[i, j] = score
            state = end if warm else None
    return LabelCurve(sizes, seeds, scores, warm)
