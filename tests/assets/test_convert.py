"""Texts out of the odd forms of two packages, against text that was put into them here."""

import itertools
import struct

import pytest

from tlcourse.assets import CorruptAssetError, FetchError, convert

TEXT = "Holy Bible\nGe1:1 In the beginning\nGe1:2 And the earth was without form\n"


def lzw(text):
    """`compress`'s form of a short text, each letter its own 9-bit code, lowest bit first."""
    bits = sum(ord(letter) << 9 * position for position, letter in enumerate(text))
    return bits.to_bytes((9 * len(text) + 7) // 8, "little")


def bible_data(windows):
    begin = 0x5C + 4 * len(windows)
    starts = [begin + sum(map(len, windows[:i])) for i in range(len(windows))]
    head = b"EC02Compressed Data File".ljust(0x54, b"\0")
    return head + struct.pack(f">{2 + len(windows)}I", 65536, len(windows), *starts) + b"".join(windows)


def test_bible_windows_gives_back_the_text_of_all_windows_in_order(tmp_path):
    path = tmp_path / "bible.data"
    path.write_bytes(bible_data([lzw(TEXT[:30]), lzw(TEXT[30:31]), lzw(TEXT[31:])]))
    assert convert.bible_windows(path) == TEXT


def test_bible_windows_refuses_another_kind_of_file(tmp_path):
    (tmp_path / "bible.data").write_bytes(b"\x1f\x8b something else")
    with pytest.raises(
        CorruptAssetError, match=r"bible.data begins with b'\\x1f\\x8b somet', expected b'EC02"
    ):
        convert.bible_windows(tmp_path / "bible.data")


def test_bible_windows_refuses_a_window_that_is_not_lzw(tmp_path):
    (tmp_path / "bible.data").write_bytes(bible_data([b"\xff" * 50]))
    with pytest.raises(CorruptAssetError, match=r"bible.data: .*gzip.*corrupt"):
        convert.bible_windows(tmp_path / "bible.data")


def test_bible_windows_without_gzip_points_to_another_source(tmp_path, monkeypatch):
    (tmp_path / "bible.data").write_bytes(bible_data([lzw(TEXT)]))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="gzip is not on this machine; use another source"):
        convert.bible_windows(tmp_path / "bible.data")


def test_bible_module_is_parsed_and_never_run(tmp_path):
    path = tmp_path / "module.py"
    verses = {
        1001001: "\nIn the  beginning\nGod. ",
        1001002: "And the earth [was] without. ",
        66022021: "Amen.",
    }
    ends = dict(zip(verses, itertools.accumulate(map(len, verses.values())), strict=True))
    starts = {verse: end - len(verses[verse]) for verse, end in reversed(ends.items())}
    path.write_text(
        "raise RuntimeError('run')\n"
        f"bible = Bible(Version.KING_JAMES, {''.join(verses.values())!r}, {starts}, {ends}, {{Book.X: {{}}}})\n"
    )
    assert convert.bible_module(path).splitlines() == [
        "Ge1:1 In the beginning God.",
        "Ge1:2 And the earth was without.",
        "Rev22:21 Amen.",
    ]


def test_the_books_are_sixty_six():
    books = convert._BOOKS.split()
    assert (len(books), len(set(books)), books[0], books[39], books[-1]) == (66, 66, "Ge", "Mat", "Rev")
