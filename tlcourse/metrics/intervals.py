"""Intervals for comparisons: over seeds, over test groups, over both, and tests of equivalence.

Bootstrap intervals are percentile intervals (Efron & Tibshirani 1993). Sentences of one article, or cells of
one module, are not independent: where `groups` is given, whole groups are resampled.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

_CHUNK = 2_000_000  # random numbers held at once


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval low…high of the given level."""

    estimate: float
    low: float
    high: float
    level: float

    def excludes(self, x: float) -> bool:
        """Whether x lies outside low…high."""
        return not self.low <= x <= self.high

    def __format__(self, spec: str) -> str:
        """`f"{interval:+.1f}"` → '+3.2 (+1.3 to +5.2)'; without a specification two decimals."""
        estimate, low, high = (format(x, spec or ".2f") for x in (self.estimate, self.low, self.high))
        return f"{estimate} ({low} to {high})"


@dataclass(frozen=True)
class Equivalence:
    """interval90: interval of level 1 − 2·alpha, 90 % at the usual alpha; holds: it lies within ±margin."""

    interval90: Interval
    margin: float
    holds: bool


def seed_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's t interval of the mean over independent seeds.

    values: (n,) one score per seed, at least two. Raises ValueError on fewer, on NaN, on level outside (0,
    1).
    """
    values = _vector(values, "values")
    require_level(level)
    if len(values) < 2:
        raise ValueError("an interval over seeds needs at least 2 values, got 1; run more seeds")
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    reach = stats.t.ppf((1 + level) / 2, df=len(values) - 1) * error
    return Interval(float(mean), float(mean - reach), float(mean + reach), level)


def bootstrap_interval(
    scores: Sequence[float],
    *,
    groups: Sequence | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the mean of per-item scores.

    scores: (N,); groups: (N,) labels of what is resampled whole, at least two of them; None: items.
    Raises ValueError on NaN, on nothing, on lengths that differ, on a single group.
    """
    scores = _vector(scores, "scores")
    index, n_groups = _group_index(groups, len(scores))
    _require_resampling(n_resamples, level)
    sums = np.bincount(index, scores, minlength=n_groups)  # (G,)
    counts = np.bincount(index, minlength=n_groups)  # (G,)
    rng = np.random.default_rng(seed)
    means = []
    for n in _chunks(n_resamples, n_groups):
        drawn = rng.integers(n_groups, size=(n, n_groups))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return _percentiles(float(scores.mean()), np.concatenate(means), level)


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    *,
    groups: Sequence | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of mean(a − b), two scores of the same items.

    a, b: (N,); groups as in `bootstrap_interval`. Raises ValueError as it does.
    """
    a, b = _vector(a, "a"), _vector(b, "b")
    if len(a) != len(b):
        raise ValueError(
            f"a has {len(a)} scores and b has {len(b)}; a paired comparison needs both on the same items"
        )
    return bootstrap_interval(a - b, groups=groups, n_resamples=n_resamples, level=level, seed=seed)


def statistic_bootstrap(
    statistic: Callable[..., float],
    *arrays: Sequence,
    groups: Sequence | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of statistic(*arrays), for what is no mean: AUC, macro-F1.

    arrays: each (N, …), resampled together along the first axis; groups as in `bootstrap_interval`.
    A resample on which the statistic raises ValueError or is not finite, such as an AUC of one class, is left
    out. Raises ValueError where more than one in twenty is, and as `bootstrap_interval` does.
    """
    arrays = tuple(np.asarray(array) for array in arrays)
    if not arrays or any(len(array) != len(arrays[0]) for array in arrays):
        raise ValueError(
            f"arrays of lengths {[len(a) for a in arrays]}; give at least one, all of the same length"
        )
    for number, array in enumerate(arrays):
        require_finite(array, f"array {number}")
    index, n_groups = _group_index(groups, len(arrays[0]))
    _require_resampling(n_resamples, level)
    estimate = float(statistic(*arrays))
    require_finite(np.array([estimate]), "the statistic of all items")
    by_group = np.argsort(index, kind="stable")
    members = np.split(by_group, np.cumsum(np.bincount(index, minlength=n_groups))[:-1])
    rng = np.random.default_rng(seed)
    values = np.full(n_resamples, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of undefined metrics, counted below
        for r in range(n_resamples):
            rows = np.concatenate([members[g] for g in rng.integers(n_groups, size=n_groups)])
            try:
                values[r] = statistic(*(array[rows] for array in arrays))
            except ValueError:
                continue
    defined = values[np.isfinite(values)]
    if len(defined) < 0.95 * n_resamples:
        raise ValueError(
            f"the statistic is undefined on {n_resamples - len(defined)} of {n_resamples} resamples; "
            "use more items or more groups that hold both classes"
        )
    return _percentiles(estimate, defined, level)


def seeds_and_groups_bootstrap(
    differences: Sequence[Sequence[float]],
    groups: Sequence[Sequence],
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of the mean over seeds of a mean over test items, both seeds and groups resampled.

    differences, groups: one array per seed, of per-item scores or paired differences and of their groups.
    A group that several seeds test on gets the same weight in all of them, because an article that is hard
    for one seed is hard for the next (the pigeonhole bootstrap, Owen 2007). In simulations the interval of level .95
    covers .93 or more where test items make the spread, and, being a percentile interval, .87 with five seeds and .90
    with ten where nothing but seeds does.
    Raises ValueError on NaN, on fewer than two seeds or groups, on lengths that differ.
    """
    if len(differences) != len(groups):
        raise ValueError(
            f"{len(differences)} seeds of differences and {len(groups)} of groups; give one each per seed"
        )
    if len(differences) < 2:
        raise ValueError(f"{len(differences)} seeds cannot be resampled; run at least 2")
    _require_resampling(n_resamples, level)
    scores = [_vector(d, f"differences of seed {s}") for s, d in enumerate(differences)]
    for s, (score, group) in enumerate(zip(scores, groups, strict=True)):
        if len(score) != len(group):
            raise ValueError(
                f"seed {s} has {len(score)} differences and {len(group)} groups; give one per item"
            )
    index, n_groups = _group_index(np.concatenate([np.asarray(g) for g in groups]), sum(map(len, scores)))
    n_seeds = len(scores)
    of_seed = np.repeat(np.arange(n_seeds), [len(s) for s in scores])  # (N,)
    share = np.concatenate([np.full(len(s), 1 / len(s)) for s in scores])  # (N,) every seed weighs the same
    cell = of_seed * n_groups + index
    sums = np.bincount(cell, np.concatenate(scores) * share, minlength=n_seeds * n_groups).reshape(
        n_seeds, n_groups
    )
    sizes = np.bincount(cell, share, minlength=n_seeds * n_groups).reshape(n_seeds, n_groups)
    drawn_seeds, drawn_groups = _drawn(n_seeds, n_groups, n_resamples, seed)
    means, start = [], 0
    for n in _chunks(n_resamples, n_groups):
        seed_weight, group_weight = drawn_seeds[start : start + n], drawn_groups[start : start + n]
        total = ((seed_weight @ sums) * group_weight).sum(axis=1)
        weight = ((seed_weight @ sizes) * group_weight).sum(axis=1)
        means.append(total[weight > 0] / weight[weight > 0])
        start += n
    return _percentiles(float(np.mean([s.mean() for s in scores])), np.concatenate(means), level)


def seeds_and_groups_statistic(
    statistics: Sequence[Callable[[np.ndarray], float]],
    groups: Sequence[Sequence],
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """`seeds_and_groups_bootstrap` for what is no mean over items: the mean over seeds of a weighted statistic.

    statistics: one function per seed, weights of its test items (n,) → a number, NaN where these weights leave it
    undefined; such a seed is left out of that resample. groups: per seed, the group of each item.
    Raises ValueError on fewer than two seeds or groups, on numbers of seeds that differ, and where more than one
    resample in twenty is undefined.
    """
    if len(statistics) != len(groups) or len(groups) < 2:
        raise ValueError(
            f"{len(statistics)} statistics and {len(groups)} seeds of groups; give one each for at least 2 seeds"
        )
    _require_resampling(n_resamples, level)
    index, n_groups = _group_index(np.concatenate([np.asarray(g) for g in groups]), sum(map(len, groups)))
    of_seed = np.split(index, np.cumsum([len(g) for g in groups])[:-1])
    whole = np.array([f(np.ones(len(i))) for f, i in zip(statistics, of_seed, strict=True)])
    require_finite(whole, "the statistics of all items")
    rng, n_seeds = np.random.default_rng(seed), len(groups)
    values = np.full(n_resamples, np.nan)
    for r in range(n_resamples):
        seed_weight = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds))  # (S,)
        group_weight = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups))  # (G,)
        drawn = np.flatnonzero(seed_weight)
        found = np.array([statistics[s](group_weight[of_seed[s]]) for s in drawn])
        defined = np.isfinite(found)
        if defined.any():
            values[r] = np.average(found[defined], weights=seed_weight[drawn][defined])
    kept = values[np.isfinite(values)]
    if len(kept) < 0.95 * n_resamples:
        raise ValueError(
            f"the statistic is undefined on {n_resamples - len(kept)} of {n_resamples} resamples; "
            "use more items or more groups that hold both classes"
        )
    return _percentiles(float(whole.mean()), kept, level)


def weighted_auc(scores: Sequence[float], labels: Sequence[int]) -> Callable[[np.ndarray], float]:
    """Area under the ROC curve as a function of item weights: the sorting is done once, not for each resample.

    scores: (N,); labels: (N,) of 0 and 1. The function takes weights (N,), not negative, and returns the weighted
    share of (positive, negative) pairs in the right order, ties half; NaN where a class has no weight.
    Raises ValueError on NaN, on lengths that differ, on labels other than 0 and 1.
    """
    scores, labels = _vector(scores, "scores"), np.asarray(labels)
    if scores.shape != labels.shape or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"{len(scores)} scores and labels of shape {labels.shape} with values {np.unique(labels)[:5]}; "
            "give one 0 or 1 for each score"
        )
    levels, level = np.unique(scores, return_inverse=True)  # equal scores share a level

    def auc(weights: np.ndarray) -> float:
        positive = np.bincount(level, weights * labels, minlength=len(levels))
        negative = np.bincount(level, weights * (1 - labels), minlength=len(levels))
        pairs = positive.sum() * negative.sum()
        below = np.cumsum(negative) - negative / 2
        return float(positive @ below / pairs) if pairs else float("nan")

    return auc


def equivalent(
    differences: Sequence,
    margin: float,
    *,
    groups: Sequence | None = None,
    alpha: float = 0.05,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Equivalence:
    """Two one-sided tests that a mean paired difference lies within ±margin (Schuirmann 1987).

    Both reject at level alpha exactly where the interval of level 1 − 2·alpha lies within ±margin. The
    interval is Student's t over differences (n,), say one per seed; with groups (N,) it is
    `bootstrap_interval`; with one array of differences and one of groups per seed,
    `seeds_and_groups_bootstrap`. Raises ValueError on a margin that is not positive, alpha outside (0, 0.5),
    and as those do.
    """
    if not (margin > 0 and np.isfinite(margin)):
        raise ValueError(
            f"margin={margin} must be positive and finite: the largest difference that does not matter"
        )
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha={alpha} is outside 0…0.5; try 0.05")
    level = 1 - 2 * alpha
    if groups is None:
        interval = seed_interval(differences, level)
    else:
        nested = len(differences) > 0 and np.ndim(differences[0]) > 0
        bootstrap = seeds_and_groups_bootstrap if nested else bootstrap_interval
        interval = bootstrap(differences, groups=groups, n_resamples=n_resamples, level=level, seed=seed)
    return Equivalence(interval, margin, bool(-margin < interval.low and interval.high < margin))


@lru_cache(maxsize=4)
def _drawn(n_seeds: int, n_groups: int, n_resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each seed, (R, S), and each group, (R, G), is drawn in each resample.

    Kept, because a page compares many arms on one test, and drawing ten thousand groups takes longer than the rest.
    """
    rng = np.random.default_rng(seed)
    seeds, groups = [], []
    for n in _chunks(n_resamples, n_groups):
        seeds.append(rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n))
        groups.append(rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n).astype(np.uint16))
    return np.concatenate(seeds), np.concatenate(groups)


def _percentiles(estimate: float, values: np.ndarray, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level)


def _chunks(n_resamples: int, n_groups: int) -> list[int]:
    size = max(1, _CHUNK // n_groups)
    return [min(size, n_resamples - start) for start in range(0, n_resamples, size)]


def _group_index(groups: Sequence | None, n: int) -> tuple[np.ndarray, int]:
    """Groups as integers 0…G−1, (n,), and G."""
    if groups is None:
        index, n_groups = np.arange(n), n
    else:
        names, index = np.unique(np.asarray(groups), return_inverse=True)
        n_groups = len(names)
        if len(index) != n:
            raise ValueError(f"{n} scores and {len(index)} groups; give one group per item")
    if n_groups < 2:
        raise ValueError(
            f"{n_groups} group cannot be resampled; an interval needs at least 2 groups or items"
        )
    return index, n_groups


def _vector(values: Sequence[float], name: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} has shape {array.shape}; give one dimension with at least one number")
    require_finite(array, name)
    return array


def require_finite(array: np.ndarray, name: str) -> None:
    if np.issubdtype(array.dtype, np.floating) and (bad := int(np.sum(~np.isfinite(array)))):
        raise ValueError(
            f"{name}: {bad} of {array.size} values are NaN or infinite; drop or repair them first"
        )


def require_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level={level} is outside 0…1; try 0.95")


def _require_resampling(n_resamples: int, level: float) -> None:
    require_level(level)
    if n_resamples < 100:
        raise ValueError(f"n_resamples={n_resamples} is too few for percentiles; try 2000")
