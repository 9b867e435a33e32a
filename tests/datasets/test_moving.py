"""Moving digits: motion against a slow bouncing loop, drawing against one pixel at a time, parts against each other."""

import numpy as np
import pytest

from tlcourse import datasets
from tlcourse.datasets import MovingDigits, digit_split, moving, moving_digits
from tlcourse.datasets._shuffle import uniform
from tlcourse.datasets.moving import bounced, rendered, writer_blocks


@pytest.fixture(scope="module")
def clips():
    return moving_digits(n_clips=200, seed=3)


@pytest.mark.assets
def test_clips_are_videos_of_black_frames_with_one_digit(clips):
    assert isinstance(clips, MovingDigits)
    assert clips.frames.shape == (200, 8, 1, 16, 16) and clips.frames.dtype == np.float32
    assert clips.frames.min() == 0 and 0.9 < clips.frames.max() <= 1
    found = datasets.digits()
    assert np.array_equal(clips.labels, found.labels[clips.image])
    ink = found.images[clips.image].sum((1, 2)) / 16
    # Sharing a pixel among its neighbours loses no ink, and no part of a digit leaves the frame.
    assert clips.frames.sum((2, 3, 4)) == pytest.approx(np.repeat(ink[:, None], 8, 1), rel=1e-5)


@pytest.mark.assets
def test_the_centre_of_the_ink_moves_as_the_position_says(clips):
    found = datasets.digits()
    glyph = found.images[clips.image] / 16  # (N, 8, 8)
    for axis in (0, 1):
        places, own = np.arange(16), np.arange(8)
        ink = clips.frames[:, :, 0].sum(3 - axis)  # (N, T, 16)
        centre = (ink * places).sum(2) / ink.sum(2)
        inside = (glyph.sum(2 - axis) * own).sum(1) / glyph.sum((1, 2))
        assert centre == pytest.approx(clips.positions[:, :, axis] + inside[:, None], abs=1e-4)


@pytest.mark.assets
def test_a_digit_at_whole_pixels_is_itself(monkeypatch):
    still = moving_digits(np.array([5]), n_clips=1, n_frames=2, size=32, scale=2)
    glyph = np.repeat(np.repeat(datasets.digits().images[5] / 16, 2, 0), 2, 1)
    at = rendered(glyph[None], np.array([[[3.0, 11.0]]]), 32)
    assert np.array_equal(at[0, 0, 3:19, 11:27], glyph.astype(np.float32)) and at.sum() == pytest.approx(
        glyph.sum()
    )
    assert still.frames.shape == (1, 2, 1, 32, 32) and still.frames.max() <= 1
    assert still.frames[0, 0].sum() == pytest.approx(glyph.sum(), rel=1e-5)


def test_drawing_is_that_of_one_pixel_at_a_time():
    random = np.random.default_rng(0)
    glyphs, positions = random.random((2, 3, 3)), 4 * random.random((2, 2, 2))
    slow = np.zeros((2, 2, 8, 8))
    for n, t, i, j in np.ndindex(2, 2, 3, 3):
        y, x = positions[n, t] + (i, j)
        for row, a in ((int(y), 1 - y % 1), (int(y) + 1, y % 1)):
            for column, b in ((int(x), 1 - x % 1), (int(x) + 1, x % 1)):
                slow[n, t, row, column] += a * b * glyphs[n, i, j]
    assert np.abs(rendered(glyphs, positions, 8) - slow).max() < 1e-6  # float32


def test_motion_is_that_of_a_slow_ball_between_walls():
    random = np.random.default_rng(1)
    start, velocity = 8 * random.random((50, 2)), random.uniform(-8, 8, (50, 2))
    fast = bounced(start, velocity, 30, 8.0)
    for n in range(50):
        for axis in (0, 1):
            at, v = start[n, axis], velocity[n, axis]
            for t in range(30):
                assert fast[n, t, axis] == pytest.approx(at, abs=1e-9)
                at += v
                while not 0 <= at <= 8:
                    at, v = (-at if at < 0 else 16 - at), -v


@pytest.mark.assets
def test_velocity_is_the_first_step_where_there_is_no_wall(clips):
    step = clips.positions[:, 1] - clips.positions[:, 0]
    straight = clips.positions[:, 0] + clips.velocity
    free = ((straight >= 0) & (straight <= 8)).all(1)
    assert free.mean() > 0.5
    assert np.abs(step - clips.velocity)[free].max() < 1e-9
    speeds = np.linalg.norm(clips.velocity, axis=1)
    assert 0.5 <= speeds.min() < 0.6 and 1.9 < speeds.max() <= 2.0
    angles = np.arctan2(*clips.velocity.T)
    assert np.histogram(angles, 4, (-np.pi, np.pi))[0].min() > 30  # of 200, every way


@pytest.mark.assets
def test_clips_follow_the_seed_and_use_every_image_as_often():
    index = np.arange(100, 110)
    one, again, other = (moving_digits(index, n_clips=25, n_frames=2, seed=s) for s in (0, 0, 1))
    assert np.array_equal(one.frames, again.frames) and not np.array_equal(one.image, other.image)
    assert not np.array_equal(one.velocity, other.velocity)
    counts = np.bincount(one.image, minlength=110)[100:]
    assert set(counts) == {2, 3} and one.image.min() >= 100
    assert set(moving_digits(n_clips=1797, n_frames=2).image) == set(range(1797))


@pytest.mark.parametrize("seed", range(4))
def test_no_image_and_no_run_of_the_file_is_in_two_parts(seed):
    split = digit_split(seed)
    parts = (split.train, split.validation, split.test)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1797))
    blocks = [set(writer_blocks()[part]) for part in parts]
    assert [len(b) for b in blocks] == [8, 2, 3] and len(set.union(*blocks)) == 13
    assert (np.diff(writer_blocks()) >= 0).all() and set(np.bincount(writer_blocks())) == {138, 139}


def test_parts_follow_the_seed():
    first, again, other = (digit_split(seed).test for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.assets
def test_the_file_goes_from_writer_to_writer_as_the_docstring_says():
    found = datasets.digits()
    x = found.images.reshape(1797, 64).astype(np.float64)
    squares = (x**2).sum(1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0))
    places = np.abs(np.subtract.outer(np.arange(1797), np.arange(1797)))
    same = np.equal.outer(found.labels, found.labels)
    means = [
        apart[same & (places > low) & (places <= high)].mean()
        for low, high in ((0, 20), (50, 100), (100, 150), (200, 300), (300, 600))
    ]
    assert np.rint(means).tolist() == [28, 33, 36, 37, 36]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"index": np.array([1797])},
            r"index of int64 \(1,\) must hold positions 0…1796 of digits; try digit",
        ),
        ({"index": np.array([-1])}, "must hold positions 0…1796"),
        ({"index": np.array([0.5])}, r"index of float64 \(1,\) must hold"),
        ({"index": np.array([[1]])}, r"index of int64 \(1, 1\) must hold"),
        ({"index": np.array([], int)}, r"index of int64 \(0,\) must hold"),
        ({"n_clips": 0}, "n_clips=0 must be a whole number of at least 1"),
        ({"n_frames": 1}, "n_frames=1 must be a whole number of at least 2"),
        ({"n_frames": 2.0}, "n_frames=2.0 must be a whole number"),
        ({"scale": 0}, "scale=0 must be a whole number of at least 1"),
        ({"size": 8}, "a digit of 8 pixels has no room to move in size=8; try 16"),
        ({"size": 20, "scale": 3}, "a digit of 24 pixels has no room to move in size=20; try 48"),
        ({"speed": (0, 1)}, r"speed=\(0, 1\) must rise from above 0 to at most 8, the room of the digit"),
        ({"speed": (2, 1)}, r"speed=\(2, 1\) must rise"),
        ({"speed": (1, 9)}, r"speed=\(1, 9\) must rise"),
        ({"seed": -1}, "seed=-1 is not a non-negative integer; try seed=0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        moving_digits(**arguments)


@pytest.mark.parametrize(
    ("shares", "part"),
    [
        ({"test": 0.01}, "test"),
        ({"validation": 0.01}, "validation"),
        ({"test": 0.5, "validation": 0.49}, "train"),
    ],
)
def test_a_split_that_leaves_a_part_empty_is_refused(shares, part):
    with pytest.raises(ValueError, match=f"of 13 runs leave the {part} part none; try 0.25 and 0.15"):
        digit_split(0, **shares)


def test_uniform_numbers_are_in_their_range_even_and_of_their_purpose():
    x = uniform((40, 250), 0, "a")
    assert x.shape == (40, 250) and x.min() >= 0 and x.max() < 1
    assert np.histogram(x, 10, (0, 1))[0] == pytest.approx(1000, abs=120)  # four standard deviations
    assert not np.array_equal(x, uniform((40, 250), 0, "b"))
    assert moving.N_IMAGES == 1797


def test_uniform_numbers_are_those_that_numpy_makes_of_the_same_bits():
    theirs = np.random.Generator(np.random.PCG64([7, *b"a"])).random(20)
    assert np.array_equal(uniform((20,), 7, "a"), theirs)
