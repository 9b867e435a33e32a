"""The course's four corpora for language models: the King James Bible, Shakespeare, WordNet, package descriptions.

`corpus(name, part)` gives each as documents with whole groups held out and nothing repeated:

| corpus       | document             | sentence                | group, held out whole   |
|--------------|----------------------|-------------------------|-------------------------|
| bible        | chapter              | verse                   | book                    |
| shakespeare  | scene, sonnet, poem  | speech, stanza          | play or collection      |
| wordnet      | synset               | definition, example     | first lemma             |
| descriptions | package              | sentence                | stem of the name        |
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from tlcourse import assets
from tlcourse.datasets.descriptions import description_documents
from tlcourse.datasets.documents import Document, Parts, fold, split_groups, without_repeats
from tlcourse.datasets.wordnet import gloss_documents

CORPORA = ("bible", "shakespeare", "wordnet", "descriptions")

_VERSE = re.compile(r"(\d?[A-Za-z]+)(\d+):(\d+) (\S.*)")
_START = re.compile(r"(?:THE )?(?:PROLOGUE|INDUCTION)\.?|(?:ACT|Act) (?:I|1|FIRST)\b.*")
_HEADING = re.compile(
    r"(?:THE )?(?:PROLOGUE|EPILOGUE|INDUCTION)\.?"
    r"|(?:ACT|Act|SCENE|Scene)[ .]+(?:[IVX]+|[0-9]+|FIRST|SECOND|THIRD|FOURTH|FIFTH)\b.*"
)
_NUMERAL = re.compile(r"[IVXLC]+\.?")
# The Passionate Pilgrim prints three songs of Love's Labour's Lost and two of the sonnets.
_GROUPS = {"passionate_pilgrim": "loves_labours_lost", "sonnets": "loves_labours_lost"}


@dataclass(frozen=True)
class Verse:
    """One verse; book: as the file marks it, Ge … Rev."""

    book: str
    chapter: int
    number: int
    text: str


@lru_cache(maxsize=1)
def verses() -> tuple[Verse, ...]:
    """The 31,102 verses of the King James Bible, in its order.

    Raises ValueError on a malformed line, MissingAssetError where the asset is not cached.
    """
    lines = assets.path("king-james-bible", "king-james-bible.txt").read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        match = _VERSE.fullmatch(line)
        if match is None:
            if number == 1:  # one of the two editions has a title
                continue
            raise ValueError(f"king-james-bible.txt, line {number} is no verse: {line[:60]!r}")
        book, chapter, verse, text = match.groups()
        found.append(Verse(book, int(chapter), int(verse), " ".join(text.split())))
    return tuple(found)


def bible_documents() -> tuple[Document, ...]:
    """A document per chapter; of verses equal up to case and punctuation the first is kept."""
    seen, documents = set(), []
    for (book, chapter), members in groupby(verses(), key=lambda v: (v.book, v.chapter)):
        kept = _unseen((verse.text for verse in members), seen)
        if kept:
            documents.append(Document(f"{book}{chapter}", book, kept))
    return tuple(documents)


@lru_cache(maxsize=1)
def shakespeare_documents() -> tuple[Document, ...]:
    """A document per scene of the plays, per sonnet, per poem, its speeches and stanzas as they are printed.

    Title, list of persons and headings are left out; lines lose what indents them. Cymbeline ends within act 3, as in
    the file. Raises ValueError on a text with no line, MissingAssetError where the asset is not cached.
    """
    seen, documents = set(), []
    for path in sorted(assets.path("shakespeare", "texts").glob("*.txt")):
        work = path.stem.removesuffix("_gut")
        lines = [" ".join(line.split()) for line in path.read_text(encoding="utf-8").splitlines()]
        for number, piece in enumerate(_pieces(lines, path.name), 1):
            blocks = (block.strip() for block in re.split(r"\n{2,}", "\n".join(piece)))
            kept = _unseen((b for b in blocks if b), seen)
            if kept:
                documents.append(Document(f"{work}/{number}", _GROUPS.get(work, work), kept, "\n\n"))
    return tuple(documents)


@lru_cache(maxsize=8)
def corpus_split(name: str, seed: int = 0, *, test: float = 0.1, validation: float = 0.05) -> Parts[Document]:
    """A corpus in train, validation and test, whole groups apart, held-out sentences known from training left out.

    test, validation: shares of the text, before that. Raises ValueError on an unknown corpus, on impossible
    shares and on a part that comes out empty; MissingAssetError where the asset is not cached.
    """
    if name not in CORPORA:
        raise ValueError(f"unknown corpus {name!r}; choose one of {', '.join(CORPORA)}")
    read = {
        "bible": bible_documents,
        "shakespeare": shakespeare_documents,
        "wordnet": gloss_documents,
        "descriptions": description_documents,
    }[name]
    documents = read()
    sizes = [len(document.text) for document in documents]
    shares = {"test": test, "validation": validation}
    return without_repeats(split_groups(documents, seed, f"corpus {name}", sizes=sizes, **shares))


def corpus(name: str, part: str, seed: int = 0) -> tuple[Document, ...]:
    """The documents of one part ("train", "validation" or "test") of a corpus. Raises as `corpus_split`."""
    return corpus_split(name, seed).part(part)


def _unseen(texts: Iterable[str], seen: set[str]) -> tuple[str, ...]:
    """Texts whose folded form is not in seen, which grows by them."""
    kept = []
    for text in texts:
        if (key := fold(text)) and key not in seen:
            seen.add(key)
            kept.append(text)
    return tuple(kept)


def _pieces(lines: list[str], file: str) -> list[list[str]]:
    """Lines after each heading of a play, else after each number of a poem, else all but title and author."""
    first = next((i for i, line in enumerate(lines) if line.startswith("by ")), None)
    if first is None:
        raise ValueError(f"{file} has no line `by …`; run `tlcourse assets fetch shakespeare`")
    start = next((i for i, line in enumerate(lines) if _START.fullmatch(line)), None)
    heading, start = (_NUMERAL, first + 1) if start is None else (_HEADING, start)
    starts = [i for i in range(start, len(lines)) if heading.fullmatch(lines[i])]
    if not starts:
        return [lines[start:]]
    return [lines[i + 1 : j] for i, j in zip(starts, [*starts[1:], len(lines)], strict=True)]
