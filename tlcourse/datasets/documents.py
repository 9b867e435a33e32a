"""Texts as lists of documents, and splits of them that leak nothing.

A split deals out whole groups: books, plays, words, families of packages. Text that comes twice is removed before, and
after it each held-out sentence that training text repeats: of thirteen words in a row, as GPT-3's data were cleaned
(Brown et al. 2020, appendix C), or of all its words where it has fewer.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np

from tlcourse.datasets._shuffle import cut_sizes, shuffled

PARTS = ("train", "validation", "test")
RUN = 13  # words


class Grouped(Protocol):
    """A record that names what must not straddle a split."""

    @property
    def group(self) -> str: ...


Record = TypeVar("Record", bound=Grouped)


@dataclass(frozen=True)
class Document:
    """One text in its natural pieces: verses of a chapter, speeches of a scene, definition and examples.

    id: unique in its corpus; group: what must not straddle a split; separator: what joins the sentences.
    """

    id: str
    group: str
    sentences: tuple[str, ...]
    separator: str = " "

    @property
    def text(self) -> str:
        return self.separator.join(self.sentences)


@dataclass(frozen=True)
class Parts(Generic[Record]):
    """Records to learn from, to choose with, and to test on.

    Raises ValueError where a part is empty or where a group is in two parts.
    """

    train: tuple[Record, ...]
    validation: tuple[Record, ...]
    test: tuple[Record, ...]

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name in PARTS:
            if not self.part(name):
                raise ValueError(f"the {name} part is empty; try another seed, a larger share or more groups")
            for group in {record.group for record in self.part(name)}:
                if seen.setdefault(group, name) != name:
                    raise ValueError(f"group {group!r} is in {seen[group]} and in {name}; split by group")

    def part(self, name: str) -> tuple[Record, ...]:
        """The part of that name. Raises ValueError on any other name."""
        if name not in PARTS:
            raise ValueError(f"unknown part {name!r}; choose one of {', '.join(PARTS)}")
        return getattr(self, name)


def split_groups(
    records: Sequence[Record],
    seed: int,
    purpose: str,
    *,
    sizes: Sequence[int] | None = None,
    test: float = 0.1,
    validation: float = 0.05,
) -> Parts[Record]:
    """Whole groups at random into train, validation and test; within a part the order stays.

    sizes: of the records, by default 1; test, validation: shares of their sum, met to within about one group. One
    seed and purpose deal the same groups alike in whatever order the records come.
    Raises ValueError on impossible shares and on empty parts.
    """
    names, index = np.unique(np.array([record.group for record in records], dtype=str), return_inverse=True)
    of_group = np.bincount(index, sizes, minlength=len(names))
    order = shuffled(len(names), seed, f"split {purpose}")
    cuts = cut_sizes(of_group[order], {"test": test, "validation": validation}) if len(names) else {}
    part_of = np.empty(len(names), dtype=object)
    for part, cut in cuts.items():
        part_of[order[cut]] = part
    dealt = {part: [] for part in PARTS}
    for record, group in zip(records, index, strict=True):
        dealt[part_of[group]].append(record)
    return Parts(**{part: tuple(chosen) for part, chosen in dealt.items()})


def without_repeats(parts: Parts[Document]) -> Parts[Document]:
    """The same parts, less held-out sentences that repeat training text, and documents with none left.

    A test sentence may not repeat validation text either. What repeats is said at the head of this module.
    Raises ValueError where nothing of a part is left.
    """
    validation = _not_in(parts.validation, parts.train)
    return Parts(parts.train, validation, _not_in(parts.test, (*parts.train, *validation)))


def fold(text: str) -> str:
    """Lower case, letters and digits only, single blanks: what two copies of a text have in common."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _not_in(held_out: Iterable[Document], known: Iterable[Document]) -> tuple[Document, ...]:
    runs = {document.id: [_runs(s) for s in document.sentences] for document in held_out}
    wanted = {run for sentences in runs.values() for sentence in sentences for run in sentence}
    repeated = {
        run for document in known for sentence in document.sentences for run in _runs(sentence) & wanted
    }
    kept = (
        replace(
            document,
            sentences=tuple(
                sentence
                for sentence, own in zip(document.sentences, runs[document.id], strict=True)
                if not own & repeated
            ),
        )
        for document in held_out
    )
    return tuple(document for document in kept if document.sentences)


def _runs(sentence: str) -> set[str]:
    """All runs of thirteen words; the whole sentence where it has fewer."""
    words = fold(sentence).split()
    return {" ".join(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))}
