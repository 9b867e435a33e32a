"""The renderer of the spoken words: against the clips that are kept, and tones whose spectrum is known."""

import subprocess
import sys

import numpy as np
import pytest

from tlcourse import assets
from tlcourse.datasets import spoken
from tools import spoken_words as tool

ROOT = tool.ROOT


def needs_espeak():
    if not assets.present("espeak-ng"):
        pytest.skip("espeak-ng is not in the cache; run `tlcourse assets fetch espeak-ng`")


def python(code, *arguments):
    """In a process of its own: what the library said before leaves traces in what it says next."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_tone_keeps_its_pitch_and_loses_the_silence_around_it():
    t = np.arange(22050) / 22050
    tone = np.where((t > 0.3) & (t < 0.7), 5000 * np.sin(2 * np.pi * 1000 * t), 0)
    found = tool.prepared(np.rint(tone).astype(np.int16))
    assert np.abs(found).max() == pytest.approx(0.9)
    assert len(found) == pytest.approx(0.4 * 8000, abs=40)  # the filter rings for a few samples
    assert np.argmax(np.abs(np.fft.rfft(found, 8000))) == pytest.approx(1000, abs=3)  # Hz


def test_what_lies_above_half_the_sample_rate_does_not_come_back_as_another_tone():
    t = np.arange(22050) / 22050
    both = 5000 * np.sin(2 * np.pi * 1000 * t) + 5000 * np.sin(2 * np.pi * 6000 * t)  # folds to 2,000 Hz
    spectrum = np.abs(np.fft.rfft(tool.prepared(both.astype(np.int16))[:8000], 8000))
    assert spectrum[1990:2010].max() < 0.01 * spectrum[990:1010].max()


def test_the_card_names_what_the_tool_renders():
    kept = spoken.card_of_words()
    for axis in ("words", "voices", "speeds", "pitches"):
        assert tuple(kept[axis]) == getattr(tool, axis.upper())
    assert len(set(tool.SPEAKERS)) == len(tool.SPEAKERS) == 24  # no speaker in two voices
    again = tool.card([], b"")
    changes = {"lengths", "size", "sha256", "words", "voices", "speeds", "pitches"}
    assert {k: v for k, v in kept.items() if k not in changes} == {
        k: v for k, v in again.items() if k not in changes
    }


@pytest.mark.assets
def test_the_first_voice_is_rendered_again_byte_for_byte(tmp_path):
    needs_espeak()
    python(
        "import sys, pathlib; from tools import spoken_words as t; t.write(pathlib.Path(sys.argv[1]), 40)",
        str(tmp_path),
    )
    card = spoken.card_of_words()
    n = sum(card["lengths"][:40])
    code = "import lzma, sys; sys.stdout.write(lzma.decompress(open(sys.argv[1], 'rb').read()).hex())"
    again = bytes.fromhex(python(code, str(tmp_path / tool.FILE)))
    assert again == spoken._samples()[:n].tobytes()
    assert (tmp_path / "card.json").read_text("utf-8").startswith('{"title": "The ten English digits')


@pytest.mark.assets
@pytest.mark.parametrize("voice", ["en-us+nobody", "en-us", "xx+m1"])
def test_a_voice_that_is_not_there_is_refused_where_the_library_takes_another(voice):
    needs_espeak()
    code = """
import sys
from tools.spoken_words import Synthesiser
try:
    Synthesiser().say("one", sys.argv[1], 140, 50)
except ValueError as error:
    print(error)
"""
    assert python(code, voice).startswith(f"eSpeak NG has no voice '{voice}'; look into")
