"""Any text as letters of a 256-letter alphabet, one for each byte, cut into words (Radford et al. 2019).

Every text is a row of UTF-8 bytes, so that with all 256 bytes in the vocabulary nothing is unknown. To look at tokens,
and to write them into text files, each byte gets a visible character: the printable ones of Latin-1 stand for
themselves, the other 68 for the characters from U+0100 on. A space becomes Ġ, a line end Ċ.
"""

import functools
import re
import sys
import unicodedata
from itertools import groupby

from tlcourse.tokenizers.inputs import WHITE_SPACE


@functools.cache
def byte_letters() -> tuple[str, ...]:
    """The character that stands for each byte, 0 … 255."""
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in printable else next(others)) for byte in range(256))


@functools.cache
def _letters_of_latin1() -> dict[int, str]:
    return dict(enumerate(byte_letters()))


@functools.cache
def _bytes_of_letters() -> dict[str, int]:
    return {letter: byte for byte, letter in enumerate(byte_letters())}


def to_letters(text: str) -> str:
    """Each byte of the text's UTF-8 as its letter."""
    return text.encode().decode("latin-1").translate(_letters_of_latin1())


def from_letters(letters: str) -> str:
    """The text again. Bytes that are no UTF-8, as a model may well generate them, become U+FFFD."""
    table = _bytes_of_letters()
    return bytes(table[letter] for letter in letters).decode(errors="replace")


@functools.cache
def word_pattern() -> re.Pattern[str]:
    """GPT-2's words: 's 't 're 've 'm 'll 'd, or a run of letters, of numbers, of other signs, each with one space
    before it, or white space: all of a run but the space that belongs to the next word.

    The published pattern says \\p{L}, \\p{N} and \\s for Unicode's letters, numbers and white space, which Python's
    `re` does not know; the classes are spelled out from this Python's Unicode tables.
    """
    letter, number, space = _class("L"), _class("N"), re.escape(WHITE_SPACE)
    return re.compile(
        r"'s|'t|'re|'ve|'m|'ll|'d"
        rf"| ?[{letter}]+| ?[{number}]+| ?[^{space}{letter}{number}]+"
        rf"|[{space}]+(?![^{space}])|[{space}]+"
    )


def words(text: str) -> list[str]:
    """The words of a text; joined they are the text."""
    return word_pattern().findall(text)


def _class(kind: str) -> str:
    """Ranges of all characters whose Unicode category begins with kind, as they stand within [ ]."""
    members = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == kind)
    ranges = []
    for _, run in groupby(enumerate(members), lambda pair: pair[1] - pair[0]):
        codes = [code for _, code in run]
        ranges.append(f"{chr(codes[0])}-{chr(codes[-1])}")
    return "".join(ranges)
