"""Entities as tags: B- opens one, I- goes on with it, O is outside (IOB2, Tjong Kim Sang & Veenstra 1999)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

NO_TAG = -100  # what torch's cross-entropy leaves out


@dataclass(frozen=True, order=True)
class Span:
    """Characters or words start…end−1 of a type. Raises ValueError where it is empty or has no type."""

    start: int
    end: int
    type: str

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(
                f"{self.type or 'span'} {self.start}…{self.end} is empty; wanted 0 ≤ start < end"
            )
        if not self.type:
            raise ValueError(f"span {self.start}…{self.end} has no type")


def tags_of_spans(words: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[str]:
    """One tag a word: the words' character offsets, and spans of characters.

    A word belongs to a span when they share a character, so that "Japan" marks all of "Japan-based".
    Raises ValueError where a span holds no word or where two spans claim one.
    """
    tags = ["O"] * len(words)
    for span in sorted(spans):
        inside = [i for i, (start, end) in enumerate(words) if max(start, span.start) < min(end, span.end)]
        if not inside:
            raise ValueError(f"{span.type} at characters {span.start}…{span.end} holds no word")
        for i in inside:
            if tags[i] != "O":
                raise ValueError(
                    f"{span.type} at characters {span.start}…{span.end} claims word {i}, "
                    f"which is {tags[i]} already; spans must not overlap"
                )
            tags[i] = f"{'B' if i == inside[0] else 'I'}-{span.type}"
    return tags


def spans_of_tags(tags: Sequence[str], mode: Literal["default", "strict"] = "default") -> list[Span]:
    """Spans of words out of tags, in order.

    What to do with an I- that continues nothing, after O or after another type, is the only difference. "default"
    takes it for the beginning of an entity, as CoNLL's script `conlleval` does; "strict" (IOB2) takes it for no
    entity, and what follows it likewise. Raises ValueError on another tag than O, B-type, I-type, and on another mode.
    """
    if mode not in ("default", "strict"):
        raise ValueError(f"unknown mode {mode!r}; choose default or strict")
    spans: list[Span] = []
    start, open_type = 0, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        if (prefix not in ("B", "I") or not kind) and tag != "O":
            raise ValueError(f"tag {tag!r} at word {i} is not O, B-type or I-type")
        if prefix == "I" and kind == open_type:
            continue
        if open_type:
            spans.append(Span(start, i, open_type))
        opens = prefix == "B" or (prefix == "I" and mode == "default")
        start, open_type = i, kind if opens else ""
    return spans


def spread_tags(word_ids: Sequence[int | None], tags: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Targets for the tokens of a sentence of words: the class of the word's tag at its first token, else NO_TAG.

    word_ids: the word that each token belongs to, None for special tokens, as tokenizers give them. A word is
    scored once, however many pieces it has (Devlin et al. 2019). Raises ValueError on a tag that is no class and on
    a word that is not there. Words that were cut off with the end of the text have no target.
    """
    index = {name: i for i, name in enumerate(classes)}
    targets, before = [], None
    for word in word_ids:
        if word is None or word == before:
            targets.append(NO_TAG)
        elif not 0 <= word < len(tags):
            raise ValueError(f"a token belongs to word {word}, but there are {len(tags)} tags")
        elif tags[word] not in index:
            raise ValueError(f"tag {tags[word]!r} is none of the classes {', '.join(classes)}")
        else:
            targets.append(index[tags[word]])
        before = word
    return targets
