"""Names in sentences, found by looking them up: what a word list can and cannot label.

Labels made by lookup are silver: a model that learns them learns the list, and a test on them is circular by
construction. What the lookup is worth is measured on sentences marked by hand (`gold_entities`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from tlcourse.datasets.sentences import sentiment
from tlcourse.datasets.wordnet import NamedInstance, Synset, named_instances, synsets
from tlcourse.spans import Span, words

TYPES = ("person", "place", "other")
# Words before a name that do not belong to it, so that what follows them is a whole name.
TITLES = frozenset(
    [
        "Mr.",
        "Mrs.",
        "Ms.",
        "Dr.",
        "Gov.",
        "Sen.",
        "Rep.",
        "Gen.",
        "Lt.",
        "Col.",
        "Prof.",
        "Rev.",
        "President",
        "Vice",
        "Mayor",
        "Governor",
        "Senator",
        "Representative",
        "Congressman",
        "Congresswoman",
        "Chancellor",
        "Secretary",
        "Justice",
        "Judge",
        "General",
        "Colonel",
        "Captain",
        "Commissioner",
        "Chairman",
        "Prime",
        "Minister",
        "Premier",
        "Ambassador",
        "Attorney",
        "Professor",
        "Pope",
        "Cardinal",
        "Bishop",
        "Archbishop",
        "King",
        "Queen",
        "Prince",
        "Princess",
        "Emperor",
        "Ayatollah",
        "Sir",
        "Lady",
        "Lord",
        "Borough",
    ]
)
_TIES = ("place", "none", "other", "person")  # a surname alone is the least certain of a person's names


@dataclass(frozen=True)
class Match:
    """A name found at characters start…end−1; group: the names it must be held out with."""

    span: Span
    name: str
    group: str


@dataclass(frozen=True)
class Gazetteer:
    """A word list: the words of each name → (type, group); common: words that also occur in lower case."""

    names: Mapping[tuple[str, ...], tuple[str, str]]
    common: frozenset[str]

    def find(self, text: str, *, whole: bool = True) -> tuple[Match, ...]:
        """Names in a text from left to right, the longest at each place; only whole ones are kept, if asked.

        A name is not whole where it touches another word with a capital, as "York" does in "York Theatre" or
        "Reagan" in "Nancy Reagan", or follows one and "of": it is part of a longer name that the list does not have.
        Titles before it do not count, nor does the first word of the text where that is a common one ("In").
        """
        places = words(text)
        tokens = [text[start:end] for start, end in places]
        found, i = [], 0
        while i < len(tokens):
            n = self._longest(tokens, i)
            if n and not (whole and self._touches(tokens, i, i + n)):
                kind, group = self.names[tuple(tokens[i : i + n])]
                span = Span(places[i][0], places[i + n - 1][1], kind)
                found.append(Match(span, text[span.start : span.end], group))
            i += max(n, 1)
        return tuple(found)

    def _longest(self, tokens: Sequence[str], start: int) -> int:
        for n in range(min(self._reach, len(tokens) - start), 0, -1):
            if tuple(tokens[start : start + n]) in self.names:
                return n
        return 0

    @cached_property
    def _reach(self) -> int:
        return max(map(len, self.names), default=0)

    def _touches(self, tokens: Sequence[str], start: int, stop: int) -> bool:
        before = start - 1
        if before > 0 and tokens[before] == "of":
            before -= 1
        ahead = stop < len(tokens) and tokens[stop][0].isupper()
        return ahead or (before >= 0 and self._belongs(tokens, before))

    def _belongs(self, tokens: Sequence[str], i: int) -> bool:
        token = tokens[i]
        if not token[0].isupper() or token in TITLES:
            return False
        return i > 0 or token.casefold() not in self.common


def gazetteer(
    instances: Sequence[NamedInstance], meanings: Iterable[Synset], texts: Iterable[str]
) -> Gazetteer:
    """The names among `instances` that a lookup can hope to label; organisations are "other".

    A name of one word that `meanings` also have in lower case ("bush", "more") is left out, as are names that begin
    with a title or with a small letter. The type of a name is that of most of its bearers, where meanings that are
    no instance, such as "Sunday" the day, vote for none; of equals a place comes first. texts: the sentences to
    be labelled, of which only the words in lower case are kept.
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    groups: dict[str, str] = {}
    for instance in instances:
        votes[instance.name]["other" if instance.kind == "organisation" else instance.kind] += 1
        groups[instance.name] = instance.group
    lower = set()
    for synset in meanings:
        for lemma in synset.lemmas if not synset.instance_of else ():
            if lemma in votes:
                votes[lemma]["none"] += 1
            if lemma.islower():
                lower.add(lemma)
    names = {}
    for name, count in votes.items():
        key = tuple(name[start:end] for start, end in words(name))
        kind = max(_TIES, key=lambda k: (count[k], -_TIES.index(k)))
        if kind == "none" or not name[0].isupper() or key[0] in TITLES or name.lower() in lower:
            continue
        names[key] = (kind, groups[name])
    small = {text[a:b] for text in texts for a, b in words(text) if text[a:b].islower()}
    return Gazetteer(names, frozenset(small))


@lru_cache(maxsize=1)
def editorial_gazetteer() -> Gazetteer:
    """WordNet's names, for the editorials."""
    texts = [sentence.text for sentence in sentiment("editorials")]
    return gazetteer(named_instances(), synsets(), texts)
