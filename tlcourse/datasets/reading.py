"""Synthetic reading comprehension: questions that a program asks about definitions of WordNet.

A context is a small dictionary, a line an entry. Nobody asked these questions and no figure on them says how a
model reads text; they show span extraction at work, with answers that are right by construction. Three kinds:

- meaning: "What does canoe mean?", answered by a definition; finding the entry is enough.
- synonym: "Which word means the same as motorcar?", answered by a headword; the word asked for is nowhere in
  the context and begins like no part of the headword, so that only who knows it finds the entry.
- gap: "Which word is missing: he needs a ___ to get to work?", answered by a headword, from WordNet's examples.

The baseline `overlap_answer` matches exactly on .998, .201 and .265 of the three kinds that have an answer, where one
entry in five is right by chance (seed 0, 1,063 test questions).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from tlcourse.datasets._shuffle import shuffled
from tlcourse.datasets.documents import PARTS, Parts, fold
from tlcourse.datasets.squad import Answer, Question
from tlcourse.datasets.wordnet import Synset, synsets, wordnet_split

KINDS = ("meaning", "synonym", "gap")
GAP = "___"
_FORMS = {
    "meaning": "What does {} mean?",
    "synonym": "Which word means the same as {}?",
    "gap": "Which word is missing: {}?",
}


def gloss_questions(
    seed: int, *, n_entries: int = 5, no_answer: float = 0.2, limit: int | None = None
) -> Parts[Question]:
    """Synthetic questions with their split: no entry, and no headword, synonym asked for or example, is in two parts.

    n_entries: entries a context, all of one class of WordNet, so that the topic gives nothing away. no_answer:
    share of questions whose entry was replaced by another one. limit: at most so many questions a part, the same
    ones whatever the limit. An id names the kind: `synonym-car%1:06:00::`.
    Raises ValueError on n_entries below 2, no_answer outside [0, 1), limit below 1.
    """
    if n_entries < 2 or not 0 <= no_answer < 1 or (limit is not None and limit < 1):
        raise ValueError(
            f"n_entries={n_entries}, no_answer={no_answer}, limit={limit}: "
            "wanted at least 2, a share from 0 and below 1, at least 1 or None"
        )
    parts = wordnet_split(seed)
    owner = _owners(parts)
    made = {}
    for part in PARTS:
        contexts = _contexts(parts.part(part), seed, part, n_entries)
        questions = (
            _ask(entries, number, owner, part, seed, no_answer) for number, entries in enumerate(contexts)
        )
        made[part] = tuple(question for question, _ in zip(questions, range(limit or 10**9), strict=False))
    return Parts(**made)


def overlap_answer(question: Question) -> str:
    """The baseline: out of the entry that shares most words with the question, what is asked for; never "no answer".

    It knows the three forms of question and the form of an entry, and no meaning of any word. Of equals it takes
    the first.
    """
    asked = set(fold(question.question).split())
    entries = [line.partition(": ") for line in question.context.split("\n")]
    shared = [len(asked & set(fold(f"{word} {gloss}").split())) for word, _, gloss in entries]
    word, _, gloss = entries[int(np.argmax(shared))]
    return gloss if question.id.startswith("meaning") else word


def _contexts(found: Sequence[Synset], seed: int, part: str, n: int) -> Iterator[tuple[Synset, ...]]:
    """n + 1 entries of one class and different headwords, the last one to stand in for the one that is asked for."""
    by_class: dict[str, list[Synset]] = defaultdict(list)
    seen = set()
    for i in shuffled(len(found), seed, f"reading {part}"):
        if found[i].group not in seen and not found[i].instance_of:
            seen.add(found[i].group)
            entries = by_class[found[i].lexname]
            entries.append(found[i])
            if len(entries) == n + 1:
                yield tuple(entries)
                entries.clear()


def _ask(
    entries: tuple[Synset, ...], number: int, owner: dict[str, str], part: str, seed: int, no_answer: float
) -> Question:
    """The question of a context: of the kinds in turn the first that its entries allow, and a meaning always is."""
    order = shuffled(len(entries) - 1, seed, f"entry {part} {number}")
    raw = np.random.PCG64([seed, number, *f"no answer {part}".encode()]).random_raw(1)[0]
    hidden = raw / 2**64 < no_answer
    kind, target, text = next(
        (kind, target, text)
        for kind in (KINDS[(number + turn) % len(KINDS)] for turn in range(len(KINDS)))
        for target in order
        if (text := _wording(kind, entries[target], entries, owner, part))
    )
    shown = list(entries[:-1])
    if hidden:
        shown[target] = entries[-1]
    return _question(kind, text, entries[target], shown, hidden=hidden)


def _wording(
    kind: str, entry: Synset, entries: Sequence[Synset], owner: dict[str, str], part: str
) -> str | None:
    headword = entry.lemmas[0]
    if kind == "meaning":
        return headword
    if kind == "synonym":
        known = [f" {fold(f'{e.lemmas[0]} {e.definition}')} " for e in entries]
        for lemma in entry.lemmas[1:]:
            hidden = all(f" {fold(lemma)} " not in text for text in known)
            if owner[lemma.casefold()] == part and hidden and not _alike(lemma, headword):
                return lemma
        return None
    for example in entry.examples:
        gapped, n = re.subn(rf"(?<!\w){re.escape(headword)}(?!\w)", GAP, example, flags=re.IGNORECASE)
        if n:
            return gapped
    return None


def _alike(a: str, b: str) -> bool:
    """Whether a word of one begins like a word of the other, on four letters or as many as it has."""
    first, second = ([word[:4] for word in fold(text).split()] for text in (a, b))
    return any(x.startswith(y) or y.startswith(x) for x in first for y in second)


def _question(kind: str, text: str, entry: Synset, shown: Sequence[Synset], *, hidden: bool) -> Question:
    lines = [f"{e.lemmas[0]}: {e.definition}" for e in shown]
    answers: tuple[Answer, ...] = ()
    if not hidden:
        at = [e.id for e in shown].index(entry.id)
        start = sum(len(line) + 1 for line in lines[:at])
        headword = entry.lemmas[0]
        answer = Answer(headword, start)
        if kind == "meaning":
            answer = Answer(entry.definition, start + len(headword) + 2)
        answers = (answer,)
    asked = _FORMS[kind].format(text)
    return Question(f"{kind}-{entry.id}", entry.group, asked, "\n".join(lines), answers, synthetic=True)


def _owners(parts: Parts[Synset]) -> dict[str, str]:
    """The one part in which a lemma may be asked for: that of the entries it heads, else of the first that has it."""
    part_of = {entry.group: part for part in PARTS for entry in parts.part(part)}
    owner: dict[str, str] = {}
    for synset in synsets():
        for lemma in synset.lemmas[1:]:
            owner.setdefault(lemma.casefold(), part_of.get(synset.group, ""))
    return owner | part_of
