"""Weighted Kendall's τ against scipy's and against a loop over pairs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tlcourse.metrics import statistic_bootstrap, weighted_tau, weighted_tau_interval

ACCURACY = [82.7, 88.8, 86.6, 85.6, 85.3, 85.4, 84.5, 84.6]
SCORE = [0.934, 0.953, 0.946, 0.948, 0.950, 0.938, 0.943, 0.942]


def sign(a, b):
    return (a > b) - (a < b)


def tau_by_pairs(x, y):
    """Vigna's definition, a pair at a time, ranks by counting who is better."""

    def one(x, y):
        better = [sum((a, b) > (x[i], y[i]) for a, b in zip(x, y, strict=True)) for i in range(len(x))]
        both = of_x = of_y = 0.0
        for i in range(len(x)):
            for j in range(i):
                weight = 1 / (1 + better[i]) + 1 / (1 + better[j])
                sx, sy = sign(x[i], x[j]), sign(y[i], y[j])
                both, of_x, of_y = both + weight * sx * sy, of_x + weight * sx**2, of_y + weight * sy**2
        return both / math.sqrt(of_x * of_y)

    return (one(x, y) + one(y, x)) / 2


@given(st.permutations(range(9)), st.permutations(range(9)))
@settings(max_examples=60, deadline=None)
def test_weighted_tau_equals_a_loop_over_pairs_and_scipys_without_ties(x, y):
    assert weighted_tau(x, y) == pytest.approx(tau_by_pairs(x, y), abs=1e-12)
    assert weighted_tau(x, y) == pytest.approx(stats.weightedtau(x, y).statistic, abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=10))
@settings(max_examples=100, deadline=None)
def test_weighted_tau_equals_scipys_with_ties_in_either_or_both(pairs):
    x, y = np.array(pairs).T
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert weighted_tau(x, y) == pytest.approx(stats.weightedtau(x, y).statistic, abs=1e-12)


def test_it_is_symmetric_one_for_equal_orders_and_minus_one_for_opposite_ones():
    assert weighted_tau(SCORE, ACCURACY) == weighted_tau(ACCURACY, SCORE)
    assert weighted_tau(SCORE, np.exp(SCORE)) == 1
    assert weighted_tau(SCORE, -np.array(SCORE)) == -1


def test_a_swap_at_the_top_costs_more_than_one_at_the_bottom():
    best_swapped, worst_swapped = [5, 6, 4, 3, 2, 1], [6, 5, 4, 3, 1, 2]
    assert weighted_tau([6, 5, 4, 3, 2, 1], best_swapped) < weighted_tau([6, 5, 4, 3, 2, 1], worst_swapped)


def test_an_infinite_score_is_the_best_and_two_of_them_tie():
    finite, infinite = [1.0, 2.0, 9.0, 9.0, 0.0], [1.0, 2.0, np.inf, np.inf, -np.inf]
    other = [3.0, 1.0, 4.0, 2.0, 0.0]
    assert weighted_tau(infinite, other) == weighted_tau(finite, other)
    assert weighted_tau_interval(infinite, other) == weighted_tau_interval(finite, other)


def test_the_interval_is_the_percentile_bootstrap_of_scipys_tau():
    found = weighted_tau_interval(SCORE, ACCURACY, n_resamples=300, level=0.9, seed=3)

    def scipys(x, y):
        return stats.weightedtau(x, y).statistic  # NaN where one item was drawn alone

    oracle = statistic_bootstrap(scipys, SCORE, ACCURACY, n_resamples=300, level=0.9, seed=3)
    assert found.estimate == pytest.approx(oracle.estimate, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert found.level == 0.9
    assert found.high - found.low > 0.5  # eight items prove little


def test_groups_are_resampled_whole():
    groups = [0, 0, 1, 1, 2, 2, 3, 3]
    found = weighted_tau_interval(SCORE, ACCURACY, groups=groups, n_resamples=200)
    oracle = statistic_bootstrap(weighted_tau, SCORE, ACCURACY, groups=groups, n_resamples=200)
    assert found == oracle
    assert found != weighted_tau_interval(SCORE, ACCURACY, n_resamples=200)


@pytest.mark.parametrize("function", [weighted_tau, weighted_tau_interval])
@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        ([1, 2, 3], [1, 2], "x has 3 scores and y 2; give both for the same items"),
        ([1], [1], r"x has shape \(1,\); give one dimension with at least 2 scores"),
        ([[1, 2]], [1, 2], r"x has shape \(1, 2\)"),
        ([1, 2, 3], [1, np.nan, 3], "y: 1 of 3 scores are NaN; drop those items"),
        ([2, 2, 2], [1, 2, 3], r"x is 2\.0 for all 3 items; it ranks nothing"),
    ],
)
def test_bad_scores_are_named(function, x, y, text):
    with pytest.raises(ValueError, match=text):
        function(x, y)


def test_an_interval_of_three_items_is_refused():
    with pytest.raises(ValueError, match=r"undefined on \d+ of 2000 resamples"):
        weighted_tau_interval([1, 2, 3], [1, 3, 2])
