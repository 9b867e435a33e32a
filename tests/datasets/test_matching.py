"""Pairs of words and definitions: balance, no leak, masks, the baseline by hand."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcourse import assets
from tlcourse.datasets import matching as module
from tlcourse.datasets.documents import Parts
from tlcourse.datasets.matching import GlossPair, gloss_pairs, masked, overlap_scores
from tlcourse.datasets.wordnet import Synset

PARTS = ("train", "validation", "test")


def synset(i, lexname="noun.animal", lemmas=None, definition=None):
    lemmas = lemmas or (f"w{i}",)
    return Synset(f"{lemmas[0]}%{i}", "n", tuple(lemmas), definition or f"thing {i}", (), lexname, (), ())


@pytest.fixture
def use(monkeypatch):
    def make(train, validation=None, test=None):
        parts = Parts(
            tuple(train),
            tuple(validation or [synset(i) for i in range(900, 904)]),
            tuple(test or [synset(i) for i in range(910, 914)]),
        )
        monkeypatch.setattr(module, "wordnet_split", lambda seed: parts)
        every = tuple(s for p in PARTS for s in parts.part(p))
        monkeypatch.setattr(module, "synsets", lambda: every)
        return parts

    return make


def test_every_word_and_every_definition_is_right_as_often_as_wrong(use):
    use([synset(i, lexname=("noun.animal", "noun.food", "verb.motion")[i % 3]) for i in range(60)])
    pairs = gloss_pairs(0).train
    assert len(pairs) == 120
    assert [p.label for p in pairs] == [1, 0] * 60
    assert set(Counter((p.word_id, p.label) for p in pairs).values()) == {1}
    assert set(Counter((p.gloss_id, p.label) for p in pairs).values()) == {1}
    classes = {f"w{i}%{i}": ("noun.animal", "noun.food", "verb.motion")[i % 3] for i in range(60)}
    for pair in pairs:
        assert (pair.word_id == pair.gloss_id) == pair.label
        assert classes[pair.word_id] == classes[pair.gloss_id] == pair.lexname
        assert pair.group == pair.word


def test_one_meaning_of_each_word_is_drawn(use):
    use([synset(i, lemmas=(f"w{i // 3}",)) for i in range(60)])
    pairs = gloss_pairs(0).train
    assert len({p.word for p in pairs}) == 20 == len(pairs) // 2
    assert {p.gloss_id for p in gloss_pairs(1).train} != {p.gloss_id for p in pairs}


@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_a_wrong_definition_is_never_a_meaning_of_the_word(n, seed):
    rng = np.random.default_rng(seed)
    entries = [synset(i) for i in range(n)]
    forbidden = [{entries[i].id} | {e.id for e in entries if rng.random() < 0.2} for i in range(n)]
    found = module._others(entries, forbidden)
    if found[0] is not None:
        assert sorted(e.id for e in found) == sorted(e.id for e in entries)
        assert all(e.id not in f for e, f in zip(found, forbidden, strict=True))


def test_a_neighbour_that_is_a_meaning_of_the_word_changes_places():
    entries = [synset(i) for i in range(4)]
    own = [{e.id} for e in entries]
    assert module._others(entries, own) == [*entries[1:], entries[0]]
    found = module._others(entries, [own[0] | own[1], *own[1:]])
    assert found[0] not in (entries[0], entries[1])
    assert {e.id for e in found} == {e.id for e in entries}
    assert module._others(entries[:2], [own[0] | own[1], own[1]]) == [None, None]
    assert module._others(entries[:1], own[:1]) == [None]


def test_a_class_with_one_word_gives_no_pair(use):
    use([*(synset(i) for i in range(6)), synset(7, lexname="noun.motive")])
    assert {p.lexname for p in gloss_pairs(0).train} == {"noun.animal"}


@pytest.mark.parametrize(
    ("lemmas", "definition", "expected"),
    [
        (("car",), "a Car or cars, the car's door", "a ___ or ___, the ___ door"),
        (("car",), "a card in a scar", "a card in a scar"),
        (("run",), "one who runs or running", "one who ___ or running"),
        (("hot dog", "dog"), "a hot dog; dogs", "a ___; ___"),
        (("C++",), "the language C++ (C)", "the language ___ (C)"),
        (("x",), "nothing", "nothing"),
    ],
)
def test_the_words_that_a_definition_defines_are_masked(lemmas, definition, expected):
    assert masked(synset(0, lemmas=lemmas, definition=definition)) == expected


def test_a_definition_has_the_same_masks_in_right_and_wrong_pairs(use):
    found = [synset(i, definition=f"a w{i} of w{(i + 1) % 12}") for i in range(12)]
    use(found)
    texts = {}
    for pair in gloss_pairs(0).train:
        assert texts.setdefault(pair.gloss_id, pair.gloss) == pair.gloss
    assert texts == {s.id: masked(s) for s in found}
    assert all(text.startswith("a ___ of w") for text in texts.values())


def test_a_limit_keeps_the_first_pairs(use):
    use([synset(i) for i in range(40)])
    assert gloss_pairs(0, limit=10).train == gloss_pairs(0).train[:10]
    for limit in (0, 1, 7):
        with pytest.raises(ValueError, match=f"limit={limit}: wanted an even number of at least 2"):
            gloss_pairs(0, limit=limit)


def test_the_baseline_compares_beginnings_of_words():
    def pair(word, gloss):
        return GlossPair(word, gloss, 1, "c", "a", "b", "g")

    pairs = [
        pair("musical", "of music"),
        pair("hot dog", "a dog"),
        pair("cat", "a feline"),
        pair("+", "a sign"),
    ]
    assert overlap_scores(pairs).tolist() == [1.0, 0.5, 0.0, 0.0]
    with pytest.raises(ValueError, match="no pairs to score"):
        overlap_scores([])


@pytest.mark.assets
@pytest.mark.usefixtures("real")
def test_real_pairs_share_no_word_and_no_definition_between_parts():
    if not assets.present("wordnet"):
        pytest.skip("wordnet is not in the cache; run `tlcourse assets fetch wordnet`")
    parts = gloss_pairs(0, limit=4000)
    owner = {}
    for part in PARTS:
        pairs = parts.part(part)
        assert len(pairs) == 4000
        for pair in pairs:
            for leak in (("word", pair.group), ("gloss", pair.gloss_id)):
                assert owner.setdefault(leak, part) == part
    right = (overlap_scores(parts.test) > 0) == [p.label for p in parts.test]
    assert np.mean(right) == pytest.approx(0.70, abs=0.04)
