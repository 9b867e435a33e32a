"""The ten English digits, spoken by 24 synthetic voices.

eSpeak NG rendered them, a synthesiser of the kind that builds sounds from formants: clear, evenly timed and much more
alike than people's voices, which are what a recogniser has to cope with. The clips are kept in `data/spoken-words/`,
whose card says how they were made (`python -m tools.spoken_words`): 8 kHz, eight bits a sample on a logarithmic
scale, silence cut off, every clip as loud at its peak.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tlcourse.datasets._kept import kept
from tlcourse.datasets._shuffle import cut_sizes, shuffled
from tlcourse.datasets.solar import IndexSplit

MU = 255  # of the American telephone's scale
LEVELS = 127  # on each side of zero


@dataclass(frozen=True)
class SpokenWords:
    """N clips, ordered by voice, speed, pitch and word.

    waveforms: (N, T) float32 in −1…1, zeros after the end of the word; lengths: (N,) int64, samples of the word;
    sampling_rate: samples a second; words: the vocabulary; labels: (N,) int64, positions in it; voice: (N,) str;
    speed: (N,) int64, words a minute; pitch: (N,) int64, on eSpeak NG's scale of 0…99, where 50 is the voice's own.
    """

    waveforms: np.ndarray
    lengths: np.ndarray
    sampling_rate: int
    words: tuple[str, ...]
    labels: np.ndarray
    voice: np.ndarray
    speed: np.ndarray
    pitch: np.ndarray

    def clip(self, index: int) -> np.ndarray:
        """One word without what was added at its end, (n,) float32."""
        return self.waveforms[index, : self.lengths[index]]


def spoken_words(words: Sequence[str] | None = None, *, seconds: float | None = None) -> SpokenWords:
    """All clips of these words, by default of all ten. The voices are synthetic.

    seconds: length that all waveforms get, by default that of the longest. Raises ValueError on a word that was not
    rendered or is named twice, on a length that would cut a word, and on a file that is not the one of the card.
    """
    card = card_of_words()
    words = _checked_words(words, card["words"])
    samples, ends = _samples(), np.cumsum(card["lengths"])
    # One column for each of voice, speed, pitch and word, one row a clip, the word running fastest.
    axes = [range(len(card[axis])) for axis in ("voices", "speeds", "pitches", "words")]
    rows = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 4)  # (N, 4)
    kept = np.flatnonzero(np.isin(rows[:, 3], [card["words"].index(word) for word in words]))
    lengths = np.array(card["lengths"], dtype=np.int64)[kept]
    size = _size(seconds, int(lengths.max()), card["sampling_rate"])
    waveforms = np.zeros((len(kept), size), dtype=np.float32)
    for waveform, end, length in zip(waveforms, ends[kept], lengths, strict=True):
        waveform[:length] = expand(samples[end - length : end])
    voice, speed, pitch, word = rows[kept].T
    return SpokenWords(
        waveforms,
        lengths,
        card["sampling_rate"],
        words,
        labels=np.array([words.index(card["words"][i]) for i in word], dtype=np.int64),
        voice=np.array(card["voices"])[voice],
        speed=np.array(card["speeds"], dtype=np.int64)[speed],
        pitch=np.array(card["pitches"], dtype=np.int64)[pitch],
    )


def spoken_split(clips: SpokenWords, seed: int, *, test: float = 0.2, validation: float = 0.2) -> IndexSplit:
    """Positions of clips at random into train, validation, test: whole voices, for a voice betrays its clips.

    test, validation: shares of the clips, met to within half a voice. Raises ValueError where a part gets no voice.
    """
    names, sizes = np.unique(clips.voice, return_counts=True)
    order = shuffled(len(names), seed, "spoken voices")
    cuts = cut_sizes(sizes[order], {"test": test, "validation": validation})
    parts = {part: np.flatnonzero(np.isin(clips.voice, names[order[cut]])) for part, cut in cuts.items()}
    if empty := [part for part, index in parts.items() if not len(index)]:
        raise ValueError(
            f"test={test} and validation={validation} of {len(names)} voices leave the {empty[0]} part none; "
            "try 0.2 and 0.2"
        )
    return IndexSplit(**parts)


def compress(waveform: np.ndarray) -> np.ndarray:
    """Samples in −1…1 as whole numbers −127…127, int8, on the logarithmic scale of telephones (μ-law).

    F(x) = sign(x) · log(1 + μ|x|) / log(1 + μ), rounded to 127 levels a side; 0 stays 0. A quiet sound keeps as many
    digits as a loud one. Raises ValueError on samples beyond ±1 or not finite.
    """
    x = np.asarray(waveform, dtype=np.float64)
    if not (np.abs(x) <= 1).all():
        raise ValueError("samples beyond ±1 or not finite; divide 16-bit samples by 32768")
    return np.rint(LEVELS * np.sign(x) * np.log1p(MU * np.abs(x)) / math.log1p(MU)).astype(np.int8)


def expand(levels: np.ndarray) -> np.ndarray:
    """The samples, float32, that stand for int8 levels of `compress`: off by at most 2.2 % of the sample and 0.00009.

    Raises ValueError on other than int8 in −127…127.
    """
    if levels.dtype != np.int8 or (levels == -128).any():
        raise ValueError(f"levels are {levels.dtype}; give int8 in −127…127, as compress makes them")
    y = levels.astype(np.float64) / LEVELS
    return (np.sign(y) * np.expm1(np.abs(y) * math.log1p(MU)) / MU).astype(np.float32)


@lru_cache(maxsize=1)
def card_of_words() -> dict[str, Any]:
    """The card: words, voices, speeds, pitches, lengths of the clips; how, from what, under which licence."""
    return json.loads((kept("spoken-words") / "card.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _samples() -> np.ndarray:
    """The levels of all clips, one after the other, int8."""
    card = card_of_words()
    packed = (kept("spoken-words") / card["file"]).read_bytes()
    if hashlib.sha256(packed).hexdigest() != card["sha256"]:
        raise ValueError(
            f"{card['file']} is not the file of its card; get data/spoken-words from the repository again"
        )
    return np.frombuffer(lzma.decompress(packed), dtype=np.int8)


def _checked_words(words: Sequence[str] | None, known: list[str]) -> tuple[str, ...]:
    if words is None:
        return tuple(known)
    if isinstance(words, str):
        raise ValueError(f"words={words!r} is one text; give a list, [{words!r}]")
    if not words or len(set(words)) < len(words) or not set(words) <= set(known):
        raise ValueError(f"words={list(words)} must be some of {', '.join(known)}, each once")
    return tuple(words)


def _size(seconds: float | None, longest: int, rate: int) -> int:
    if seconds is None:
        return longest
    if not (math.isfinite(seconds) and round(seconds * rate) >= longest):
        raise ValueError(f"seconds={seconds} cuts a word off; the longest has {longest / rate:.3f} s")
    return round(seconds * rate)
