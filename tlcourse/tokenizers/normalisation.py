"""What a tokenizer.json does to a text before its Unigram model: normalise characters, then cut at spaces.

The file names its steps; each is one entry of a table here. A step that is not in the table is an error, because a
text that is normalised otherwise gets other ids.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import partial

from tlcourse.tokenizers.charsmap import CharsMap
from tlcourse.tokenizers.inputs import WHITE_SPACE

SPACE = "▁"  # U+2581, what a space is written as in the pieces
Step = Callable[[str], str]
_WORDS = re.compile(rf"[^{re.escape(WHITE_SPACE)}]+")
_RUN_OF_SPACES = {"Regex": " {2,}"}  # of all patterns, the one that official files have
_MARKED = re.compile(rf"{SPACE}[^{SPACE}]*")


def steps(spec: dict | None) -> list[Step]:
    """The functions that the "normalizer" of a tokenizer.json names. Raises ValueError that names an unknown one."""
    if spec is None:
        return []
    kind, pattern = spec.get("type"), spec.get("pattern")
    if kind == "Sequence":
        return [step for part in spec["normalizers"] for step in steps(part)]
    if kind in ("NFC", "NFD", "NFKC", "NFKD"):
        return [partial(unicodedata.normalize, kind)]
    if kind == "Lowercase":
        return [_lower]
    if kind == "StripAccents":
        return [_without_marks]
    if kind == "Replace" and isinstance(pattern, dict) and list(pattern) == ["String"]:
        return [partial(_replace, re.compile(re.escape(pattern["String"])), spec["content"])]
    if kind == "Replace" and pattern == _RUN_OF_SPACES:
        return [partial(_replace, re.compile(" {2,}"), spec["content"])]
    if kind == "Precompiled":
        return [CharsMap(spec["precompiled_charsmap"])]
    known = "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Replace of a string, Precompiled"
    raise ValueError(f"the normalizer {spec!r} is not known here; known are {known}")


def _lower(text: str) -> str:
    """Letter by letter, as the `tokenizers` library: no final form of Greek sigma."""
    return "".join(map(str.lower, text))


def _without_marks(text: str) -> str:
    return "".join(char for char in text if unicodedata.category(char)[0] != "M")


def _replace(pattern: re.Pattern[str], content: str, text: str) -> str:
    return pattern.sub(lambda _: content, text)


def splits_white_space(spec: dict | None) -> bool:
    """Whether the "pre_tokenizer" of a tokenizer.json takes all white space out, or marks single spaces only.

    Raises ValueError on one that is neither Metaspace nor WhitespaceSplit followed by Metaspace.
    """
    parts = spec.get("pretokenizers", [spec]) if spec else []
    kinds = [part.get("type") for part in parts]
    if kinds in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        marks = {"replacement": SPACE, "prepend_scheme": "always", "split": True, "add_prefix_space": True}
        if all(parts[-1].get(name, value) == value for name, value in marks.items()):
            return len(parts) == 2
    raise ValueError(
        f"the pre_tokenizer {spec!r} is not known here; known is Metaspace with {SPACE} always prepended, alone or"
        " after WhitespaceSplit"
    )


def pre_tokenizer(split_white_space: bool) -> dict:
    """The "pre_tokenizer" of a tokenizer.json that `splits_white_space` reads as the same."""
    marks = metaspace()
    return (
        {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, marks]}
        if split_white_space
        else marks
    )


def metaspace() -> dict:
    return {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}


def words(text: str, *, split_white_space: bool) -> list[str]:
    """Words that begin with ▁ where a space was; the text itself counts as having one before it."""
    parts = _WORDS.findall(text) if split_white_space else [text.replace(" ", SPACE)] if text else []
    return [
        word for part in parts for word in _MARKED.findall(part if part.startswith(SPACE) else SPACE + part)
    ]
