"""Exact match and F1 against torchmetrics' SQuAD, the published definition, and thresholds by trying all."""

import re
import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.text import squad

from tlcourse.metrics import (
    exact_match,
    no_answer_threshold,
    normalise_answer,
    reading_scores,
    token_f1,
)

WORDS = st.sampled_from(
    ["The", "a", "an", "cat", "Cats", "cat's", "1,000", "—", "Éclair", "theory", ".", "\u00a0"]
)
TEXTS = st.lists(WORDS, max_size=5).map(" ".join)


def normalised_by_the_definition(text):
    """The four steps of SQuAD's evaluate-v1.1.py and -v2.0.py, each a loop over characters or words."""
    text = text.lower()
    text = "".join(c for c in text if c not in set(string.punctuation))
    text = re.sub(r"\b(a|an|the)\b", " ", text)
    return " ".join(text.split())


def f1_by_the_definition(prediction, answer):
    given, wanted = (normalised_by_the_definition(t).split() for t in (prediction, answer))
    if not given or not wanted:
        return float(given == wanted)
    common = sum(min(Counter(given)[w], Counter(wanted)[w]) for w in set(given))
    if not common:
        return 0.0
    precision, recall = common / len(given), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def filled(answers):
    """SQuAD 2.0: answers that normalise to nothing are dropped; without any, "" is the answer."""
    return [a for a in answers if normalised_by_the_definition(a)] or [""]


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_scores_equal_torchmetrics_squad(rows):
    rows = [(p, [a for a in given if normalise_answer(a)] or ["cat"]) for p, given in rows]
    rows = [(p if normalise_answer(p) else "dog", given) for p, given in rows]
    preds = [{"prediction_text": p, "id": str(i)} for i, (p, _) in enumerate(rows)]
    target = [
        {"answers": {"answer_start": [0] * len(a), "text": a}, "id": str(i)} for i, (_, a) in enumerate(rows)
    ]
    oracle = squad(preds, target)
    found = reading_scores(
        {str(i): p for i, (p, _) in enumerate(rows)}, {str(i): a for i, (_, a) in enumerate(rows)}
    )
    assert found.exact == pytest.approx(oracle["exact_match"].item(), abs=1e-4)  # theirs is float32
    assert found.f1 == pytest.approx(oracle["f1"].item(), abs=1e-4)
    assert found.no_answer is None


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_scores_equal_the_definition_of_squad_2(prediction, answers):
    wanted = filled(answers)
    exact = max(normalised_by_the_definition(prediction) == normalised_by_the_definition(a) for a in wanted)
    assert exact_match(prediction, answers) == exact
    assert token_f1(prediction, answers) == pytest.approx(
        max(f1_by_the_definition(prediction, a) for a in wanted), abs=1e-12
    )


@given(st.text())
def test_normalisation_equals_the_definition_on_any_text(text):
    assert normalise_answer(text) == normalised_by_the_definition(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("The  cat's\nhat", "cats hat"), ("a.an,the", "aanthe"), ("An A-team", "ateam"), ("theory", "theory")],
)
def test_normalisation_by_hand(text, expected):
    assert normalise_answer(text) == expected


def test_both_kinds_of_question_are_reported_apart():
    answers = {"a": ["the cat"], "b": ["big dog", "dog"], "c": [], "d": []}
    found = reading_scores({"a": "cat", "b": "a big dog house", "c": "", "d": "dog"}, answers)
    assert found.n == 4
    assert found.exact == pytest.approx(50)
    assert found.answerable_exact == pytest.approx(50)
    assert found.answerable_f1 == pytest.approx(100 * (1 + 2 * 2 / 5) / 2)
    assert found.no_answer == pytest.approx(50)
    assert found.f1 == pytest.approx(100 * (1 + 4 / 5 + 1 + 0) / 4)
    assert found.by_question["d"] == (0.0, 0.0)
    alone = reading_scores({"c": ""}, {"c": []})
    assert (alone.answerable_exact, alone.answerable_f1, alone.no_answer) == (None, None, 100)


@pytest.mark.parametrize(
    ("predictions", "answers", "message"),
    [
        ({}, {}, "no questions to score"),
        ({"a": ""}, {"a": [], "b": []}, "no prediction for 1 of the questions, e.g. 'b'; give one each"),
        ({"a": "", "b": ""}, {"a": []}, "a prediction without 1 of the questions, e.g. 'b'"),
    ],
)
def test_predictions_that_do_not_fit_are_named(predictions, answers, message):
    with pytest.raises(ValueError, match=message):
        reading_scores(predictions, answers)


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_threshold_is_the_best_of_all(n, seed):
    rng = np.random.default_rng(seed)
    odds, scores = rng.integers(-2, 3, n).astype(float), rng.random(n)  # few odds: many ties
    answerable = rng.random(n) < 0.6
    totals = {}
    for threshold in [-np.inf, *np.unique(odds)]:
        value = [
            (s if a else 0.0) if o <= threshold else float(not a)
            for o, s, a in zip(odds, scores, answerable, strict=True)
        ]
        totals[threshold] = np.mean(value) * 100
    threshold, best = no_answer_threshold(odds, scores, answerable)
    assert best == pytest.approx(max(totals.values()))
    assert totals[threshold] == pytest.approx(best)
    assert all(totals[t] < best - 1e-9 for t in totals if t < threshold)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], [1.0, 1.0], [True]), r"null_minus_best \(1,\), scores \(2,\) and answerable \(1,\)"),
        (([], [], []), "must be vectors of one length, at least 1"),
        (([np.nan], [1.0], [True]), "null_minus_best or scores hold NaN"),
        (([0.0], [np.nan], [True]), "null_minus_best or scores hold NaN"),
    ],
)
def test_a_threshold_of_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        no_answer_threshold(*arguments)
