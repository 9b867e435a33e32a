"""Debian's package descriptions: a long text and its one-line synopsis, written by the package's maintainer.

63,956 entries repeat each other: the parts of one source share their paragraphs, and 1,900 crates of Rust one sentence.
A package is kept where its first paragraph and its synopsis come for the first time, the words of its own name apart,
and of its other paragraphs those that do. Shorter names come first: a program before its data, headers, translations.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from tlcourse import assets
from tlcourse.datasets.documents import Document, Parts, fold, split_groups

_FIELDS = re.compile(r"Package: (\S+)\n(?:[\w-]+: .*\n)*?Description-en: (.*)\n((?: .*(?:\n|$))*)")
# First words of names that say which language or kind a package is of, not which software.
_KINDS = frozenset(
    (
        *("lib", "python", "python3", "ruby", "node", "libjs", "golang", "github", "com", "rust", "librust"),
        *("libghc", "ghc", "haskell", "php", "elpa", "r", "cran", "bioc", "gir1.2", "fonts", "font"),
        *("dict", "hunspell", "aspell", "libreoffice", "task", "test"),
    )
)
_EMPTY = re.compile(r"transitional|dummy|metapackage|meta-package", re.IGNORECASE)
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\betc\.)(?<!\bvs\.)\s+(?=[\"'(“]?[A-Z0-9])"
)


@dataclass(frozen=True)
class Package:
    """name; stem: what names of packages from one source have in common; synopsis; paragraphs, at least one."""

    name: str
    stem: str
    synopsis: str
    paragraphs: tuple[str, ...]

    @property
    def group(self) -> str:
        return self.stem

    @property
    def description(self) -> str:
        return "\n".join(self.paragraphs)


@lru_cache(maxsize=1)
def packages() -> tuple[Package, ...]:
    """Packages with a description of their own, in order of their names.

    Only English entries are read; empty packages (transitional, dummy, meta) are left out. Lines are joined, lists
    too. Raises ValueError on a malformed entry, MissingAssetError where the asset is not cached.
    """
    text = assets.path("debian-descriptions", "Translation-en").read_text(encoding="utf-8")
    entries = {}
    for number, block in enumerate(filter(str.strip, text.split("\n\n")), 1):
        match = _FIELDS.fullmatch(block.strip("\n") + "\n")
        if match is None:
            raise ValueError(f"Translation-en, entry {number} is no English description: {block[:60]!r}")
        name, synopsis, body = match.groups()
        # Versions of one package may come more than once: which one is kept must not hang on their order.
        entries.setdefault(name, set()).add((" ".join(synopsis.split()), _paragraphs(body)))
    synopses, seen, kept = set(), set(), []
    for name in sorted(entries, key=lambda name: (len(name), name)):
        synopsis, paragraphs = min(entries[name])
        if not paragraphs or _EMPTY.search(synopsis):
            continue
        own, new = [], set()
        for paragraph in paragraphs:
            keys = _keys(paragraph, name)
            if keys and not (keys & seen or keys & new):
                own.append(paragraph)
            new |= keys
        if own and own[0] == paragraphs[0] and not _keys(synopsis, name) & synopses:
            seen |= new
            synopses |= _keys(synopsis, name)
            kept.append(Package(name, _stem(name), synopsis, tuple(own)))
    return tuple(sorted(kept, key=lambda package: package.name))


def package_split(seed: int, *, test: float = 0.1, validation: float = 0.05) -> Parts[Package]:
    """Packages at random into train, validation and test; packages of one stem stay together.

    No two packages share a synopsis or a paragraph. Raises ValueError on impossible shares.
    """
    return split_groups(packages(), seed, "descriptions", test=test, validation=validation)


def description_documents() -> tuple[Document, ...]:
    """A document per package, in sentences; the synopsis is not among them."""
    return tuple(
        Document(p.name, p.stem, tuple(s for paragraph in p.paragraphs for s in sentences(paragraph)))
        for p in packages()
    )


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text: they end in . ! or ? before a blank and a capital letter or a digit.

    A rule, not a parser: a few abbreviations are known, a sentence that begins in lower case is not found.
    """
    return tuple(filter(None, (s.strip() for s in _SENTENCE_END.split(text))))


def _paragraphs(body: str) -> tuple[str, ...]:
    """Paragraphs of a description, which a line with a single point separates."""
    lines = [line[1:].rstrip() for line in body.splitlines()]
    joined = "\n".join("" if line == "." else line.strip() or "" for line in lines)
    return tuple(" ".join(p.split()) for p in re.split(r"\n{2,}", joined) if p.strip())


def _keys(text: str, name: str) -> set[str]:
    """What makes two texts the same: their words, or those that are not of the package's name, as in patterns."""
    words = fold(text).split()
    own = set(fold(name).split())
    return {" ".join(words), " ".join(word for word in words if word not in own)} - {""}


def _stem(name: str) -> str:
    """The first part of a name that says which software it is, without lib and version.

    `python3-numpy` → numpy, `libpng16-16` → png, `gcc-12-base` → gcc, `librust-serde-dev` → serde.
    """
    for part in name.lower().split("-"):
        if part not in _KINDS and (bare := re.sub(r"[\d.+]+$", "", re.sub(r"^lib(?=..)", "", part))):
            return bare
    return name.lower()
