import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import pretraining as slow
from tlcourse.pretraining import IGNORED, KINDS, CountModel
from tlcourse.pretraining import counts as module

V = 6
texts = st.lists(st.lists(st.integers(0, V - 1), max_size=9), min_size=1, max_size=5).filter(any)


@pytest.mark.parametrize("kind", KINDS)
@given(texts, st.lists(st.integers(0, V - 1), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_nats_and_predictions_are_those_of_slow_counting(kind, documents, text):
    oracle, model = slow.Counts(documents, V, kind), CountModel(documents, V, kind)
    text = np.array([text])
    expected = [oracle.nats(text[0].tolist(), i) for i in range(text.size)]
    assert model.nats(text, text) == pytest.approx(expected, rel=1e-9)
    for i, found in enumerate(model.predict(text, text)):
        assert found in oracle.best(text[0].tolist(), i)


@pytest.mark.parametrize("kind", KINDS)
@given(texts, st.lists(st.integers(0, V - 1), min_size=1, max_size=9))
@settings(max_examples=30, deadline=None)
def test_probabilities_are_positive_and_sum_to_one(kind, documents, text):
    model = CountModel(documents, V, kind)
    p = model._distributions(model._around(np.array([text]), ()))
    assert p.shape == (len(text), V) and (p > 0).all()
    assert p.sum(1) == pytest.approx(np.ones(len(text)), rel=1e-12)


def test_only_labelled_places_count_and_hidden_tokens_are_seen_as_they_are():
    documents = [[1, 2, 3, 1, 2, 3, 1, 2, 4]]
    model, oracle = CountModel(documents, V, "two-sided"), slow.Counts(documents, V, "two-sided")
    inputs, labels = torch.tensor([[1, 5, 3], [5, 5, 4]]), torch.full((2, 3), IGNORED)
    labels[0, 1], labels[1, 1] = 2, 2  # 5 is the mask: never seen in training
    expected = [-np.log(oracle.probability([1, 5, 3], 1, 2)), -np.log(oracle.probability([5, 5, 4], 1, 2))]
    assert model.nats(inputs, labels) == pytest.approx(expected)
    assert model.predict(inputs, labels).tolist() == [2, 2]
    labels[1, 1] = 0
    assert model.accuracy(inputs, labels) == 0.5


def test_what_stands_at_the_place_itself_is_not_looked_at():
    documents = [[1, 2, 3, 4, 1, 2, 5]]
    for kind in KINDS:
        model = CountModel(documents, V, kind)
        a, b = np.array([[1, 2, 3, 4]]), np.array([[1, 2, 0, 4]])
        labels = np.full((1, 4), IGNORED)
        labels[0, 2] = 3
        assert model.nats(a, labels) == pytest.approx(model.nats(b, labels))


@pytest.mark.parametrize("kind", ["left-trigram", "two-sided"])
def test_boundaries_stand_for_the_ends_of_a_text(kind):
    model = CountModel([[2, 3, 4], [2, 4, 3], [3, 2, 4]], V, kind)
    plain = np.array([[2, 3, 4]])
    wrapped, labels = np.array([[0, 2, 3, 4, 1, 1]]), np.array([[IGNORED, 2, 3, 4, IGNORED, IGNORED]])
    with_ends = model.nats(wrapped, labels, boundaries=(0, 1))
    if kind == "two-sided":
        assert with_ends == pytest.approx(model.nats(plain, plain))
    assert with_ends[0] == pytest.approx(model.nats(plain, plain)[0])
    assert model.nats(wrapped, labels)[0] != pytest.approx(with_ends[0])
    assert np.array_equal(model.predict(wrapped, labels, (0, 1))[:1], model.predict(plain, plain)[:1])


def test_longer_contexts_help_where_there_is_structure():
    """Each token is the sum of its two neighbours modulo 6 half of the time: only both sides tell."""
    chance = np.random.default_rng(0)

    def text():
        ids = chance.integers(0, V, 400)
        middle = np.arange(1, 399, 2)
        ids[middle] = np.where(chance.random(199) < 0.9, (ids[middle - 1] + ids[middle + 1]) % V, ids[middle])
        return ids

    training, held_out = [text() for _ in range(30)], np.stack([text() for _ in range(4)])
    labels = np.full_like(held_out, IGNORED)
    labels[:, 1:399:2] = held_out[:, 1:399:2]
    accuracy = {kind: CountModel(training, V, kind).accuracy(held_out, labels) for kind in KINDS}
    # Odd and even places share the counts: the rule's .917 is mixed with as many tokens that follow none.
    assert accuracy["two-sided"] > 0.8 > 0.4 > accuracy["left-trigram"] and accuracy["unigram"] < 0.3


def test_predictions_do_not_hang_on_how_many_are_made_at_once(monkeypatch):
    chance = np.random.default_rng(0)
    model, text = CountModel(chance.integers(0, V, (5, 50)), V, "two-sided"), chance.integers(0, V, (3, 40))
    expected = model.predict(text, text)
    monkeypatch.setattr(module, "_CHUNK", 7)
    assert np.array_equal(model.predict(text, text), expected)


def test_large_vocabularies_do_not_overflow():
    V = 2**21 - 2
    model = CountModel([[V - 1, V - 2, V - 3, V - 1, V - 2]], V, "left-trigram")
    text = np.array([[V - 1, V - 2, V - 3]])
    oracle = slow.Counts([[V - 1, V - 2, V - 3, V - 1, V - 2]], V, "left-trigram")
    assert model.nats(text, text) == pytest.approx([oracle.nats(text[0].tolist(), i) for i in range(3)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1]], V, "bigram"), "unknown kind 'bigram'; choose one of unigram, left-trigram, two-sided"),
        (([], V, "unigram"), "the corpus is empty; give at least one document with tokens"),
        (([[], []], V, "unigram"), "the corpus is empty"),
        (([[1], [2, V]], V, "unigram"), "document 1: ids run from 2 to 6, the vocabulary from 0 to 5"),
        (([[-1]], V, "unigram"), "document 0: ids run from -1 to -1"),
        (([[0]], 1, "unigram"), r"vocab_size=1 is outside 2…2097150"),
        (([[0]], 2**21, "unigram"), r"vocab_size=2097152 is outside 2…2097150"),
    ],
)
def test_bad_training_text_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CountModel(*arguments)


@pytest.mark.parametrize(
    ("ids", "labels", "message"),
    [
        ([1, 2], [1, 2], r"input_ids of shape \(2,\), labels of shape \(2,\); give both as \(B, T\)"),
        ([[1, 2]], [[1]], r"input_ids of shape \(1, 2\), labels of shape \(1, 1\)"),
        ([[1, 2]], [[IGNORED] * 2], "all 2 labels are -100: nothing to score"),
        ([[1, V]], [[1, 2]], "input_ids: ids run from 1 to 6"),
        ([[1, 2]], [[1, -1]], "labels: ids run from -1 to 1"),
    ],
)
def test_bad_questions_are_named(ids, labels, message):
    model = CountModel([[1, 2]], V, "left-trigram")
    for ask in (model.nats, model.predict, model.accuracy):
        with pytest.raises(ValueError, match=message):
            ask(np.array(ids), np.array(labels))
