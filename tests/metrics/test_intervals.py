import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from tlcourse.metrics import (
    Interval,
    bootstrap_interval,
    equivalent,
    intervals,
    paired_bootstrap,
    seed_interval,
    seeds_and_groups_bootstrap,
    seeds_and_groups_statistic,
    statistic_bootstrap,
    weighted_auc,
)

scores_lists = st.lists(st.floats(-10, 10), min_size=2, max_size=12)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def ends(interval):
    return np.array([interval.low, interval.high])


def grouped_scores(rng, n_groups=60, spread=1.0):
    """Groups of 1…9 items with a common offset each."""
    sizes = rng.integers(1, 10, n_groups)
    groups = np.repeat(np.arange(n_groups), sizes)
    return rng.normal(0, spread, n_groups)[groups] + rng.normal(0, 0.3, len(groups)), groups


def test_an_interval_prints_its_three_numbers_alike():
    assert f"{Interval(3.25, -1.0, 5.5, 0.95):+.1f}" == "+3.2 (-1.0 to +5.5)"
    assert f"{Interval(3.25, -1.0, 5.5, 0.95)}" == "3.25 (-1.00 to 5.50)"


# Student's t over seeds


@given(scores_lists, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_seed_interval_equals_scipys_t_interval(values, level):
    if np.std(values) < 1e-6:  # scipy gives NaN without spread
        return
    oracle = stats.ttest_1samp(values, 0).confidence_interval(level)
    found = seed_interval(values, level)
    assert found.estimate == pytest.approx(np.mean(values), abs=1e-12)
    assert ends(found) == pytest.approx([oracle.low, oracle.high], rel=1e-9, abs=1e-9)
    assert found.level == level


def test_seed_interval_without_spread_is_a_point():
    assert ends(seed_interval([0.5, 0.5, 0.5])).tolist() == [0.5, 0.5]


def test_seed_interval_covers_as_often_as_its_level_says():
    draws = np.random.default_rng(1).normal(2.0, 1.0, (2000, 5))
    covered = np.mean([not seed_interval(d, 0.9).excludes(2.0) for d in draws])
    assert covered == pytest.approx(0.9, abs=0.02)  # three standard errors: .0067


@pytest.mark.parametrize(
    ("x", "outside"), [(0.99, True), (1.0, False), (1.5, False), (2.0, False), (2.01, True)]
)
def test_excludes_what_lies_outside_the_closed_interval(x, outside):
    assert Interval(1.5, 1.0, 2.0, 0.95).excludes(x) is outside


# Means


def test_bootstrap_of_items_equals_scipys_percentile_bootstrap(rng):
    scores = rng.exponential(size=80)
    oracle = stats.bootstrap(
        (scores,), np.mean, method="percentile", n_resamples=20000, rng=1
    ).confidence_interval
    found = bootstrap_interval(scores, n_resamples=20000)
    width = oracle.high - oracle.low
    assert found.estimate == pytest.approx(scores.mean())
    assert ends(found) == pytest.approx([oracle.low, oracle.high], abs=0.03 * width)  # Monte-Carlo error


def test_bootstrap_of_groups_equals_scipys_on_sums_and_counts(rng):
    scores, groups = grouped_scores(rng)
    scores += 5  # so that dividing by another count shows
    sums, counts = np.bincount(groups, scores), np.bincount(groups)
    oracle = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=20000,
        rng=1,
    ).confidence_interval
    found = bootstrap_interval(scores, groups=groups, n_resamples=20000)
    assert found.estimate == pytest.approx(scores.mean())
    assert ends(found) == pytest.approx([oracle.low, oracle.high], abs=0.03 * (oracle.high - oracle.low))


def test_copies_of_an_item_in_its_group_change_nothing(rng):
    scores = rng.normal(size=40)
    groups = [f"g{i:02}" for i in range(40)]
    alone = bootstrap_interval(scores, groups=groups)
    copied = bootstrap_interval(np.repeat(scores, 7), groups=np.repeat(groups, 7))
    assert ends(copied) == pytest.approx(ends(alone), abs=1e-12)
    naive = bootstrap_interval(np.repeat(scores, 7))
    assert (naive.high - naive.low) < 0.5 * (copied.high - copied.low)


def test_order_of_items_does_not_matter(rng):
    scores, groups = grouped_scores(rng)
    order = rng.permutation(len(scores))
    assert ends(bootstrap_interval(scores[order], groups=groups[order])) == pytest.approx(
        ends(bootstrap_interval(scores, groups=groups)), abs=1e-12
    )


def test_grouped_bootstrap_covers_where_the_naive_one_does_not():
    rng = np.random.default_rng(2)
    hits = {"groups": 0, "items": 0}
    for trial in range(300):
        scores, groups = grouped_scores(rng)
        hits["groups"] += not bootstrap_interval(scores, groups=groups, n_resamples=400, seed=trial).excludes(
            0
        )
        hits["items"] += not bootstrap_interval(scores, n_resamples=400, seed=trial).excludes(0)
    assert 0.90 <= hits["groups"] / 300 <= 0.98
    assert hits["items"] / 300 < 0.75


def test_many_groups_are_resampled_in_pieces_with_the_same_result(rng, monkeypatch):
    scores = rng.normal(size=50)
    whole = bootstrap_interval(scores, n_resamples=500)
    monkeypatch.setattr(intervals, "_CHUNK", 170)
    assert bootstrap_interval(scores, n_resamples=500) == whole


def test_seed_decides_the_resamples(rng):
    scores = rng.normal(size=50)
    assert bootstrap_interval(scores, seed=1) == bootstrap_interval(scores, seed=1)
    assert bootstrap_interval(scores, seed=1) != bootstrap_interval(scores, seed=2)


@given(scores_lists, st.floats(-5, 5), st.floats(0.1, 5))
@settings(deadline=None, max_examples=30)
def test_bootstrap_follows_shift_and_scale_and_holds_the_extremes(scores, shift, scale):
    found = bootstrap_interval(scores, n_resamples=200)
    moved = bootstrap_interval(np.array(scores) * scale + shift, n_resamples=200)
    assert ends(moved) == pytest.approx(ends(found) * scale + shift, abs=1e-9)
    assert min(scores) - 1e-9 <= found.low <= found.high <= max(scores) + 1e-9


def test_paired_bootstrap_is_the_bootstrap_of_differences(rng):
    a, b = rng.normal(size=(2, 40))
    groups = np.repeat(np.arange(10), 4)
    assert paired_bootstrap(a, b, groups=groups) == bootstrap_interval(a - b, groups=groups)
    shared = rng.normal(size=40) * 100  # hard and easy items cancel
    assert ends(paired_bootstrap(a + shared, b + shared)) == pytest.approx(
        ends(paired_bootstrap(a, b)), abs=1e-9
    )


# Other statistics


@pytest.mark.parametrize("with_groups", [False, True])
def test_statistic_bootstrap_of_a_mean_is_the_bootstrap_of_a_mean(rng, with_groups):
    scores, groups = grouped_scores(rng, n_groups=20)
    groups = groups if with_groups else None
    found = statistic_bootstrap(np.mean, scores, groups=groups, n_resamples=300)
    oracle = bootstrap_interval(scores, groups=groups, n_resamples=300)
    assert found.estimate == pytest.approx(oracle.estimate)
    assert ends(found) == pytest.approx(ends(oracle), abs=1e-12)


def ranked_auc(labels, margins):
    """Mann and Whitney's U over the number of pairs, much faster than scikit-learn's."""
    positive = int(labels.sum())
    above = stats.rankdata(margins)[labels == 1].sum() - positive * (positive + 1) / 2
    return above / (positive * (len(labels) - positive))


def test_auc_interval_equals_scipys_paired_bootstrap(rng):
    labels = rng.integers(0, 2, 100)
    margins = labels + rng.normal(size=100)
    oracle = stats.bootstrap(
        (labels, margins),
        ranked_auc,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=4000,
        rng=1,
    ).confidence_interval
    found = statistic_bootstrap(ranked_auc, labels, margins, n_resamples=4000)
    assert found.estimate == pytest.approx(roc_auc_score(labels, margins))
    assert ends(found) == pytest.approx([oracle.low, oracle.high], abs=0.06 * (oracle.high - oracle.low))
    by_sklearn = statistic_bootstrap(roc_auc_score, labels, margins, n_resamples=100)
    assert ends(by_sklearn) == pytest.approx(
        ends(statistic_bootstrap(ranked_auc, labels, margins, n_resamples=100))
    )


def test_statistic_sees_whole_groups_and_rows_of_all_arrays_together():
    groups = np.repeat(list("abc"), [1, 2, 3])
    rows = np.stack([np.arange(6), np.arange(6) * 10], axis=1)  # (N, 2)

    def statistic(names, pairs):
        assert np.array_equal(pairs[:, 0] * 10, pairs[:, 1])
        assert np.array_equal(names, groups[pairs[:, 0]])
        counts = np.bincount(pairs[:, 0], minlength=6)
        assert counts[1] == counts[2] and counts[3] == counts[4] == counts[5]
        return 0.0

    statistic_bootstrap(statistic, groups, rows, groups=groups, n_resamples=100)


@pytest.mark.parametrize("undefined", ["nan", "raises"])
def test_a_few_undefined_resamples_are_left_out(undefined):
    labels = np.array([0] * 5 + [1] * 25)  # no zero in a resample: (25/30)^30 = .4 %

    def statistic(drawn):
        if drawn.all():
            if undefined == "raises":
                raise ValueError("one class")
            return np.nan
        return drawn.mean()

    found = statistic_bootstrap(statistic, labels, n_resamples=3000)
    assert ends(found) == pytest.approx(
        ends(bootstrap_interval(labels, n_resamples=3000)), abs=1.01 / 30
    )  # one step


def test_many_undefined_resamples_are_an_error_with_their_number():
    labels, margins = np.array([1] + [0] * 30), np.arange(31)  # no one in a resample: 36 %
    with pytest.raises(ValueError, match=r"undefined on \d+ of 100 resamples; use more items or more groups"):
        statistic_bootstrap(roc_auc_score, labels, margins, n_resamples=100)


# Seeds and groups


def slow_seeds_and_groups(differences, groups, n_resamples, rng):
    """Draw seeds, draw groups from all groups, write out the drawn items, weigh every seed alike."""
    names = sorted({g for of_seed in groups for g in of_seed})
    means = []
    for _ in range(n_resamples):
        seeds = rng.integers(len(differences), size=len(differences))
        drawn = rng.choice(names, size=len(names))
        values, weights = [], []
        for s in seeds:
            for name in drawn:
                for value, group in zip(differences[s], groups[s], strict=True):
                    if group == name:
                        values.append(value)
                        weights.append(1 / len(differences[s]))
        if values:
            means.append(np.average(values, weights=weights))
    return np.quantile(means, [0.2, 0.8])


def test_seeds_and_groups_equals_a_slow_loop(rng):
    groups = [[0, 0, 1, 2, 3], [1, 2, 2, 4, 5, 5], [0, 3, 4, 4, 6, 6]]
    groups[0] = groups[0] * 8  # so that another weight of this seed shows
    differences = [rng.normal(5 * s, 1, size=len(g)) for s, g in enumerate(groups)]
    slow = slow_seeds_and_groups(differences, groups, 3000, rng)
    found = seeds_and_groups_bootstrap(differences, groups, n_resamples=20000, level=0.6)
    assert found.estimate == pytest.approx(np.mean([d.mean() for d in differences]))
    assert ends(found) == pytest.approx(slow, abs=0.08 * (slow[1] - slow[0]))


def test_resamples_drawn_in_portions_are_each_used_once(monkeypatch):
    monkeypatch.setattr(intervals, "_CHUNK", 30)  # ten resamples of three groups
    scores, groups = np.array([[0.0, 1.0, 5.0], [2.0, 9.0, 4.0]]), [[0, 1, 2]] * 2
    generator, means = np.random.default_rng(7), []
    for n in [10] * 10 + [5]:
        seeds = generator.multinomial(2, [1 / 2] * 2, size=n) / 2  # (n, seeds)
        means += list(((seeds @ scores) * generator.multinomial(3, [1 / 3] * 3, size=n) / 3).sum(1))
    found = seeds_and_groups_bootstrap(scores, groups, n_resamples=105, level=0.5, seed=7)
    assert ends(found) == pytest.approx(np.quantile(means, [0.25, 0.75]))
    assert found == seeds_and_groups_bootstrap(scores, groups, n_resamples=105, level=0.5, seed=7)


def test_seeds_that_agree_on_the_same_groups_leave_the_grouped_bootstrap(rng):
    scores, groups = grouped_scores(rng)
    found = seeds_and_groups_bootstrap([scores] * 5, [groups] * 5, n_resamples=20000)
    oracle = bootstrap_interval(scores, groups=groups, n_resamples=20000)
    assert ends(found) == pytest.approx(ends(oracle), abs=0.03 * (oracle.high - oracle.low))


def test_groups_that_agree_leave_the_bootstrap_over_seeds():
    found = seeds_and_groups_bootstrap([[1.0] * 6, [3.0] * 4], [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4]])
    assert (found.estimate, found.low, found.high) == (2.0, 1.0, 3.0)  # each seed drawn twice: a quarter each


def test_seeds_weigh_the_same_whatever_their_number_of_items():
    found = seeds_and_groups_bootstrap([[0.0] * 2, [1.0] * 98], [[0, 1], list(range(98))])
    assert found.estimate == 0.5


def mean_of(values):
    values = np.asarray(values, dtype=float)
    return lambda weights: float(weights @ values / weights.sum()) if weights.sum() else float("nan")


def test_the_statistic_of_a_mean_is_the_bootstrap_of_means(rng):
    groups = [rng.permutation(40)[:20].repeat(3) for _ in range(6)]
    scores = [rng.normal(g % 5, 1) for g in groups]
    found = seeds_and_groups_statistic([mean_of(s) for s in scores], groups, n_resamples=4000)
    oracle = seeds_and_groups_bootstrap(scores, groups, n_resamples=4000)
    assert found.estimate == pytest.approx(oracle.estimate)
    assert ends(found) == pytest.approx(ends(oracle), abs=0.05 * (oracle.high - oracle.low))


def test_a_seed_without_value_in_a_resample_is_left_out_of_it():
    """In a quarter of all resamples the third seed is drawn and undefined; the other seeds still give a value."""
    sometimes = lambda weights: 9.0 if weights[0] else float("nan")  # noqa: E731
    one = lambda weights: 1.0  # noqa: E731
    found = seeds_and_groups_statistic([one, one, sometimes], [range(10)] * 3, n_resamples=2000)
    assert found.estimate == pytest.approx(11 / 3)
    assert (found.low, found.high) == (
        1.0,
        pytest.approx(19 / 3),
    )  # none or two of three draws are the third seed


def test_weighted_auc_equals_scikit_learns_with_ties_and_weights(rng):
    scores, labels = rng.normal(size=200).round(1), rng.integers(0, 2, 200)
    auc = weighted_auc(scores, labels)
    for weights in (np.ones(200), rng.integers(0, 4, 200), rng.random(200)):
        assert auc(weights) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
    assert np.isnan(auc(labels))  # no weight on the negatives


@pytest.mark.parametrize("pool", [50, 200])
def test_seeds_and_groups_covers_where_hard_groups_return_and_t_over_seeds_does_not(pool):
    rng = np.random.default_rng(3)
    hits = {"both": 0, "seeds": 0}
    for trial in range(200):
        hard = rng.normal(0, 0.2, pool)
        groups = [np.repeat(rng.permutation(pool)[:50], 4) for _ in range(10)]
        scores = [hard[g] + rng.normal(0, 0.3, 200) for g in groups]
        hits["both"] += not seeds_and_groups_bootstrap(scores, groups, n_resamples=300, seed=trial).excludes(
            0
        )
        hits["seeds"] += not seed_interval([s.mean() for s in scores]).excludes(0)
    assert hits["both"] / 200 >= 0.90
    assert hits["seeds"] / 200 < 0.85


def test_seeds_and_groups_covers_spread_between_ten_seeds():
    rng = np.random.default_rng(4)
    groups = [np.repeat(np.arange(40), 3)] * 10
    hits = 0
    for trial in range(300):
        scores = [rng.normal(0, 0.1) + rng.normal(0, 0.1, 120) for _ in range(10)]
        hits += not seeds_and_groups_bootstrap(scores, groups, n_resamples=300, seed=trial).excludes(0)
    assert 0.87 <= hits / 300 <= 0.98  # percentile intervals of ten seeds fall short of .95


# Equivalence


@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=12),
    st.floats(0.05, 2),
    st.sampled_from([0.01, 0.05, 0.1]),
)
def test_equivalence_holds_exactly_where_both_one_sided_t_tests_reject(differences, margin, alpha):
    if np.std(differences) < 1e-6:
        return
    p_low = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    p_high = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    if min(abs(p_low - alpha), abs(p_high - alpha)) < 1e-9:
        return
    found = equivalent(differences, margin, alpha=alpha)
    assert found.holds is bool(max(p_low, p_high) < alpha)
    assert found.margin == margin
    assert found.interval90.level == pytest.approx(1 - 2 * alpha)


def test_equivalence_is_claimed_wrongly_in_at_most_one_of_twenty_at_the_margin():
    draws = np.random.default_rng(5).normal(1.0, 0.3, (2000, 10))
    wrong = np.mean([equivalent(d, margin=1.0).holds for d in draws])
    assert wrong == pytest.approx(0.05, abs=0.015)


def test_equivalence_uses_groups_and_seeds_where_given(rng):
    scores, groups = grouped_scores(rng, spread=0.01)
    by_group = equivalent(scores, 0.2, groups=groups, n_resamples=500, seed=3)
    assert by_group.interval90 == bootstrap_interval(
        scores, groups=groups, n_resamples=500, level=0.9, seed=3
    )
    nested = equivalent([scores, scores + 0.01], 0.2, groups=[groups, groups], n_resamples=500, seed=3)
    assert nested.interval90 == seeds_and_groups_bootstrap(
        [scores, scores + 0.01], [groups, groups], n_resamples=500, level=0.9, seed=3
    )
    assert by_group.holds and nested.holds
    assert not equivalent(scores, 0.2 * abs(by_group.interval90.low), groups=groups).holds


@pytest.mark.parametrize("shift", [-0.5, 0.5])
def test_equivalence_fails_on_either_side(rng, shift):
    assert equivalent(rng.normal(0, 0.1, 20), 0.3).holds
    assert not equivalent(rng.normal(0, 0.1, 20) + shift, 0.3).holds


# Bad input

one, two = [0.1, 0.2], [[0.1, 0.2], [0.3, 0.4]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: seed_interval([0.5]), "needs at least 2 values, got 1; run more seeds"),
        (lambda: seed_interval([]), r"values has shape \(0,\); give one dimension with at least one number"),
        (lambda: seed_interval([[0.5, 0.6]]), r"values has shape \(1, 2\)"),
        (lambda: seed_interval([0.5, np.nan, np.inf]), "values: 2 of 3 values are NaN or infinite"),
        (lambda: seed_interval(one, level=95), r"level=95 is outside 0…1; try 0\.95"),
        (lambda: bootstrap_interval([]), r"scores has shape \(0,\)"),
        (lambda: bootstrap_interval([0.5]), "1 group cannot be resampled; an interval needs at least 2"),
        (lambda: bootstrap_interval(one, groups=["a", "a"]), "1 group cannot be resampled"),
        (lambda: bootstrap_interval(one, groups=["a"]), "2 scores and 1 groups; give one group per item"),
        (lambda: bootstrap_interval([np.nan, 1]), "scores: 1 of 2 values are NaN or infinite"),
        (
            lambda: bootstrap_interval(one, n_resamples=99),
            "n_resamples=99 is too few for percentiles; try 2000",
        ),
        (lambda: bootstrap_interval(one, level=0.0), r"level=0\.0 is outside"),
        (lambda: paired_bootstrap(one, [0.1]), "a has 2 scores and b has 1; a paired comparison needs both"),
        (lambda: paired_bootstrap([1, np.nan], one), "a: 1 of 2 values are NaN"),
        (lambda: statistic_bootstrap(np.mean), r"arrays of lengths \[\]; give at least one"),
        (lambda: statistic_bootstrap(np.mean, one, [1]), r"arrays of lengths \[2, 1\]"),
        (lambda: statistic_bootstrap(np.mean, [1.0, np.nan]), "array 0: 1 of 2 values are NaN"),
        (
            lambda: statistic_bootstrap(lambda x: np.nan, one),
            "the statistic of all items: 1 of 1 values are NaN",
        ),
        (lambda: statistic_bootstrap(np.mean, one, n_resamples=5), "n_resamples=5 is too few"),
        (lambda: seeds_and_groups_bootstrap(two, [[0, 1]]), "2 seeds of differences and 1 of groups"),
        (lambda: seeds_and_groups_bootstrap([one], [[0, 1]]), "1 seeds cannot be resampled; run at least 2"),
        (lambda: seeds_and_groups_bootstrap(two, [[0, 1], [0]]), "seed 1 has 2 differences and 1 groups"),
        (lambda: seeds_and_groups_bootstrap(two, [[0, 0], [0, 0]]), "1 group cannot be resampled"),
        (
            lambda: seeds_and_groups_bootstrap([one, [np.inf, 0]], [[0, 1]] * 2),
            "differences of seed 1: 1 of 2",
        ),
        (lambda: seeds_and_groups_statistic([np.sum], [[0, 1]] * 2), "1 statistics and 2 seeds of groups"),
        (lambda: seeds_and_groups_statistic([np.sum], [[0, 1]]), "give one each for at least 2 seeds"),
        (
            lambda: seeds_and_groups_statistic([lambda w: np.nan] * 2, [[0, 1]] * 2),
            "the statistics of all items: 2 of 2",
        ),
        (
            lambda: seeds_and_groups_statistic([weighted_auc([0, 1], [0, 1])] * 2, [[0, 1]] * 2),
            r"undefined on \d+ of 2000 resamples; use more items or more groups",
        ),
        (lambda: weighted_auc(one, [1]), "2 scores and labels of shape"),
        (lambda: weighted_auc(one, [1, 2]), r"values \[1 2\]; give one 0 or 1 for each score"),
        (lambda: weighted_auc([np.nan, 1], [0, 1]), "scores: 1 of 2 values are NaN"),
        (lambda: equivalent(one, 0), "margin=0 must be positive and finite"),
        (lambda: equivalent(one, np.nan), "margin=nan must be positive"),
        (lambda: equivalent(one, 0.1, alpha=0.5), r"alpha=0\.5 is outside 0…0\.5; try 0\.05"),
        (lambda: equivalent([], 0.1, groups=[]), r"scores has shape \(0,\)"),
    ],
)
def test_bad_input_is_named_with_a_way_out(call, message):
    with pytest.raises(ValueError, match=message):
        call()
