"""Errors and likelihoods against torch.distributions and slow loops."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal

from tlcourse.models.autoencoder import (
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
    mean_where,
    squared_errors,
    token_errors,
    token_log_likelihood,
)


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


IDS = torch.tensor([[3, 1, 0], [2, 2, 4]])
LOGITS = numbers(2, 5, 6)  # five positions for three words
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])


def test_squared_errors_are_those_of_each_element():
    a, b = numbers(2, 1, 3, 4), numbers(2, 1, 3, 4, seed=1)
    assert torch.allclose(squared_errors(a, b), (a - b) ** 2, atol=1e-14)
    with pytest.raises(ValueError, match=r"shape \(2, 1, 3, 4\) for a target of \(2, 3, 4\); both need one"):
        squared_errors(a, b[:, 0])


def test_token_errors_are_negative_log_probabilities_of_the_first_positions():
    expected = -Categorical(logits=LOGITS[:, :3]).log_prob(IDS)
    assert torch.allclose(token_errors(LOGITS, IDS), expected, atol=1e-12)
    assert torch.allclose(token_errors(LOGITS, IDS.int()), expected, atol=1e-12)


@pytest.mark.parametrize("mask", [MASK, MASK.bool(), None])
def test_the_likelihood_of_a_sentence_is_that_of_its_words_without_padding(mask):
    expected = -token_errors(LOGITS, IDS) * (1 if mask is None else MASK)
    assert torch.allclose(token_log_likelihood(LOGITS, IDS, mask), expected.sum(1), atol=1e-12)


@pytest.mark.parametrize(
    ("logits", "ids", "message"),
    [
        (LOGITS[0], IDS, r"logits \(5, 6\) for ids \(2, 3\); give \(B, P, V\), \(B, T\)"),
        (LOGITS, IDS[0], r"logits \(2, 5, 6\) for ids \(3,\)"),
        (LOGITS, IDS[:1], r"logits \(2, 5, 6\) for ids \(1, 3\)"),
        (LOGITS[:, :2], IDS, "3 tokens, but the decoder makes 2; cut the texts to that length"),
    ],
)
def test_logits_that_do_not_fit_are_refused(logits, ids, message):
    with pytest.raises(ValueError, match=message):
        token_errors(logits, ids)


@pytest.mark.parametrize("sd", [1.0, 0.3])
def test_gaussian_likelihood_is_that_of_torch_distributions(sd):
    mean, x = numbers(3, 2, 4), numbers(3, 2, 4, seed=1)
    expected = Normal(mean, sd).log_prob(x).sum((1, 2))
    assert torch.allclose(gaussian_log_likelihood(mean, x, sd), expected, atol=1e-10)


@pytest.mark.parametrize("sd", [0.0, -1.0, math.inf, math.nan])
def test_a_standard_deviation_must_be_positive(sd):
    with pytest.raises(ValueError, match=rf"sd={sd} must be a positive number"):
        gaussian_log_likelihood(numbers(1, 2), numbers(1, 2), sd)


def test_bernoulli_likelihood_is_that_of_torch_distributions_and_takes_grey_too():
    logits = numbers(3, 2, 4)
    x = (numbers(3, 2, 4, seed=1) > 0).double()
    expected = Bernoulli(logits=logits).log_prob(x).sum((1, 2))
    assert torch.allclose(bernoulli_log_likelihood(logits, x), expected, atol=1e-10)
    grey = torch.full_like(x, 0.25)
    p = logits.sigmoid()
    expected = (0.25 * p.log() + 0.75 * (1 - p).log()).sum((1, 2))
    assert torch.allclose(bernoulli_log_likelihood(logits, grey), expected, atol=1e-10)


def test_targets_that_are_no_coins_are_refused():
    with pytest.raises(ValueError, match=r"targets run from -0\.5 to 0\.5; a coin's are in 0…1"):
        bernoulli_log_likelihood(torch.zeros(1, 2), torch.tensor([[-0.5, 0.5]]))
    with pytest.raises(ValueError, match=r"targets run from 0 to 255"):
        bernoulli_log_likelihood(torch.zeros(1, 2), torch.tensor([[0.0, 255.0]]))
    with pytest.raises(ValueError, match=r"shape \(1, 2\) for a target of \(1, 3\)"):
        bernoulli_log_likelihood(torch.zeros(1, 2), torch.zeros(1, 3))


def test_the_mean_is_over_chosen_elements_only_and_so_is_the_gradient():
    errors = numbers(3, 2, 4).square().requires_grad_()
    chosen = torch.zeros(3, 1, 4, dtype=torch.bool)  # broadcast over the middle
    chosen[0, 0, 1] = chosen[2, 0, 3] = True
    value = mean_where(errors, chosen)
    picked = [float(errors[b, c, t].detach()) for b, t in ((0, 1), (2, 3)) for c in range(2)]
    assert float(value.detach()) == pytest.approx(sum(picked) / 4, rel=1e-12)
    value.backward()
    assert torch.equal(errors.grad, chosen.expand(3, 2, 4) * 0.25)
    spoilt = errors.detach().masked_fill(~chosen, math.nan)
    assert float(mean_where(spoilt, chosen)) == pytest.approx(float(value.detach()))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (torch.ones(2, 3), r"chosen is torch.float32 \(2, 3\); give booleans for errors \(2, 3\)"),
        (torch.ones(3).bool(), r"chosen is torch.bool \(3,\)"),
        (torch.ones(2, 2).bool(), r"chosen is torch.bool \(2, 2\)"),
        (torch.zeros(2, 1).bool(), "nothing is chosen, so there is no mean"),
    ],
)
def test_choices_that_do_not_fit_are_refused(chosen, message):
    with pytest.raises(ValueError, match=message):
        mean_where(torch.ones(2, 3), chosen)
