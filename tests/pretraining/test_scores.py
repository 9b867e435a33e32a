import math

import pytest
import torch

from tlcourse.pretraining import (
    IGNORED,
    bits_per_byte,
    masked_word_accuracy,
    pair_loss,
    perplexity_per_byte,
    token_loss,
    token_nats,
)


@pytest.fixture
def scored():
    chance = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, generator=chance, dtype=torch.float64)
    labels = torch.randint(0, 7, (2, 5), generator=chance)
    labels[0, 2:] = IGNORED
    return logits, labels


def by_hand(logits, labels):
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return {
        (b, t): -math.log(p[b, t, labels[b, t]])
        for b in range(2)
        for t in range(5)
        if labels[b, t] != IGNORED
    }


def test_losses_are_minus_the_log_of_softmax_at_the_labels(scored):
    expected = by_hand(*scored)
    assert token_loss(*scored).item() == pytest.approx(sum(expected.values()) / 7, rel=1e-12)
    nats = token_nats(*scored)
    assert nats.shape == (2, 5)
    assert all(
        nats[b, t].item() == pytest.approx(expected.get((b, t), 0)) for b in range(2) for t in range(5)
    )
    logits, labels = scored[0][:, 0, :2], torch.tensor([1, 0])
    assert pair_loss(logits, labels).item() == pytest.approx(
        -logits.log_softmax(-1)[[0, 1], labels].mean().item(), rel=1e-12
    )


def test_loss_has_a_gradient_at_labelled_places_only(scored):
    logits, labels = scored
    logits.requires_grad_()
    token_loss(logits, labels).backward()
    assert torch.equal((logits.grad != 0).any(-1), labels != IGNORED)


def test_accuracy_counts_the_labelled_tokens_alone(scored):
    logits, labels = scored
    best = logits.argmax(-1)
    labels[1] = best[1]
    labels[0, 0], labels[0, 1] = (best[0, 0] + 1) % 7, best[0, 1]
    assert masked_word_accuracy(logits, labels) == pytest.approx(6 / 7)
    assert masked_word_accuracy(torch.zeros(2, 3), torch.tensor([0, 1])) == 0.5  # the first of equals


@pytest.mark.parametrize("score", [token_loss, token_nats, pair_loss, masked_word_accuracy])
def test_nothing_to_score_and_wrong_shapes_are_named(score):
    with pytest.raises(ValueError, match="all 2 labels are -100: nothing to score; use a larger batch"):
        score(torch.zeros(2, 3), torch.full((2,), IGNORED))
    with pytest.raises(ValueError, match=r"logits of shape \(2, 3\) for labels of shape \(3,\)"):
        score(torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"logits of shape \(3,\) for labels of shape \(\)"):
        score(torch.zeros(3), torch.tensor(0))


def test_a_uniform_model_of_bytes_spends_eight_bits_whatever_its_tokens():
    texts = ["naïve", "日本"]  # 6 + 6 bytes
    assert bits_per_byte(math.log(256), 12, texts) == pytest.approx(8)
    assert perplexity_per_byte(math.log(256), 12, texts) == pytest.approx(256)
    assert bits_per_byte(2 * math.log(256), 6, texts) == pytest.approx(8)  # tokens of two bytes
    assert bits_per_byte(math.log(2), 3, iter(["abcdef"])) == pytest.approx(0.5)
    assert perplexity_per_byte(0.0, 3, ["abc"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 3, ["a"]), "nats_per_token=-0.1 is no cross entropy; it is finite and not negative"),
        ((float("nan"), 3, ["a"]), "nats_per_token=nan is no cross entropy"),
        ((float("inf"), 3, ["a"]), "nats_per_token=inf is no cross entropy"),
        ((1.0, 0, ["a"]), "n_tokens=0 must be at least 1"),
        ((1.0, 3, ["", ""]), "the texts have no bytes; give those that the tokens stand for"),
    ],
)
def test_bad_input_per_byte_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        bits_per_byte(*arguments)
