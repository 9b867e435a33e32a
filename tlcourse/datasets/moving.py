"""Videos of real handwritten digits that move at a constant velocity and bounce off the borders.

As Moving MNIST does (Srivastava et al. 2015), but with one digit to a clip, so that what is seen, and what moves
how, are each one label.
"""

import math
from dataclasses import dataclass

import numpy as np

from tlcourse.datasets._shuffle import cut_sizes, shuffled, uniform
from tlcourse.datasets.images import digits
from tlcourse.datasets.solar import IndexSplit

N_IMAGES = 1797
N_WRITERS = 13


@dataclass(frozen=True)
class MovingDigits:
    """N clips of T frames.

    frames: (N, T, 1, H, W) float32 in 0…1; labels: (N,) int64, the digit; image: (N,) int64, which of the 1,797
    handwritten ones; positions: (N, T, 2) float64, its upper left corner (row, column) in pixels; velocity: (N, 2)
    float64, pixels a frame (down, right), before the first frame's next.
    """

    frames: np.ndarray
    labels: np.ndarray
    image: np.ndarray
    positions: np.ndarray
    velocity: np.ndarray


def digit_split(seed: int, *, test: float = 0.25, validation: float = 0.15) -> IndexSplit:
    """Positions of the 1,797 handwritten digits at random into train, validation, test: whole runs of the file.

    Thirteen people wrote them (Alpaydin & Kaynak 1998), and the file does not say who wrote which. But it goes from
    one to the next: of one digit, images at most twenty places apart differ by 28 (root of the summed squares) on
    average, by 33 from fifty to a hundred places, and by 36 and 37 beyond. So thirteen runs of 138 stand in for people.
    Raises ValueError where a part is left without a run.
    """
    block = writer_blocks()
    names, sizes = np.unique(block, return_counts=True)
    order = shuffled(len(names), seed, "digit writers")
    cuts = cut_sizes(sizes[order], {"test": test, "validation": validation})
    parts = {part: np.flatnonzero(np.isin(block, names[order[cut]])) for part, cut in cuts.items()}
    if empty := [part for part, index in parts.items() if not len(index)]:
        raise ValueError(
            f"test={test} and validation={validation} of {N_WRITERS} runs leave the {empty[0]} part none; "
            "try 0.25 and 0.15"
        )
    return IndexSplit(**parts)


def writer_blocks() -> np.ndarray:
    """(1797,) int64: which of the thirteen runs of the file each handwritten digit is in."""
    return np.arange(N_IMAGES, dtype=np.int64) * N_WRITERS // N_IMAGES


def moving_digits(
    index: np.ndarray | None = None,
    *,
    n_clips: int = 1000,
    n_frames: int = 8,
    size: int = 16,
    scale: int = 1,
    speed: tuple[float, float] = (0.5, 2.0),
    seed: int = 0,
) -> MovingDigits:
    """Clips of the handwritten digits at these positions, by default of all; each is used as often as the others.

    size: pixels of a frame's side; scale: pixels of the frame for one of the digit's; speed: least and largest, pixels
    a frame; start and direction are random. Between pixels the digit is interpolated linearly.
    Raises ValueError on positions outside the data, fewer than two frames, a digit that does not fit into the frame,
    speeds that do not rise from above 0 to the room that there is; MissingAssetError where the digits are not cached.
    """
    index = np.arange(N_IMAGES) if index is None else np.asarray(index)
    room = _checked(index, n_clips, n_frames, size, scale, speed)
    place = shuffled(len(index), seed, "moving digits")[np.arange(n_clips) % len(index)]
    chances = uniform((n_clips, 4), seed, "motion")
    length = speed[0] + (speed[1] - speed[0]) * chances[:, 0]
    angle = 2 * math.pi * chances[:, 1]
    velocity = length[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)  # (N, 2)
    positions = bounced(room * chances[:, 2:], velocity, n_frames, room)
    found = digits()
    image = index[place].astype(np.int64)
    glyphs = np.kron(found.images[image] / 16, np.ones((1, scale, scale)))  # (N, side, side)
    return MovingDigits(
        frames=rendered(glyphs, positions, size)[:, :, None],
        labels=found.labels[image],
        image=image,
        positions=positions,
        velocity=velocity,
    )


def bounced(start: np.ndarray, velocity: np.ndarray, n_frames: int, room: float) -> np.ndarray:
    """Where a point of each start (N, 2) is in each frame, (N, T, 2), reflected at 0 and at room."""
    time = np.arange(n_frames)[:, None]
    straight = start[:, None] + velocity[:, None] * time  # (N, T, 2)
    return room - np.abs(np.mod(straight, 2 * room) - room)


def rendered(glyphs: np.ndarray, positions: np.ndarray, size: int) -> np.ndarray:
    """Glyphs (N, side, side), in 0…1, at positions (N, T, 2) in black frames: (N, T, size, size) float32.

    A pixel of the glyph that lies between pixels of the frame is shared by them in proportion.
    """
    pixels = np.arange(size)[:, None] - np.arange(glyphs.shape[1])  # (size, side)
    rows, columns = (
        np.clip(1 - np.abs(pixels - positions[:, :, axis, None, None]), 0, None) for axis in (0, 1)
    )
    return (rows @ glyphs[:, None] @ columns.swapaxes(2, 3)).astype(np.float32)


def _checked(
    index: np.ndarray, n_clips: int, n_frames: int, size: int, scale: int, speed: tuple[float, float]
) -> float:
    """The room that a digit has to move in, pixels a side."""
    whole = index.ndim == 1 and np.issubdtype(index.dtype, np.integer) and len(index) > 0
    if not whole or index.min() < 0 or index.max() >= N_IMAGES:
        raise ValueError(
            f"index of {index.dtype} {index.shape} must hold positions 0…{N_IMAGES - 1} of digits; "
            "try digit_split(0).train"
        )
    numbers = {"n_clips": (n_clips, 1), "n_frames": (n_frames, 2), "size": (size, 1), "scale": (scale, 1)}
    for name, (value, least) in numbers.items():
        if type(value) is not int or value < least:
            raise ValueError(f"{name}={value!r} must be a whole number of at least {least}")
    room = size - 8 * scale
    if room < 1:
        raise ValueError(
            f"a digit of {8 * scale} pixels has no room to move in size={size}; try {16 * scale}"
        )
    if not 0 < speed[0] <= speed[1] <= room:
        raise ValueError(f"speed={speed} must rise from above 0 to at most {room}, the room of the digit")
    return float(room)
