"""Learned merges against a loop that counts everything anew in each round."""

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.tokenizers.merges import learn_merges, replace_pair


def slow(words, alphabet, vocab_size):
    rows = {word: list(word) for word in words}
    tokens, merges = list(alphabet), []
    while len(tokens) < vocab_size:
        counts = Counter()
        for word, n in words.items():
            for pair in pairwise(rows[word]):
                counts[pair] += n
        rank = {pair: (-n, tokens.index(pair[0]), tokens.index(pair[1])) for pair, n in counts.items()}
        best = min(rank, key=rank.get, default=None)
        if best is None or counts[best] < 2:
            break
        new = "".join(best)
        tokens += [] if new in tokens else [new]
        merges += [] if best in merges else [best]
        for word, row in rows.items():
            ids = [tokens.index(t) for t in row]
            pair = (tokens.index(best[0]), tokens.index(best[1]))
            rows[word] = [tokens[i] for i in replace_pair(ids, pair, tokens.index(new))]
    return tokens, merges


@settings(deadline=None)
@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=9).map(tuple), st.integers(1, 5), max_size=8),
    st.integers(3, 30),
)
def test_tokens_and_merges_are_those_of_the_slow_obvious_loop(words, vocab_size):
    assert learn_merges(words, "abc", vocab_size) == slow(words, "abc", vocab_size)


def test_sennrich_s_example_and_its_ties():
    words = {tuple("low"): 5, tuple("lower"): 2, tuple("newest"): 6, tuple("widest"): 3}
    _, merges = learn_merges(words, sorted(set("lowernewestwidest")), 15)
    assert merges[:4] == [("e", "s"), ("es", "t"), ("l", "o"), ("lo", "w")]


def test_pairs_of_one_letter_are_joined_from_the_left():
    assert replace_pair([1, 1, 1, 2, 1, 1], (1, 1), 9) == [9, 1, 2, 9]
    assert learn_merges({("a",) * 4: 2}, "a", 3) == (["a", "aa", "aaaa"], [("a", "a"), ("aa", "aa")])


def test_two_pairs_that_make_one_token_are_two_merges():
    words = {("ab", "c"): 5, ("a", "bc"): 4}
    tokens, merges = learn_merges(words, ["a", "b", "c", "ab", "bc"], 9)
    assert (tokens[5:], merges) == (["abc"], [("ab", "c"), ("a", "bc")])
