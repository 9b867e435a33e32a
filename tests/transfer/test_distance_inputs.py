"""Bad input of every measure, and the same numbers in every form."""

import numpy as np
import pytest
import torch

from tlcourse.transfer.distance import (
    frechet_distance,
    h_score,
    leep,
    linear_cka,
    logme,
    max_evidence,
    median_distance,
    mmd,
    nce,
    parameter_distance,
)
from tlcourse.transfer.distance.inputs import array, class_codes, precision

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(12, 3))
LABELS = np.array([0, 1, 2] * 4)
P = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)

OF_LABELS = {
    "logme": (logme, X, "features"),
    "h_score": (h_score, X, "features"),
    "leep": (leep, P, "source_probabilities"),
    "nce": (lambda z, y: nce(source_labels=z, labels=y), P.argmax(axis=1), "source_labels"),
}
OF_MATRICES = {
    "logme": (lambda x: logme(x, LABELS), "features"),
    "max_evidence": (lambda x: max_evidence(x, targets=X), "features"),
    "h_score": (lambda x: h_score(x, LABELS), "features"),
    "leep": (lambda x: leep(x, LABELS), "source_probabilities"),
    "linear_cka": (lambda x: linear_cka(X, x), "y"),
    "mmd": (lambda x: mmd(x, X), "x"),
    "median_distance": (median_distance, "x"),
    "frechet_distance": (lambda x: frechet_distance(X, x), "y"),
}
FORMS = {
    "nested lists": lambda a: a.tolist(),
    "tensor": torch.from_numpy,
    "tensor with gradient": lambda a: (
        torch.from_numpy(a).requires_grad_() if a.dtype.kind == "f" else torch.from_numpy(a)
    ),
    "transposed view": lambda a: np.asfortranarray(a),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_lists_arrays_and_tensors_give_the_same_bits(form):
    for measure, first, _ in OF_LABELS.values():
        assert measure(form(first), form(LABELS)) == pytest.approx(measure(first, LABELS), rel=1e-13)
    for measure in (linear_cka, mmd, frechet_distance):
        assert measure(form(X), form(Y)) == pytest.approx(measure(X, Y), rel=1e-13)
    weights = {"w": torch.from_numpy(X)}
    assert parameter_distance(weights, {"w": form(Y)}) == parameter_distance(weights, {"w": Y})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_arithmetic_is_float64_whatever_comes_in(dtype):
    x = torch.from_numpy(X).to(dtype)
    wide = x.double()
    for measure in (
        lambda v: logme(v, LABELS),
        lambda v: linear_cka(v, Y),
        lambda v: mmd(v, Y),
        median_distance,
    ):
        assert measure(x) == measure(wide)
    assert x.dtype == dtype


def test_arguments_stay_as_they_are():
    before = [a.copy() for a in (X, Y, P, LABELS)]
    for measure, first, _ in OF_LABELS.values():
        measure(first, LABELS)
    for measure in (linear_cka, mmd, frechet_distance):
        measure(X, Y)
    assert all((a == b).all() for a, b in zip(before, (X, Y, P, LABELS), strict=True))


def test_labels_may_have_gaps_be_negative_or_boolean():
    for measure, first, _ in OF_LABELS.values():
        assert measure(first, np.array([-7, 5, 100])[LABELS]) == pytest.approx(
            measure(first, LABELS), rel=1e-13
        )
        assert measure(first, LABELS > 0) == measure(first, torch.from_numpy(LABELS > 0).int())


def test_codes_and_sizes_of_classes():
    codes, sizes = class_codes([9, 2, 9, 2, 9], 5, "features")
    assert codes.tolist() == [1, 0, 1, 0, 1]
    assert sizes.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("values", "eps"),
    [
        (np.zeros(2, np.float32), 2**-23),
        (torch.zeros(2, dtype=torch.float16), 2**-10),
        (torch.zeros(2, dtype=torch.int32), 2**-52),
        (np.zeros(2, int), 2**-52),
        ([0.5], 2**-52),
    ],
)
def test_precision_is_that_of_the_type_that_came_in(values, eps):
    assert precision(values) == eps


@pytest.mark.parametrize(("measure", "name"), OF_MATRICES.values(), ids=OF_MATRICES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_counted_and_placed(measure, name, bad):
    x = X.copy()
    x[4, 1] = x[7, 0] = bad
    text = rf"^{name}: 2 of 36 values are NaN or infinite, the first at \[4, 1\]; find what made them"
    with pytest.raises(ValueError, match=text):
        measure(x)
    with pytest.raises(ValueError, match=text):
        measure(torch.from_numpy(x))


@pytest.mark.parametrize(("measure", "name"), OF_MATRICES.values(), ids=OF_MATRICES)
def test_other_shapes_than_samples_by_features_are_refused(measure, name):
    with pytest.raises(ValueError, match=rf"^{name} has shape \(12, 3, 1\); give \(N, D\), one row a sample"):
        measure(X[:, :, None])
    with pytest.raises(ValueError, match=rf"^{name} has shape \(1, 3\); give at least 2 samples"):
        measure(X[:1])
    with pytest.raises(ValueError, match=rf"^{name} has shape \(12, 0\); give .* at least 1 feature"):
        measure(X[:, :0])


def test_what_holds_no_real_numbers_is_refused():
    with pytest.raises(TypeError, match=r"^x holds torch\.complex64; give real numbers"):
        array(torch.zeros(2, 2, dtype=torch.complex64), "x")
    with pytest.raises(TypeError, match=r"^x holds complex128; give real numbers"):
        array(np.zeros((2, 2), complex), "x")
    with pytest.raises(TypeError, match=r"^x holds <U1; give real numbers"):
        array([["a", "b"]], "x")
    with pytest.raises(ValueError, match=r"^x is no array: its rows differ in length; pad or pool"):
        array([[1.0], [1.0, 2.0]], "x")


@pytest.mark.parametrize(("measure", "first", "name"), OF_LABELS.values(), ids=OF_LABELS)
class TestLabels:
    def test_lengths_that_differ_are_refused(self, measure, first, name):
        with pytest.raises(
            ValueError, match=rf"^{name} has 12 samples and labels 11; give one label for each"
        ):
            measure(first, LABELS[:-1])

    def test_one_class_is_refused(self, measure, first, name):
        with pytest.raises(
            ValueError, match=r"^labels hold one class, 3; a measure of labels needs at least 2"
        ):
            measure(first, np.full(12, 3))

    def test_a_class_with_one_sample_is_named(self, measure, first, name):
        labels = LABELS.copy()
        labels[:2] = 8, 7
        with pytest.raises(
            ValueError, match=r"^2 classes have one sample, the first 7; add samples or leave"
        ):
            measure(first, labels)

    def test_real_numbers_and_one_hot_rows_are_no_labels(self, measure, first, name):
        with pytest.raises(TypeError, match=r"^labels holds float64; classes are whole numbers"):
            measure(first, LABELS.astype(float))
        with pytest.raises(TypeError, match=r"^labels holds float32; classes are whole numbers"):
            measure(first, torch.from_numpy(LABELS).float())
        with pytest.raises(ValueError, match=r"^labels has shape \(12, 3\); take its argmax\(1\)"):
            measure(first, np.eye(3)[LABELS])
        with pytest.raises(ValueError, match=r"^labels has shape \(0,\); give \(N,\), one class a sample"):
            measure(first, [])


def test_arguments_in_the_wrong_order_are_refused():
    for measure, first in ((logme, X), (h_score, X), (leep, P)):
        with pytest.raises(ValueError, match=r"has shape \(12,\); give \(N, D\)"):
            measure(LABELS, first)


def test_logits_are_no_probabilities():
    with pytest.raises(
        ValueError, match=r"^source_probabilities is -\d.* somewhere in row 0; .*softmax the logits"
    ):
        leep(-np.abs(X), LABELS)
    high = P.copy()
    high[5] *= 1.01
    with pytest.raises(
        ValueError, match=r"^source_probabilities sums to 1\.01 in row 5, not to 1; softmax the logits"
    ):
        leep(high, LABELS)


def test_rows_that_float16_leaves_off_one_are_rescaled():
    half = torch.from_numpy(P).half()
    assert not torch.equal(half.double().sum(1), torch.ones(12, dtype=torch.float64))
    exact = half.double() / half.double().sum(1, keepdim=True)
    assert leep(half, LABELS) == pytest.approx(leep(exact, LABELS), rel=1e-13)
