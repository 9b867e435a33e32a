"""Silver labels: nothing in two parts, and what the lookup finds is what is tagged."""

from collections import defaultdict

import pytest

from tlcourse import assets
from tlcourse.datasets import silver
from tlcourse.datasets.gold import gold_articles
from tlcourse.datasets.names import Gazetteer, editorial_gazetteer
from tlcourse.datasets.sentences import Sentence
from tlcourse.datasets.silver import lookup_tags, silver_entities

PARTS = ("train", "validation", "test")
NAMES = [f"{a}{b}" for a in "BCDFGHKLMN" for b in ("ona", "eru")]


@pytest.fixture
def editorials(monkeypatch):
    """60 articles of 4 sentences; an article's names are two of twenty, and its last sentence has none."""
    texts = defaultdict(list)
    for article in range(60):
        first, second = NAMES[article % 20], NAMES[(article * 7 + 3) % 20]
        texts[str(article)] = [
            f"we saw {first} there",
            f"and {second} too",
            f"the {first} Club",
            "nobody came",
        ]
    found = tuple(
        Sentence(f"{a}_{i}", "editorials", a, f"{text} {a}", 0.0, (), False)
        for a, several in texts.items()
        for i, text in enumerate(several)
    )
    gazetteer = Gazetteer({(name,): ("place", name[0]) for name in NAMES}, frozenset())
    monkeypatch.setattr(silver, "sentiment", lambda domain: found)
    monkeypatch.setattr(silver, "editorial_gazetteer", lambda: gazetteer)
    monkeypatch.setattr(silver, "gold_articles", lambda: frozenset({"0", "1"}))
    return gazetteer


def assert_nothing_straddles(parts, gazetteer):
    """No article is in two parts, and no name, be it only a part of a longer one."""
    owner = {}
    for part in PARTS:
        for sentence in parts.part(part):
            assert owner.setdefault(("article", sentence.group), part) == part
            for match in gazetteer.find(" ".join(sentence.words), whole=False):
                assert owner.setdefault(("name", match.group), part) == part


@pytest.mark.parametrize("seed", range(6))
def test_no_name_and_no_article_is_in_two_parts(editorials, seed):
    parts = silver_entities(seed)
    assert_nothing_straddles(parts, editorials)
    groups = {s.group for part in PARTS for s in parts.part(part)}
    assert not groups & {"0", "1"}
    for part in PARTS:
        tagged = [s for s in parts.part(part) if "B-place" in s.tags]
        assert tagged and len(tagged) < len(parts.part(part))


def test_seeds_deal_names_anew_and_one_seed_alike(editorials):
    assert silver_entities(0) == silver_entities(0)
    assert silver_entities(0) != silver_entities(1)


def test_most_sentences_are_kept_since_articles_follow_their_names(editorials):
    parts = silver_entities(0)
    kept = sum(len(parts.part(part)) for part in PARTS)
    assert 0.6 * 232 < kept < 232


def test_tags_are_the_lookup_s():
    gazetteer = Gazetteer({("New", "York"): ("place", "g")}, frozenset())
    assert lookup_tags(gazetteer, "in New York's bay") == ["O", "B-place", "I-place", "O", "O"]
    assert lookup_tags(gazetteer, "the New York Times") == ["O"] * 4


@pytest.mark.assets
def test_real_parts_share_no_name_and_no_article_with_each_other_or_the_gold_sentences():
    if not assets.present("wordnet"):
        pytest.skip("wordnet is not in the cache; run `tlcourse assets fetch wordnet`")
    gazetteer = editorial_gazetteer()
    for seed in range(3):
        parts = silver_entities(seed)
        assert_nothing_straddles(parts, gazetteer)
        assert not gold_articles() & {s.group for part in PARTS for s in parts.part(part)}
        assert len(parts.train) > 2000
        assert min(sum(t != "O" for s in parts.part(p) for t in s.tags) for p in PARTS) > 30
