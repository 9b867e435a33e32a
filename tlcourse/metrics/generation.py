"""Generated text by what it repeats: itself, and the text that the model was trained on."""

from collections.abc import Iterator, Sequence

import numpy as np

Words = Sequence[str]


def distinct(samples: Sequence[Words], n: int = 2) -> float:
    """Share of different runs of n words among all runs of all samples, 0…1 (Li et al. 2016).

    It falls with the amount of text: compare samples of one size. Raises ValueError on n below 1 and where no sample
    has n words.
    """
    runs = [run for sample in samples for run in _runs(sample, n)]
    _require_runs(runs, n)
    return len(set(runs)) / len(runs)


def repeated(samples: Sequence[Words], n: int = 4) -> float:
    """Share of runs of n words that the same sample had before, 0…1: 0 for text that never turns in circles.

    Raises as `distinct`.
    """
    runs = [list(_runs(sample, n)) for sample in samples]
    total = sum(map(len, runs))
    _require_runs(range(total), n)
    return sum(len(own) - len(set(own)) for own in runs) / total


def longest_copies(samples: Sequence[Words], training: Words) -> np.ndarray:
    """Words in the longest run of each sample that stands in the training text too, (N,) int64.

    Text of people has such runs as well: compare with theirs. Raises ValueError on empty words and on words
    with a blank in them, which would hide where one ends.
    """
    for words in (*samples, training):
        strange = [word for word in words if not word or " " in word]
        if strange:
            raise ValueError(
                f"the word {strange[0]!r} is empty or has a blank in it; split texts into words first"
            )
    text = f" {' '.join(training)} "
    return np.array([_longest(sample, text) for sample in samples], dtype=np.int64)


def _longest(sample: Words, text: str) -> int:
    """A window over the sample grows to the right, and shrinks from the left where its words are not in the text."""
    longest = first = 0
    for last in range(1, len(sample) + 1):
        while first < last and f" {' '.join(sample[first:last])} " not in text:
            first += 1
        longest = max(longest, last - first)
    return longest


def _runs(sample: Words, n: int) -> Iterator[tuple[str, ...]]:
    if n < 1:
        raise ValueError(f"n={n} must be at least 1; 2 for pairs of words")
    return (tuple(sample[i : i + n]) for i in range(len(sample) - n + 1))


def _require_runs(runs: Sequence, n: int) -> None:
    if not len(runs):
        raise ValueError(f"no sample has {n} words; generate more, or take a smaller n")
