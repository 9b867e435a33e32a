"""Sentences with human sentiment ratings in four domains (Hutto & Gilbert 2014).

At least 15 people rated each sentence from −4 (very negative) to 4 (very positive); valence is their mean. Counted
on the files, without the made-up tweets; the last four columns at abs(valence) ≥ 0.5:

| domain     | sentences | removed as duplicates | groups       | kept | positive | VADER | one person |
|------------|-----------|-----------------------|--------------|------|----------|-------|------------|
| films      | 10,603    | 2                     | each its own | .950 | .496     | .642  | .943       |
| products   | 3,697     | 11                    | 300 reviews  | .805 | .586     | .738  | .942       |
| editorials | 5,118     | 72, within articles   | 498 articles | .572 | .401     | .710  | .841       |
| tweets     | 4,000     | 60, all made up       | each its own | .808 | .695     | .972  | .913       |

VADER: accuracy of the sign of its score, where a score of 0 (13, 23, 22, 3 % of the sentences) counts half; counted
as wrong the zeros leave .575, .623, .598, .959. One person: `human_accuracy`. The 300 reviews are of five products,
so a split by review tests on products that were trained on.
"""

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tlcourse import assets
from tlcourse.datasets._shuffle import cut_sizes, shuffled

DOMAINS = ("films", "products", "editorials", "tweets")

_FILES = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
_ADDRESS = re.compile(r"\w[\w.+-]*@\w+(?:\.\w+)*|@\w+")
_GROUPED = ("products", "editorials")  # ids are group_number; films and tweets stand alone

# 30 tweets and 170 variants of them in capitals and punctuation, written to test VADER's rules. The files do not mark
# them; they are those whose valence is not the mean of their ratings (all but 1484, which belongs to the family of 2).
_MADE_UP_ORIGINALS = (
    *(2, 7, 9, 11, 15, 20, 30, 35, 58, 60, 73, 89, 100, 101, 114, 119, 124, 136, 169, 175, 203, 215, 220),
    *(239, 242, 252, 253, 273, 288, 298),
)
_MADE_UP_RUNS = (
    (1424, 1486),
    (1818, 1876),
    (2215, 2226),
    (2849, 2855),
    (3201, 3212),
    (3550, 3554),
    (3855, 3866),
)
MADE_UP_TWEETS = frozenset(
    str(i)
    for i in (*_MADE_UP_ORIGINALS, *(i for first, last in _MADE_UP_RUNS for i in range(first, last + 1)))
)


@dataclass(frozen=True)
class Sentence:
    """One rated sentence.

    id: the file's; group: what must not straddle a split (article, review, or the sentence itself);
    valence: mean rating, −4…4; ratings: the single ones, integers; made_up: written to test VADER's rules.
    """

    id: str
    domain: str
    group: str
    text: str
    valence: float
    ratings: tuple[int, ...]
    made_up: bool


@dataclass(frozen=True)
class Split:
    """Sentences to learn from, to choose with, and to test on.

    Raises ValueError where a part is empty or has one class only, or where a group is in two parts.
    """

    train: tuple[Sentence, ...]
    validation: tuple[Sentence, ...]
    test: tuple[Sentence, ...]

    def __post_init__(self) -> None:
        seen: dict[tuple[str, str], str] = {}
        for part in ("train", "validation", "test"):
            sentences = getattr(self, part)
            if not sentences:
                raise ValueError(f"the {part} part is empty; lower min_valence or raise its share")
            _require_both_classes(sentences, f"the {part} part")
            for key in {(s.domain, s.group) for s in sentences}:
                if seen.setdefault(key, part) != part:
                    raise ValueError(
                        f"group {key[1]!r} of {key[0]} is in {seen[key]} and in {part}; split by group"
                    )


@lru_cache(maxsize=len(DOMAINS))
def sentiment(domain: str) -> tuple[Sentence, ...]:
    """All sentences of a domain, in file order.

    HTML entities are unescaped, runs of blanks folded, user handles and mail addresses masked as @user; letter case is
    kept. Of sentences that are equal up to case and blanks the first is kept, so none can straddle a split.
    Raises ValueError on an unknown domain or a malformed line, MissingAssetError where the asset is not cached.
    """
    _require_domain(domain)
    ratings = {
        fields[0]: _ratings(fields[3], fields[0])
        for fields in _rows(f"{_FILES[domain]}_anonDataRatings.txt", 4)
    }
    sentences: dict[str, Sentence] = {}
    for id, valence, raw in _rows(f"{_FILES[domain]}_GroundTruth.txt", 3):
        if id not in ratings:
            raise ValueError(
                f"sentence {id} of {domain} has no ratings; run `tlcourse assets fetch sentiment`"
            )
        text = _clean(raw)
        sentence = Sentence(
            id=id,
            domain=domain,
            group=id.split("_")[0] if domain in _GROUPED else id,
            text=text,
            valence=float(valence),
            ratings=ratings[id],
            made_up=domain == "tweets" and id in MADE_UP_TWEETS,
        )
        sentences.setdefault(text.casefold(), sentence)
    return tuple(sentences.values())


def sentiment_split(
    domain: str, seed: int, *, min_valence: float = 0.5, test: float = 0.25, validation: float = 0.15
) -> Split:
    """Whole groups of a domain, at random, into train, validation and test; made-up tweets left out.

    test, validation: shares of the sentences, met to within about one group. Sentences with
    abs(valence) < min_valence are dropped after the groups have been dealt out: under one seed a group is in
    the same part whatever min_valence is, and the shares of what is left move by two percent of all or less.
    Raises ValueError where a part comes out empty or with one class, or on a negative min_valence.
    """
    if not min_valence >= 0:
        raise ValueError(f"min_valence={min_valence} is negative; valence runs from −4 to 4, try 0.5")
    by_group: dict[str, list[Sentence]] = {}
    for sentence in sentiment(domain):
        if not sentence.made_up:
            by_group.setdefault(sentence.group, []).append(sentence)
    names = sorted(by_group)
    order = [names[i] for i in shuffled(len(names), seed, f"split {domain}")]
    cuts = cut_sizes(
        np.array([len(by_group[name]) for name in order]), {"test": test, "validation": validation}
    )
    return Split(
        **{
            part: tuple(s for name in order[cut] for s in by_group[name] if abs(s.valence) >= min_valence)
            for part, cut in cuts.items()
        }
    )


def share_kept(domain: str, min_valence: float) -> float:
    """Share of a domain's sentences, made-up ones left out, with abs(valence) ≥ min_valence."""
    strength = np.abs(valences([s for s in sentiment(domain) if not s.made_up]))
    return float(np.mean(strength >= min_valence))


def draw(sentences: Sequence[Sentence], n: int, seed: int) -> tuple[Sentence, ...]:
    """n sentences at random without replacement, the same whatever order they come in.

    Nested: `draw(s, 50, 0)` begins `draw(s, 100, 0)`. Raises ValueError on n outside 2…len(sentences), and
    where the draw has one class only.
    """
    if not 2 <= n <= len(sentences):
        raise ValueError(
            f"n={n} cannot be drawn from {len(sentences)} sentences; choose 2 … {len(sentences)}"
        )
    in_order = sorted(sentences, key=lambda s: (s.domain, s.id))
    drawn = tuple(in_order[i] for i in shuffled(len(in_order), seed, "draw")[:n])
    _require_both_classes(drawn, f"the draw of n={n} with seed={seed}", "try another seed or a larger n")
    return drawn


def labels(sentences: Sequence[Sentence]) -> np.ndarray:
    """(N,) int64: 1 where the valence is positive, 0 elsewhere.

    A valence of exactly 0, which only `min_valence=0` lets through, counts as 0: leave it out where classes are scored.
    """
    return (valences(sentences) > 0).astype(np.int64)


def valences(sentences: Sequence[Sentence]) -> np.ndarray:
    """(N,) float64: mean human ratings, −4…4."""
    return np.array([s.valence for s in sentences], dtype=np.float64)


def texts(sentences: Sequence[Sentence]) -> list[str]:
    """The texts, in order."""
    return [s.text for s in sentences]


def groups(sentences: Sequence[Sentence]) -> np.ndarray:
    """(N,) str: "domain/group" of each, for resampling whole groups."""
    return np.array([f"{s.domain}/{s.group}" for s in sentences])


def _rows(file: str, n_fields: int) -> list[list[str]]:
    text = assets.path("sentiment", file).read_text(encoding="utf-8-sig")
    rows = [line.split("\t") for line in text.split("\n") if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != n_fields:
            raise ValueError(f"{file}, line {number}: {len(row)} fields, expected {n_fields} between tabs")
    return rows


def _ratings(field: str, id: str) -> tuple[int, ...]:
    ratings = json.loads(field)
    if not all(isinstance(r, int) and -4 <= r <= 4 for r in ratings):
        raise ValueError(f"sentence {id} has ratings {field}; they are integers from −4 to 4")
    return tuple(ratings)


def _clean(text: str) -> str:
    while (plain := html.unescape(text)) != text:  # some are escaped twice
        text = plain
    text = re.sub(r"\bRT@", "RT @", " ".join(text.split()))
    return _ADDRESS.sub("@user", text)


def _require_domain(domain: str) -> None:
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; choose one of {', '.join(DOMAINS)}")


def _require_both_classes(
    sentences: Sequence[Sentence], what: str, way_out: str = "try another seed"
) -> None:
    n_positive = sum(s.valence > 0 for s in sentences)
    n_negative = sum(s.valence < 0 for s in sentences)
    if not (n_positive and n_negative):
        raise ValueError(f"{what} has {n_positive} positive and {n_negative} negative sentences; {way_out}")
