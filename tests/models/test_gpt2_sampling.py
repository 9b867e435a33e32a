"""Filters and draws against transformers' logits warpers, closed forms and counted frequencies."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tlcourse.models.gpt2 import distribution, draw, keep_top_k, keep_top_p, scale_by_temperature
from tlcourse.models.gpt2.sampling import row_uniforms


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some_logits(n_rows=64, vocabulary=301, scale=3.0):
    return scale * torch.randn(n_rows, vocabulary, generator=seeded(), dtype=torch.float64)


@pytest.mark.parametrize("k", [1, 2, 40, 301, 1000])
def test_top_k_matches_transformers(k):
    logits = some_logits()
    assert torch.equal(keep_top_k(logits, k), TopKLogitsWarper(k)(None, logits))


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.5, 0.9, 0.999, 1.0])
def test_top_p_matches_transformers(p):
    logits = some_logits()
    assert torch.equal(keep_top_p(logits, p), TopPLogitsWarper(p)(None, logits))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(("k", "p"), [(None, None), (17, None), (None, 0.8), (17, 0.8), (5, 1.0)])
def test_distribution_matches_transformers_warpers_in_their_order(temperature, k, p):
    logits = some_logits()
    expected = TemperatureLogitsWarper(temperature)(None, logits)
    for value, warper in ((k, TopKLogitsWarper), (p, TopPLogitsWarper)):
        if value is not None:
            expected = warper(value)(None, expected)
    # The same operations in the same order, so no rounding apart.
    assert torch.equal(distribution(logits, temperature, k, p), expected.softmax(-1))


def test_the_nucleus_is_the_smallest_that_reaches_p_by_counting():
    logits = some_logits(8, 50)
    for p in (0.2, 0.6, 0.95):
        kept = keep_top_p(logits, p).isfinite()
        for row, keep in zip(logits.softmax(-1).tolist(), kept.tolist(), strict=True):
            mass, nucleus = 0.0, set()
            for token in sorted(range(len(row)), key=lambda i: -row[i]):
                if mass >= p:
                    break
                nucleus.add(token)
                mass += row[token]
            assert {i for i, k in enumerate(keep) if k} == nucleus


def test_ties_with_the_kth_logit_stay_and_a_nucleus_of_ties_is_cut_in_order():
    logits = torch.tensor([[1.0, 3.0, 1.0, 1.0, 0.0]])
    assert keep_top_k(logits, 2).isfinite().tolist() == [[True, True, True, True, False]]
    assert keep_top_p(torch.zeros(1, 4), 0.5).isfinite().tolist() == [[True, True, False, False]]


def test_filters_take_any_leading_dimensions_and_leave_their_input():
    logits = some_logits(6, 20)
    before = logits.clone()
    for function in (lambda x: keep_top_k(x, 3), lambda x: keep_top_p(x, 0.5), lambda x: distribution(x, 0)):
        assert torch.equal(function(logits.view(2, 3, 20)), function(logits).view(2, 3, 20))
        assert torch.equal(function(logits[0]), function(logits)[0])
    assert torch.equal(logits, before)


def test_temperature_zero_is_the_limit_of_small_temperatures():
    logits = some_logits(5)
    greedy = distribution(logits, 0, top_k=7, top_p=0.4)
    assert torch.equal(greedy, distribution(logits, 1e-9))
    assert torch.equal(greedy.argmax(-1), logits.argmax(-1)) and torch.equal(
        greedy.sum(-1), torch.ones(5).double()
    )


def test_draw_takes_each_token_for_its_share_of_the_uniform_numbers():
    probabilities = torch.tensor([0.25, 0.0, 0.5, 0.25, 0.0])
    uniforms = torch.tensor([0.0, 0.2499, 0.25, 0.5, 0.7499, 0.75, 0.9999, 1 - 2**-53], dtype=torch.float64)
    drawn = draw(probabilities.expand(len(uniforms), -1), uniforms)
    assert drawn.tolist() == [0, 0, 2, 2, 2, 3, 3, 3]
    # Rounded probabilities sum to a little more or less than one; shares are of what they sum to.
    assert draw(torch.tensor([[0.3, 0.3], [0.9, 0.9]]), torch.tensor([0.9, 0.6])).tolist() == [1, 1]


@given(
    st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=60),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 80),
    st.floats(0, 1, exclude_min=True),
)
def test_a_drawn_token_is_never_one_that_the_filters_removed(logits, uniform, k, p):
    probabilities = distribution(torch.tensor([logits]), 1.0, k, p)
    (token,) = draw(probabilities, torch.tensor([uniform], dtype=torch.float64)).tolist()
    assert 0 <= token < len(logits) and probabilities[0, token] > 0


def test_drawn_frequencies_are_the_probabilities():
    probabilities = distribution(some_logits(1, 12, 1.0), top_k=9)
    n = 200_000
    drawn = draw(probabilities.expand(n, -1), torch.rand(n, generator=seeded(1), dtype=torch.float64))
    share = torch.bincount(drawn, minlength=12) / n
    # Four standard deviations of a share: in 12 of them, one in 1,300 runs with other seeds would fail.
    assert ((share - probabilities[0]).abs() <= 4 * (probabilities[0] / n).sqrt()).all()


def test_a_rows_stream_depends_on_no_other_row_and_on_no_length():
    few, many = row_uniforms(2, 5, seeded(3)), row_uniforms(4, 50, seeded(3))
    assert few.shape == (2, 5) and torch.equal(few, many[:2, :5])
    assert len(set(many.flatten().tolist())) == 200  # rows and steps differ
    own = row_uniforms(3, 5, [seeded(7), seeded(8), seeded(9)])
    assert torch.equal(row_uniforms(1, 5, [seeded(8)])[0], own[1])
    assert torch.equal(own[0], torch.rand(5, generator=seeded(7), dtype=torch.float64))
    assert not torch.equal(row_uniforms(2, 5, seeded(4)), few)


def test_without_a_generator_torchs_own_seed_decides():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        first = row_uniforms(2, 3, None)
        second = row_uniforms(2, 3, None)
        torch.manual_seed(5)
        assert torch.equal(row_uniforms(2, 3, None), first) and not torch.equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.5, None, None), r"temperature=-0.5 must be finite and at least 0; 0 is greedy"),
        ((math.nan, None, None), r"temperature=nan must be finite and at least 0"),
        ((1.0, 0, None), r"top_k=0 must be a whole number of at least 1; None keeps all"),
        ((1.0, 2.5, None), r"top_k=2.5 must be a whole number of at least 1"),
        ((1.0, None, 0.0), r"top_p=0.0 must be above 0 and at most 1; None or 1 keeps all"),
        ((1.0, None, 1.5), r"top_p=1.5 must be above 0 and at most 1"),
        ((1.0, None, math.nan), r"top_p=nan must be above 0 and at most 1"),
    ],
)
def test_settings_that_mean_nothing_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        distribution(some_logits(1, 5), *arguments)


def test_temperature_zero_cannot_divide():
    with pytest.raises(ValueError, match=r"temperature=0 divides by zero; it stands for greedy choice"):
        scale_by_temperature(some_logits(1, 5), 0)


def test_generators_are_one_or_one_a_row():
    with pytest.raises(ValueError, match=r"2 generators for 3 rows; give one, or one a row"):
        row_uniforms(3, 5, [seeded(), seeded()])
