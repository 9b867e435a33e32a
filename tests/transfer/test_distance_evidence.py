"""LogME against a general optimiser on the Gaussian marginal likelihood, closed forms, and what must not change it."""

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from tests.reference import transfer_distance as reference
from tlcourse.transfer.distance import logme, max_evidence

# The optimiser moves α and β within e^±20: where the maximum is at infinity it stays this far below.
NEAR = 1e-6


def data(n, d, seed=0, classes=3, signal=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    return rng.normal(size=(n, d)) + signal * np.eye(classes, d)[labels], labels


@pytest.mark.parametrize(("n", "d"), [(24, 5), (20, 20), (12, 30), (12, 80), (9, 1)])
@pytest.mark.parametrize("signal", [0.0, 2.0])
def test_logme_reaches_the_maximum_of_a_general_optimiser_also_with_more_features_than_samples(n, d, signal):
    features, labels = data(n, d, signal=signal)
    oracle = reference.logme(features, labels)
    assert logme(features, labels) == pytest.approx(oracle, abs=NEAR)
    assert logme(torch.tensor(features), torch.tensor(labels)) == logme(features, labels)


def test_evidence_at_the_returned_precisions_is_the_returned_evidence():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20, 6)) * 3
    targets = features @ rng.normal(size=(6, 4)) * 0.1 + rng.normal(size=(20, 4))
    found = max_evidence(features, targets=targets)
    assert found.nats.shape == found.alpha.shape == found.beta.shape == (4,)
    for k in range(4):
        a, b = np.log(found.alpha[k]), np.log(found.beta[k])
        assert reference.log_evidence(features, targets[:, k], a, b) == pytest.approx(found.nats[k], rel=1e-9)
        for da, db in [(0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)]:
            assert reference.log_evidence(features, targets[:, k], a + da, b + db) < found.nats[k]


@pytest.mark.parametrize("signal", [0.0, 1.0])
def test_the_published_iteration_stops_short_where_features_outnumber_samples_and_never_goes_beyond(signal):
    features, labels = data(40, 200, signal=signal)
    columns = np.eye(3)[labels]
    found = max_evidence(features, targets=columns).nats
    published = np.array([reference.fixed_point_evidence(features, y) for y in columns.T])
    assert (published < found + 1e-9).all()
    assert logme(features, labels) - published.mean() > 0.01


def test_one_orthogonal_direction_equals_the_closed_form():
    # n = 4 samples, one feature of norm² 4: y has power p = 9 along it and q = 3 across it (three directions).
    # Variances at the maximum: 9 along, 3/3 = 1 across, so 1/β = 1 and 4/α + 1 = 9.
    feature = np.array([[1.0], [1.0], [1.0], [1.0]])
    across = np.array([1.0, -1.0, 0.5, -0.5])
    y = 1.5 * feature[:, 0] + across * np.sqrt(3 / np.square(across).sum())
    found = max_evidence(feature, targets=y)
    nats = -0.5 * (np.log(2 * np.pi) + 1 + np.log(9) / 4)
    assert found.nats[0] == pytest.approx(nats, rel=1e-12)
    assert found.beta[0] == pytest.approx(1, rel=1e-6)
    assert found.alpha[0] == pytest.approx(0.5, rel=1e-6)


def two_maxima(noise):
    """2 directions of variance 1, 10 of 1e-6 and 10 of none; with more noise in these the weak 10 look like it too."""
    variances = np.repeat([1.0, 1e-6, 0.0], [2, 10, 10])
    return np.diag(np.sqrt(variances)), np.sqrt(np.repeat([100.0, 1.0, noise], [2, 10, 10]))


def scan_ratio(features, y):
    """Evidence per sample on a fine grid of log(β/α), for features that are a diagonal matrix."""
    variances, n = np.diag(features) ** 2, len(y)
    shape = 1 + np.exp(np.linspace(-6, 26, 8001))[:, None] * variances
    noise = (y**2 / shape).sum(axis=1) / n
    return -0.5 * (np.log(2 * np.pi) + 1 + np.log(noise) + np.log(shape).sum(axis=1) / n)


def heights(noise):
    """Evidence at the first and at the second maximum."""
    scan = scan_ratio(*two_maxima(noise))
    return scan[1 + np.flatnonzero((scan[1:-1] > scan[:-2]) & (scan[1:-1] > scan[2:]))]


def test_of_two_maxima_the_higher_is_taken_also_where_they_are_nearly_equal():
    low, high = np.exp([-5.0, -2.0])
    assert np.argmax(heights(low)) == 1
    assert np.argmax(heights(high)) == 0
    for _ in range(30):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if np.argmax(heights(middle)) == 0 else (middle, high)
    for factor in (0.3, 0.99, 0.999, 1.001, 1.01, 3.0):
        first, second = heights(low * factor)
        assert (first > second) == (factor > 1)
        x, y = two_maxima(low * factor)
        found = max_evidence(x, targets=y).nats[0]
        assert found == pytest.approx(max(first, second), abs=1e-6)  # of the scan's step
    assert abs(np.diff(heights(low * 1.001))[0]) > 1e-4  # more than that tolerance


def test_features_that_do_not_help_leave_the_evidence_of_noise_alone():
    y = np.array([1.0, -1.0, 2.0, 0.5])
    noise = -0.5 * (np.log(2 * np.pi) + 1 + np.log(np.square(y).mean()))
    for features in (
        np.zeros((4, 3)),
        np.array([[1.0], [1.0], [0.0], [0.0]]),
    ):  # the second at right angles to y
        found = max_evidence(features, targets=y)
        assert found.nats[0] == pytest.approx(noise, rel=1e-14)
        assert found.alpha[0] == np.inf
        assert found.beta[0] == pytest.approx(1 / np.square(y).mean(), rel=1e-14)


def test_the_noise_free_end_is_reached_where_features_as_many_as_samples_explain_everything():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(6, 40))
    y = features @ rng.normal(size=40)
    found = max_evidence(features, targets=y)
    gram = features @ features.T  # y ~ N(0, G/α), whose best α has a closed form
    weights = y @ np.linalg.solve(gram, y) / 6
    nats = -0.5 * (np.log(2 * np.pi) + 1 + np.log(weights) + np.linalg.slogdet(gram)[1] / 6)
    noisy = max_evidence(features, targets=y + rng.normal(size=6) * 30)
    assert found.beta[0] == np.inf
    assert found.nats[0] == pytest.approx(nats, rel=1e-12)
    assert found.alpha[0] == pytest.approx(1 / weights, rel=1e-12)
    assert np.isfinite(noisy.beta[0])


def test_labels_that_fewer_features_than_samples_give_exactly_have_no_largest_evidence():
    labels = np.array([0, 1, 2] * 5)
    assert logme(np.eye(3)[labels], labels) == np.inf
    found = max_evidence(2 * np.eye(3)[labels], targets=np.eye(3)[labels][:, 0])
    assert found.beta[0] == np.inf
    assert found.alpha[0] == pytest.approx(60, rel=1e-12)  # 1/α = z²/σ²/N = 5/20/15


def test_columns_are_independent_and_logme_is_their_mean():
    features, labels = data(30, 8)
    one_hot = np.eye(3)[labels]
    found = max_evidence(features, targets=one_hot).nats
    assert logme(features, labels) == pytest.approx(found.mean(), rel=1e-15)
    for k in range(3):
        assert max_evidence(features, targets=one_hot[:, k]).nats[0] == pytest.approx(found[k], rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(30, 6), (10, 25)])
def test_a_rotation_and_a_common_scale_of_the_features_change_nothing(n, d):
    features, labels = data(n, d)
    value = logme(features, labels)
    rotation = ortho_group.rvs(d, random_state=0)
    for scale in (1e-120, 1.0, 1e120):
        assert logme(scale * features @ rotation, labels) == pytest.approx(value, rel=1e-10)


def test_repeated_and_empty_features_change_the_evidence_as_the_scale_of_one_feature_does():
    features, labels = data(30, 6)
    value = logme(features, labels)
    assert logme(np.hstack([features, np.zeros((30, 4))]), labels) == pytest.approx(value, rel=1e-12)
    assert logme(np.hstack([features, features]), labels) == pytest.approx(
        value, rel=1e-10
    )  # a common scale of √2
    assert abs(logme(features * [10, 1, 1, 1, 1, 1], labels) - value) > 1e-3
    assert abs(logme(features + 5, labels) - value) > 1e-3


@pytest.mark.parametrize("scale", [1e-100, 1e-3, 1e100])
def test_the_scale_of_a_target_moves_its_evidence_by_its_logarithm(scale):
    features, _ = data(20, 4)
    y = features @ np.ones(4) + np.random.default_rng(0).normal(size=20)
    found, scaled = max_evidence(features, targets=y), max_evidence(features, targets=scale * y)
    assert scaled.nats == pytest.approx(found.nats - np.log(scale), rel=1e-12)
    assert scaled.alpha == pytest.approx(found.alpha / scale**2, rel=1e-5)  # flat at the maximum
    assert scaled.beta == pytest.approx(found.beta / scale**2, rel=1e-5)


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        (np.ones(3), r"^features has 4 samples and targets shape \(3, 1\); give \(N,\) or \(N, K\)"),
        (np.ones((4, 1, 1)), r"targets shape \(4, 1, 1\)"),
        (
            np.array([[1.0, 0], [2, 0], [3, 0], [4, 0]]),
            "^target column 1 is all zero; it has nothing to explain",
        ),
        (np.array([1.0, np.nan, 2, 3]), r"^targets: 1 of 4 values are NaN or infinite, the first at \[1\]"),
    ],
)
def test_bad_targets_are_named(targets, text):
    with pytest.raises(ValueError, match=text):
        max_evidence(np.eye(4, 2), targets=targets)
