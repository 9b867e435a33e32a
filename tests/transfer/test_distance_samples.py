"""CKA, MMD and Fréchet distance against loops, N × N matrices, matrix roots, closed forms and invariances."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from tests.reference import transfer_distance as reference
from tlcourse.transfer.distance import frechet_distance, linear_cka, median_distance, mmd, samples


def pair(n=30, m=20, d=4, e=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 1, 1.5 * rng.normal(size=(m, e))


@pytest.mark.parametrize(("n", "d", "e"), [(30, 4, 7), (30, 1, 1), (10, 40, 25), (10, 3, 10), (10, 10, 3)])
def test_cka_equals_the_hsic_of_centred_gram_matrices(n, d, e):
    x, y = pair(n, n, d, e)
    y[:, 0] += 2 * x[:, 0]
    assert linear_cka(x, y) == pytest.approx(reference.linear_cka(x, y), rel=1e-10)


def test_cka_keeps_rotation_shift_and_common_scale_and_not_other_maps():
    x, y = pair(40, 40)
    y += x
    value = linear_cka(x, y)
    q = ortho_group.rvs(4, random_state=0)
    assert linear_cka(1e-9 * x @ q + 3, y * 1e9) == pytest.approx(value, rel=1e-6)
    assert linear_cka(7 * x @ q + 3, y) == pytest.approx(value, rel=1e-12)
    assert linear_cka(y, x) == pytest.approx(value, rel=1e-12)
    assert linear_cka(x, 3 - 2 * x @ q) == pytest.approx(1, rel=1e-12)
    assert abs(linear_cka(x * [9, 1, 1, 1], y) - value) > 0.01


def test_cka_is_zero_for_features_at_right_angles():
    x, y = np.tile([[1.0], [1.0], [-1.0], [-1.0]], (5, 1)), np.tile([[1.0], [-1.0], [1.0], [-1.0]], (5, 1))
    assert linear_cka(x, y) == pytest.approx(0, abs=1e-30)


def test_cka_of_unrelated_features_more_than_samples_comes_close_to_one():
    x, y = pair(10, 10, 2000, 2000)
    assert linear_cka(x, y) > 0.95


def test_cka_needs_the_same_samples_and_some_variance():
    x, y = pair(30, 20)
    with pytest.raises(
        ValueError, match=r"^x has 30 samples and y 20; give the same samples through both models"
    ):
        linear_cka(x, y)
    with pytest.raises(
        ValueError, match=r"^y is the same for all 20 samples; alignment is undefined without"
    ):
        linear_cka(y, np.full((20, 3), 0.1))
    with pytest.raises(ValueError, match=r"^x is the same for all 20 samples"):
        linear_cka(np.zeros((20, 3)), y)


@pytest.mark.parametrize("bandwidth", [0.3, 2.0, 50.0])
def test_mmd_equals_the_unbiased_estimate_a_pair_at_a_time(bandwidth):
    x, y = pair()
    expected = reference.mmd(x, y, bandwidth)
    assert mmd(x, y, bandwidth=bandwidth) == pytest.approx(expected, rel=1e-9, abs=1e-14)
    assert mmd(y, x, bandwidth=bandwidth) == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_mmd_without_a_bandwidth_takes_the_median_distance_of_both_sets():
    x, y = pair()  # 50 samples, 1,225 pairs
    assert median_distance(x[:4]) == pytest.approx(
        reference.median_distance(x[:4]), rel=1e-12
    )  # six: no middle
    h = reference.median_distance(np.concatenate([x, y]))
    assert median_distance(np.concatenate([x, y])) == pytest.approx(h, rel=1e-12)
    assert mmd(x, y) == pytest.approx(reference.mmd(x, y, h), rel=1e-9)
    assert mmd(1e6 * x, 1e6 * y) == pytest.approx(mmd(x, y), rel=1e-9)  # which makes it scale-free


def test_mmd_and_frechet_keep_a_rotation_and_a_far_shift_of_both():
    x, y = pair()
    q = ortho_group.rvs(4, random_state=1)
    for measure in (mmd, frechet_distance):
        assert measure(x @ q + 1e5, y @ q + 1e5) == pytest.approx(measure(x, y), rel=1e-8)


def test_mmd_in_blocks_equals_mmd_at_once(monkeypatch):
    x, y = pair()
    whole = mmd(x, y)
    monkeypatch.setattr(samples, "_BLOCK", 70)
    assert mmd(x, y) == pytest.approx(whole, rel=1e-13)
    monkeypatch.setattr(samples, "_BLOCK", 1)
    assert mmd(x, y) == pytest.approx(whole, rel=1e-13)


def test_mmd_of_two_gaussians_approaches_its_closed_form():
    # x ~ N(0, 1), y ~ N(1, 1), h = 1: E k = exp(−δ²/2(h² + 2)) · √(h²/(h² + 2)).
    expected = 2 / np.sqrt(3) * (1 - np.exp(-1 / 6))
    draws = np.random.default_rng(0).normal(size=(20, 2, 300, 1))
    values = [mmd(x, y + 1, bandwidth=1.0) for x, y in draws]
    assert abs(np.mean(values) - expected) < 3 * np.std(values) / np.sqrt(20) < 0.03


def test_mmd_lies_within_its_range_and_is_zero_on_average_for_one_distribution():
    rng = np.random.default_rng(0)
    values = [mmd(*rng.normal(size=(2, 20, 3)), bandwidth=2.0) for _ in range(400)]
    assert min(values) < 0
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    x = np.zeros((5, 2))
    assert mmd(x, x + 1e3, bandwidth=1.0) == pytest.approx(2, rel=1e-12)
    spread = 1e3 * np.arange(10.0)[:, None]
    assert mmd(spread[:5], spread[:5], bandwidth=1.0) == pytest.approx(-2 / 5, rel=1e-12)
    assert -2 / 5 >= -1 / 4 - 1 / 4


def test_many_samples_are_thinned_evenly_for_the_median(monkeypatch):
    x, _ = pair(101)
    monkeypatch.setattr(samples, "_MEDIAN_POINTS", 51)
    assert median_distance(x) == pytest.approx(reference.median_distance(x[::2]), rel=1e-12)


def test_coinciding_samples_and_senseless_bandwidths_are_refused():
    x, y = pair()
    with pytest.raises(
        ValueError, match=r"^most of 60 samples coincide, so that their median distance is 0; give a"
    ):
        mmd(np.ones((30, 4)), np.ones((30, 4)))
    mostly = np.zeros((30, 4))
    mostly[:5] = x[:5]
    with pytest.raises(ValueError, match=r"^most of 30 samples coincide"):
        median_distance(mostly)
    assert np.isfinite(mmd(mostly, y, bandwidth=1.0))
    for h in (0, -1.0, np.nan, np.inf):
        with pytest.raises(
            ValueError, match=rf"^bandwidth={h} must be positive and finite; try median_distance"
        ):
            mmd(x, y, bandwidth=h)


@pytest.mark.parametrize(("n", "m", "d"), [(60, 50, 5), (40, 40, 1)])
def test_frechet_equals_the_definition_with_a_matrix_root(n, m, d):
    x, y = pair(n, m, d, d)
    expected = reference.frechet_distance(x, y)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-8)


def test_frechet_with_fewer_samples_than_features_equals_the_distance_within_their_span():
    rng = np.random.default_rng(0)
    basis = ortho_group.rvs(50, random_state=0)[:6]  # all samples lie in six directions of fifty
    x, y = rng.normal(size=(20, 6)), 2 * rng.normal(size=(15, 6)) + 1
    assert frechet_distance(x @ basis, y @ basis) == pytest.approx(reference.frechet_distance(x, y), rel=1e-8)


def test_frechet_of_axis_aligned_samples_equals_the_closed_form():
    corners = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])  # covariance 4/3 · I
    x, y = corners * [3, 1], corners * [1, 2] + [5, 0]
    # Independent axes: squared shift plus squared difference of standard deviations, σ = scale · √(4/3).
    assert frechet_distance(x, y) == pytest.approx(25 + (2**2 + 1**2) * 4 / 3, rel=1e-12)
    assert frechet_distance(10 * x, 10 * y) == pytest.approx(100 * (25 + 5 * 4 / 3), rel=1e-12)


def test_frechet_of_a_set_with_itself_is_zero_and_never_below():
    x, _ = pair(30, 30, 7)
    assert 0 <= frechet_distance(x, x[::-1]) < 1e-12


@pytest.mark.parametrize("measure", [mmd, frechet_distance])
def test_two_sets_need_one_feature_space(measure):
    x, y = pair(d=4, e=6)
    with pytest.raises(ValueError, match=r"^x has 4 features and y 6; put both samples through one model"):
        measure(x, y)
