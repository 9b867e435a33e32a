import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.metrics import distinct, longest_copies, repeated

WORDS = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), max_size=12)
SAMPLES = st.lists(WORDS, min_size=1, max_size=4)


def runs_of(sample, n):
    return [tuple(sample[i : i + n]) for i in range(len(sample)) if i + n <= len(sample)]


@given(SAMPLES, st.integers(1, 4))
def test_distinct_and_repeated_match_counting_one_by_one(samples, n):
    everything = [run for sample in samples for run in runs_of(sample, n)]
    if not everything:
        for share in (distinct, repeated):
            with pytest.raises(
                ValueError, match=f"no sample has {n} words; generate more, or take a smaller n"
            ):
                share(samples, n)
        return
    new = [run for i, run in enumerate(everything) if run not in everything[:i]]
    assert distinct(samples, n) == len(new) / len(everything)
    before = 0
    for sample in samples:
        own = runs_of(sample, n)
        before += sum(run in own[:i] for i, run in enumerate(own))
    assert repeated(samples, n) == before / len(everything)


def test_distinct_looks_across_samples_and_repeated_does_not():
    samples = [["to", "be", "or", "not", "to", "be"], ["to", "be", "or"]]
    assert distinct(samples) == 4 / 7  # to be, be or, or not, not to
    assert repeated(samples, 2) == 1 / 7  # the second "to be" of the first sample
    assert repeated(samples) == 0


@given(SAMPLES, WORDS)
def test_longest_copies_match_comparing_all_runs(samples, training):
    expected = [
        max(n for n in range(len(s) + 1) if n == 0 or set(runs_of(s, n)) & set(runs_of(training, n)))
        for s in samples
    ]
    found = longest_copies(samples, training)
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_longest_copies_take_whole_words_only():
    assert longest_copies([["he", "art"], ["the"]], ["the", "artist"]).tolist() == [0, 1]


@pytest.mark.parametrize("share", [distinct, repeated])
def test_runs_of_no_words_are_refused(share):
    with pytest.raises(ValueError, match=re.escape("n=0 must be at least 1; 2 for pairs of words")):
        share([["a"]], 0)


@pytest.mark.parametrize(
    ("samples", "training", "word"),
    [([["a b"]], ["a"], "a b"), ([["a"]], ["a", " b"], " b"), ([[""]], ["a"], "")],
)
def test_longest_copies_refuse_what_is_no_word(samples, training, word):
    message = f"the word {word!r} is empty or has a blank in it; split texts into words first"
    with pytest.raises(ValueError, match=re.escape(message)):
        longest_copies(samples, training)
