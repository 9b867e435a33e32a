"""Learning a Unigram vocabulary: start with too many pieces, drop those whose loss costs least (Kudo 2018).

The model says that a word's pieces are drawn one by one, each with its probability. A word has many segmentations;
its probability is the sum over all, which dynamic programming finds in time linear in the word's edges. An edge is
one piece at one place. The edges of all words lie in flat arrays, so that NumPy takes one position of all at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LONGEST_PIECE = 16  # characters, as in SentencePiece
_SEEDS_PER_PIECE = 10
_KEPT = 0.75
_ROUNDS_OF_EM = 2
# A piece that no segmentation needs keeps this many occurrences: a probability of 0 would have no logarithm.
_FEWEST = 1e-3


@dataclass(frozen=True)
class Lattice:
    """Edges (E,) of all words, ordered by the position they end at: nodes from → to, and the piece between.

    first, last: (N,) the nodes before and after each word; bounds: where a next position begins among the edges.
    """

    begin: np.ndarray
    end: np.ndarray
    piece: np.ndarray
    bounds: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, words: Sequence[str], ids: Mapping[str, int], *, proper: bool = False) -> Lattice:
        """Every piece wherever it stands in the words; with proper=True not where it is the whole word."""
        lengths = np.array([len(word) for word in words])
        last = np.cumsum(lengths + 1) - 1
        first = last - lengths
        edges = [
            (node + i, node + j, piece, j)
            for node, word in zip(first.tolist(), words, strict=True)
            for i in range(len(word))
            for j in range(i + 1, min(len(word), i + LONGEST_PIECE) + 1)
            if (piece := ids.get(word[i:j])) is not None and not (proper and j - i == len(word))
        ]
        begin, end, piece, position = np.array(edges, dtype=np.int64).reshape(-1, 4).T
        order = np.argsort(position, kind="stable")
        bounds = np.searchsorted(position[order], np.arange(1, lengths.max() + 2))
        return cls(begin[order], end[order], piece[order], bounds, first, last)

    def without(self, kept: np.ndarray) -> Lattice:
        """The lattice of the pieces with kept[piece], renumbered 0, 1, …"""
        stays = kept[self.piece]
        number = np.cumsum(kept) - 1
        bounds = np.concatenate([[0], np.cumsum(stays)])[self.bounds]
        return Lattice(
            self.begin[stays], self.end[stays], number[self.piece[stays]], bounds, self.first, self.last
        )

    def forward(self, log_p: np.ndarray, combine: np.ufunc) -> np.ndarray:
        """(nodes,) log probability of reaching each: over all ways with np.logaddexp, by the best with np.maximum."""
        reached = np.full(self.last[-1] + 1, -np.inf)
        reached[self.first] = 0
        for low, high in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            edge = slice(low, high)
            combine.at(reached, self.end[edge], reached[self.begin[edge]] + log_p[self.piece[edge]])
        return reached

    def backward(self, log_p: np.ndarray) -> np.ndarray:
        """(nodes,) log probability of going from each to the end of its word, over all ways."""
        rest = np.full(self.last[-1] + 1, -np.inf)
        rest[self.last] = 0
        for low, high in zip(self.bounds[-2::-1], self.bounds[:0:-1], strict=True):
            edge = slice(low, high)
            np.logaddexp.at(rest, self.begin[edge], rest[self.end[edge]] + log_p[self.piece[edge]])
        return rest

    def expected_counts(self, log_p: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """(pieces,) how often each is used, over all segmentations of words that occur counts (N,) times."""
        reached, rest = self.forward(log_p, np.logaddexp), self.backward(log_p)
        lengths = self.last - self.first + 1
        whole = np.repeat(reached[self.last], lengths)  # the word's log probability, at each of its nodes
        times = np.repeat(counts, lengths)
        share = np.exp(reached[self.begin] + log_p[self.piece] + rest[self.end] - whole[self.begin])
        return np.bincount(self.piece, share * times[self.begin], minlength=len(log_p))


def learn_pieces(words: Mapping[str, int], n_pieces: int) -> list[tuple[str, float]]:
    """n_pieces pieces with their log probabilities, likeliest first, from words with how often each occurs.

    All characters stay. Fewer pieces where the words have fewer. Kudo (2018), as SentencePiece goes about it: rounds
    of expectation maximisation, then the 25 % go without which the words lose least likelihood. Simpler than there:
    expected counts weigh the loss, where SentencePiece counts the best segmentations; probabilities are counts by
    total, without its correction for small counts; and all seeds are substrings of up to 16 characters.
    """
    seeds = _seeds(words, _SEEDS_PER_PIECE * n_pieces)
    names = list(seeds)
    ids = {name: i for i, name in enumerate(names)}
    counts = np.array(list(words.values()), dtype=float)
    log_p = _log_shares(np.array(list(seeds.values()), dtype=float))
    in_words = Lattice.of(list(words), ids)
    in_pieces = Lattice.of(names, ids, proper=True)  # the other ways to write each piece
    left = np.arange(len(names))  # places, among the seeds, of the pieces that are left
    while True:
        for _ in range(_ROUNDS_OF_EM):
            expected = in_words.expected_counts(log_p, counts)
            log_p = _log_shares(np.maximum(expected, _FEWEST))
        if len(left) <= n_pieces:
            break
        best_without = in_pieces.forward(log_p, np.maximum)[in_pieces.last[left]]  # −inf for a character
        loss = np.maximum(expected, _FEWEST) * (log_p - best_without)
        kept = np.zeros(len(left), dtype=bool)
        kept[np.argsort(-loss, kind="stable")[: max(n_pieces, int(_KEPT * len(left)))]] = True
        in_words, in_pieces, left, log_p = (
            in_words.without(kept),
            in_pieces.without(kept),
            left[kept],
            log_p[kept],
        )
    order = np.argsort(-log_p, kind="stable")
    # Ten decimals are the same number to every reader of JSON; the 17 digits of a float are not.
    return [(names[left[i]], round(float(log_p[i]), 10)) for i in order]


def _seeds(words: Mapping[str, int], size: int) -> dict[str, int]:
    """All characters, and the substrings seen twice that cover most text, with how often each occurs."""
    found: Counter[str] = Counter()
    for word, n in words.items():
        for i in range(len(word)):
            for j in range(i + 1, min(len(word), i + LONGEST_PIECE) + 1):
                found[word[i:j]] += n
    characters = {piece: n for piece, n in found.items() if len(piece) == 1}
    longer = [piece for piece, n in found.items() if len(piece) > 1 and n > 1]
    longer.sort(key=lambda piece: (-found[piece] * len(piece), piece))
    return characters | {piece: found[piece] for piece in longer[: max(size - len(characters), 0)]}


def _log_shares(counts: np.ndarray) -> np.ndarray:
    return np.log(counts) - np.log(counts.sum())
