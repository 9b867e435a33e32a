"""H-score against explicit covariances, canonical correlations, and the maps that must not change it."""

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA

from tests.reference import transfer_distance as reference
from tlcourse.transfer.distance import h_score


def data(n=60, d=8, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(
        np.r_[np.arange(classes), np.arange(classes), rng.integers(0, classes, n - 2 * classes)]
    )
    mixed = (rng.normal(size=(n, d)) + 1.5 * np.eye(classes, d)[labels]) @ rng.normal(size=(d, d))
    return mixed + 3, labels


@pytest.mark.parametrize(("n", "d", "classes"), [(60, 8, 4), (40, 1, 2), (30, 12, 15), (25, 3, 2)])
def test_h_score_equals_its_definition_with_explicit_covariances(n, d, classes):
    features, labels = data(n, d, classes)
    assert h_score(features, labels) == pytest.approx(reference.h_score(features, labels), rel=1e-9)


def test_h_score_is_the_sum_of_squared_canonical_correlations_of_features_and_classes():
    features, labels = data(n=200, classes=3)
    one_hot = np.eye(3)[labels][:, :2]
    x, y = CCA(n_components=2, max_iter=5000, tol=1e-12).fit_transform(features, one_hot)
    correlations = [np.corrcoef(x[:, k], y[:, k])[0, 1] for k in range(2)]
    assert h_score(features, labels) == pytest.approx(np.square(correlations).sum(), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (40, 40), (20, 90)])
def test_shrunk_h_score_equals_scikit_learns_covariance_inverted(n, d):
    features, labels = data(n, d)
    expected = reference.shrunk_h_score(features, labels)
    assert h_score(features, labels, shrink=True) == pytest.approx(expected, rel=1e-8)


def test_an_invertible_affine_map_changes_nothing_without_shrinkage():
    features, labels = data()
    rng = np.random.default_rng(1)
    mapped = features @ rng.normal(size=(8, 8)) * 1e-3 + rng.normal(size=8)
    assert h_score(mapped, labels) == pytest.approx(h_score(features, labels), rel=1e-9)
    assert abs(h_score(mapped, labels, shrink=True) - h_score(features, labels, shrink=True)) > 1e-3


def test_shrunk_h_score_keeps_rotation_and_common_scale():
    features, labels = data()
    q = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    value = h_score(features, labels, shrink=True)
    assert h_score(5 * features @ q - 1, labels, shrink=True) == pytest.approx(value, rel=1e-9)


def test_the_range_is_from_zero_to_classes_less_one_or_features():
    labels = np.arange(60) % 4
    assert h_score(np.eye(4)[labels], labels) == pytest.approx(3, rel=1e-12)
    assert h_score(labels[:, None].astype(float), labels) == pytest.approx(1, rel=1e-12)
    centred = np.tile([[1.0], [1], [1], [1], [-1], [-1], [-1], [-1]], (5, 1))
    assert h_score(centred, np.arange(40) % 4) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("shrink", [False, True])
def test_constant_features_score_zero(shrink):
    labels = np.arange(12) % 3
    assert h_score(np.full((12, 4), 0.1), labels, shrink=shrink) == 0
    assert h_score(torch.full((12, 4), 0.1), labels, shrink=shrink) == 0


def test_with_as_many_features_as_samples_any_noise_reaches_the_top_and_shrinkage_does_not():
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(40, 100)), np.arange(40) % 4
    assert h_score(noise, labels) == pytest.approx(3, rel=1e-12)
    assert h_score(noise, labels, shrink=True) < 0.5


def test_a_direction_that_only_float32_rounding_fills_is_left_out():
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 4
    wide = rng.normal(size=(80, 10)) + np.eye(4, 10)[labels]
    wide -= wide.mean(axis=1, keepdims=True)  # as a layer norm leaves it: ten features, nine directions
    exact = h_score(wide, labels)
    narrow = torch.from_numpy(wide).float()
    assert h_score(narrow, labels) == pytest.approx(
        exact, rel=1e-5
    )  # float32's rounding, a few hundred times
    assert abs(h_score(narrow.double(), labels) - exact) > 1e-3  # as float64 the rounding counts as a feature
