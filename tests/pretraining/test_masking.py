import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from tlcourse.pretraining import IGNORED, MaskingConfig, epoch_generator, mask_words

PAD, CLS, SEP, MASK, UNK = range(5)
CONFIG = MaskingConfig(mask_id=MASK, vocab_size=1000, special_ids=(PAD, CLS, SEP, UNK))
EXACT_MASK = MaskingConfig(MASK, 1000, (PAD, CLS, SEP, UNK), 0.3, mask_share=1.0, random_share=0.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(B=64, T=512, seed=1):
    """Rows [CLS] … [SEP] [PAD]… of random lengths."""
    ids = torch.randint(5, 1000, (B, T), generator=generator(seed))
    for row, n in zip(ids, torch.randint(10, T, (B,), generator=generator(seed)).tolist(), strict=True):
        row[0], row[n], row[n + 1 :] = CLS, SEP, PAD
    return ids


def within(count, n, p, deviations=4.5):
    """Whether a binomial count lies within so many standard deviations: fails by chance once in 150,000."""
    return abs(count - n * p) <= deviations * math.sqrt(n * p * (1 - p))


def fates(ids, masked):
    """How many tokens were ordinary, chosen, and of those masked, changed to another, left."""
    chosen = masked.labels != IGNORED
    ordinary = ids >= 5
    hidden = (masked.input_ids == MASK)[chosen].sum().item()
    same = (masked.input_ids == ids)[chosen].sum().item()
    return ordinary.sum().item(), chosen.sum().item(), hidden, chosen.sum().item() - hidden - same, same


def test_fifteen_percent_are_chosen_and_split_eighty_ten_ten():
    ids = batch()
    n, chosen, hidden, changed, same = fates(ids, mask_words(ids, CONFIG, generator()))
    assert within(chosen, n, 0.15)
    assert within(hidden, chosen, 0.8)
    assert within(changed, chosen, 0.1 * 994 / 995)  # a random token may be the token itself
    assert within(same, chosen, 0.1 + 0.1 / 995)


def test_semantics_are_those_of_transformers_collator():
    """Same rates, labels only where chosen, specials untouched; ours never puts a special token in."""
    tokenizer = Tokenizer(models.WordLevel({str(i): i for i in range(1000)}, unk_token="4"))
    names = {"pad_token": "0", "cls_token": "1", "sep_token": "2", "mask_token": "3", "unk_token": "4"}
    peer = DataCollatorForLanguageModeling(
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names), mlm_probability=0.15, seed=0
    )
    ids = batch()
    theirs = peer([{"input_ids": row} for row in ids])
    ours = mask_words(ids, CONFIG, generator())
    for inputs, labels in ((theirs["input_ids"], theirs["labels"]), ours):
        chosen = labels != IGNORED
        assert torch.equal(inputs[~chosen], ids[~chosen])
        assert torch.equal(labels[chosen], ids[chosen])
        assert not chosen[ids < 5].any()
        n, k, hidden, changed, same = fates(ids, type(ours)(inputs, labels))
        assert within(k, n, 0.15) and within(hidden, k, 0.8)
        assert within(changed, k, 0.1, 5) and within(same, k, 0.1, 5)


def test_replacements_are_uniform_over_ordinary_tokens_and_never_special():
    config = MaskingConfig(0, 8, (1, 6), 0.9, mask_share=0.0, random_share=1.0)
    ids = torch.full((100, 500), 4)
    inputs, labels = mask_words(ids, config, generator())
    found = torch.bincount(inputs[labels != IGNORED], minlength=8)
    assert found[[0, 1, 6]].tolist() == [0, 0, 0]
    assert all(within(found[i].item(), found.sum().item(), 0.2) for i in (2, 3, 4, 5, 7))


@given(
    st.lists(st.lists(st.integers(0, 19), min_size=6, max_size=6), min_size=1, max_size=5),
    st.floats(0.01, 0.99),
    st.integers(0, 2**40),
)
@settings(deadline=None)
def test_labels_and_specials_hold_for_any_batch(rows, probability, seed):
    config = MaskingConfig(3, 20, (0, 1, 2), probability)
    ids = torch.tensor(rows)
    before = ids.clone()
    inputs, labels = mask_words(ids, config, generator(seed))
    assert torch.equal(ids, before)
    chosen = labels != IGNORED
    assert torch.equal(labels[chosen], ids[chosen]) and torch.equal(inputs[~chosen], ids[~chosen])
    assert not chosen[ids < 4].any()
    assert not torch.isin(inputs[chosen], torch.tensor([0, 1, 2])).any()


def test_masks_differ_by_epoch_and_batch_and_can_be_made_again():
    ids = batch(4)

    def labels(*numbers):
        return mask_words(ids, CONFIG, epoch_generator(*numbers)).labels

    assert torch.equal(labels(0, 1, 2), labels(0, 1, 2))
    others = [labels(0, 0, 0), labels(1, 0, 0), labels(0, 1, 0), labels(0, 0, 1), labels(0, 1)]
    assert torch.equal(others[2], others[4])
    assert all(not torch.equal(a, b) for i, a in enumerate(others[:4]) for b in others[i + 1 : 4])


def test_one_generator_goes_on_to_new_masks():
    ids, moving = batch(4), generator()
    first, second = (mask_words(ids, CONFIG, moving).labels for _ in range(2))
    assert not torch.equal(first, second)


def test_chances_of_two_epochs_are_independent():
    """Both choose a token in .15² of the cases."""
    ids = torch.full((64, 512), 7)
    both = [mask_words(ids, CONFIG, epoch_generator(0, e)).labels != IGNORED for e in (0, 1)]
    assert within((both[0] & both[1]).sum().item(), ids.numel(), 0.15**2)


def test_whole_words_are_chosen_together_and_as_often():
    ids = batch()
    continues = torch.rand(ids.shape, generator=generator(5)) < 0.4
    inputs, labels = mask_words(ids, EXACT_MASK, generator(), continues=continues)
    chosen, ordinary = labels != IGNORED, ids >= 5
    together = continues[:, 1:] & ordinary[:, 1:] & ordinary[:, :-1]
    assert torch.equal(chosen[:, 1:][together], chosen[:, :-1][together])
    starts = ordinary & ~continues
    assert within(chosen[starts].sum().item(), starts.sum().item(), 0.3)
    assert torch.equal(inputs[chosen], torch.full_like(inputs[chosen], MASK))


def test_tokens_of_a_whole_word_meet_their_own_fate():
    ids = torch.full((200, 200), 7)
    continues = torch.ones_like(ids, dtype=torch.bool)  # a row is one word, begun before it
    inputs, labels = mask_words(ids, CONFIG, generator(), continues=continues)
    rows = (labels != IGNORED).all(1)
    assert torch.equal(rows, (labels != IGNORED).any(1)) and within(rows.sum().item(), 200, 0.15)
    assert within((inputs[rows] == MASK).sum().item(), inputs[rows].numel(), 0.8)


def test_without_word_starts_all_false_changes_nothing():
    ids = batch(8)
    plain = mask_words(ids, CONFIG, generator())
    each = mask_words(ids, CONFIG, generator(), continues=torch.zeros_like(ids, dtype=torch.bool))
    assert torch.equal(plain.labels, each.labels) and torch.equal(plain.input_ids, each.input_ids)


@pytest.mark.parametrize("probability", [0, 1, -0.1, 1.5, float("nan")])
def test_probability_outside_0_and_1_is_named(probability):
    with pytest.raises(
        ValueError, match=f"probability={probability} must lie between 0 and 1; BERT's is 0.15"
    ):
        MaskingConfig(3, 10, (), probability)


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.8, -0.1), (0.8, 0.3), (float("nan"), 0.1)])
def test_impossible_shares_are_named(shares):
    with pytest.raises(
        ValueError, match=f"mask_share={shares[0]} and random_share={shares[1]} must not be neg"
    ):
        MaskingConfig(3, 10, (), 0.15, *shares)


def test_a_vocabulary_that_does_not_hold_the_specials_or_nothing_else_is_named():
    with pytest.raises(ValueError, match=r"special ids \[-1, 10\] are outside the vocabulary 0…9"):
        MaskingConfig(3, 10, (-1, 10))
    with pytest.raises(ValueError, match="vocab_size=5 with 4 special tokens leaves fewer than 2 tokens"):
        MaskingConfig(3, 5, (0, 1, 2))
    assert MaskingConfig(3, 6, (0, 1, 2, 3)).ordinary_ids().tolist() == [4, 5]


@pytest.mark.parametrize(
    ("ids", "continues", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), None, r"input_ids are torch.int64 of shape \(3,\)"),
        (torch.zeros(2, 3), None, r"input_ids are torch.float32 of shape \(2, 3\); give int64"),
        (
            torch.zeros(0, 3, dtype=torch.int64),
            None,
            r"of shape \(0, 3\); give int64 of shape \(B, T\), not empty",
        ),
        (torch.tensor([[1, 1000]]), None, "input_ids run from 1 to 1000, the vocabulary from 0 to 999"),
        (torch.tensor([[-1, 5]]), None, "input_ids run from -1 to 5"),
        (
            torch.tensor([[1, 5]]),
            torch.tensor([[0, 1]]),
            r"continues is torch.int64 of shape \(1, 2\); give bool",
        ),
        (torch.tensor([[1, 5]]), torch.tensor([True]), r"of shape \(1,\); give bool of shape \(1, 2\)"),
    ],
)
def test_malformed_batch_is_named(ids, continues, message):
    with pytest.raises(ValueError, match=message):
        mask_words(ids, CONFIG, generator(), continues=continues)


@pytest.mark.parametrize("numbers", [(-1, 0), (0, -1), (0, 0, -1)])
def test_negative_seed_epoch_or_batch_is_named(numbers):
    with pytest.raises(ValueError, match="none may be negative; try 0"):
        epoch_generator(*numbers)
