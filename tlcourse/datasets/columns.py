"""Named entities in columns, a word a line and a blank line between sentences: CoNLL-2003 and WNUT-17.

Neither is an asset of the course: CoNLL-2003's texts are Reuters' (Tjong Kim Sang & De Meulder 2003), WNUT-17's are
users' of several sites (Derczynski et al. 2017). Both are read from where you have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tlcourse.spans import spans_of_tags


@dataclass(frozen=True)
class Tagged:
    """A sentence in words with one tag each, O, B-type or I-type (IOB2); group: what must not straddle a split.

    Raises ValueError where there is no word, not one tag a word, or a tag that is none.
    """

    id: str
    group: str
    words: tuple[str, ...]
    tags: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.words or len(self.words) != len(self.tags):
            raise ValueError(
                f"sentence {self.id} has {len(self.words)} words and {len(self.tags)} tags; wanted one tag each"
            )
        try:
            spans_of_tags(self.tags)
        except ValueError as error:
            raise ValueError(f"sentence {self.id}: {error}") from None


def read_conll2003(path: str | Path) -> tuple[Tagged, ...]:
    """Sentences of a CoNLL-2003 file: word, part of speech, chunk and entity, between blanks.

    A line -DOCSTART- begins a document, which is the group. Both spellings of the tags are read, the original one,
    where B- only parts neighbours of one type (IOB1), and IOB2; the result is IOB2.
    Raises ValueError on a line of other than four columns, on a tag that is none, on a file without sentences.
    """
    return _read(Path(path), None, 4)


def read_wnut17(path: str | Path) -> tuple[Tagged, ...]:
    """Sentences of a WNUT-17 file: word and tag, between tabs; each sentence is its own group.

    Raises ValueError on a line of other than two columns, on a tag that is none, on a file without sentences.
    """
    return _read(Path(path), "\t", 2)


def iob2(tags: list[str]) -> list[str]:
    """Tags of IOB1 or IOB2 in IOB2: an I- that continues nothing begins an entity, and is B-."""
    before = ["O", *tags]
    return [
        f"B-{tag[2:]}" if tag.startswith("I-") and last[1:] != tag[1:] else tag
        for last, tag in zip(before, tags, strict=False)
    ]


def _read(path: Path, separator: str | None, n_columns: int) -> tuple[Tagged, ...]:
    sentences = []
    for document, rows in _blocks(path, separator, n_columns):
        words, tags = zip(*((row[0], row[-1]) for row in rows), strict=True)
        number = str(len(sentences) + 1)
        group = number if document is None else str(document)
        sentences.append(Tagged(number, group, words, tuple(iob2(list(tags)))))
    if not sentences:
        raise ValueError(f"{path.name} holds no sentence; wanted {n_columns} columns a line")
    return tuple(sentences)


def _blocks(
    path: Path, separator: str | None, n_columns: int
) -> Iterator[tuple[int | None, list[list[str]]]]:
    """Document (None before the first mark of one) and rows of each sentence."""
    document, rows = None, []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip() or line.startswith("-DOCSTART-"):
            if rows:
                yield document, rows
            rows = []
            if line.startswith("-DOCSTART-"):
                document = (document or 0) + 1
            continue
        fields = line.rstrip("\r").split(separator)
        if len(fields) != n_columns:
            raise ValueError(
                f"{path.name}, line {number} has {len(fields)} columns, not {n_columns}: {line!r}"
            )
        rows.append(fields)
    if rows:
        yield document, rows
