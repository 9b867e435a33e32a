"""SentencePiece's compiled replacements against the `tokenizers` library's reading of them."""

import base64
import unicodedata

import pytest
from tokenizers import normalizers

from tlcourse.tokenizers.charsmap import CharsMap

# Compiled by SentencePiece 0.2.3 from: A→a B→b Ａ→a tab→space LF→space CRLF→space two spaces→one U+00A0→space
# U+3000→space ﬁ→fi e◌́→é U+200B→nothing ①→1 😀→:) abc→x
TABLE = (
    "AAQAAAAgAAAJCQAACgUAAAEAAIAKHQAADSwAACAVAAAIAACAYoQBAAoAAIBjBQAADwAAgMwAAgCBCQAAoDUAABEAAICLBQAAAAAA"
    "gKAFAAADAACAgAQCAIBZAACBBQAADAAAgKF9AACfbAIAmBgCAAUAAICAHQAAHAAAAB8AAAAeAAAAgOwCACAAAACs1AIAIgAAACUA"
    "AAAkAAAAJwAAACYAAAAgOAAAKAAAACsAAAAqAAAALQAAACwAAAAvAAAALgAAADEAAACRDAIAvCwCADIAAAA1AAAANAAAADcAAAA2"
    "AAAAOQAAADgAAAA7AAAAOgAAAD0AAAA8AAAAPwAAAD4AAABBAAAAQAAAAEMAAABCAAAARQAAAEQAAABHAAAARgAAAEkAAABBOQEA"
    "Qg0BAEoAAABNAAAATAAAAE8AAABOAAAAUQAAAFAAAABTAAAAUgAAAFUAAABUAAAAVwAAAFYAAABZAAAAWAAAAFsAAABaAAAAXQAA"
    "AFwAAABfAAAAXgAAAGEAAABgAAAAYwAAAGIAAABlAAAAZAAAAGcAAABmAAAAaQAAAGEMAABrAAAAagAAAG0AAABltAIAbwAAAG4A"
    "AABxAAAAcAAAAHMAAAByAAAAdQAAAHQAAAB3AAAAdgAAAHkAAAB4AAAAewAAAHoAAAB9AAAAfAAAAH8AAAB+AAAAgQAAAIAAAACD"
    "AAAAggAAAIUAAACEAAAAhwAAAIYAAACJAAAAiAAAAIsAAACKAAAAjQAAAIwAAACPAAAAjgAAAJEAAACQAAAAkwAAAJIAAACVAAAA"
    "lAAAAJcAAACWAAAAmQAAAJgAAACbAAAAmgAAAJ0AAACcAAAAnwAAAJ4AAAChAAAAoAAAAKMAAACiAAAApQAAAKQAAACnAAAApgAA"
    "AKkAAACoAAAAqwAAAKoAAACtAAAArAAAAK8AAACuAAAAsQAAALAAAACzAAAAsgAAALUAAAC0AAAAtwAAALYAAAC5AAAAuAAAALsA"
    "AAC6AAAAvQAAALwAAAC/AAAAvgAAAMEAAADAAAAAwwAAAMIAAADFAAAAxAAAAMcAAADGAAAAyQAAAMgAAADCkAEAygAAAM0AAADM"
    "AAAAzwAAAM4AAADRAAAA0AAAANMAAADSAAAA1QAAANQAAADXAAAA1gAAANkAAADYAAAA2wAAANoAAADdAAAA3AAAAN8AAADeAAAA"
    "4QAAAOAAAADjAAAA4gAAAOUAAADkAAAA5wAAAO+kAQDpAAAA6AAAAOIoAQDj/AEA7QAAAOwAAADvAAAA7gAAAPEAAADwAAAA8wAA"
    "APIAAAD1AAAA9AAAAPcAAAD2AAAA8PgBAPgAAAD7AAAA+gAAAP0AAAD8AAAA/wAAAP4AAAAAIAAxADopAGEAYgBmaQB4AMOpAA=="
)


@pytest.mark.assets
def test_text_becomes_what_it_becomes_in_the_library(strings):
    ours, theirs = CharsMap(TABLE), normalizers.Precompiled(base64.b64decode(TABLE))
    some = [text.replace("o", "A").replace("t", "😀").replace("i", "e\u0301") for text in strings[:20_000]]
    differing = [text for text in some if ours(text) != theirs.normalize_str(text)]
    # Where a mark is newer than this Python, the two libraries may count it to its letter or not.
    assert all(any(unicodedata.category(char) == "Cn" for char in text) for text in differing)
    assert len(differing) < 20 and sum(ours(text) != text for text in some) > 10_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("ABba\u3000ﬁ①😀", "abba fi1:)"),
        ("a\u200bb \tc\r\nd", "ab  c d"),
        ("re\u0301sume\u0301", "résumé"),
        ("A\u0301", "a"),  # a replacement of the letter stands for its marks too
        ("\x00x", "\x00x"),
        ("👩🏽‍💻 😀🏽", "👩🏽‍💻 :)🏽"),
    ],
)
def test_each_kind_of_replacement_has_its_example(text, expected):
    assert (
        CharsMap(TABLE)(text)
        == expected
        == normalizers.Precompiled(base64.b64decode(TABLE)).normalize_str(text)
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("%%%", r"the precompiled_charsmap is not base64 \(.*\); fetch the file again"),
        (None, r"the precompiled_charsmap is not base64"),
        ("", r"the precompiled_charsmap has 0 bytes and announces a trie of 0; fetch the file again"),
        (TABLE[:400], r"the precompiled_charsmap has 300 bytes and announces a trie of \d+; fetch"),
        (base64.b64encode(b"\x03\0\0\0abc").decode(), r"has 7 bytes and announces a trie of 3"),
    ],
)
def test_a_table_that_is_cut_off_or_none_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        CharsMap(table)
