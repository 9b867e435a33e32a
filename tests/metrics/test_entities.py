"""Entity scores against seqeval in both of its modes."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities

from tlcourse.metrics import EntityScore, entity_scores
from tlcourse.spans import spans_of_tags

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-M-X", "I-M-X"]
SENTENCES = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=12),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150)
@given(SENTENCES, st.sampled_from(["default", "strict"]))
def test_scores_equal_seqeval_by_type_and_together(rows, mode):
    truth, predictions = ([[pair[side] for pair in row] for row in rows] for side in (0, 1))
    options = {"mode": "strict", "scheme": IOB2} if mode == "strict" else {}
    found = entity_scores(truth, predictions, mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of undefined scores, which it sets to zero as we do
        if found["all"].support + found["all"].predicted:  # seqeval cannot report on nothing
            report = classification_report(truth, predictions, output_dict=True, zero_division=0, **options)
            for name, theirs in report.items():
                if name in ("macro avg", "weighted avg"):
                    continue
                ours = found["all" if name == "micro avg" else name]
                scores = (ours.precision, ours.recall, ours.f1, ours.support)
                expected = [theirs[k] for k in ("precision", "recall", "f1-score", "support")]
                assert scores == pytest.approx(expected)
            assert report.keys() - {"micro avg", "macro avg", "weighted avg"} == found.keys() - {"all"}


@given(st.lists(st.sampled_from(TAGS), min_size=1, max_size=14))
def test_spans_equal_those_of_seqeval(tags):
    default = [(kind, start, end + 1) for kind, start, end in get_entities(tags)]
    assert [(s.type, s.start, s.end) for s in spans_of_tags(tags)] == default
    strict = [(e.tag, e.start, e.end) for e in Entities([tags], IOB2).entities[0]]
    assert [(s.type, s.start, s.end) for s in spans_of_tags(tags, "strict")] == strict


def test_a_wrong_end_and_a_wrong_type_are_both_wrong():
    truth = [["B-a", "I-a", "O", "B-b"], ["B-a"]]
    found = entity_scores(truth, [["B-a", "O", "O", "B-b"], ["B-b"]])
    assert found["a"] == EntityScore(0.0, 0.0, 0.0, support=2, predicted=1)
    assert found["b"] == EntityScore(0.5, 1.0, pytest.approx(2 / 3), support=1, predicted=2)
    assert found["all"] == EntityScore(pytest.approx(1 / 3), pytest.approx(1 / 3), pytest.approx(1 / 3), 3, 3)


def test_nothing_found_and_nothing_there_score_zero():
    assert entity_scores([["O"]], [["O"]]) == {"all": EntityScore(0.0, 0.0, 0.0, 0, 0)}


@pytest.mark.parametrize(
    ("truth", "predictions", "message"),
    [
        ([["O"]], [], "1 sentences of truth and 0 of predictions"),
        ([], [], "give both for the same, at least 1"),
        ([["O"], ["O", "O"]], [["O"], ["O"]], "sentence 1 has 2 words in the truth and 1 in the predictions"),
        ([["B-all"]], [["O"]], 'a type is called "all"'),
        ([["X"]], [["O"]], "tag 'X' at word 0 is not O"),
    ],
)
def test_what_cannot_be_scored_is_named(truth, predictions, message):
    with pytest.raises(ValueError, match=message):
        entity_scores(truth, predictions)
