"""Timing in turns, and the interval of the median ratio against scipy's bootstrap."""

import gc

import numpy as np
import pytest
from scipy import stats

from benchmarks.pairs import interleave, median_ratio, n_pairs


def test_each_side_is_first_in_every_other_pair_and_both_run_equally_often():
    order = []
    found = interleave(lambda: order.append("ours"), lambda: order.append("theirs"), seconds=0)
    pair, swapped = ["theirs", "ours"], ["ours", "theirs"]
    assert order == swapped * 2 + (pair + swapped) * 3 + pair
    for times in (found.ours.wall, found.ours.cpu, found.theirs.wall, found.theirs.cpu):
        assert len(times) == 7 and min(times) >= 0


def test_the_number_of_pairs_follows_the_time_within_bounds():
    assert [n_pairs(30, each) for each in (1e-9, 0.5, 2.0, 100.0)] == [101, 58, 13, 7]


def test_the_collector_is_off_while_timing_and_on_again_even_after_an_error():
    seen = []
    interleave(lambda: seen.append(gc.isenabled()), lambda: None, seconds=0)
    assert seen == [True] * 2 + [False] * 7 and gc.isenabled()
    runs = iter([None, None])

    def breaks():
        next(runs)

    with pytest.raises(StopIteration):
        interleave(breaks, lambda: None, seconds=0)
    assert gc.isenabled()


def test_the_median_ratio_and_its_interval_are_scipys():
    rng = np.random.default_rng(1)
    under = rng.gamma(50, size=401)
    over = under * rng.normal(10, 2, size=401)
    found = median_ratio(over, under, n_resamples=20_000)
    ratios = over / under
    assert found.estimate == np.median(ratios)
    expected = stats.bootstrap((ratios,), np.median, n_resamples=20_000, method="percentile", rng=rng)
    # Ends of a bootstrap of a median lie on observed ratios, here about 0.01 apart; those of a 90 % interval would be
    # 0.04 nearer to each other at either end.
    assert [found.low, found.high] == pytest.approx(list(expected.confidence_interval), abs=0.02)
    assert median_ratio(over, under, n_resamples=20_000) == found


def test_the_ratio_is_taken_within_pairs():
    slow_then_fast = [1.0, 2.0, 4.0, 8.0, 16.0]  # a machine that slows down does not move it
    found = median_ratio([3 * t for t in slow_then_fast], slow_then_fast)
    assert (found.low, found.estimate, found.high) == pytest.approx((3, 3, 3))


def test_times_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"2 and 1 times; give two pairs at least"):
        median_ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"1 and 1 times; give two pairs at least"):
        median_ratio([1.0], [1.0])
    with pytest.raises(ValueError, match=r"the time 0.0 is not above 0 seconds"):
        median_ratio([1.0, 2.0], [1.0, 0.0])
