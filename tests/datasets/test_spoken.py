"""Spoken words: the file against its card and against eSpeak NG itself, the scale against its closed form."""

import hashlib
import json
import lzma
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlcourse import assets
from tlcourse.datasets import SpokenWords, _kept, spoken, spoken_split, spoken_words
from tlcourse.datasets.spoken import card_of_words, compress, expand
from tlcourse.models.autoencoder import MelConfig, log_mel
from tools import spoken_words as tool


@pytest.fixture(scope="module")
def clips():
    return spoken_words()


def test_every_word_comes_from_every_voice_at_every_speed_and_pitch(clips):
    assert isinstance(clips, SpokenWords)
    assert clips.waveforms.shape == (960, 5847) and clips.waveforms.dtype == np.float32
    assert len(clips.words) == 10 and len(set(clips.voice)) == 24 and clips.sampling_rate == 8000
    rows = set(
        zip(clips.voice, clips.speed.tolist(), clips.pitch.tolist(), clips.labels.tolist(), strict=True)
    )
    assert len(rows) == 960 == 24 * 2 * 2 * 10
    assert set(clips.speed) == {140, 200} and set(clips.pitch) == {35, 65}
    assert clips.lengths.dtype == clips.labels.dtype == np.int64


def test_no_clip_is_empty_or_clipped_and_all_are_as_loud_at_their_peak(clips):
    peaks = np.abs(clips.waveforms).max(1)
    assert (clips.lengths > 0.2 * 8000).all()
    assert peaks == pytest.approx(tool.PEAK, rel=0.022)  # half a level
    found = log_mel(torch.from_numpy(clips.waveforms), MelConfig(8000, 256, 80, 32))  # which looks for faults
    assert found.shape == (960, 32, 1 + 5847 // 80)


def test_a_word_begins_and_ends_loud_and_zeros_follow(clips):
    for i in range(0, 960, 37):
        word = clips.clip(i)
        assert len(word) == clips.lengths[i]
        assert min(abs(word[0]), abs(word[-1])) >= 0.97 * tool.QUIET * tool.PEAK
        assert not clips.waveforms[i, clips.lengths[i] :].any()


def test_slower_is_longer_and_higher_is_higher(clips):
    def at(**wanted):
        chosen = np.all([getattr(clips, name) == value for name, value in wanted.items()], axis=0)
        return np.flatnonzero(chosen)  # in one order of voice and word

    slow, fast = at(speed=140, pitch=35), at(speed=200, pitch=35)
    assert (clips.lengths[slow] > clips.lengths[fast]).all()
    voice = "en-us+m1"
    for speed in (140, 200):  # "four", whose middle is one vowel
        low, high = (at(voice=voice, speed=speed, pitch=p, labels=4)[0] for p in (35, 65))
        assert period(clips.clip(low)) > 1.2 * period(clips.clip(high))


def period(x):
    """Of the strongest echo of the middle third with itself, between 60 and 200 Hz, in samples."""
    x = x[len(x) // 3 : 2 * len(x) // 3]
    echo = [float(x[:-lag] @ x[lag:]) / (len(x) - lag) for lag in range(40, 133)]
    return 40 + int(np.argmax(echo))


def test_the_samples_are_those_of_the_file_one_clip_after_the_other(clips):
    card = card_of_words()
    packed = (_kept.kept("spoken-words") / card["file"]).read_bytes()
    assert hashlib.sha256(packed).hexdigest() == card["sha256"] and len(packed) == card["size"] <= 3e6
    levels = np.frombuffer(lzma.decompress(packed), np.int8)
    assert len(levels) == sum(card["lengths"])
    joined = np.concatenate([clips.clip(i) for i in range(960)])
    assert np.array_equal(joined, expand(levels))


def test_the_card_says_that_no_person_speaks_and_whose_the_clips_are():
    card = card_of_words()
    assert card["synthetic"].startswith("No person speaks here")
    assert card["licence"] == assets.get("espeak-ng").licence
    assert card["command"].endswith("python -m tools.spoken_words")
    assert "synthetic" in spoken_words.__doc__


def test_some_words_are_the_same_clips_with_labels_in_the_order_asked_for(clips):
    some = spoken_words(["nine", "two"], seconds=1.0)
    assert some.waveforms.shape == (192, 8000) and some.words == ("nine", "two")
    for label, digit in ((0, 9), (1, 2)):
        whole, part = np.flatnonzero(clips.labels == digit), np.flatnonzero(some.labels == label)
        assert np.array_equal(some.waveforms[part, :5847], clips.waveforms[whole])
        for name in ("voice", "speed", "pitch", "lengths"):
            assert np.array_equal(getattr(some, name)[part], getattr(clips, name)[whole])
    assert not some.waveforms[:, 5847:].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"words": "nine"}, r"words='nine' is one text; give a list, \['nine'\]"),
        ({"words": []}, r"words=\[\] must be some of zero, one, two"),
        ({"words": ["ten"]}, r"words=\['ten'\] must be some of zero, .*, nine, each once"),
        ({"words": ["one", "one"]}, r"words=\['one', 'one'\] must be some of .*, each once"),
        ({"seconds": 0.7}, r"seconds=0.7 cuts a word off; the longest has 0\.731 s"),
        ({"seconds": math.inf}, "seconds=inf cuts a word off"),
        ({"seconds": math.nan}, "seconds=nan cuts a word off"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        spoken_words(**arguments)


def test_a_length_that_just_fits_the_chosen_words_is_taken():
    longest = int(spoken_words(["two"]).lengths.max())
    assert spoken_words(["two"], seconds=longest / 8000).waveforms.shape[1] == longest


@pytest.mark.parametrize("seed", range(5))
def test_no_voice_is_in_two_parts_and_no_clip_is_lost(clips, seed):
    split = spoken_split(clips, seed)
    parts = (split.train, split.validation, split.test)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(960))
    voices = [set(clips.voice[part]) for part in parts]
    assert [len(v) for v in voices] == [14, 5, 5] and len(set.union(*voices)) == 24
    assert all((np.diff(part) > 0).all() for part in parts)


def test_splits_follow_the_seed_and_its_shares(clips):
    first, again, other = (spoken_split(clips, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.test, again.test) and not np.array_equal(first.test, other.test)
    wide = spoken_split(clips, 0, test=0.5, validation=0.25)
    assert len(wide.test) == 480 and len(wide.validation) == 240


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"test": 0.01}, "test=0.01 and validation=0.2 of 24 voices leave the test part none"),
        ({"test": 0.78}, "test=0.78 and validation=0.2 of 24 voices leave the train part none"),
        ({"test": 0.0}, "test=0.0, validation=0.2 must each lie between 0 and 1"),
    ],
)
def test_a_split_that_leaves_a_part_without_voices_is_refused(clips, shares, message):
    with pytest.raises(ValueError, match=message):
        spoken_split(clips, 0, **shares)


@given(st.floats(-1, 1))
def test_the_logarithmic_scale_is_undone_to_within_half_a_level(x):
    """Off by half a level y, x moves by at most (|x| + 1/μ) · (256^|Δy| − 1), Δy = 1/254."""
    back = float(expand(compress(np.array([x])))[0])
    assert abs(back - x) <= (abs(x) + 1 / 255) * (256 ** (1 / 254) - 1) + 1e-7


def test_the_scale_is_that_of_the_closed_form():
    """F(x) = ln(1 + 255x) / ln 256, so that x = (256^y − 1) / 255: 1/17 lies at half of the scale."""
    assert compress(np.array([0.0, 1.0, -1.0, 1 / 17])).tolist() == [0, 127, -127, 64]  # 63.5, to even
    assert expand(np.array([0, 127, -127], np.int8)).tolist() == [0.0, 1.0, -1.0]
    y = np.arange(-127, 128)
    closed = np.sign(y) * (256.0 ** (np.abs(y) / 127) - 1) / 255
    assert np.abs(expand(y.astype(np.int8)) - closed).max() < 1e-7
    assert np.array_equal(compress(closed), y)


@pytest.mark.parametrize("bad", [1.01, -2.0, math.nan, math.inf])
def test_samples_that_are_no_sound_are_refused(bad):
    with pytest.raises(ValueError, match="samples beyond ±1 or not finite; divide 16-bit samples by 32768"):
        compress(np.array([0.5, bad]))


@pytest.mark.parametrize("bad", [np.array([0.5]), np.array([-128], np.int8), np.array([1])])
def test_levels_that_compress_does_not_make_are_refused(bad):
    with pytest.raises(ValueError, match="give int8 in −127…127, as compress makes them"):
        expand(bad)


def test_another_file_than_that_of_the_card_is_refused(tmp_path, monkeypatch):
    card = card_of_words()
    (tmp_path / "tlcourse" / "data" / "spoken-words").mkdir(parents=True)
    home = tmp_path / "tlcourse" / "data" / "spoken-words"
    (home / "card.json").write_text(json.dumps(card), "utf-8")
    (home / card["file"]).write_bytes(lzma.compress(bytes(sum(card["lengths"]))))
    monkeypatch.setattr(_kept, "_PACKAGE", tmp_path / "tlcourse")  # as installed
    spoken._samples.cache_clear()
    with pytest.raises(ValueError, match=r"clips.xz is not the file of its card; get data/spoken-words"):
        spoken_words()
    spoken._samples.cache_clear()
