import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.pretraining import (
    BROKEN,
    FOLLOWS,
    Pair,
    collate_pairs,
    next_sentence_pairs,
    sentence_order_pairs,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(lengths):
    """Documents whose tokens are all different, so that every token tells document, sentence and place."""
    count = itertools.count()
    return [[[next(count) for _ in range(n)] for n in sentences] for sentences in lengths]


def places(documents):
    """Token → (document, sentence, place in the document)."""
    found = {}
    for d, document in enumerate(documents):
        place = itertools.count()
        for s, sentence in enumerate(document):
            found |= {token: (d, s, next(place)) for token in sentence}
    return found


def consecutive(tokens):
    return tokens == list(range(tokens[0], tokens[0] + len(tokens)))


lengths = st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=7), min_size=2, max_size=5)
sizes, seeds, shares = st.integers(5, 24), st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 1.0])


@given(lengths, sizes, seeds, shares)
@settings(max_examples=200, deadline=None)
def test_next_sentence_pairs_fit_are_runs_of_text_and_say_the_truth(lengths, max_length, seed, short_share):
    documents = numbered(lengths)
    where = places(documents)
    pairs = next_sentence_pairs(documents, max_length, generator(seed), short_share=short_share)
    assert pairs
    for first, second, label in pairs:
        assert first and second and len(first) + len(second) + 3 <= max_length
        assert consecutive(first) and consecutive(second)
        document, last, _ = where[first[-1]]
        assert where[first[0]][0] == document and where[second[0]][0] == where[second[-1]][0]
        if label == FOLLOWS:
            assert where[second[0]][0] == document and where[second[0]][1] > last
        else:
            assert label == BROKEN and where[second[0]][0] != document


@given(lengths, sizes, seeds, shares)
@settings(max_examples=200, deadline=None)
def test_sentence_order_pairs_fit_are_of_one_document_and_their_label_is_right(
    lengths, max_length, seed, short_share
):
    documents = numbered(lengths)
    where = places(documents)
    used = []
    for first, second, label in sentence_order_pairs(
        documents, max_length, generator(seed), short_share=short_share
    ):
        assert first and second and len(first) + len(second) + 3 <= max_length
        assert consecutive(first) and consecutive(second)
        (d1, s1, _), (d2, s2, _) = where[first[-1]], where[second[0]]
        assert d1 == d2 and (s1 < s2 if label == FOLLOWS else where[second[-1]][1] < where[first[0]][1])
        used += first + second
    assert len(used) == len(set(used))  # no text twice
    assert {where[token][0] for token in used} == set(range(len(documents)))


@pytest.mark.parametrize("pairs_of", [next_sentence_pairs, sentence_order_pairs])
def test_uncut_pairs_of_one_document_are_its_text_in_order(pairs_of):
    """With room for everything, the two segments are the whole document, cut between sentences."""
    documents = numbered([[2, 3, 4], [5, 1], [2, 2, 2, 2]])
    where = places(documents)
    for seed in range(30):
        for first, second, label in pairs_of(documents, 64, generator(seed), short_share=0):
            if label == BROKEN and pairs_of is next_sentence_pairs:
                continue
            joined = first + second if label == FOLLOWS else second + first
            document = [token for sentence in documents[where[first[0]][0]] for token in sentence]
            assert joined == document[-len(joined) :]
            assert pairs_of is next_sentence_pairs or joined == document


def test_sentences_that_a_random_second_displaced_come_again():
    """Each sentence of a document but its last is in a first segment or in a second that follows."""
    documents = numbered([[3] * 12, [3] * 12])
    where = places(documents)
    for seed in range(30):
        used = set()
        for first, second, label in next_sentence_pairs(documents, 9 + 3, generator(seed), short_share=0):
            used |= {where[t][:2] for t in first}
            used |= {where[t][:2] for t in second} if label == FOLLOWS else set()
        assert {(d, s) for d in (0, 1) for s in range(11)} <= used


@pytest.mark.parametrize("pairs_of", [next_sentence_pairs, sentence_order_pairs])
def test_half_of_the_pairs_are_broken(pairs_of):
    pairs = pairs_of(numbered([[4] * 10] * 400), 19, generator())
    broken = sum(p.label == BROKEN for p in pairs)
    assert len(pairs) > 1000 and abs(broken - len(pairs) / 2) < 4.5 * math.sqrt(len(pairs)) / 2


def test_random_seconds_come_from_all_other_documents_equally_often():
    documents = numbered([[4] * 4] * 5)
    where = places(documents)
    counts = torch.zeros(5, 5)
    for seed in range(400):
        for first, second, label in next_sentence_pairs(documents, 19, generator(seed)):
            if label == BROKEN:
                counts[where[first[0]][0], where[second[0]][0]] += 1
    off = counts[~torch.eye(5, dtype=torch.bool)]
    expected = counts.sum(1, keepdim=True).expand(5, 5)[~torch.eye(5, dtype=torch.bool)] / 4
    assert counts.diagonal().sum() == 0 and (expected > 50).all()
    assert ((off - expected).abs() < 4.5 * (expected * 0.75).sqrt()).all()


def test_one_pair_in_ten_is_short():
    documents = numbered([[1] * 400] * 20)
    pairs = sentence_order_pairs(documents, 23, generator())
    short = sum(len(p.first) + len(p.second) < 20 for p in pairs)
    n = len(pairs)
    # A short length is 2…20, and 20 itself is not short; the last pair of a document may be.
    assert abs(short - n * 0.1 * 18 / 19) < 4.5 * math.sqrt(n * 0.1) + 20
    assert not any(
        len(p.first) + len(p.second) < 20
        for p in sentence_order_pairs(documents, 23, generator(), short_share=0)
    )


@pytest.mark.parametrize(
    ("a", "b", "kept"), [(10, 3, (5, 3)), (3, 10, (3, 5)), (10, 9, (4, 4)), (2, 3, (2, 3)), (8, 8, (4, 4))]
)
def test_the_longer_segment_is_cut_first_at_either_end(a, b, kept):
    documents, starts = numbered([[a, b]]), set()
    for seed in range(60):
        first, second, label = sentence_order_pairs(documents, 11, generator(seed), short_share=0)[0]
        first, second = (first, second) if label == FOLLOWS else (second, first)
        assert (len(first), len(second)) == kept
        starts.add(first[0])
    assert starts == set(range(a - kept[0] + 1))


@pytest.mark.parametrize("pairs_of", [next_sentence_pairs, sentence_order_pairs])
def test_one_seed_gives_one_list_and_the_documents_stay_unchanged(pairs_of):
    documents = numbered([[4] * 10] * 5)
    first = pairs_of(documents, 19, generator(1))
    assert documents == numbered([[4] * 10] * 5)
    assert pairs_of(documents, 19, generator(1)) == first
    assert pairs_of(documents, 19, generator(2)) != first


@pytest.mark.parametrize("pairs_of", [next_sentence_pairs, sentence_order_pairs])
@pytest.mark.parametrize(
    ("documents", "options", "message"),
    [
        ([], {}, "the corpus is empty; give at least one document"),
        ([[[1], [2]], [[1]]], {}, "document 1 has 1 sentences and a pair needs two; leave it out or join it"),
        ([[[1], [2]], [[1], []]], {}, "document 1 has a sentence without tokens; leave that out"),
        (
            [[[1], [2]]] * 2,
            {"max_length": 4},
            "max_length=4 has no room for two segments and 3 special tokens",
        ),
        ([[[1], [2]]] * 2, {"short_share": 1.5}, "short_share=1.5 must lie between 0 and 1; BERT's is 0.1"),
        ([[[1], [2]]] * 2, {"short_share": float("nan")}, "short_share=nan must lie"),
    ],
)
def test_bad_input_is_named(pairs_of, documents, options, message):
    options = {"max_length": 16, **options}
    with pytest.raises(ValueError, match=message):
        pairs_of(documents, generator=generator(), **options)


def test_a_single_document_has_no_random_next_sentence_but_an_order():
    with pytest.raises(ValueError, match="one document has no other to draw a random second segment from"):
        next_sentence_pairs([[[1], [2]]], 16, generator())
    assert len(sentence_order_pairs([[[1], [2]]], 16, generator())) == 1


def test_batch_has_the_layout_of_bert():
    batch = collate_pairs(
        [Pair([5, 6], [7], FOLLOWS), Pair([8], [9, 10, 11], BROKEN)], cls_id=1, sep_id=2, pad_id=0
    )
    assert batch.input_ids.tolist() == [[1, 5, 6, 2, 7, 2, 0], [1, 8, 2, 9, 10, 11, 2]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1, 1, 0], [1] * 7]
    assert batch.token_type_ids.tolist() == [[0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1]]
    assert batch.labels.tolist() == [0, 1]
    assert all(x.dtype == torch.int64 for x in batch)
    with pytest.raises(ValueError, match="no pairs to collate; give at least one"):
        collate_pairs([], cls_id=1, sep_id=2, pad_id=0)
