"""Answers as spans: from characters to tokens, through windows of a long context, and back from logits.

Offsets are what a tokenizer says of each token: (first character, one past the last). Spans of tokens name their
first and their last token, both inclusive, because that is what a span head predicts; spans of characters are
half-open like Python's slices. Shapes: T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Offsets = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Window:
    """Tokens start…stop−1 of a context that were put into one input, beginning at position `at` of it."""

    start: int
    stop: int
    at: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop or self.at < 0:
            raise ValueError(
                f"Window(start={self.start}, stop={self.stop}, at={self.at}) holds no token; "
                "wanted 0 ≤ start < stop and at ≥ 0"
            )


@dataclass(frozen=True)
class Candidate:
    """An answer that a span head proposes: first and last position, inclusive; sum of the two logits."""

    first: int
    last: int
    score: float


def windows(n_tokens: int, *, size: int, step: int, at: int = 0) -> tuple[Window, ...]:
    """Windows of at most `size` tokens that together cover a context of n_tokens; each begins `step` after the last.

    step is the doc_stride of BERT's own script (Devlin et al. 2019); tokenizers' `stride` is size − step. at: the
    position of the context in the input, that is the tokens of [CLS] question [SEP].
    Raises ValueError unless n_tokens ≥ 1 and 1 ≤ step ≤ size: a longer step would leave tokens out.
    """
    if n_tokens < 1:
        raise ValueError(f"n_tokens={n_tokens}: a context without tokens has no window")
    if not 1 <= step <= size:
        raise ValueError(f"step={step} with size={size} leaves tokens out; choose 1 … {max(size, 1)}")
    found, start = [], 0
    while True:
        stop = min(start + size, n_tokens)
        found.append(Window(start, stop, at))
        if stop == n_tokens:
            return tuple(found)
        start += step


def token_span(offsets: Offsets, start: int, end: int) -> tuple[int, int]:
    """First and last token that share a character with start…end−1.

    An answer may begin or end within a token ("1990" in "1990s"): then the whole token belongs to it. Tokens
    without characters, as special ones, never do. Raises ValueError on an empty span and where no token shares a
    character with it: it lies in blanks, or was cut off with the rest of the text.
    """
    if not 0 <= start < end:
        raise ValueError(f"characters {start}…{end} are no span; wanted 0 ≤ start < end")
    touched = [i for i, (first, stop) in enumerate(offsets) if max(first, start) < min(stop, end)]
    if not touched:
        raise ValueError(f"characters {start}…{end} lie in no token; the text ends at {_end(offsets)}")
    return touched[0], touched[-1]


def characters(offsets: Offsets, first: int, last: int) -> tuple[int, int]:
    """The characters start…end−1 that tokens first…last cover. Raises ValueError on a span out of the tokens."""
    if not 0 <= first <= last < len(offsets):
        raise ValueError(f"tokens {first}…{last} are no span of {len(offsets)} tokens")
    return offsets[first][0], offsets[last][1]


def window_target(window: Window, span: tuple[int, int] | None, *, no_answer: int = 0) -> tuple[int, int]:
    """Where in a window's input the answer begins and ends: what a span head is trained towards.

    span: first and last token of the context, None for a question without an answer. A window that does not hold
    the whole answer is one without an answer, and points at position no_answer, which is [CLS].
    """
    if span is None or not (window.start <= span[0] and span[1] < window.stop):
        return no_answer, no_answer
    shift = window.at - window.start
    return span[0] + shift, span[1] + shift


def best_spans(
    start_logits: Sequence[float],
    end_logits: Sequence[float],
    *,
    inside: Sequence[bool],
    max_tokens: int = 30,
    n: int = 20,
) -> tuple[Candidate, ...]:
    """The n spans with the largest start + end logit, best first; ties go to the earlier, then the shorter one.

    start_logits, end_logits: (T,) floats; inside: (T,) true at tokens of the context. Only spans are considered that
    begin and end inside, do not end before they begin, and have at most max_tokens tokens; there are fewer
    than n where the context allows fewer. Raises ValueError on lengths that differ, on NaN, where nothing is inside.
    """
    start, end, inside = (np.asarray(x) for x in (start_logits, end_logits, inside))
    if not start.shape == end.shape == inside.shape or start.ndim != 1:
        raise ValueError(
            f"start_logits {start.shape}, end_logits {end.shape} and inside {inside.shape} must be vectors "
            "of one length"
        )
    if np.isnan(start).any() or np.isnan(end).any():
        raise ValueError("the logits hold NaN; a span head that trained has none, so lower the learning rate")
    if max_tokens < 1 or n < 1:
        raise ValueError(f"max_tokens={max_tokens} and n={n} must be at least 1")
    (positions,) = np.nonzero(inside)
    if not len(positions):
        raise ValueError("no token is inside; mark the tokens of the context")
    scores = start[positions].astype(np.float64)[:, None] + end[positions][None, :]  # (C, C) first × last
    length = positions[None, :] - positions[:, None] + 1
    allowed = (length >= 1) & (length <= max_tokens)
    rows, columns = np.nonzero(allowed)  # in the order of ties: earlier start, then shorter
    order = np.argsort(-scores[rows, columns], kind="stable")[:n]
    return tuple(
        Candidate(int(positions[rows[i]]), int(positions[columns[i]]), float(scores[rows[i], columns[i]]))
        for i in order
    )


def best_span(
    windows: Sequence[Window],
    start_logits: Sequence[Sequence[float]],
    end_logits: Sequence[Sequence[float]],
    *,
    max_tokens: int = 30,
    threshold: float = math.inf,
    no_answer: int = 0,
) -> Candidate | None:
    """The answer of a whole context out of all its windows, in tokens of the context; None: no answer.

    start_logits, end_logits: a vector a window, over the positions of its input. The best span is the one with the
    largest sum of logits over all windows. There is no answer where the null score, start + end logit at position
    no_answer, exceeds it by more than threshold; of the windows' null scores the smallest counts, since a window
    that holds the answer denies the others (Devlin et al. 2019). The default threshold always answers, as SQuAD 1.1
    asks.
    Raises ValueError as `best_spans` does, and unless there is one vector a window that reaches its last token.
    """
    if not len(windows) == len(start_logits) == len(end_logits) or not len(windows):
        raise ValueError(
            f"{len(windows)} windows, {len(start_logits)} start and {len(end_logits)} end vectors; "
            "give one each per window, at least one"
        )
    best, null = None, math.inf
    for window, start, end in zip(windows, start_logits, end_logits, strict=True):
        stop = window.at + window.stop - window.start
        if len(start) < stop:
            raise ValueError(f"{len(start)} logits do not reach the window's last token, position {stop - 1}")
        inside = np.zeros(len(start), dtype=bool)
        inside[window.at : stop] = True
        top = best_spans(start, end, inside=inside, max_tokens=max_tokens, n=1)[0]
        null = min(null, float(start[no_answer]) + float(end[no_answer]))
        if best is None or top.score > best.score:
            shift = window.start - window.at
            best = Candidate(top.first + shift, top.last + shift, top.score)
    return None if null - best.score > threshold else best


def _end(offsets: Offsets) -> int:
    return max((stop for _, stop in offsets), default=0)
