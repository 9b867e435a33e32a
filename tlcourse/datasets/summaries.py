"""Summarisation: a Debian package's description, and the synopsis that its maintainer wrote."""

from __future__ import annotations

from dataclasses import dataclass

from tlcourse.datasets.descriptions import package_split, sentences
from tlcourse.datasets.documents import PARTS, Parts


@dataclass(frozen=True)
class SummaryPair:
    """A text and its summary; group: what must not straddle a split (packages of one source)."""

    id: str
    group: str
    text: str
    summary: str


def summary_pairs(seed: int, *, min_words: int = 20) -> Parts[SummaryPair]:
    """Descriptions of at least min_words words with their synopses, split by source.

    Synopses leave out the verb ("web server in C"), where descriptions are in sentences: a sentence of the text can
    not reach a ROUGE of 1. Raises ValueError on min_words below 1, and where a part comes out empty.
    """
    if min_words < 1:
        raise ValueError(f"min_words={min_words} must be at least 1")
    parts = package_split(seed)
    return Parts(
        **{
            part: tuple(
                SummaryPair(p.name, p.group, p.description, p.synopsis)
                for p in parts.part(part)
                if len(p.description.split()) >= min_words
            )
            for part in PARTS
        }
    )


def first_sentence(text: str) -> str:
    """The baseline: the first sentence of a text, "" of an empty one."""
    return next(iter(sentences(text)), "")
