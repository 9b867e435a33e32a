"""Names in editorials labelled by lookup in WordNet: silver, and split so that no name of one part is in another.

The lookup scores 1 on these labels by construction, and says nothing there; what it and a model that learned from them
are worth is measured on `gold_entities`. Of 3,840 sentences some 3,500 are kept; 2,250 to 2,600 are to train on, 350 to
400 of them with a name, and 500 to 690 to test on, 63 to 82 with a name (five seeds).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from tlcourse.datasets.columns import Tagged
from tlcourse.datasets.documents import PARTS, Parts, split_groups
from tlcourse.datasets.gold import gold_articles
from tlcourse.datasets.names import Gazetteer, editorial_gazetteer
from tlcourse.datasets.sentences import Sentence, sentiment
from tlcourse.spans import tags_of_spans, words


@dataclass(frozen=True)
class _Mention:
    group: str


def lookup_tags(gazetteer: Gazetteer, text: str) -> list[str]:
    """Tags of a text's words by lookup: the baseline, and what silver labels are."""
    return tags_of_spans(words(text), [match.span for match in gazetteer.find(text)])


def silver_entities(seed: int, *, test: float = 0.25, validation: float = 0.15) -> Parts[Tagged]:
    """Sentences of the editorials outside `gold_articles`, with tags by lookup.

    Names are dealt out at random, those that share a bearer or a spelling together; test and validation are shares of
    the times they are mentioned. An article goes where most of its mentions are, one without any at random, and a
    sentence that has a name of another part, be it only in a longer one, is left out. So neither a name nor an
    article is in two parts. Raises ValueError on impossible shares.
    """
    gazetteer = editorial_gazetteer()
    sentences = [s for s in sentiment("editorials") if s.group not in gold_articles()]
    mentioned = {s.id: [m.group for m in gazetteer.find(s.text, whole=False)] for s in sentences}
    shares = {"test": test, "validation": validation}
    part_of_name = _dealt([_Mention(g) for found in mentioned.values() for g in found], seed, "names", shares)
    part_of_article = _dealt(sentences, seed, "articles", shares)
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        votes[sentence.group].update(part_of_name[name] for name in mentioned[sentence.id])
    for article, count in votes.items():
        if count:
            drawn = part_of_article[article]
            part_of_article[article] = max(PARTS, key=lambda part: (count[part], part == drawn))
    dealt: dict[str, list[Tagged]] = {part: [] for part in PARTS}
    for sentence in sentences:
        part = part_of_article[sentence.group]
        if all(part_of_name[name] == part for name in mentioned[sentence.id]):
            dealt[part].append(_tagged(sentence, gazetteer))
    return Parts(**{part: tuple(found) for part, found in dealt.items()})


def _dealt(records: list, seed: int, what: str, shares: dict[str, float]) -> dict[str, str]:
    parts = split_groups(records, seed, f"silver {what}", **shares)
    return {record.group: part for part in PARTS for record in parts.part(part)}


def _tagged(sentence: Sentence, gazetteer: Gazetteer) -> Tagged:
    tokens = tuple(sentence.text[start:end] for start, end in words(sentence.text))
    return Tagged(sentence.id, sentence.group, tokens, tuple(lookup_tags(gazetteer, sentence.text)))
