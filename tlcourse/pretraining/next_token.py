"""Next token: documents into blocks of one length for training, into windows for a fair score (Radford et al. 2019)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tlcourse.pretraining.masking import IGNORED


class Blocks(NamedTuple):
    """input_ids: (N, T); labels: (N, T), the token that comes next, −100 where no loss is taken.

    The shift is done: the loss compares logits[:, t] with labels[:, t].
    """

    input_ids: Tensor
    labels: Tensor


def pack(documents: Iterable[Sequence[int]], block_size: int, eos_id: int) -> Blocks:
    """All documents as one stream, `eos` before, between and after them, cut into blocks.

    Every token of every document, and each closing `eos`, is a label exactly once. As in GPT-2, the first token of a
    document is predicted from the `eos` before it, and what stands before that in the block stays visible: the model
    learns to disregard it. The last block is filled with `eos`, labels −100.
    Raises ValueError on no documents, an empty document, block_size below 1, a negative id.
    """
    _check_size("block_size", block_size)
    stream = [eos_id]
    for number, document in enumerate(documents):
        _check_document(document, number)
        stream += [*document, eos_id]
    if len(stream) == 1:
        raise ValueError("the corpus is empty; give at least one document")
    n_labels = len(stream) - 1
    n_blocks = -(-n_labels // block_size)
    filled = n_blocks * block_size - n_labels
    ids = torch.tensor(stream, dtype=torch.int64)
    inputs = torch.cat([ids[:-1], ids.new_full((filled,), eos_id)])
    labels = torch.cat([ids[1:], ids.new_full((filled,), IGNORED)])
    return Blocks(inputs.view(n_blocks, block_size), labels.view(n_blocks, block_size))


def windows(document: Sequence[int], block_size: int, eos_id: int, *, stride: int | None = None) -> Blocks:
    """One document as overlapping blocks for scoring: each token is a label once, nothing of others is visible.

    The document begins with `eos` as context; its end is not scored, so that the labels stand for the document's
    bytes and no more. Blocks begin stride tokens apart (by default block_size / 2): beyond the first block each label
    has at least block_size − stride tokens before it. The last block is filled with `eos`, labels −100.
    Raises ValueError on an empty document, block_size below 1, stride outside 1…block_size.
    """
    _check_size("block_size", block_size)
    _check_document(document, 0)
    stride = max(1, block_size // 2) if stride is None else stride
    if not 1 <= stride <= block_size:
        raise ValueError(
            f"stride={stride} is outside 1…block_size={block_size}; try {max(1, block_size // 2)}"
        )
    ids = torch.tensor([eos_id, *document], dtype=torch.int64)
    n = len(document)
    starts = [0]
    while starts[-1] + block_size < n:
        starts.append(starts[-1] + stride)
    inputs = ids.new_full((len(starts), block_size), eos_id)
    labels = ids.new_full((len(starts), block_size), IGNORED)
    scored = 0
    for row, start in enumerate(starts):
        stop = min(start + block_size, n)
        inputs[row, : stop - start] = ids[start:stop]
        labels[row, scored - start : stop - start] = ids[scored + 1 : stop + 1]
        scored = stop
    return Blocks(inputs, labels)


def _check_size(name: str, size: int) -> None:
    if size < 1:
        raise ValueError(f"{name}={size} must be at least 1")


def _check_document(document: Sequence[int], number: int) -> None:
    if not len(document):
        raise ValueError(f"document {number} has no tokens; leave it out")
    if min(document) < 0:
        raise ValueError(f"document {number} has the id {min(document)}; ids begin at 0")
