"""Vocabulary files: whole or not at all."""

import json
import os
import random

import pytest
from tokenizers import Tokenizer, models

from tlcourse.tokenizers import files


def test_files_appear_together_and_complete_or_stay_as_they_were(tmp_path, monkeypatch):
    files.write_all(tmp_path / "a" / "b", {"x": "old\n", "y": "old"})
    with pytest.raises(UnicodeEncodeError):
        files.write_all(tmp_path / "a" / "b", {"x": "new", "y": "\ud800"})
    assert (tmp_path / "a" / "b" / "x").read_bytes() == b"old\n"
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["x", "y"]
    files.write_all(tmp_path / "a" / "b", {"x": "new\n\u2028é"})
    assert (tmp_path / "a" / "b" / "x").read_bytes() == "new\n\u2028é".encode()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_all(tmp_path / "a" / "b", {"x": "newer"})
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["x", "y"]


def test_lines_end_at_line_feeds_only(tmp_path):
    (tmp_path / "v").write_bytes("a\x85b\u2028\r\nc\n\nd".encode())
    assert files.read_lines(tmp_path / "v") == ["a\x85b\u2028", "c", "", "d"]


def test_numbers_are_read_to_the_bit_as_the_library_reads_them(tmp_path):
    draw = random.Random(0)
    drawn = [-draw.expovariate(0.1) for _ in range(2000)]
    numbers = [*drawn, -1.5, 0.1, -1e-7, 2.5e-300, 1.5e300, 5e-324, 123456789.125, -20.0]
    pieces = [["<unk>", 0.0], *([str(i), number] for i, number in enumerate(numbers))]
    model = {"type": "Unigram", "unk_id": 0, "vocab": pieces}
    (tmp_path / "t.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    ours = [score for _, score in files.read_json(tmp_path / "t.json")["model"]["vocab"]]
    library = Tokenizer.from_file(str(tmp_path / "t.json"))
    assert isinstance(library.model, models.Unigram)
    assert ours == [score for _, score in json.loads(library.to_str())["model"]["vocab"]]
    assert ours != [0.0, *numbers]  # Python's own reading differs
