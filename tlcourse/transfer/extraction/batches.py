"""Features of many inputs: batch after batch, in memory or straight to disk."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from tlcourse.transfer.extraction.cache import Entry
from tlcourse.transfer.extraction.capture import FeatureExtractor, Layers
from tlcourse.transfer.extraction.guard import unchanged
from tlcourse.transfer.extraction.naming import digest

# How far two runs of one computation may lie apart: other kernels, other numbers of threads.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def extract(
    model: nn.Module,
    batches: Iterable[Any],
    layers: Layers,
    *,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    cache: str | Path | None = None,
) -> dict[str, Tensor]:
    """Outputs of chosen layers for all inputs: {layer: (N, ...)}, on the CPU, in the order of the batches.

    model, layers, forward: see `FeatureExtractor`; pool in layers where a row would be large. batches: what forward
    takes, one after the other; they are sent to the model's device. The model's parameters, buffers and modes are
    compared before and after (see `unchanged`).

    cache: a folder. There, features are found again by content: of the model with its modules' public attributes (one
    that counts calls makes them new each time), of every batch, of layers and forward.
    The first and the last batch are computed again and must agree, else all are; a file that is damaged is written
    anew. Features then lie on disk and are mapped into memory when they are read, so memory does not grow with N.
    The batches are read once to look, and once more where nothing fits: give a list or a DataLoader, not shuffled.
    An entry is visible when it is complete, and several processes may write at once.

    Raises ValueError where there is no batch, where rows of two batches or layers do not fit together, and where a
    cached run cannot read the batches twice; FloatingPointError for a feature that is nan or infinite; RuntimeError
    for a model that changes itself; CacheError for an entry written for something else; OSError on a full disk.
    """
    extractor = FeatureExtractor(model, layers, forward=forward)
    with unchanged(model):
        if cache is None:
            return _in_memory(extractor, batches)
        return _cached(extractor, batches, Path(cache))


def _in_memory(extractor: FeatureExtractor, batches: Iterable[Any]) -> dict[str, Tensor]:
    chunks: dict[str, list[Tensor]] = {name: [] for name in extractor.reduces}
    for features in _features(extractor, batches):
        for name, rows in features.items():
            chunks[name].append(rows)
    return {name: torch.cat(chunks.pop(name)) for name in list(chunks)}


def _cached(extractor: FeatureExtractor, batches: Iterable[Any], folder: Path) -> dict[str, Tensor]:
    if isinstance(batches, Iterator):
        raise ValueError(
            f"batches is a {type(batches).__name__}, which can be read only once; with a cache give a list or a "
            "DataLoader"
        )
    inputs, first, last = [], None, None
    for last in batches:
        first = last if first is None else first
        inputs.append(digest(last))
    facts = {
        "model": digest(extractor.model),
        "layers": digest(extractor.reduces, extractor.forward),
        "inputs": digest(inputs),
    }
    entry = Entry(folder, facts)
    stored = entry.load() if inputs else None
    if stored is not None and _agree(extractor, stored, first, last):
        return stored
    again: list[str] = []
    with entry.writer() as writer:
        for features in _features(extractor, batches, seen=lambda batch: again.append(digest(batch))):
            writer.add(features)
        if again != inputs:
            raise ValueError(
                "the batches came in another order or with other content when read again; "
                "with a cache, switch shuffling and augmentation off"
            )
        return writer.publish()


def _agree(extractor: FeatureExtractor, stored: dict[str, Tensor], first: Any, last: Any) -> bool:
    """Whether the model, as it is now, gives the stored rows for the first and the last batch."""
    head, tail = next(_features(extractor, [first])), next(_features(extractor, [last]))
    return all(
        _close(stored[name][: len(head[name])], head[name])
        and _close(stored[name][-len(tail[name]) :], tail[name])
        for name in stored
    )


def _close(old: Tensor, new: Tensor) -> bool:
    if old.shape != new.shape or old.dtype != new.dtype:
        return False
    if old.dtype not in TOLERANCE:
        return torch.equal(old, new)
    return bool((old - new).abs().max() <= TOLERANCE[old.dtype] * new.abs().max())


def _features(
    extractor: FeatureExtractor, batches: Iterable[Any], seen: Callable[[Any], None] | None = None
) -> Iterator[dict[str, Tensor]]:
    """Checked features of each batch, on the CPU."""
    device = next((p.device for p in extractor.model.parameters()), torch.device("cpu"))
    kinds: dict[str, tuple] = {}
    for number, batch in enumerate(batches):
        if seen is not None:
            seen(batch)
        features = {name: rows.cpu() for name, rows in extractor(send_to_device(batch, device)).items()}
        _check(features, kinds, number)
        yield features
    if not kinds:
        raise ValueError(
            "there are no batches; give at least one (an iterator that was read before is empty)"
        )


def _check(features: dict[str, Tensor], kinds: dict[str, tuple], number: int) -> None:
    """kinds: shape of a row and type of each layer, noted at the first batch."""
    for name, rows in features.items():
        if rows.is_floating_point() and not (finite := _finite(rows)).all():
            raise FloatingPointError(
                f"layer {name!r}, batch {number}: {int((~finite).sum())} of {len(rows)} rows hold nan or infinite "
                f"features, the first is row {int(finite.int().argmin())}; look at these inputs, or compute in a "
                "wider type"
            )
        kind = (tuple(rows.shape[1:]), rows.dtype)
        if kinds.setdefault(name, kind) != kind:
            (shape, dtype), now = kinds[name], kind
            raise ValueError(
                f"layer {name!r}: rows of shape {shape} {dtype} in batch 0, {now[0]} {now[1]} in batch {number}; "
                f"pool them, as in layers={{{name!r}: mean_tokens}}, or pad to one length"
            )
    counts = {name: len(rows) for name, rows in features.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"batch {number}: layers give {counts} rows; pool to one row per item in layers")


def _finite(rows: Tensor) -> Tensor:
    """(B,) whether all of a row is finite."""
    return torch.isfinite(rows).reshape(len(rows), -1).all(1)
