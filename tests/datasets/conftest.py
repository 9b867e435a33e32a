"""A cache that a test fills itself, with small files in the official formats."""

import random

import pytest

from tlcourse import assets
from tlcourse.datasets import corpora, descriptions, wordnet

KEPT = (
    *(wordnet.synsets, wordnet.distinct_synsets, corpora.verses, corpora.shakespeare_documents),
    *(corpora.corpus_split, descriptions.packages),
)
LICENCE = ["  1 This software and database is being provided to you, the LICENSEE, by  "]
POINTS_TO = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}


def forget():
    for function in KEPT:
        function.cache_clear()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Folder of a cache: `cache / asset / file`."""
    folder = tmp_path / "cache"

    def path(name, file=None):
        return folder / name / file if file else folder / name

    monkeypatch.setattr(assets, "path", path)
    forget()
    yield folder
    forget()


@pytest.fixture(scope="module")
def real():
    """What is read of the reader's own cache is kept for one file of tests, not for the whole run."""
    forget()
    yield
    forget()


@pytest.fixture
def write(cache):
    """Writes a text into the cache, and forgets what was read before."""

    def write(asset, file, text):
        target = cache / asset / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        forget()

    return write


@pytest.fixture
def write_wordnet(write):
    """Writes data.noun, .verb, .adj, .adv out of rows {name: (pos, class, words, pointers, gloss)}.

    words: (lemma, number); pointers: (symbol, name of a row). An edition other than 0 has a longer head and another
    order of lines and pointers, and so other offsets.
    """

    def write_rows(rows, edition=0):
        chance = random.Random(edition)
        order = list(rows)
        if edition:
            chance.shuffle(order)
        head = "\n".join(LICENCE * (1 + edition)) + "\n"

        def line(name, offsets):
            pos, number, words, pointers, gloss = rows[name]
            pointers = [(symbol, offsets[target], rows[target][0]) for symbol, target in pointers]
            if edition:
                chance.shuffle(pointers)
            fields = [offsets[name], f"{number:02d}", pos, f"{len(words):02x}"]
            fields += [f"{lemma} {id:x}" for lemma, id in words]
            fields += [
                f"{len(pointers):03d}",
                *(f"{symbol} {place} {to} 0000" for symbol, place, to in pointers),
            ]
            frames = ["01 + 02 00"] if pos == "v" else []
            return f"{' '.join(fields + frames)} | {gloss}  \n"

        offsets, ends = dict.fromkeys(rows, "0" * 8), {}
        for name in order:  # every offset has eight digits, so the lengths are known before the offsets
            file = POINTS_TO[rows[name][0]]
            start = ends.get(file, len(head))
            offsets[name], ends[file] = (
                f"{start:08d}",
                start + len(line(name, dict.fromkeys(rows, "0" * 8)).encode()),
            )
        for file in ("noun", "verb", "adj", "adv"):
            lines = [line(name, offsets) for name in order if POINTS_TO[rows[name][0]] == file]
            write("wordnet", f"data.{file}", head + "".join(lines))

    return write_rows
