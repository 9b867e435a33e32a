"""Definitions and their classes."""

import pytest

from tlcourse import assets
from tlcourse.datasets import topics as module
from tlcourse.datasets.documents import Parts, fold
from tlcourse.datasets.topics import Gloss, gloss_topics, topic_classes, topic_labels
from tlcourse.datasets.wordnet import Synset

PARTS = ("train", "validation", "test")


def synset(i, lexname):
    return Synset(f"w{i}%1", "n", (f"W{i}",), f"thing {i}", (), lexname, (), ())


@pytest.fixture
def three_classes(monkeypatch):
    """Ten verbs of weather, eight of motion, one motive, dealt out in turn."""
    names = ["verb.weather"] * 10 + ["verb.motion"] * 8 + ["noun.motive"]
    found = tuple(synset(i, name) for i, name in enumerate(names))
    monkeypatch.setattr(module, "distinct_synsets", lambda: found)
    parts = Parts(found[::2], found[1::4], found[3::4])
    monkeypatch.setattr(module, "wordnet_split", lambda seed: parts)


@pytest.mark.usefixtures("three_classes")
def test_small_classes_are_dropped_and_parts_are_those_of_the_split():
    assert topic_classes(8) == ("verb.motion", "verb.weather")
    parts = gloss_topics(0, minimum=8)
    assert [len(parts.part(p)) for p in PARTS] == [9, 5, 4]
    assert parts.train[0] == Gloss("w0%1", "w0", "thing 0", "verb.weather")
    assert topic_labels(parts.train, topic_classes(8)).tolist() == [1] * 5 + [0] * 4


@pytest.mark.usefixtures("three_classes")
def test_too_few_classes_are_refused():
    with pytest.raises(
        ValueError, match=r"minimum=9 leaves 1 classes; the largest have \[\('verb.weather', 10\)"
    ):
        topic_classes(9)


@pytest.mark.usefixtures("three_classes")
def test_labels_of_an_unknown_class_are_named():
    with pytest.raises(ValueError, match=r"verb\.weather not among the 1 classes; give topic_classes"):
        topic_labels(gloss_topics(0, minimum=8).train, ("verb.motion",))


@pytest.mark.assets
@pytest.mark.usefixtures("real")
def test_real_definitions_come_once_in_41_classes():
    if not assets.present("wordnet"):
        pytest.skip("wordnet is not in the cache; run `tlcourse assets fetch wordnet`")
    parts = gloss_topics(0)
    texts = [fold(g.text) for part in PARTS for g in parts.part(part)]
    assert len(texts) == len(set(texts)) > 110_000
    groups = [{g.group for g in parts.part(part)} for part in PARTS]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    classes = topic_classes()
    assert len(classes) == 41
    assert {"verb.weather", "noun.motive", "noun.Tops", "adj.ppl"}.isdisjoint(classes)
    assert set(topic_labels(parts.test, classes)) == set(range(41))
