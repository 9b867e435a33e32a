"""Synthetic questions: each kind by its rule, nothing in two parts, the baseline by hand."""

from collections import Counter

import numpy as np
import pytest

from tlcourse import assets, metrics
from tlcourse.datasets import reading
from tlcourse.datasets.documents import Parts, fold
from tlcourse.datasets.reading import KINDS, gloss_questions, overlap_answer
from tlcourse.datasets.squad import Answer, Question, answer_texts
from tlcourse.datasets.wordnet import Synset

PARTS = ("train", "validation", "test")


def synset(i, lexname="noun.animal", **more):
    word = f"w{i}x"
    fields = {"lemmas": (word, f"other{i}"), "examples": (f"we saw a {word} there",), "instance_of": ()}
    fields |= more
    return Synset(
        id=f"{word}%1", pos="n", definition=f"kind {i} of thing", lexname=lexname, hypernyms=(), **fields
    )


@pytest.fixture
def use(monkeypatch):
    def make(found, sizes=(0.6, 0.2, 0.2)):
        ends = np.cumsum([round(share * len(found)) for share in sizes])
        parts = Parts(tuple(found[: ends[0]]), tuple(found[ends[0] : ends[1]]), tuple(found[ends[1] :]))
        monkeypatch.setattr(reading, "wordnet_split", lambda seed: parts)
        monkeypatch.setattr(reading, "synsets", lambda: tuple(found))
        return parts

    return make


def everything(parts):
    return [q for part in PARTS for q in parts.part(part)]


def kind(question):
    return question.id.split("-")[0]


def test_kinds_take_turns_and_answers_are_right_by_construction(use):
    found = [synset(i) for i in range(300)]
    use(found)
    by_id = {s.id: s for s in found}
    parts = gloss_questions(0, no_answer=0)
    questions = everything(parts)
    assert [len(parts.part(p)) for p in PARTS] == [30, 10, 10]
    assert [kind(q) for q in parts.train[:6]] == [*KINDS, *KINDS]
    for question in questions:
        entry = by_id[question.id.split("-")[1]]
        word = entry.lemmas[0]
        expected = {
            "meaning": (f"What does {word} mean?", entry.definition),
            "synonym": (f"Which word means the same as {entry.lemmas[1]}?", word),
            "gap": ("Which word is missing: we saw a ___ there?", word),
        }[kind(question)]
        assert (question.question, question.answers[0].text) == expected
        lines = question.context.split("\n")
        assert len(set(lines)) == 5
        assert f"{word}: {entry.definition}" in lines
        assert question.synthetic and question.group == word


def test_a_question_without_answer_has_another_entry_in_the_place_of_its_own(use):
    use([synset(i) for i in range(600)])
    asked = everything(gloss_questions(0, no_answer=0))
    hidden = everything(gloss_questions(0, no_answer=0.4))
    share = np.mean([not q.answerable for q in hidden])
    assert share == pytest.approx(0.4, abs=0.15)  # 100 questions: three standard deviations
    for before, after in zip(asked, hidden, strict=True):
        assert (before.id, before.question) == (after.id, after.question)
        changed = set(after.context.split("\n")) - set(before.context.split("\n"))
        assert len(changed) == (0 if after.answerable else 1)
        word = after.id.split("-")[1].split("%")[0]
        assert (f"{word}: " in after.context) == after.answerable


def test_entries_of_a_context_are_of_one_class_and_of_different_words(use):
    found = [synset(i, lexname=("noun.animal", "noun.food")[i % 2]) for i in range(200)]
    found += [synset(i, lexname="noun.animal") for i in range(0, 200, 7)]
    use(found[:200])
    classes = {f"{s.lemmas[0]}": s.lexname for s in found[:200]}
    for question in everything(gloss_questions(1)):
        words = [line.split(":")[0] for line in question.context.split("\n")]
        assert len({classes[w] for w in words}) == 1
        assert len(set(words)) == 5


def test_named_instances_are_left_out(use):
    use([synset(i, instance_of=("city%1",) if i % 2 else ()) for i in range(200)])
    shown = "\n".join(q.context for q in everything(gloss_questions(0)))
    assert not any(f"w{i}x" in shown for i in range(1, 200, 2))


@pytest.mark.parametrize(
    "synonym",
    ["other", "kind", "w1 whale"],
    ids=["owned by another part", "in the context", "begins like the headword"],
)
def test_a_synonym_that_would_give_itself_away_is_not_asked_for(use, synonym):
    def lemmas(i):
        return (f"w{i}x", {"other": "shared", "kind": "kind", "w1 whale": f"w{i}xy"}[synonym])

    found = [synset(i, lemmas=lemmas(i), examples=()) for i in range(150)]
    parts = use(found)
    asked = [q for q in everything(gloss_questions(0)) if kind(q) == "synonym"]
    if synonym == "other":  # the first synset that has it is in the training part
        assert asked and {q.id.split("-")[1] for q in asked} <= {s.id for s in parts.train}
    else:
        assert not asked


def test_a_context_in_which_nothing_else_can_be_asked_asks_for_a_meaning(use):
    use([synset(i, lemmas=(f"w{i}x",), examples=("no such word",)) for i in range(100)])
    assert {kind(q) for q in everything(gloss_questions(0))} == {"meaning"}


def test_a_gap_is_made_of_whole_words_in_any_case(use):
    use([synset(i, examples=(f"W{i}x here, w{i}xs not",)) for i in range(150)])
    gaps = [q for q in everything(gloss_questions(0)) if kind(q) == "gap"]
    assert gaps
    assert all(q.question.startswith("Which word is missing: ___ here, w") for q in gaps)


def test_a_limit_keeps_the_first_and_seeds_differ(use):
    use([synset(i) for i in range(300)])
    whole, few = gloss_questions(0), gloss_questions(0, limit=4)
    assert all(few.part(p) == whole.part(p)[:4] for p in PARTS)
    assert gloss_questions(1).train != whole.train


@pytest.mark.parametrize("options", [{"n_entries": 1}, {"no_answer": 1.0}, {"no_answer": -0.1}, {"limit": 0}])
def test_impossible_settings_are_named(options):
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"{name}={value}.*wanted at least 2, a share from 0 and below 1"):
        gloss_questions(0, **options)


def test_the_baseline_takes_the_entry_with_most_shared_words():
    context = "boat: a craft\ncar: a vehicle with wheels"
    ask = lambda id, text: overlap_answer(Question(id, "g", text, context, (Answer("car", 14),)))  # noqa: E731
    assert ask("gap-x", "Which word is missing: ___ has wheels?") == "car"
    assert ask("meaning-x", "What does car mean?") == "a vehicle with wheels"
    assert ask("synonym-x", "Which word means the same as skiff?") == "boat"


@pytest.mark.assets
@pytest.mark.usefixtures("real")
def test_real_questions_share_no_word_between_parts_and_leave_overlap_at_chance_for_synonyms():
    if not assets.present("wordnet"):
        pytest.skip("wordnet is not in the cache; run `tlcourse assets fetch wordnet`")
    parts = gloss_questions(0, limit=400)
    owner = {}
    for part in PARTS:
        for question in parts.part(part):
            heads = [line.partition(": ")[0].casefold() for line in question.context.split("\n")]
            asked = [question.question[len("Which word means the same as ") : -1].casefold()]
            for word in {*heads, *(asked if kind(question) == "synonym" else [])}:
                assert owner.setdefault(word, part) == part
            for line in question.context.split("\n"):
                assert owner.setdefault(("gloss", fold(line.partition(": ")[2])), part) == part
    everyone = [q for q in everything(parts) if q.answerable]
    assert Counter(map(kind, everyone)).keys() == set(KINDS)
    exact = {}
    for name in KINDS:
        some = [q for q in everyone if kind(q) == name]
        predictions = {q.id: overlap_answer(q) for q in some}
        exact[name] = metrics.reading_scores(predictions, answer_texts(some)).exact
    assert exact["meaning"] > 98
    assert exact["synonym"] < 32  # one in five by chance; measured: 20
    assert exact["gap"] < 45
