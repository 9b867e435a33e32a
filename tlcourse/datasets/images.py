"""Small greyscale images: handwritten digits and Fashion-MNIST."""

import gzip
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tlcourse import assets

_PARTS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class Images:
    """images: (N, H, W) uint8; labels: (N,) int64."""

    images: np.ndarray
    labels: np.ndarray


def digits() -> Images:
    """1,797 handwritten digits of 8 × 8 pixels with values 0…16 (Alpaydin & Kaynak 1998).

    Raises ValueError on a malformed file, MissingAssetError where the asset is not cached.
    """
    table = np.loadtxt(
        assets.path("digits", "digits.csv.gz"), delimiter=",", ndmin=2
    )  # (N, 64 pixels + label)
    if table.shape[1] != 65:
        raise ValueError(f"digits.csv.gz has {table.shape[1]} columns, not 64 pixels and a label")
    return Images(
        images=table[:, :-1].astype(np.uint8).reshape(-1, 8, 8), labels=table[:, -1].astype(np.int64)
    )


def fashion_mnist(part: Literal["train", "test"] = "train") -> Images:
    """Ten kinds of clothes, 28 × 28 pixels with values 0…255 (Xiao et al. 2017).

    part: "train" has 60,000, "test" 10,000 images. Raises ValueError on an unknown part or a malformed file,
    MissingAssetError where the asset is not in the cache.
    """
    if part not in _PARTS:
        raise ValueError(f"unknown part {part!r}; choose one of {', '.join(_PARTS)}")
    images = _idx(f"{_PARTS[part]}-images-idx3-ubyte.gz")
    labels = _idx(f"{_PARTS[part]}-labels-idx1-ubyte.gz")
    if len(images) != len(labels):
        raise ValueError(f"Fashion-MNIST's {part} part has {len(images)} images and {len(labels)} labels")
    return Images(images=images, labels=labels.astype(np.int64))


def _idx(file: str) -> np.ndarray:
    """The array of a gzipped IDX file of bytes: two zeros, 8 (bytes), the rank, then big-endian sizes."""
    with gzip.open(assets.path("fashion-mnist", file)) as stream:
        data = stream.read()
    if data[:3] != b"\x00\x00\x08":
        raise ValueError(f"{file} begins with {data[:3]!r}, not with the IDX mark of bytes")
    rank = data[3]
    shape = np.frombuffer(data, ">u4", count=rank, offset=4).astype(int)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * rank)
    if len(values) != math.prod(shape):
        raise ValueError(f"{file} holds {len(values)} values, its header says {' × '.join(map(str, shape))}")
    return values.reshape(shape).copy()
