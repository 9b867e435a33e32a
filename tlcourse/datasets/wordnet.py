"""WordNet 3.0: sets of synonyms with a gloss, in 45 classes; and the people and places it names (Fellbaum 1998).

The files name a synset by its offset in bytes, which differs between editions. Here its name is the sense key of its
first lemma, `dog%1:05:00::`, and all orders follow these names, so that every edition gives the same results.

117,659 synsets; 15,606 names of 7,730 instances: 9,073 of persons, 5,050 of places, 333 of organisations, 1,150 others.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tlcourse import assets
from tlcourse.datasets.documents import Document, Parts, fold, split_groups

# The lexicographers' 45 files, in the order of their numbers.
CLASSES = (
    *("adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact"),
    *("noun.attribute", "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling"),
    *("noun.food", "noun.group", "noun.location", "noun.motive", "noun.object", "noun.person"),
    *("noun.phenomenon", "noun.plant", "noun.possession", "noun.process", "noun.quantity", "noun.relation"),
    *("noun.shape", "noun.state", "noun.substance", "noun.time", "verb.body", "verb.change"),
    *("verb.cognition", "verb.communication", "verb.competition", "verb.consumption", "verb.contact"),
    *("verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession", "verb.social"),
    *("verb.stative", "verb.weather", "adj.ppl"),
)
# Rivers, mountains and stars are objects there; what is none of these (battles, books, holidays) is "other".
KINDS = {
    "noun.person": "person",
    "noun.location": "place",
    "noun.object": "place",
    "noun.group": "organisation",
}

_FILES = ("noun", "verb", "adj", "adv")
_KEY_NUMBER = {"n": 1, "v": 2, "a": 3, "r": 4, "s": 5}
_EXAMPLE = re.compile(r'"([^"]*)(?:"|$)')


@dataclass(frozen=True)
class Synset:
    """One meaning and the words for it.

    id: sense key of the first lemma; pos: n, v, a, s (adjective that is like a head adjective) or r (adverb);
    lemmas: as written, blanks for underscores; lexname: one of `CLASSES`; hypernyms: ids of the meanings above;
    instance_of: ids of what a named thing is an instance of, empty for all others.
    """

    id: str
    pos: str
    lemmas: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    lexname: str
    hypernyms: tuple[str, ...]
    instance_of: tuple[str, ...]

    @property
    def group(self) -> str:
        """The first lemma without case: a split keeps all meanings of a word together."""
        return self.lemmas[0].casefold()


@dataclass(frozen=True)
class NamedInstance:
    """A name of a person, place, organisation or other thing; group: names that share a bearer, and its names."""

    name: str
    kind: str
    synset: str
    group: str


@dataclass(frozen=True)
class _Line:
    """A line: words with the lexicographers' numbers, the pointers used here as (symbol, (file, offset))."""

    pos: str
    lexnumber: int
    words: tuple[tuple[str, int], ...]
    pointers: tuple[tuple[str, tuple[str, str]], ...]
    gloss: str


@lru_cache(maxsize=1)
def synsets() -> tuple[Synset, ...]:
    """All synsets, in order of their ids.

    Raises ValueError on a malformed line or a pointer to no synset, MissingAssetError where the asset is not cached.
    """
    lines: dict[tuple[str, str], _Line] = {}
    for name in _FILES:
        text = assets.path("wordnet", f"data.{name}").read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("  "):  # the licence
                continue
            try:
                offset, parsed = _parse(line)
            except (ValueError, IndexError) as error:
                raise ValueError(f"data.{name}, line {number} is no synset: {error}") from None
            lines[_file_of(parsed.pos), offset] = parsed
    ids = {place: _sense_key(line, lines) for place, line in lines.items()}
    found = sorted((_synset(ids[place], line, ids) for place, line in lines.items()), key=lambda s: s.id)
    return tuple(found)


@lru_cache(maxsize=1)
def distinct_synsets() -> tuple[Synset, ...]:
    """Synsets whose definition, up to case and punctuation, no earlier one has, without examples seen before.

    Of 117,659 synsets 116,688 are left. Raises as `synsets`.
    """
    definitions, examples, kept = set(), set(), []
    for synset in synsets():
        definition = fold(synset.definition)
        if definition in definitions:
            continue
        definitions.add(definition)
        new = {fold(e): e for e in reversed(synset.examples) if fold(e) not in examples}
        examples.update(new)
        kept.append(replace(synset, examples=tuple(reversed(new.values()))))
    return tuple(kept)


def wordnet_split(seed: int, *, test: float = 0.1, validation: float = 0.05) -> Parts[Synset]:
    """Distinct synsets at random into train, validation and test; synsets of one first lemma stay together.

    Short definitions follow patterns ("a genus of …") in all parts. Raises ValueError on impossible shares.
    """
    return split_groups(distinct_synsets(), seed, "wordnet", test=test, validation=validation)


def gloss_documents() -> tuple[Document, ...]:
    """A document per distinct synset: `lemma, lemma: definition`, then the examples."""
    return tuple(
        Document(s.id, s.group, (f"{', '.join(s.lemmas)}: {s.definition}", *s.examples))
        for s in distinct_synsets()
    )


def named_instances() -> tuple[NamedInstance, ...]:
    """Every name of every instance, in order of synset ids.

    Names are joined into one group where they have a bearer in common or are spelled alike up to case:
    Washington the person, the state and the city, and their other names. Raises as `synsets`.
    """
    rows = [(name, s) for s in synsets() if s.instance_of for name in s.lemmas]
    nodes: dict[tuple[str, str], int] = {}
    ends = [
        (nodes.setdefault(("name", name.casefold()), len(nodes)), nodes.setdefault(("id", s.id), len(nodes)))
        for name, s in rows
    ]
    if not ends:
        return ()
    first, second = zip(*ends, strict=True)
    graph = coo_array(([1] * len(ends), (first, second)), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    group = {}
    for (_, synset), (node, _) in zip(rows, ends, strict=True):
        group.setdefault(component[node], synset.id)
    return tuple(
        NamedInstance(name, KINDS.get(s.lexname, "other"), s.id, group[component[node]])
        for (name, s), (node, _) in zip(rows, ends, strict=True)
    )


def instance_split(seed: int, *, test: float = 0.25, validation: float = 0.15) -> Parts[NamedInstance]:
    """Named instances at random into train, validation and test: no name, and no bearer, is in two parts."""
    return split_groups(named_instances(), seed, "instances", test=test, validation=validation)


def _parse(line: str) -> tuple[str, _Line]:
    """offset, and the fields of wndb(5WN): words are counted in hexadecimal, pointers in decimal."""
    head, separator, gloss = line.partition(" | ")
    if not separator:
        raise ValueError("there is no gloss")
    offset, lexnumber, pos, n_words, *rest = head.split()
    n = 2 * int(n_words, 16)
    if pos not in _KEY_NUMBER or n < 2:
        raise ValueError(f"part of speech {pos!r} with {n // 2} words")
    words = tuple(
        (re.sub(r"\(\w+\)$", "", w), int(id, 16)) for w, id in zip(rest[:n:2], rest[1:n:2], strict=True)
    )
    fields = rest[n + 1 : n + 1 + 4 * int(rest[n])]
    pointers = tuple(
        (symbol, (_file_of(target), place))
        for symbol, place, target in zip(fields[::4], fields[1::4], fields[2::4], strict=False)
        if symbol in ("@", "@i", "&")
    )
    if len(fields) != 4 * int(rest[n]) or not int(lexnumber) < len(CLASSES):
        raise ValueError(f"{rest[n]} pointers in {len(fields)} fields, class {lexnumber}")
    return offset, _Line(pos, int(lexnumber), words, pointers, gloss.strip())


def _file_of(pos: str) -> str:
    return "a" if pos == "s" else pos


def _sense_key(line: _Line, lines: dict[tuple[str, str], _Line]) -> str:
    """lemma%pos:class:number:head:number, as in senseidx(5WN); only adjectives like another have a head."""
    (lemma, number), head = line.words[0], ":"
    if line.pos == "s":
        heads = [lines[place] for symbol, place in line.pointers if symbol == "&" and place in lines]
        if not heads:
            raise ValueError(f"the adjective {lemma!r} is like no other; run `tlcourse assets fetch wordnet`")
        head = f"{heads[0].words[0][0].lower()}:{heads[0].words[0][1]:02d}"
    return f"{lemma.lower()}%{_KEY_NUMBER[line.pos]}:{line.lexnumber:02d}:{number:02d}:{head}"


def _synset(id: str, line: _Line, ids: dict[tuple[str, str], str]) -> Synset:
    above = {"@": [], "@i": []}
    for symbol, place in line.pointers:
        if symbol in above:
            if place not in ids:
                raise ValueError(f"{id} points to offset {place[1]}, where no synset is")
            above[symbol].append(ids[place])
    definition, examples = _gloss(line.gloss)
    return Synset(
        id=id,
        pos=line.pos,
        lemmas=tuple(word.replace("_", " ") for word, _ in line.words),
        definition=definition,
        examples=examples,
        lexname=CLASSES[line.lexnumber],
        hypernyms=tuple(sorted(above["@"])),
        instance_of=tuple(sorted(above["@i"])),
    )


def _gloss(gloss: str) -> tuple[str, tuple[str, ...]]:
    """Definition and examples. Examples are quoted and follow a mark, outside brackets; who said them is dropped.

    Twenty glosses have a quotation mark too few; their last example runs on to the end.
    """
    for mark in re.finditer('"', gloss):
        before = gloss[: mark.start()]
        if before.count("(") == before.count(")") and re.search(r"(^|[;:,)])\s*$", before):
            examples = (e.strip(" ;,") for e in _EXAMPLE.findall(gloss[mark.start() :]))
            return before.strip(" ;:,"), tuple(e for e in examples if e)
    return gloss.strip(" ;"), ()
