"""Two pieces of work timed in turns, and their ratio with an interval.

Other work, heat and clock rates change what a machine gives from second to second. Both of a pair meet nearly the same
moment, so the ratio within a pair says more than any two averages; who goes first alternates.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tlcourse.metrics import Interval

FEWEST, MOST = 7, 101


@dataclass(frozen=True)
class Times:
    """Seconds of one side's runs in order: wall by the clock, cpu of all its threads together."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


@dataclass(frozen=True)
class Pairs:
    """Run i of `ours` and run i of `theirs` make pair i."""

    ours: Times
    theirs: Times


def n_pairs(seconds: float, seconds_a_pair: float) -> int:
    """As many as fit into the time behind two untimed ones, 7 at least for the interval's sake, 101 at most."""
    return int(min(max(seconds / seconds_a_pair - 2, FEWEST), MOST))


def interleave(ours: Callable[[], object], theirs: Callable[[], object], *, seconds: float) -> Pairs:
    """Time both in turns for about so many seconds.

    Each first runs twice untimed: memory is allocated and the number of pairs fixed, before any result is known.
    """
    ours(), theirs()
    started = time.perf_counter()
    ours(), theirs()
    n = n_pairs(seconds, time.perf_counter() - started)
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    runs = {"ours": ours, "theirs": theirs}
    gc.collect()
    gc.disable()  # else a collection falls into one side's time
    try:
        for pair in range(n):
            for side in ("ours", "theirs") if pair % 2 else ("theirs", "ours"):
                wall, cpu = time.perf_counter(), time.process_time()
                runs[side]()
                times[side].append((time.perf_counter() - wall, time.process_time() - cpu))
    finally:
        gc.enable()
    return Pairs(*(Times(*zip(*times[side], strict=True)) for side in ("ours", "theirs")))


def median_ratio(
    over: Sequence[float], under: Sequence[float], *, n_resamples: int = 5000, seed: int = 0
) -> Interval:
    """Median of over[i] / under[i] with its 95 % percentile bootstrap interval over pairs (Efron & Tibshirani 1993).

    Raises ValueError on lengths that differ, on fewer than two pairs, on a time that is not above 0.
    """
    if len(over) != len(under) or len(over) < 2:
        raise ValueError(
            f"{len(over)} and {len(under)} times; give two pairs at least, and a partner for each time"
        )
    times = np.array([over, under], dtype=float)  # (2, N)
    if not (times > 0).all():
        raise ValueError(f"the time {times[~(times > 0)][0]} is not above 0 seconds")
    ratios = times[0] / times[1]  # (N,)
    drawn = np.random.default_rng(seed).integers(len(ratios), size=(n_resamples, len(ratios)))
    medians = np.median(ratios[drawn], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return Interval(float(np.median(ratios)), float(low), float(high), 0.95)
