"""Question–answer matching: does this definition of WordNet belong to this word?

Wrong definitions are of the same class ("noun.animal"), so that the topic gives nothing away. Every word and every
definition comes as often in right as in wrong pairs: neither alone says anything about the label. The baseline
`overlap_scores`, called right where it is above zero, is right on .698 of 17,204 test pairs (seed 0).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlcourse.datasets._shuffle import shuffled
from tlcourse.datasets.documents import PARTS, Parts, fold
from tlcourse.datasets.wordnet import Synset, synsets, wordnet_split

MASK = "___"
_ENDINGS = "(?:'s|s|es|ed|(?<=e)d|ing|ers?|(?<=e)rs?|ly|ness|al|ic)?"


@dataclass(frozen=True)
class GlossPair:
    """word, and a definition in which the words it defines are masked; label: 1 where it is the word's, else 0.

    word_id, gloss_id: the synsets they are from; lexname: the class of both; group: what must not straddle a split.
    """

    word: str
    gloss: str
    label: int
    lexname: str
    word_id: str
    gloss_id: str
    group: str


def gloss_pairs(seed: int, *, limit: int | None = None) -> Parts[GlossPair]:
    """Right and wrong pairs in turn, split by word: no word and no definition is in two parts.

    One meaning of each word is drawn; a wrong definition is that of another word of its class and part which is no
    meaning of the word. limit: at most so many pairs a part, the same ones whatever the limit; then a definition may
    be in a right pair and not in a wrong one. Raises ValueError on a limit that is not even and positive.
    """
    if limit is not None and (limit < 2 or limit % 2):
        raise ValueError(f"limit={limit}: wanted an even number of at least 2, since pairs come in twos")
    parts = wordnet_split(seed)
    meanings: dict[str, set[str]] = defaultdict(set)
    for synset in synsets():
        for lemma in synset.lemmas:
            meanings[lemma.casefold()].add(synset.id)
    return Parts(**{part: tuple(_pairs(parts.part(part), meanings, seed, part, limit)) for part in PARTS})


def masked(synset: Synset) -> str:
    """The definition with each of the synset's lemmas, and common endings of it, replaced by a mask."""
    text = synset.definition.casefold()
    lemmas = sorted((lemma for lemma in synset.lemmas if lemma.casefold() in text), key=len, reverse=True)
    if not lemmas:
        return synset.definition
    pattern = "|".join(re.escape(lemma) for lemma in lemmas)
    return re.sub(rf"\b(?:{pattern}){_ENDINGS}(?!\w)", MASK, synset.definition, flags=re.IGNORECASE)


def overlap_scores(pairs: Sequence[GlossPair]) -> np.ndarray:
    """The baseline: share of the word's parts whose first four letters begin a word of the definition, (N,) 0…1.

    Finds "musical" in a definition that has "music". Raises ValueError on no pairs.
    """
    if not pairs:
        raise ValueError("no pairs to score")
    scores = []
    for pair in pairs:
        stems = {word[:4] for word in fold(pair.gloss).split()}
        scores.append(np.mean([part[:4] in stems for part in fold(pair.word).split()] or [0.0]))
    return np.array(scores, dtype=np.float64)


def _pairs(
    found: Sequence[Synset], meanings: dict[str, set[str]], seed: int, part: str, limit: int | None
) -> list[GlossPair]:
    by_class: dict[str, list[Synset]] = defaultdict(list)
    seen: set[str] = set()
    for i in shuffled(len(found), seed, f"pairs {part}"):
        if found[i].group not in seen:
            seen.add(found[i].group)
            by_class[found[i].lexname].append(found[i])
    wrong = {}
    for entries in by_class.values():
        forbidden = [meanings[entry.group] for entry in entries]
        for entry, other in zip(entries, _others(entries, forbidden), strict=True):
            if other is not None:
                wrong[entry.id] = other
    drawn = [entry for entries in by_class.values() for entry in entries if entry.id in wrong]
    order = shuffled(len(drawn), seed, f"order {part}")[: None if limit is None else limit // 2]
    return [
        GlossPair(entry.lemmas[0], masked(gloss), label, entry.lexname, entry.id, gloss.id, entry.group)
        for entry in (drawn[i] for i in order)
        for label, gloss in ((1, entry), (0, wrong[entry.id]))
    ]


def _others(entries: Sequence[Synset], forbidden: Sequence[set[str]]) -> list[Synset | None]:
    """For each entry another one that is none of its word's meanings; each serves once. None where there is no way.

    The next entry in a circle; where that is a meaning of the word, it changes places with the first that fits both.
    """
    n = len(entries)
    target = [(i + 1) % n for i in range(n)]

    def fits(i: int, j: int) -> bool:
        return entries[j].id not in forbidden[i]

    for i in range(n):
        if not fits(i, target[i]):
            swap = next((k for k in range(n) if fits(i, target[k]) and fits(k, target[i])), None)
            if swap is None:
                return [None] * n
            target[i], target[swap] = target[swap], target[i]
    return [entries[j] for j in target]
