"""Text classification: which of WordNet's 45 classes is a definition from?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from tlcourse.datasets.documents import PARTS, Parts
from tlcourse.datasets.wordnet import CLASSES, distinct_synsets, wordnet_split


@dataclass(frozen=True)
class Gloss:
    """A definition and its class; group: what must not straddle a split."""

    id: str
    group: str
    text: str
    lexname: str


def topic_classes(minimum: int = 200) -> tuple[str, ...]:
    """The classes with at least `minimum` distinct definitions, in the order of `CLASSES`; at 200, 41 of 45.

    Raises ValueError where fewer than two are left.
    """
    count = Counter(synset.lexname for synset in distinct_synsets())
    kept = tuple(name for name in CLASSES if count[name] >= minimum)
    if len(kept) < 2:
        raise ValueError(
            f"minimum={minimum} leaves {len(kept)} classes; the largest have {count.most_common(2)}"
        )
    return kept


def gloss_topics(seed: int, *, minimum: int = 200) -> Parts[Gloss]:
    """Definitions of those classes, each text once, the meanings of one word in one part.

    Definitions that differ in case and punctuation alone are one. Raises ValueError as `topic_classes` does.
    """
    kept = frozenset(topic_classes(minimum))
    parts = wordnet_split(seed)
    return Parts(
        **{
            part: tuple(
                Gloss(s.id, s.group, s.definition, s.lexname) for s in parts.part(part) if s.lexname in kept
            )
            for part in PARTS
        }
    )


def topic_labels(glosses: tuple[Gloss, ...], classes: tuple[str, ...]) -> np.ndarray:
    """Index of each gloss's class in `classes`, (N,) int64. Raises ValueError on a class that is not among them."""
    index = {name: i for i, name in enumerate(classes)}
    if unknown := sorted({g.lexname for g in glosses} - index.keys()):
        raise ValueError(f"{', '.join(unknown)} not among the {len(classes)} classes; give topic_classes()")
    return np.array([index[gloss.lexname] for gloss in glosses], dtype=np.int64)
