"""Tags and spans: round trips, the library tokenizers' word ids, and every wrong input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.spans import NO_TAG, Span, spans_of_tags, spread_tags, tags_of_spans, words

CLASSES = ("O", "B-person", "I-person", "B-place", "I-place")


@st.composite
def spans_of_words(draw):
    """A number of words, and disjoint spans of them."""
    cuts = sorted(draw(st.sets(st.integers(0, 20), max_size=8)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return 21, [Span(a, b, draw(st.sampled_from(["person", "place"]))) for a, b in pairs]


@given(spans_of_words())
def test_tags_give_back_the_spans_in_both_modes(case):
    n, spans = case
    places = [(2 * i, 2 * i + 1) for i in range(n)]
    tags = tags_of_spans(places, [Span(2 * s.start, 2 * s.end - 1, s.type) for s in reversed(spans)])
    assert spans_of_tags(tags) == spans
    assert spans_of_tags(tags, "strict") == spans


def test_neighbours_of_one_type_stay_apart():
    assert tags_of_spans([(0, 1), (2, 3)], [Span(0, 1, "x"), Span(2, 3, "x")]) == ["B-x", "B-x"]


@pytest.mark.parametrize(
    ("tags", "default", "strict"),
    [
        (["O", "I-a", "I-a"], [Span(1, 3, "a")], []),
        (["B-a", "I-b", "I-b"], [Span(0, 1, "a"), Span(1, 3, "b")], [Span(0, 1, "a")]),
        (["I-a", "B-a", "I-a"], [Span(0, 1, "a"), Span(1, 3, "a")], [Span(1, 3, "a")]),
        (["B-a", "O", "I-a"], [Span(0, 1, "a"), Span(2, 3, "a")], [Span(0, 1, "a")]),
        ([], [], []),
    ],
)
def test_the_modes_differ_on_what_continues_nothing(tags, default, strict):
    assert spans_of_tags(tags) == default
    assert spans_of_tags(tags, "strict") == strict


def test_a_word_that_a_span_touches_belongs_to_it():
    text = "the Manhattan-bound bus"
    assert tags_of_spans(words(text), [Span(4, 13, "place")]) == ["O", "B-place", "O"]


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([Span(3, 4, "x")], "x at characters 3…4 holds no word"),
        ([Span(0, 2, "x"), Span(1, 6, "y")], "y at characters 1…6 claims word 0, which is B-x already"),
    ],
)
def test_spans_that_fit_no_words_are_named(spans, message):
    with pytest.raises(ValueError, match=message):
        tags_of_spans([(0, 3), (4, 8)], spans)


@pytest.mark.parametrize("tag", ["B", "I-", "E-x", "x", "", "b-x"])
def test_a_tag_that_is_none_is_named(tag):
    with pytest.raises(ValueError, match=f"tag {tag!r} at word 1 is not O, B-type or I-type"):
        spans_of_tags(["O", tag])


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="unknown mode 'lenient'; choose default or strict"):
        spans_of_tags(["O"], "lenient")


@pytest.mark.parametrize("arguments", [(2, 2, "x"), (3, 2, "x"), (-1, 2, "x"), (1, 1, "")])
def test_an_empty_span_is_refused(arguments):
    with pytest.raises(ValueError, match="is empty; wanted 0 ≤ start < end"):
        Span(*arguments)


def test_a_span_without_type_is_refused():
    with pytest.raises(ValueError, match="span 0…1 has no type"):
        Span(0, 1, "")


def test_the_first_piece_of_each_word_carries_its_tag():
    found = spread_tags(
        [None, 0, 1, 1, 2, 2, None, 0], ["B-place", "I-place", "O"], CLASSES
    )  # the second 0 is a word anew, after a special token
    assert found == [NO_TAG, 3, 4, NO_TAG, 0, NO_TAG, NO_TAG, 3]


def test_pieces_of_words_by_the_tokenizers_library_get_one_target_a_word():
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"[UNK]": 0, "Bos": 1, "##ton": 2, "is": 3, "big": 4}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    encoding = tokenizer.encode(["Boston", "is", "big"], is_pretokenized=True)
    assert encoding.tokens == ["Bos", "##ton", "is", "big"]
    assert spread_tags(encoding.word_ids, ["B-place", "O", "O"], CLASSES) == [3, NO_TAG, 0, 0]


def test_targets_without_a_class_or_a_word_are_named():
    with pytest.raises(ValueError, match="tag 'B-thing' is none of the classes O, B-person"):
        spread_tags([0], ["B-thing"], CLASSES)
    for word in (1, -1):
        with pytest.raises(ValueError, match=f"a token belongs to word {word}, but there are 1 tags"):
            spread_tags([word], ["O"], CLASSES)
