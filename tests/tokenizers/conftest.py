"""Texts for all tokenizers: 100,000 generated ones, and the course's corpora."""

import pytest

from tests.reference.unicode_strings import unicode_strings
from tlcourse import assets, datasets


@pytest.fixture(scope="session")
def strings():
    return unicode_strings(100_000, seed=0)


@pytest.fixture(scope="session")
def sentences():
    return [text for domain in datasets.DOMAINS for text in datasets.texts(datasets.sentiment(domain))]


def lines_of(name, pattern, encoding="utf-8"):
    return [
        line
        for path in sorted(assets.path(name).glob(pattern))
        for line in path.read_text(encoding=encoding).splitlines()
    ]


@pytest.fixture(scope="session")
def books():
    """Every eighth line of WordNet's glosses, Bible, Shakespeare, package descriptions; what is in the cache."""
    patterns = {"wordnet": "data.*", "king-james-bible": "*.txt", "shakespeare": "texts/*"}
    patterns |= {"debian-descriptions": "Translation-en"}
    here = [name for name in patterns if assets.present(name)]
    if not here:
        pytest.skip(
            f"none of {', '.join(patterns)} is in the cache; run `tlcourse assets fetch {' '.join(patterns)}`"
        )
    encoding = {"shakespeare": "latin-1"}
    found = {name: lines_of(name, patterns[name], encoding.get(name, "utf-8")) for name in here}
    if "wordnet" in found:
        found["wordnet"] = [line.split(" | ", 1)[1] for line in found["wordnet"] if " | " in line]
    return [line for lines in found.values() for line in lines[::8]]
