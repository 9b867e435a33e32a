"""Renders the course's spoken words: `python -m tools.spoken_words`, on Linux (x86-64).

It needs eSpeak NG as a library: `tlcourse assets fetch espeak-ng`. Writes `data/spoken-words/`, which is kept in the
repository, so that nothing else needs the library. Twice the same clips, byte for byte: the library's noise is seeded,
and since what it says leaves traces in what it says next, all clips are rendered in one order in one process.
"""

import ctypes
import hashlib
import json
import lzma
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from tlcourse import assets
from tlcourse.datasets.spoken import compress

ROOT = Path(__file__).resolve().parents[1]
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# A speaker is a variant of eSpeak NG; each speaks one English, so that no speaker is in two voices.
SPEAKERS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5"),
    *(
        "Andy",
        "Annie",
        "belinda",
        "linda",
        "steph",
        "grandma",
        "grandpa",
        "quincy",
        "robert",
        "shelby",
        "travis",
    ),
)
ENGLISHES = ("en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-rp")
VOICES = tuple(f"{ENGLISHES[i % len(ENGLISHES)]}+{speaker}" for i, speaker in enumerate(SPEAKERS))
SPEEDS = (140, 200)  # words a minute
PITCHES = (35, 65)  # of 0…99; 50 is the voice's own
RATE, NATIVE = 8000, 22050  # samples a second, ours and the library's
QUIET = 0.01  # of the peak: below it before and after the word is silence
PEAK = 0.9
FILE = "clips.xz"

# Of eSpeak NG's speak_lib.h.
_SYNCHRONOUS, _CHARS_UTF8, _CHARACTER, _RATE, _PITCH = 2, 1, 1, 1, 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Synthesiser:
    """eSpeak NG. Raises MissingAssetError where the asset is not in the cache, OSError elsewhere than on Linux."""

    def __init__(self) -> None:
        home = assets.path("espeak-ng")
        self._home, self._heard = home, []
        self._library = ctypes.CDLL(str(home / "libespeak-ng.so"))
        self._library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(home).encode(), 0)
        if rate != NATIVE:
            raise RuntimeError(f"espeak_Initialize answers {rate}, not {NATIVE} samples a second")
        self._library.espeak_ng_SetRandSeed(0)
        self._callback = _CALLBACK(self._hear)  # kept: the library calls it, Python would throw it away
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, word: str, voice: str, speed: int, pitch: int) -> np.ndarray:
        """(n,) int16 at 22,050 Hz. Raises ValueError on a voice that eSpeak NG does not have."""
        speaker = voice.partition("+")[2]
        known = (self._home / "espeak-ng-data" / "voices" / "!v" / speaker).is_file()  # else it takes another
        if not known or self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"eSpeak NG has no voice {voice!r}; look into espeak-ng-data/lang and voices/!v")
        self._library.espeak_SetParameter(_RATE, speed, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._heard.clear()
        text = word.encode()
        self._library.espeak_Synth(text, len(text) + 1, 0, _CHARACTER, 0, _CHARS_UTF8, None, None)
        return np.concatenate(self._heard)

    def _hear(self, samples, n: int, events) -> int:
        if n > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (n,)).copy())
        return 0


def prepared(sound: np.ndarray) -> np.ndarray:
    """int16 at the library's rate → float64 at ours, silence cut off, the peak at 0.9."""
    x = resample_poly(sound / 32768, RATE, NATIVE)
    loud = np.flatnonzero(np.abs(x) > QUIET * np.abs(x).max())
    x = x[loud[0] : loud[-1] + 1]
    return PEAK * x / np.abs(x).max()


def rendered() -> Iterator[np.ndarray]:
    """The clips as levels, (n,) int8, in the order of the card."""
    synthesiser = Synthesiser()
    for voice, speed, pitch, word in product(VOICES, SPEEDS, PITCHES, WORDS):
        yield compress(prepared(synthesiser.say(word, voice, speed, pitch)))


def write(folder: Path, n_clips: int | None = None) -> None:
    """Clips and card into a folder. n_clips: stop after so many, to look whether they are as they were."""
    clips = list(islice(rendered(), n_clips))
    packed = lzma.compress(b"".join(clip.tobytes() for clip in clips), preset=9 | lzma.PRESET_EXTREME)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(packed)
    (folder / "card.json").write_text(json.dumps(card(clips, packed), ensure_ascii=False) + "\n", "utf-8")


def card(clips: list[np.ndarray], packed: bytes) -> dict:
    return {
        "title": "The ten English digits in 24 synthetic voices, at two speeds and two pitches",
        "synthetic": "No person speaks here: eSpeak NG does, which builds its sounds from formants. What is measured "
        "on these clips holds for such voices.",
        "source": "eSpeak NG 1.52, the asset espeak-ng; a voice is English+speaker in its names",
        "command": "tlcourse assets fetch espeak-ng && python -m tools.spoken_words",
        "licence": "GPL-3.0-or-later",
        "licence_note": "that of eSpeak NG: the noise of some consonants is out of recordings in its data",
        "sampling_rate": RATE,
        "encoding": f"μ-law levels −127…127, one int8 a sample, clip after clip, xz; peak {PEAK}, silence cut off",
        "file": FILE,
        "size": len(packed),
        "sha256": hashlib.sha256(packed).hexdigest(),
        "order": "voices, speeds, pitches, words; the word runs fastest",
        "words": WORDS,
        "voices": VOICES,
        "speeds": SPEEDS,
        "pitches": PITCHES,
        "lengths": [len(clip) for clip in clips],
    }


if __name__ == "__main__":
    write(ROOT / "data" / "spoken-words")
