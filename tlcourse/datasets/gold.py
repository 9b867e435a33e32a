"""Sentences of editorials in which every name was marked by reading: the test that a word list cannot pass by itself.

A language model read and marked them; no person has checked them yet (the file's "annotator").

`data/entities-gold.json` holds ids, places and types, no text: the sentences have no licence to be republished and
come from the asset `sentiment`; a hash of each makes sure that the places fit. The file's "guide" says what was
marked, by whom, and "doubtful" which marks could as well be others.

On the 160 sentences at random the lookup in WordNet has precision .92 and recall .23 (152 names, F1 .37, 95 % interval
over articles .27–.45; with the doubtful marks set the other way F1 is .34).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from tlcourse.datasets._kept import kept
from tlcourse.datasets._shuffle import cut_sizes, shuffled
from tlcourse.datasets.columns import Tagged
from tlcourse.datasets.names import Gazetteer, editorial_gazetteer
from tlcourse.datasets.sentences import Sentence, sentiment
from tlcourse.spans import Span, tags_of_spans, words

N_HALF = 160


@dataclass(frozen=True)
class GoldSentence:
    """A sentence and the spans of characters marked in it.

    half: "random" for those drawn at random from all sentences of the gold articles, on which precision and recall
    of anything are unbiased; "matched" for those drawn from the rest where the lookup finds a name.
    """

    id: str
    group: str
    text: str
    half: Literal["random", "matched"]
    spans: tuple[Span, ...]

    @property
    def tagged(self) -> Tagged:
        """The sentence in words with tags."""
        places = words(self.text)
        tokens = tuple(self.text[start:end] for start, end in places)
        return Tagged(self.id, self.group, tokens, tuple(tags_of_spans(places, self.spans)))


@lru_cache(maxsize=2)
def gold_entities(*, organisations: bool = False) -> tuple[GoldSentence, ...]:
    """The 320 marked sentences, in the order of their articles.

    organisations: keep them as a fourth type beside person, place and other; the silver labels have them under other.
    Raises ValueError where the text of a sentence is not the one that was marked, or a span lies outside it.
    """
    texts = {s.id: s for s in sentiment("editorials")}
    return tuple(_checked(entry, texts, organisations) for entry in gold_file()["sentences"])


@lru_cache(maxsize=1)
def gold_file() -> dict[str, Any]:
    """The file as it stands: "guide", "date", "annotator", "sentences", and the "second_pass" over sixty of them."""
    return json.loads(kept("entities-gold.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def gold_articles() -> frozenset[str]:
    """The quarter of the articles that the gold sentences come from; no silver label is taken from them."""
    sentences = sentiment("editorials")
    names, sizes = np.unique([s.group for s in sentences], return_counts=True)
    order = shuffled(len(names), 0, "gold articles")
    cut = cut_sizes(sizes[order], {"gold": 0.25})["gold"]
    return frozenset(str(name) for name in names[order[cut]])


def draw_gold(gazetteer: Gazetteer | None = None) -> dict[str, str]:
    """The rule by which the sentences were drawn: id → half.

    160 at random from all sentences of the gold articles, then 160 at random from the others in which the gazetteer
    (by default that of the silver labels) finds a name. Nothing that is drawn depends on what was marked.
    """
    gazetteer = gazetteer or editorial_gazetteer()
    articles = gold_articles()
    pool = sorted((s for s in sentiment("editorials") if s.group in articles), key=lambda s: s.id)
    drawn = [pool[i].id for i in shuffled(len(pool), 0, "gold random")[:N_HALF]]
    halves = dict.fromkeys(drawn, "random")
    rest = [s.id for s in pool if s.id not in halves and gazetteer.find(s.text)]
    return halves | {rest[i]: "matched" for i in shuffled(len(rest), 0, "gold matched")[:N_HALF]}


def text_hash(text: str) -> str:
    """First 16 hexadecimal digits of the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _checked(entry: dict[str, Any], texts: dict[str, Sentence], organisations: bool) -> GoldSentence:
    id = entry["id"]
    if id not in texts or text_hash(texts[id].text) != entry["sha256"]:
        raise ValueError(
            f"gold sentence {id} is not the text that was marked; run `tlcourse assets fetch sentiment`"
        )
    sentence = texts[id]
    spans = []
    for start, end, kind in entry["entities"]:
        if end > len(sentence.text):
            raise ValueError(f"gold sentence {id} has {len(sentence.text)} characters, a span ends at {end}")
        spans.append(Span(start, end, "other" if kind == "organisation" and not organisations else kind))
    return GoldSentence(id, sentence.group, sentence.text, entry["half"], tuple(spans))
