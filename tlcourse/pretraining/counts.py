"""What counting alone reaches at masked words and next tokens: the baselines a network has to beat.

Probabilities are interpolated as by Witten & Bell (1991), which has nothing to tune: with a context h seen c(h) times
before t(h) different tokens, P(w | h) = (c(h w) + t(h) · P(w | shorter h)) / (c(h) + t(h)); below the unigrams lies the
uniform distribution.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from tlcourse.pretraining.masking import IGNORED

KINDS = ("unigram", "left-trigram", "two-sided")
_CHUNK = 256  # dense distributions held at once


class CountModel:
    """Token counts of documents, asked for the token at a place from those around it.

    kind: "unigram" looks at nothing; "left-trigram" at the two tokens before, then one, then none; "two-sided" at the
    tokens before and after, and below that at the mean of what each says alone. documents: token ids; ends of
    documents are a symbol of their own. Raises ValueError on an unknown kind, an empty corpus, ids outside
    0…vocab_size − 1, a vocabulary whose trigrams do not fit 63 bits.
    """

    def __init__(
        self,
        documents: Iterable[Sequence[int]],
        vocab_size: int,
        kind: Literal["unigram", "left-trigram", "two-sided"],
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; choose one of {', '.join(KINDS)}")
        if not 2 <= vocab_size < 2**21 - 1:
            raise ValueError(f"vocab_size={vocab_size} is outside 2…{2**21 - 2}")
        self.kind, self.vocab_size = kind, vocab_size
        ids = [np.asarray(document, dtype=np.int64) for document in documents]
        if not sum(map(len, ids)):
            raise ValueError("the corpus is empty; give at least one document with tokens")
        for number, document in enumerate(ids):
            _require_ids(document, vocab_size, f"document {number}")
        around = np.concatenate([self._around(document[None], ()) for document in ids])  # (N, 3)
        targets = np.concatenate(ids)  # (N,)
        contexts = self._contexts(around)
        self._tables = {name: _Table(contexts[name], targets, vocab_size) for name in contexts}

    def nats(
        self, input_ids: np.ndarray | Tensor, labels: np.ndarray | Tensor, boundaries: Sequence[int] = ()
    ) -> np.ndarray:
        """−ln P of each labelled token, (n,) float64 in reading order.

        input_ids: (B, T), hidden tokens and all; labels: (B, T), the token asked for at that place, −100 where none.
        What stands at the place itself is not looked at, so a text can be its own labels: for the left trigram that is
        the cross entropy of next tokens. boundaries: special tokens to take for the end of a text. A mask beside the
        place is a token never seen: the shorter context decides. Raises ValueError on shapes that differ, ids out of
        the vocabulary, no label.
        """
        around, targets = self._asked(input_ids, labels, boundaries)
        contexts = self._contexts(around)
        p = {"uniform": np.full(len(targets), 1 / self.vocab_size)}
        for name, table in self._tables.items():
            p[name] = table.smooth(contexts[name], targets, self._lower(name, p))
        return -np.log(p[name])

    def predict(
        self, input_ids: np.ndarray | Tensor, labels: np.ndarray | Tensor, boundaries: Sequence[int] = ()
    ) -> np.ndarray:
        """The likeliest token at each labelled place, (n,) int64 in reading order; the lowest id of equals.

        Arguments and errors as `nats`.
        """
        around, _ = self._asked(input_ids, labels, boundaries)
        distinct, which = np.unique(around, axis=0, return_inverse=True)
        best = [
            self._distributions(distinct[i : i + _CHUNK]).argmax(axis=1)
            for i in range(0, len(distinct), _CHUNK)
        ]
        return np.concatenate(best)[which.reshape(-1)]

    def accuracy(
        self, input_ids: np.ndarray | Tensor, labels: np.ndarray | Tensor, boundaries: Sequence[int] = ()
    ) -> float:
        """Share of the labelled tokens that `predict` finds. Arguments and errors as `nats`."""
        _, targets = self._asked(input_ids, labels, boundaries)
        return float(np.mean(self.predict(input_ids, labels, boundaries) == targets))

    def _distributions(self, around: np.ndarray) -> np.ndarray:
        """(n, V) probabilities for places with these tokens around."""
        contexts = self._contexts(around)
        p = {"uniform": np.full((len(around), self.vocab_size), 1 / self.vocab_size)}
        for name, table in self._tables.items():
            p[name] = table.smooth_all(contexts[name], self._lower(name, p))
        return p[name]

    def _contexts(self, around: np.ndarray) -> dict[str, np.ndarray]:
        """A number (n,) for each context of the kind, shorter ones first. around: (n, 3)."""
        before2, before1, after1 = around.T
        base = self.vocab_size + 1  # the ends of texts are one symbol more
        contexts = {"none": np.zeros(len(around), dtype=np.int64)}
        if self.kind == "left-trigram":
            contexts |= {"before": before1, "before two": before2 * base + before1}
        elif self.kind == "two-sided":
            contexts |= {"before": before1, "after": after1, "both": before1 * base + after1}
        return contexts

    @staticmethod
    def _lower(name: str, p: dict[str, np.ndarray]) -> np.ndarray:
        """What a context falls back on."""
        if name == "both":
            return (p["before"] + p["after"]) / 2
        return p[{"none": "uniform", "before": "none", "after": "none", "before two": "before"}[name]]

    def _asked(
        self, input_ids: np.ndarray | Tensor, labels: np.ndarray | Tensor, boundaries: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tokens around the labelled places, (n, 3), and their labels, (n,)."""
        input_ids, labels = np.asarray(input_ids), np.asarray(labels)
        if input_ids.ndim != 2 or input_ids.shape != labels.shape:
            raise ValueError(
                f"input_ids of shape {input_ids.shape}, labels of shape {labels.shape}; give both as (B, T)"
            )
        labelled = labels != IGNORED
        if not labelled.any():
            raise ValueError(f"all {labels.size} labels are {IGNORED}: nothing to score; use a larger batch")
        _require_ids(input_ids, self.vocab_size, "input_ids")
        _require_ids(labels[labelled], self.vocab_size, "labels")
        return self._around(input_ids, boundaries)[labelled.reshape(-1)], labels[labelled]

    def _around(self, input_ids: np.ndarray, boundaries: Sequence[int]) -> np.ndarray:
        """(B·T, 3): two tokens before each place and one after; beyond a text stands the symbol vocab_size."""
        end = self.vocab_size
        ids = np.where(np.isin(input_ids, list(boundaries)), end, input_ids)  # (B, T)
        wide = np.pad(ids, ((0, 0), (2, 1)), constant_values=end)  # (B, T + 3)
        T = ids.shape[1]
        return np.stack([wide[:, :T], wide[:, 1 : T + 1], wide[:, 3:]], axis=-1).reshape(-1, 3)


class _Table:
    """How often each token stood in each context, in sorted arrays."""

    def __init__(self, contexts: np.ndarray, targets: np.ndarray, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        joint, self.counts = np.unique(contexts * vocab_size + targets, return_counts=True)
        self.joint, self.tokens = joint, joint % vocab_size
        self.contexts, self.starts, self.types = np.unique(
            joint // vocab_size, return_index=True, return_counts=True
        )
        self.totals = np.add.reduceat(self.counts, self.starts)

    def smooth(self, contexts: np.ndarray, targets: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """P(target | context), each (n,), given that of the shorter context."""
        place, seen = _find(self.contexts, contexts)
        types, totals = self.types[place] * seen, self.totals[place] * seen
        place, both = _find(self.joint, contexts * self.vocab_size + targets)
        return np.where(
            seen, (self.counts[place] * both + types * lower) / np.maximum(totals + types, 1), lower
        )

    def smooth_all(self, contexts: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """The same for every token: contexts (n,), lower (n, V)."""
        place, seen = _find(self.contexts, contexts)
        types = (self.types[place] * seen)[:, None]
        p = np.where(seen[:, None], types * lower, lower)
        for row in np.flatnonzero(seen):
            run = slice(self.starts[place[row]], self.starts[place[row]] + self.types[place[row]])
            p[row, self.tokens[run]] += self.counts[run]
        return p / np.where(seen, self.totals[place] + self.types[place], 1)[:, None]


def _find(ordered: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted number stands in the sorted array, and whether it does."""
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return place, ordered[place] == wanted


def _require_ids(ids: np.ndarray, vocab_size: int, what: str) -> None:
    if ids.size and not (ids.min() >= 0 and ids.max() < vocab_size):
        raise ValueError(
            f"{what}: ids run from {ids.min()} to {ids.max()}, the vocabulary from 0 to {vocab_size - 1}"
        )
