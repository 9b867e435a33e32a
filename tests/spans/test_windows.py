"""Spans and windows against the tokenizers library, brute force, and a text cut by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tlcourse import assets
from tlcourse.spans import (
    Candidate,
    Window,
    best_span,
    best_spans,
    characters,
    token_span,
    window_target,
    windows,
)

TEXT = "The Bard's 424th birthday, in Washington."


def wordpiece():
    """Words of the alphabet, cut into pieces of one letter after the first."""
    letters = [chr(c) for c in range(33, 127)]
    pieces = ["[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters), "The", "Bard", "##day"]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return tokenizer


def offsets_of(text):
    return wordpiece().encode(text, add_special_tokens=False).offsets


# Windows


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 12))
def test_windows_are_those_of_berts_script(n, size, step):
    step = min(step, size)
    oracle, start = [], 0  # as in run_squad.py of google-research/bert
    while start < n:
        length = min(n - start, size)
        oracle.append((start, start + length))
        if start + length == n:
            break
        start += min(length, step)
    found = windows(n, size=size, step=step, at=3)
    assert [(w.start, w.stop) for w in found] == oracle
    assert {w.at for w in found} == {3}
    assert set().union(*(range(w.start, w.stop) for w in found)) == set(range(n))


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(2, 9), st.integers(1, 9))
def test_windows_are_the_overflow_of_the_tokenizers_library(n, size, step):
    step = min(step, size)
    tokenizer = wordpiece()
    tokenizer.enable_truncation(size + 4, stride=size - step, strategy="only_second")
    encoding = tokenizer.encode("a", "b " * n)
    found = windows(n, size=size, step=step, at=3)
    for ours, theirs in zip(found, [encoding, *encoding.overflowing], strict=True):
        inside = [
            i for i, (s, word) in enumerate(zip(theirs.sequence_ids, theirs.word_ids, strict=True)) if s
        ]
        assert inside == list(range(ours.at, ours.at + ours.stop - ours.start))
        assert [theirs.word_ids[i] for i in inside] == list(range(ours.start, ours.stop))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_tokens": 0, "size": 3, "step": 1}, "n_tokens=0: a context without tokens has no window"),
        ({"n_tokens": 5, "size": 3, "step": 4}, "step=4 with size=3 leaves tokens out; choose 1 … 3"),
        ({"n_tokens": 5, "size": 3, "step": 0}, "step=0 with size=3 leaves tokens out"),
        ({"n_tokens": 5, "size": 0, "step": 0}, "step=0 with size=0 leaves tokens out; choose 1 … 1"),
    ],
)
def test_impossible_windows_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        windows(**arguments)


@pytest.mark.parametrize("arguments", [(2, 2, 0), (-1, 2, 0), (0, 2, -1)])
def test_a_window_without_tokens_is_refused(arguments):
    with pytest.raises(ValueError, match="holds no token; wanted 0 ≤ start < stop and at ≥ 0"):
        Window(*arguments)


# Characters and tokens


@given(st.data())
def test_token_span_covers_the_answer_with_the_fewest_tokens(data):
    offsets = offsets_of(TEXT)
    start = data.draw(st.integers(0, len(TEXT) - 1))
    end = data.draw(st.integers(start + 1, len(TEXT)))
    if not TEXT[start:end].strip():
        with pytest.raises(
            ValueError, match=f"characters {start}…{end} lie in no token; the text ends at 41"
        ):
            token_span(offsets, start, end)
        return
    owner = {c: i for i, (a, b) in enumerate(offsets) for c in range(a, b)}
    touched = [owner[c] for c in range(start, end) if c in owner]
    assert token_span(offsets, start, end) == (min(touched), max(touched))


@given(st.data())
def test_an_answer_of_whole_tokens_comes_back_to_its_characters(data):
    offsets = offsets_of(TEXT)
    first = data.draw(st.integers(0, len(offsets) - 1))
    last = data.draw(st.integers(first, len(offsets) - 1))
    start, end = characters(offsets, first, last)
    assert token_span(offsets, start, end) == (first, last)


def test_an_answer_within_a_token_takes_the_whole_token_and_special_tokens_take_none():
    offsets = [(0, 0), (0, 3), (4, 8), (0, 0)]
    assert token_span(offsets, 5, 6) == (2, 2)
    assert token_span(offsets, 2, 5) == (1, 2)
    assert characters(offsets, 1, 2) == (0, 8)


@pytest.mark.parametrize("span", [(3, 3), (-1, 2), (5, 2)])
def test_an_empty_character_span_is_refused(span):
    with pytest.raises(ValueError, match="are no span; wanted 0 ≤ start < end"):
        token_span([(0, 9)], *span)


def test_a_span_out_of_the_text_or_the_tokens_is_refused():
    with pytest.raises(ValueError, match="characters 20…22 lie in no token; the text ends at 9"):
        token_span([(0, 9)], 20, 22)
    with pytest.raises(ValueError, match="characters 0…1 lie in no token; the text ends at 0"):
        token_span([], 0, 1)
    for span in ((0, 1), (-1, 0), (1, 0)):
        with pytest.raises(ValueError, match=f"tokens {span[0]}…{span[1]} are no span of 1 tokens"):
            characters([(0, 9)], *span)


@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 8), st.data())
def test_targets_point_at_the_answer_where_the_window_holds_all_of_it(n, size, step, data):
    first = data.draw(st.integers(0, n - 1))
    last = data.draw(st.integers(first, n - 1))
    for window in windows(n, size=size, step=min(step, size), at=4):
        tokens = [-1] * 4 + list(range(window.start, window.stop)) + [-1]
        expected = (tokens.index(first), tokens.index(last)) if {first, last} <= set(tokens) else (0, 0)
        assert window_target(window, (first, last)) == expected
        assert window_target(window, None, no_answer=2) == (2, 2)


# Decoding


def brute_force(start, end, inside, max_tokens):
    spans = [
        (float(start[i]) + float(end[j]), -i, -j)
        for i, j in itertools.product(range(len(start)), repeat=2)
        if inside[i] and inside[j] and i <= j < i + max_tokens
    ]
    return [(-i, -j, score) for score, i, j in sorted(spans, reverse=True)]


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32 - 1), st.integers(1, 90))
def test_best_spans_equal_brute_force_ties_included(length, max_tokens, seed, n):
    rng = np.random.default_rng(seed)
    start, end = rng.integers(-2, 3, (2, length))  # few values: many ties
    inside = rng.random(length) < 0.7
    inside[rng.integers(length)] = True
    found = best_spans(start, end, inside=inside, max_tokens=max_tokens, n=n)
    oracle = brute_force(start, end, inside, max_tokens)[:n]
    assert [(c.first, c.last, c.score) for c in found] == oracle


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([0, 1], [0, 1, 2], [True, True]),
            r"\(2,\), end_logits \(3,\) and inside \(2,\) must be vectors of one",
        ),
        (([[0.0]], [[0.0]], [[True]]), "must be vectors of one length"),
        (([0, math.nan], [0, 1], [True, True]), "the logits hold NaN"),
        (([0, 1], [0, math.nan], [True, True]), "the logits hold NaN"),
        (([0, 1], [0, 1], [False, False]), "no token is inside; mark the tokens of the context"),
    ],
)
def test_what_cannot_be_decoded_is_named(arguments, message):
    start, end, inside = arguments
    with pytest.raises(ValueError, match=message):
        best_spans(start, end, inside=inside)


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"n": 0}])
def test_no_length_and_no_number_are_refused(options):
    with pytest.raises(ValueError, match=r"max_tokens=\d+ and n=\d+ must be at least 1"):
        best_spans([0], [0], inside=[True], **options)


@given(st.integers(1, 25), st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_the_answer_of_a_context_is_the_best_over_its_windows(n, size, step, seed):
    rng = np.random.default_rng(seed)
    cut = windows(n, size=size, step=min(step, size), at=3)
    start, end = ([rng.normal(size=3 + w.stop - w.start + 1) for w in cut] for _ in range(2))
    every = [
        (score, i - w.at + w.start, j - w.at + w.start)
        for w, s, e in zip(cut, start, end, strict=True)
        for i, j, score in brute_force(s, e, [False] * 3 + [True] * (w.stop - w.start) + [False], 4)
    ]
    score, first, last = max(every)
    null = min(s[0] + e[0] for s, e in zip(start, end, strict=True))
    assert best_span(cut, start, end, max_tokens=4) == Candidate(first, last, score)
    assert best_span(cut, start, end, max_tokens=4, threshold=null - score - 1e-9) is None
    assert best_span(cut, start, end, max_tokens=4, threshold=null - score + 1e-9) is not None


def test_logits_that_point_at_the_targets_give_back_the_answer():
    offsets = offsets_of(TEXT)
    start = TEXT.index("Washington")
    span = token_span(offsets, start, start + 10)
    cut = windows(len(offsets), size=12, step=2, at=2)
    logits = []
    for position in (0, 1):
        rows = [np.zeros(2 + w.stop - w.start + 1) for w in cut]
        for row, window in zip(rows, cut, strict=True):
            row[window_target(window, span)[position]] = 5
        logits.append(rows)
    found = best_span(cut, *logits, threshold=0)
    assert TEXT[slice(*characters(offsets, found.first, found.last))] == "Washington"
    assert sum(window_target(w, span) != (0, 0) for w in cut) < len(cut)


def test_windows_without_their_logits_are_named():
    cut = windows(5, size=3, step=2, at=1)
    with pytest.raises(ValueError, match="2 windows, 1 start and 2 end vectors; give one each per window"):
        best_span(cut, [[0] * 4], [[0] * 4] * 2)
    with pytest.raises(ValueError, match="0 windows, 0 start and 0 end vectors"):
        best_span([], [], [])
    with pytest.raises(ValueError, match="3 logits do not reach the window's last token, position 3"):
        best_span(cut, [[0] * 3] * 2, [[0] * 3] * 2)


@pytest.mark.assets
def test_answers_survive_the_round_trip_through_minilms_wordpiece():
    tokenizer = Tokenizer.from_file(str(assets.path("minilm", "tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    text = (
        "Château d'Yquem cost $1,000 in 1996–97; naïve buyers (Émile, 東京) paid ﬁve times unbelievably more."
    )
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    for answer in ("Château d'Yquem", "$1,000", "1996–97", "naïve buyers", "東京", "unbelievably more"):
        start = text.index(answer)
        first, last = token_span(offsets, start, start + len(answer))
        assert text[slice(*characters(offsets, first, last))] == answer
