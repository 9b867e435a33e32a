"""LinearProbe against scikit-learn, its own optimality condition, and validation losses computed by hand."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from tlcourse.transfer.extraction import LinearProbe, Tried


def task(n, n_classes=3, seed=0, noise=1.5, width=6):
    """Classes around centres in six dimensions of unequal scale and offset; labels 10, 20, …"""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_classes, width))
    y = np.arange(n) % n_classes
    x = centres[y] + noise * generator.normal(size=(n, width))
    return 5 + x * np.array([1, 10, 0.1, 1, 3, 0.01]), 10 * (1 + y)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
def test_the_gradient_of_its_objective_is_zero(n_classes, penalty):
    x, y = task(60, n_classes)
    probe = LinearProbe.fit(x, y, penalty=penalty)
    weight = torch.tensor(probe.weight, requires_grad=True)
    bias = torch.tensor(probe.bias, requires_grad=True)
    z = torch.tensor(StandardScaler().fit_transform(x))
    columns = torch.tensor(np.searchsorted(probe.classes, y))
    loss = (
        torch.nn.functional.cross_entropy(z @ weight.T + bias, columns) + penalty / 2 * weight.square().sum()
    )
    loss.backward()
    # scikit-learn stops at a largest component of 1e-6 for the mean loss.
    assert weight.grad.abs().max() < 3e-6
    assert bias.grad.abs().max() < 3e-6


def test_probabilities_match_scikit_learn_at_the_same_penalty():
    x, y = task(90)
    fresh, _ = task(40, seed=1)
    scaler = StandardScaler().fit(x)
    theirs = LogisticRegression(C=1 / (0.01 * 90), tol=1e-8, max_iter=10_000).fit(scaler.transform(x), y)
    probe = LinearProbe.fit(torch.from_numpy(x), torch.from_numpy(y), penalty=0.01)
    expected = theirs.predict_proba(scaler.transform(fresh))
    assert np.abs(probe.probabilities(fresh) - expected).max() < 1e-5
    assert (probe.predict(torch.from_numpy(fresh)) == theirs.predict(scaler.transform(fresh))).all()
    assert probe.classes.tolist() == [10, 20, 30]


def test_the_penalty_means_the_same_with_more_data():
    x, y = task(60)
    once = LinearProbe.fit(x, y, penalty=0.05)
    thrice = LinearProbe.fit(np.tile(x, (3, 1)), np.tile(y, 3), penalty=0.05)
    np.testing.assert_allclose(once.weight, thrice.weight, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_choose_takes_the_lowest_validation_loss_of_all_tried(n_classes):
    x, y = task(40, n_classes)
    held_x, held_y = task(200, n_classes, seed=5)
    penalties = [1e-5, 1e-1, 1e-3, 1e1]
    probe = LinearProbe.choose(x, y, validation=(held_x, held_y), penalties=penalties)
    assert [t.penalty for t in probe.tried] == sorted(penalties, reverse=True)
    for penalty, accuracy, loss in probe.tried:
        alone = LinearProbe.fit(x, y, penalty=penalty)
        expected = log_loss(held_y, alone.probabilities(held_x), labels=alone.classes)
        assert loss == pytest.approx(expected, rel=1e-3)  # the two started elsewhere
        assert accuracy == pytest.approx((alone.predict(held_x) == held_y).mean(), abs=0.01)
    assert probe.penalty == min(probe.tried, key=lambda t: t.loss).penalty == 1e-1
    assert not probe.at_edge
    assert probe.loss(held_x, held_y) == pytest.approx({t.penalty: t.loss for t in probe.tried}[1e-1])


def test_the_usual_grid_brackets_the_best_penalty():
    x, y = task(40)
    probe = LinearProbe.choose(x, y, validation=task(100, seed=5))
    assert len(probe.tried) == 9
    assert not probe.at_edge
    assert LinearProbe.choose(x, y, validation=task(100, seed=5), penalties=[1e-6, 1e-5]).at_edge
    assert not LinearProbe.fit(x, y, penalty=1.0).at_edge


def test_equal_losses_go_to_the_strongest_penalty():
    x, y = np.ones((6, 2)), np.arange(6) % 2
    probe = LinearProbe.choose(x, y, validation=(x, y), penalties=[0.1, 10.0])
    assert probe.penalty == 10.0
    assert probe.tried[0] == Tried(10.0, 0.5, pytest.approx(np.log(2)))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_as_a_linear_layer_it_gives_the_same_logits_on_features_as_they_are(n_classes):
    x, y = task(60, n_classes)
    probe = LinearProbe.fit(x, y, penalty=0.01)
    layer = probe.linear()
    expected = torch.from_numpy(probe.logits(x))
    found = layer(torch.from_numpy(x).float()).double()
    # float32 beside features of size 5 and weights of size 1 / 0.01.
    assert ((found - expected).abs().max() / expected.abs().max()).item() < 1e-4
    assert all(p.requires_grad for p in layer.parameters())


def test_scores_of_one_sample_and_rows_of_probabilities():
    x, y = task(60)
    probe = LinearProbe.fit(x, y, penalty=0.01)
    np.testing.assert_allclose(probe.probabilities(x).sum(1), 1, atol=1e-12)
    assert probe.accuracy(x, y) == (probe.predict(x) == y).mean()
    assert probe.accuracy(x[:1], y[:1]) in (0.0, 1.0)
    assert np.isfinite(probe.loss(1e4 * x, y))  # no overflow in exp


def test_a_constant_feature_changes_nothing():
    x, y = task(60)
    probe = LinearProbe.fit(x, y, penalty=0.01)
    wider = np.concatenate([x, np.full((60, 1), 1e6) + 1e-9], 1)
    found = LinearProbe.fit(wider, y, penalty=0.01)
    np.testing.assert_allclose(found.weight[:, :6], probe.weight, atol=1e-5)
    np.testing.assert_allclose(found.weight[:, 6], 0, atol=1e-9)


def test_a_feature_that_is_switched_off_changes_nothing():
    """MiniLM's last norm leaves two of its dimensions at 1e-33; as weights of the head they would be 1e31."""
    x, y = task(60)
    probe = LinearProbe.fit(x, y, penalty=0.01)
    noise = 1e-33 * np.random.default_rng(0).standard_normal((60, 1))
    found = LinearProbe.fit(np.concatenate([x, noise], 1), y, penalty=0.01)
    np.testing.assert_allclose(
        found.probabilities(np.concatenate([x, noise], 1)), probe.probabilities(x), atol=1e-5
    )
    assert np.abs(found.weight[:, 6]).max() < 1e-9
    assert found.linear().weight.abs().max() < 10 * probe.linear().weight.abs().max()


X, Y = task(12)


def with_bad(value):
    x = X.copy()
    x[3, 1] = x[7, 0] = value
    return x


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: LinearProbe.fit(X, Y[:-1], penalty=1),
            r"training features \(12, 6\) and labels \(11,\); give",
        ),
        (lambda: LinearProbe.fit(X[:, 0], Y, penalty=1), r"training features \(12,\) and labels \(12,\)"),
        (lambda: LinearProbe.fit(X, Y[:, None], penalty=1), r"labels \(12, 1\)"),
        (
            lambda: LinearProbe.fit(with_bad(np.nan), Y, penalty=1),
            "2 rows of training features hold nan or infinite",
        ),
        (lambda: LinearProbe.fit(with_bad(np.inf), Y, penalty=1), "2 rows of training features hold nan"),
        (lambda: LinearProbe.fit(X, Y / 10, penalty=1), "training labels are float64; give integers"),
        (
            lambda: LinearProbe.fit(X, 0 * Y, penalty=1),
            "training labels hold 1 class; a probe needs at least 2",
        ),
        (lambda: LinearProbe.fit(X, Y, penalty=0), r"penalties=\[0\]; give at least one, all positive"),
        (lambda: LinearProbe.fit(X, Y, penalty=np.nan), r"penalties=\[nan\]"),
        (
            lambda: LinearProbe.choose(X, Y, validation=(X, Y), penalties=[]),
            r"penalties=\[\]; give at least one",
        ),
        (
            lambda: LinearProbe.choose(X, Y, validation=(X, Y + 5)),
            r"labels \[15, 25, 35\] were not among the training",
        ),
        (
            lambda: LinearProbe.choose(X, Y, validation=(X, Y[:3])),
            r"held-out features \(12, 6\) and labels \(3,\)",
        ),
        (lambda: LinearProbe.choose(X, Y, validation=(X[:0], Y[:0])), "held-out labels hold 0 class"),
        (
            lambda: LinearProbe.fit(X, Y, penalty=1).logits(X[:, :5]),
            r"features are \(12, 5\); the probe reads \(N, 6",
        ),
        (
            lambda: LinearProbe.fit(X, Y, penalty=1).predict(with_bad(np.nan)),
            "2 rows of features hold nan or infinite values; leave",
        ),
        (lambda: LinearProbe.fit(X, Y, penalty=1).probabilities(with_bad(np.inf)), "2 rows of features hold"),
        (lambda: LinearProbe.fit(X, Y, penalty=1).predict(X[0]), r"features are \(6,\); the probe reads"),
        (lambda: LinearProbe.fit(X, Y, penalty=1).loss(X, Y + 1), r"labels \[11, 21, 31\] were not among"),
    ],
)
def test_what_does_not_fit_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
