"""Pairs of segments: does the second follow (Devlin et al. 2019), are the two in order (Lan et al. 2020)?"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

FOLLOWS = 0  # the second segment goes on where the first ends
BROKEN = 1  # it is of another document (next sentence), or stands before the first (sentence order)

_SPECIALS = 3  # [CLS] first [SEP] second [SEP]

Sentence = Sequence[int]


class Pair(NamedTuple):
    """Token ids of two segments without special tokens, and FOLLOWS or BROKEN."""

    first: list[int]
    second: list[int]
    label: int


class PairBatch(NamedTuple):
    """input_ids, attention_mask, token_type_ids: (B, T) int64; labels: (B,) int64, FOLLOWS or BROKEN."""

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    labels: Tensor


def next_sentence_pairs(
    documents: Sequence[Sequence[Sentence]],
    max_length: int,
    generator: torch.Generator,
    *,
    short_share: float = 0.1,
) -> list[Pair]:
    """Pairs whose second segment follows the first or, with chance one half, comes from another document.

    documents: sentences of token ids. Sentences are gathered up to max_length with its three special tokens, or,
    with chance short_share, up to a length drawn from 2 on; then cut in two between sentences. Sentences that a second
    segment from elsewhere displaces come again in the next pair. Longer pairs lose tokens at either end of the longer
    segment. One sentence left at the end of a document is not used. As in BERT's code, but a random second never comes
    from the same document, and no pair is random merely because a single sentence was left.
    Raises ValueError on fewer than two documents, a document of fewer than two sentences, an empty sentence,
    max_length below 5, short_share outside [0, 1].
    """
    _check(documents, max_length, short_share)
    if len(documents) < 2:
        raise ValueError("one document has no other to draw a random second segment from; give at least two")
    pairs = []
    for number, document in enumerate(documents):
        start = 0
        while (
            stop := _gather(document, start, length := _length(max_length, short_share, generator))
        ) is not None:
            cut = start + 1 + _below(stop - start - 1, generator)
            first = _join(document[start:cut])
            if _below(2, generator):
                other = (number + 1 + _below(len(documents) - 1, generator)) % len(documents)
                second = _from(documents[other], max(1, length - len(first)), generator)
                pairs.append(_fit(first, second, BROKEN, max_length, generator))
                start = cut
            else:
                pairs.append(_fit(first, _join(document[cut:stop]), FOLLOWS, max_length, generator))
                start = stop
    return pairs


def sentence_order_pairs(
    documents: Sequence[Sequence[Sentence]],
    max_length: int,
    generator: torch.Generator,
    *,
    short_share: float = 0.1,
) -> list[Pair]:
    """Pairs of consecutive segments of one document, swapped with chance one half.

    Arguments, lengths and errors as `next_sentence_pairs`; one document is enough.
    """
    _check(documents, max_length, short_share)
    pairs = []
    for document in documents:
        start = 0
        while (stop := _gather(document, start, _length(max_length, short_share, generator))) is not None:
            cut = start + 1 + _below(stop - start - 1, generator)
            segments, label = (_join(document[start:cut]), _join(document[cut:stop])), FOLLOWS
            if _below(2, generator):
                segments, label = segments[::-1], BROKEN
            pairs.append(_fit(*segments, label, max_length, generator))
            start = stop
    return pairs


def collate_pairs(pairs: Sequence[Pair], *, cls_id: int, sep_id: int, pad_id: int) -> PairBatch:
    """[CLS] first [SEP] second [SEP], padded to the longest; token type 1 for the second segment and its [SEP].

    Raises ValueError on no pairs.
    """
    if not pairs:
        raise ValueError("no pairs to collate; give at least one")
    T = max(len(p.first) + len(p.second) for p in pairs) + _SPECIALS
    input_ids = torch.full((len(pairs), T), pad_id, dtype=torch.int64)
    attention_mask, token_type_ids = torch.zeros_like(input_ids), torch.zeros_like(input_ids)
    for row, pair in enumerate(pairs):
        ids = [cls_id, *pair.first, sep_id, *pair.second, sep_id]
        input_ids[row, : len(ids)] = torch.tensor(ids)
        attention_mask[row, : len(ids)] = 1
        token_type_ids[row, len(pair.first) + 2 : len(ids)] = 1
    return PairBatch(input_ids, attention_mask, token_type_ids, torch.tensor([p.label for p in pairs]))


def _length(max_length: int, short_share: float, generator: torch.Generator) -> int:
    room = max_length - _SPECIALS
    if torch.rand((), generator=generator, device=generator.device).item() < short_share:
        return 2 + _below(room - 1, generator)
    return room


def _gather(document: Sequence[Sentence], start: int, length: int) -> int | None:
    """Where a run of sentences ends that has `length` tokens and two sentences at least; None where there are no two.

    It ends with the document where that is shorter.
    """
    if len(document) - start < 2:
        return None
    stop, n_tokens = start, 0
    while stop < len(document) and (n_tokens < length or stop - start < 2):
        n_tokens += len(document[stop])
        stop += 1
    return stop


def _from(document: Sequence[Sentence], length: int, generator: torch.Generator) -> list[int]:
    """Sentences from a random one on, up to length tokens, at least one sentence."""
    found: list[int] = []
    for sentence in document[_below(len(document), generator) :]:
        found += sentence
        if len(found) >= length:
            break
    return found


def _fit(
    first: list[int], second: list[int], label: int, max_length: int, generator: torch.Generator
) -> Pair:
    """The pair cut to size: the longer segment first, both alike where that is not enough."""
    room = max_length - _SPECIALS
    n_first = min(len(first), max(room - len(second), (room + 1) // 2))
    n_second = min(len(second), room - n_first)
    return Pair(_shorten(first, n_first, generator), _shorten(second, n_second, generator), label)


def _shorten(segment: list[int], length: int, generator: torch.Generator) -> list[int]:
    """length consecutive tokens of it, from a random place."""
    start = _below(len(segment) - length + 1, generator)
    return segment[start : start + length]


def _join(sentences: Sequence[Sentence]) -> list[int]:
    return [id for sentence in sentences for id in sentence]


def _below(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator, device=generator.device))


def _check(documents: Sequence[Sequence[Sentence]], max_length: int, short_share: float) -> None:
    if max_length < _SPECIALS + 2:
        raise ValueError(
            f"max_length={max_length} has no room for two segments and {_SPECIALS} special tokens; take at least 5"
        )
    if not 0 <= short_share <= 1:
        raise ValueError(f"short_share={short_share} must lie between 0 and 1; BERT's is 0.1")
    if not len(documents):
        raise ValueError("the corpus is empty; give at least one document")
    for number, sentences in enumerate(documents):
        if len(sentences) < 2:
            raise ValueError(
                f"document {number} has {len(sentences)} sentences and a pair needs two; leave it out or join it to "
                "another"
            )
        if not all(len(sentence) for sentence in sentences):
            raise ValueError(f"document {number} has a sentence without tokens; leave that out")
