"""The lattice against sums over all segmentations written out, and learning against what it promises."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from tlcourse.tokenizers.pruning import LONGEST_PIECE, Lattice, learn_pieces

PIECES = {piece: i for i, piece in enumerate(["a", "b", "c", "ab", "bc", "abc", "ca"])}
WORDS = {"abc": 3, "abcab": 2, "a": 5, "cabca": 1}
LOG_P = np.log(np.array([0.2, 0.1, 0.15, 0.2, 0.1, 0.05, 0.2]))


def segmentations(word, pieces):
    for cuts in itertools.product((False, True), repeat=len(word) - 1):
        bounds = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(word)]
        parts = [word[a:b] for a, b in itertools.pairwise(bounds)]
        if all(part in pieces for part in parts):
            yield parts


def probability(parts):
    return math.exp(sum(LOG_P[PIECES[part]] for part in parts))


def test_expected_counts_are_those_summed_over_all_segmentations():
    expected = np.zeros(len(PIECES))
    for word, n in WORDS.items():
        ways = list(segmentations(word, PIECES))
        whole = sum(map(probability, ways))
        for parts in ways:
            for part in parts:
                expected[PIECES[part]] += n * probability(parts) / whole
    lattice = Lattice.of(list(WORDS), PIECES)
    found = lattice.expected_counts(LOG_P, np.array(list(WORDS.values()), dtype=float))
    assert np.abs(found - expected).max() < 1e-12 * expected.max()


@pytest.mark.parametrize(("combine", "oracle"), [(np.logaddexp, sum), (np.maximum, max)])
def test_forward_gives_the_sum_and_the_best_over_all_segmentations(combine, oracle):
    lattice = Lattice.of(list(WORDS), PIECES)
    reached = lattice.forward(LOG_P, combine)[lattice.last]
    expected = [math.log(oracle([probability(p) for p in segmentations(word, PIECES)])) for word in WORDS]
    assert np.allclose(reached, expected, rtol=1e-12)
    assert np.allclose(
        lattice.backward(LOG_P)[lattice.first], lattice.forward(LOG_P, np.logaddexp)[lattice.last]
    )


def test_proper_leaves_out_the_whole_word_and_without_leaves_out_pieces():
    lattice = Lattice.of(["abc", "a"], PIECES, proper=True)
    best = lattice.forward(LOG_P, np.maximum)[lattice.last]
    assert best == pytest.approx([max(LOG_P[3] + LOG_P[2], LOG_P[0] + LOG_P[4]), -np.inf])
    kept = np.array([piece not in ("ab", "ca") for piece in PIECES])
    fewer = {piece: i for i, piece in enumerate(p for p, stays in zip(PIECES, kept, strict=True) if stays)}
    small, direct = Lattice.of(list(WORDS), PIECES).without(kept), Lattice.of(list(WORDS), fewer)
    for name in ("begin", "end", "piece", "bounds", "first", "last"):
        assert np.array_equal(getattr(small, name), getattr(direct, name)), name


def test_learned_pieces_keep_all_characters_their_number_and_a_total_of_one():
    words = Counter(["▁low", "▁lower", "▁lowest", "▁newest", "▁newer", "▁wide", "▁wider"] * 4 + ["▁zq"])
    learned = learn_pieces(words, 24)
    pieces = dict(learned)
    assert len(learned) == 24 and {char for word in words for char in word} <= set(pieces)
    assert sum(map(math.exp, pieces.values())) == pytest.approx(1, abs=1e-8)
    assert [score for _, score in learned] == sorted(pieces.values(), reverse=True)
    assert {"▁low", "▁wide"} <= set(pieces)
    assert learned == learn_pieces(words, 24)


def test_where_the_words_have_fewer_pieces_all_are_given():
    assert {piece for piece, _ in learn_pieces({"ab": 1}, 10)} == {"a", "b"}
    assert {piece for piece, _ in learn_pieces({"ab": 2}, 10)} == {"a", "b", "ab"}


def test_a_long_word_neither_underflows_nor_yields_pieces_above_the_longest():
    learned = dict(learn_pieces({"ab" * 500: 2, "c" * LONGEST_PIECE: 3}, 40))
    assert max(map(len, learned)) == LONGEST_PIECE and all(map(math.isfinite, learned.values()))
