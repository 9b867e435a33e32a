"""Seeded orders that stay the same on every platform, Python and numpy."""

import math
import numbers

import numpy as np


def shuffled(n: int, seed: int, purpose: str) -> np.ndarray:
    """Random order of 0…n−1, as (n,) int64.

    numpy promises that the raw bits of PCG64 never change, but not so for `Generator`'s methods: the order
    sorts raw 64-bit draws. Different purposes get independent orders from one seed.
    Raises ValueError on a seed that is not a non-negative integer.
    """
    return np.argsort(_bits(seed, purpose).random_raw(n), kind="stable")


def uniform(shape: tuple[int, ...], seed: int, purpose: str) -> np.ndarray:
    """Random float64 in 0…1 without 1, from the upper 53 of the same raw bits. Raises ValueError as `shuffled` does."""
    bits = _bits(seed, purpose).random_raw(math.prod(shape))
    return ((bits >> np.uint64(11)) * 2.0**-53).reshape(shape)


def _bits(seed: int, purpose: str) -> np.random.PCG64:
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        raise ValueError(f"seed={seed!r} is not a non-negative integer; try seed=0")
    return np.random.PCG64([int(seed), *purpose.encode()])


def cut_sizes(sizes: np.ndarray, shares: dict[str, float]) -> dict[str, slice]:
    """Consecutive runs of groups whose summed sizes come nearest to the asked shares.

    sizes: (G,) items per group in the order to cut; shares: part → share of all items.
    Returns a slice per part, and "train" for what is left. Raises ValueError unless every share is in (0, 1)
    and their sum below 1.
    """
    if any(not 0 < share < 1 for share in shares.values()) or not sum(shares.values()) < 1:
        asked = ", ".join(f"{part}={share}" for part, share in shares.items())
        raise ValueError(
            f"{asked} must each lie between 0 and 1 and leave something to train on; try 0.25 and 0.15"
        )
    ends = np.concatenate([[0], np.cumsum(sizes)])  # (G + 1,)
    parts, start, share_so_far = {}, 0, 0.0
    for part, share in shares.items():
        share_so_far += share
        stop = int(np.argmin(np.abs(ends - share_so_far * ends[-1])))
        parts[part], start = slice(start, stop), stop
    return parts | {"train": slice(start, len(sizes))}
