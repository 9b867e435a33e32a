"""Electroluminescence images of solar cells, each with the probability of a defect.

The ELPV data set (Buerhop-Lutz et al. 2018; Deitsch et al. 2019), CC BY-NC-SA 4.0: say so beside each figure.
"""

import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from PIL import Image

from tlcourse import assets
from tlcourse.datasets._shuffle import cut_sizes, shuffled


@dataclass(frozen=True)
class SolarCells:
    """2,624 cells in file order.

    images: (N, S, S) uint8; probability: (N,) float64, the experts' 0, ⅓, ⅔ or 1 of a defect;
    kind: (N,) str, "mono" or "poly" crystalline; block: (N,) int64, the contiguous run of files it is in.
    """

    images: np.ndarray
    probability: np.ndarray
    kind: np.ndarray
    block: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64: 1 (defective) where the probability is ⅔ or 1, 0 where it is 0 or ⅓."""
        return (self.probability >= 0.5).astype(np.int64)


@dataclass(frozen=True)
class IndexSplit:
    """Positions, each (n,) int64 ascending, to learn from, to choose with, and to test on."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def solar_cells(size: int = 96, *, n_blocks: int = 20) -> SolarCells:
    """All cells, resized from 300 × 300 to size × size pixels with antialiasing (bilinear, by Pillow).

    The files carry no module id, but neighbours belong together: within one kind, labels correlate .53 between
    adjacent files, .35 ten files apart, .05 two hundred apart. So n_blocks contiguous runs of files stand in for
    modules; a boundary may still cut one in two.
    Resized images are kept in the cache, where it can be written, under a key of size and bytes.
    Raises ValueError on a size outside 8…300, n_blocks outside 1…N or a malformed labels.csv, MissingAssetError where
    the asset is not cached.
    """
    if not 8 <= size <= 300:
        raise ValueError(f"size={size} is outside 8…300 pixels; try 96")
    folder = assets.path("solar-cells")
    rows = [line.split() for line in (folder / "labels.csv").read_text(encoding="utf-8").splitlines()]
    if bad := [number for number, row in enumerate(rows, 1) if len(row) != 3]:
        raise ValueError(
            f"labels.csv, line {bad[0]}: expected file, probability and kind; fetch solar-cells again"
        )
    n = len(rows)
    if not 1 <= n_blocks <= n:
        raise ValueError(f"n_blocks={n_blocks} is outside 1…{n}; try 20")
    return SolarCells(
        images=_resized(folder, [row[0] for row in rows], size),
        probability=np.array([float(row[1]) for row in rows]),
        kind=np.array([row[2] for row in rows]),
        block=np.arange(n, dtype=np.int64) * n_blocks // n,
    )


def solar_split(
    cells: SolarCells,
    seed: int,
    *,
    by: Literal["block", "random"] = "block",
    test: float = 0.25,
    validation: float = 0.15,
) -> IndexSplit:
    """Cells at random into train, validation, test: whole blocks, or, to see how it flatters, single cells.

    test, validation: shares of the cells, met to within half a block.
    Raises ValueError on an unknown `by`, and where a part is empty or has one class only.
    """
    n = len(cells.probability)
    if by not in ("block", "random"):
        raise ValueError(f"by={by!r} is no way to split; choose 'block' or 'random'")
    group = cells.block if by == "block" else np.arange(n)
    names, sizes = np.unique(group, return_counts=True)
    order = shuffled(len(names), seed, f"solar {by}")
    cuts = cut_sizes(sizes[order], {"test": test, "validation": validation})
    parts = {part: np.flatnonzero(np.isin(group, names[order[cut]])) for part, cut in cuts.items()}
    for part, index in parts.items():
        n_defective = int(cells.labels[index].sum())
        if not 0 < n_defective < len(index):
            raise ValueError(
                f"the {part} part has {n_defective} defective and {len(index) - n_defective} sound cells; "
                "both are needed: try another seed or more blocks"
            )
    return IndexSplit(**parts)


def _resized(folder: Path, files: list[str], size: int) -> np.ndarray:
    """The images (N, S, S) uint8, from the cache where they were made before from the same bytes."""
    shape = (len(files), size, size)
    key = hashlib.sha256(f"{size} px, Pillow {PIL.__version__}".encode())
    for file in files:
        key.update(hashlib.sha256((folder / file).read_bytes()).digest())
    kept = folder.parent / "derived" / f"solar-cells-{size}px-{key.hexdigest()[:16]}.npy"
    if kept.exists() and (images := _load(kept, shape)) is not None:
        return images
    images = np.empty(shape, np.uint8)
    for image, file in zip(images, files, strict=True):
        with Image.open(folder / file) as opened:
            image[...] = opened.convert("L").resize((size, size), Image.Resampling.BILINEAR)
    with suppress(OSError):  # a cache that is full or read-only costs time, nothing else
        _save_atomically(kept, images)
    return images


def _load(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array, or None where the file is damaged: it can be made again."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _save_atomically(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, array)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
