"""LEEP and NCE against tables counted a sample at a time, the EM view of LEEP, and their ranges."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import transfer_distance as reference
from tlcourse.transfer.distance import leep, nce


def data(n=40, classes=4, n_source=6, seed=0, sharp=2.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    logits = rng.normal(size=(n, n_source)) + sharp * np.eye(classes, n_source)[labels]
    theta = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return theta, labels


seeds = st.integers(0, 10_000)


@given(seeds, st.integers(2, 5), st.integers(1, 8), st.floats(0, 20))
@settings(max_examples=40, deadline=None)
def test_leep_equals_its_definition_counted_a_sample_at_a_time(seed, classes, n_source, sharp):
    n_source = max(n_source, 1)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(30) % classes)
    logits = sharp * rng.normal(size=(30, n_source))
    theta = np.exp(logits - logits.max(axis=1, keepdims=True))
    theta /= theta.sum(axis=1, keepdims=True)
    assert leep(theta, labels) == pytest.approx(reference.leep(theta, labels), rel=1e-9, abs=1e-12)


def test_leep_is_one_step_of_expectation_maximisation_and_so_lies_between_its_bounds():
    theta, labels = data(n=24)
    nothing, one, two = reference.expectation_maximisation(theta, labels, 2)
    assert nothing == pytest.approx(-reference.entropy(labels), rel=1e-12)
    assert leep(theta, labels) == pytest.approx(one, rel=1e-12)
    assert nothing < one < two < 0


@given(seeds, st.floats(0, 30))
@settings(max_examples=40, deadline=None)
def test_leep_and_nce_lie_between_minus_the_entropy_of_the_labels_and_zero(seed, sharp):
    theta, labels = data(seed=seed, sharp=sharp)
    low = -reference.entropy(labels)
    assert low - 1e-12 <= leep(theta, labels) <= 1e-12
    assert low - 1e-12 <= nce(source_labels=theta.argmax(axis=1), labels=labels) <= 0


def test_the_ends_of_the_range_are_reached():
    _, labels = data()
    low = -reference.entropy(labels)
    assert leep(np.full((40, 5), 0.2), labels) == pytest.approx(low, rel=1e-12)
    assert leep(np.eye(6)[labels + 1], labels) == 0
    assert nce(source_labels=np.zeros(40, int), labels=labels) == pytest.approx(low, rel=1e-12)
    assert nce(source_labels=9 - labels, labels=labels) == 0
    assert nce(source_labels=np.arange(40), labels=labels) == 0


@given(seeds, st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_nce_equals_the_conditional_entropy_of_counts(seed, n_source):
    rng = np.random.default_rng(seed)
    labels, source = rng.permutation(np.arange(30) % 3), rng.integers(-5, n_source - 5, 30)
    expected = reference.nce(source.tolist(), labels.tolist())
    assert nce(source_labels=source, labels=labels) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_leep_of_certain_predictions_is_nce():
    theta, labels = data()
    certain = theta.argmax(axis=1)
    assert leep(np.eye(6)[certain], labels) == pytest.approx(
        nce(source_labels=certain, labels=labels), rel=1e-12
    )


def test_a_source_class_that_never_gets_mass_changes_nothing():
    theta, labels = data()
    # Up to rounding: longer rows are added up in another order, which differs between processors.
    wider = np.hstack([theta, np.zeros((40, 3))])
    assert leep(wider, labels) == pytest.approx(leep(theta, labels), rel=1e-12)


def test_swapped_labels_give_another_nce_so_that_keywords_are_required():
    source, labels = np.arange(40) % 8, np.arange(40) % 4
    assert nce(source_labels=source, labels=labels) == 0
    assert nce(source_labels=labels, labels=source) == pytest.approx(-np.log(2), rel=1e-12)
    with pytest.raises(TypeError, match="positional"):
        nce(source, labels)


def test_source_labels_are_whole_numbers():
    _, labels = data()
    with pytest.raises(ValueError, match=r"^source_labels has shape \(40, 6\); take its argmax\(1\)"):
        nce(source_labels=np.zeros((40, 6)), labels=labels)
    with pytest.raises(TypeError, match=r"^source_labels holds float32; classes are whole numbers"):
        nce(source_labels=torch.zeros(40), labels=labels)
