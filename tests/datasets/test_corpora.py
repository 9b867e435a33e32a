import itertools

import pytest

from tlcourse import assets, datasets
from tlcourse.datasets import Document, Verse, corpora
from tlcourse.datasets.documents import PARTS

TITLE = "Holy Bible, Authorized (King James) Version.  Textfile 930105.\n"
BIBLE = """\
Ge1:1 In the beginning God created the heaven and the earth.
Ge1:2 And the LORD spake unto Moses, saying,
Ge2:1 Thus the heavens  and the earth were finished.
Exo1:1 And the LORD spake unto Moses saying
1Sm1:1 Now there was a certain man.
1Sm2:1 And the LORD spake unto Moses, saying:
"""
PLAY = """\
THE PLAY

by William Shakespeare




PERSONS REPRESENTED.

A KING.

SCENE: Partly here, and partly there.

ACT {first}.

SCENE I. A heath.

[Enter KING.]

KING.
  Blow, winds,   and crack
    your cheeks!

Act of a fool I saw here.


SCENE II. The same.

KING.
I sleep.

EPILOGUE.

KING.
Farewell.
"""
SONNETS = """\
THE SONNETS
by William Shakespeare


I

From fairest creatures

And more

XIV.

Not from the stars
"""
POEM = "THE POEM\n\nby William Shakespeare\n\nLet the bird\nof loudest lay\n\nOn the sole\nArabian tree\n"


def text_of(asset, file):
    return assets.path(asset, file).read_text(encoding="utf-8")


# The Bible


@pytest.mark.parametrize("head", ["", TITLE])
def test_verses_are_read_with_and_without_a_title(write, head):
    write("king-james-bible", "king-james-bible.txt", head + BIBLE)
    found = datasets.verses()
    assert len(found) == 6
    assert found[2] == Verse("Ge", 2, 1, "Thus the heavens and the earth were finished.")
    assert found[4] == Verse("1Sm", 1, 1, "Now there was a certain man.")


def test_chapters_are_documents_without_repeated_verses(write):
    write("king-james-bible", "king-james-bible.txt", BIBLE)
    first, second, third = datasets.bible_documents()
    assert first.sentences == (
        "In the beginning God created the heaven and the earth.",
        "And the LORD spake unto Moses, saying,",
    )
    assert (first.id, first.group) == ("Ge1", "Ge")
    assert second == Document("Ge2", "Ge", ("Thus the heavens and the earth were finished.",))
    assert third == Document("1Sm1", "1Sm", ("Now there was a certain man.",))


def test_editions_that_differ_in_punctuation_give_the_same_books_to_each_part(write):
    books = [f"B{chr(97 + i)}" for i in range(26)]
    lines = [f"{b}{c}:1 This is the chapter {c}, of {b}" for b in books for c in range(1, 4)]
    found = []
    for text in ("\n".join(lines), TITLE + "\n".join(f"{line}." for line in lines)):
        write("king-james-bible", "king-james-bible.txt", text)
        parts = datasets.corpus_split("bible", 3)
        found.append([[d.id for d in parts.part(p)] for p in PARTS])
    assert found[0] == found[1]
    groups = [{id[:2] for id in part} for part in found[0]]
    assert not any(a & b for a, b in itertools.combinations(groups, 2))


def test_malformed_verse_is_named(write):
    write("king-james-bible", "king-james-bible.txt", BIBLE + "Exo 1:2 Now\n")
    with pytest.raises(ValueError, match=r"king-james-bible\.txt, line 7 is no verse: 'Exo 1:2 Now'"):
        datasets.verses()


# Shakespeare


@pytest.mark.parametrize("first", ["I", "FIRST", "1"])
def test_scenes_are_documents_and_front_and_headings_are_left_out(write, first):
    write("shakespeare", "texts/the_play_gut.txt", PLAY.format(first=first))
    found = datasets.shakespeare_documents()
    assert [d.sentences for d in found] == [
        ("[Enter KING.]", "KING.\nBlow, winds, and crack\nyour cheeks!", "Act of a fool I saw here."),
        ("KING.\nI sleep.",),
        ("KING.\nFarewell.",),
    ]
    assert {d.group for d in found} == {"the_play"} and len({d.id for d in found}) == 3
    assert found[1].text == "KING.\nI sleep."
    assert found[0].text.startswith("[Enter KING.]\n\nKING.")


def test_sonnets_are_documents_and_a_poem_is_one(write):
    write("shakespeare", "texts/sonnets_gut.txt", SONNETS)
    write("shakespeare", "texts/a_poem_gut.txt", POEM)
    poem, first, second = datasets.shakespeare_documents()
    assert poem.sentences == ("Let the bird\nof loudest lay", "On the sole\nArabian tree")
    assert (first.id, first.sentences) == ("sonnets/1", ("From fairest creatures", "And more"))
    assert second.sentences == ("Not from the stars",)


def test_collections_that_print_each_others_poems_are_one_group(write):
    for name in ("sonnets", "passionate_pilgrim", "loves_labours_lost", "phoenix_and_the_turtle"):
        write("shakespeare", f"texts/{name}_gut.txt", POEM.replace("bird", name))
    groups = {d.id.split("/")[0]: d.group for d in datasets.shakespeare_documents()}
    assert groups["sonnets"] == groups["passionate_pilgrim"] == groups["loves_labours_lost"]
    assert groups["phoenix_and_the_turtle"] == "phoenix_and_the_turtle"


def test_text_without_an_author_is_named(write):
    write("shakespeare", "texts/a_play_gut.txt", "A PLAY\n\nACT I\n\nWords.\n")
    with pytest.raises(ValueError, match=r"a_play_gut\.txt has no line `by …`"):
        datasets.shakespeare_documents()


# All


def test_unknown_corpus_and_part_are_named_with_the_choices(write):
    with pytest.raises(
        ValueError, match="unknown corpus 'kjv'; choose one of bible, shakespeare, wordnet, desc"
    ):
        datasets.corpus("kjv", "train")
    write(
        "king-james-bible",
        "king-james-bible.txt",
        "\n".join(f"B{chr(97 + i)}1:1 Verse {i}" for i in range(26)),
    )
    with pytest.raises(ValueError, match="unknown part 'dev'; choose one of train, validation, test"):
        datasets.corpus("bible", "dev")
    assert datasets.corpus("bible", "test") == datasets.corpus_split("bible").test


def test_missing_asset_is_an_error_that_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path))
    for name, asset in (("bible", "king-james-bible"), ("shakespeare", "shakespeare")):
        corpora.verses.cache_clear()
        corpora.shakespeare_documents.cache_clear()
        with pytest.raises(assets.MissingAssetError, match=f"run `tlcourse assets fetch {asset}`"):
            datasets.corpus_split(name, 12345)


@pytest.fixture
def need(real):
    def need(asset):
        if not assets.present(asset):
            pytest.skip(f"{asset} is not in the cache; run `tlcourse assets fetch {asset}`")

    return need


ASSETS = {
    "bible": "king-james-bible",
    "shakespeare": "shakespeare",
    "wordnet": "wordnet",
    "descriptions": "debian-descriptions",
}
# Shares of the text that the largest groups allow: Psalms are 5.6 % of the Bible, a play 2.5 % of Shakespeare.
NEAR = {"bible": 0.04, "shakespeare": 0.03, "wordnet": 0.005, "descriptions": 0.01}


@pytest.mark.assets
@pytest.mark.parametrize("name", datasets.CORPORA)
def test_real_split_meets_its_shares_and_holds_out_nothing_that_is_in_training(need, name):
    need(ASSETS[name])
    parts = datasets.corpus_split(name, 1)
    size = {p: sum(len(d.text) for d in parts.part(p)) for p in PARTS}
    assert abs(size["test"] / sum(size.values()) - 0.1) < NEAR[name]
    assert abs(size["train"] / sum(size.values()) - 0.85) < NEAR[name]
    training = {s for d in parts.train for s in d.sentences}
    assert not any(s in training for p in ("validation", "test") for d in parts.part(p) for s in d.sentences)
    assert len({d.id for p in PARTS for d in parts.part(p)}) == sum(len(parts.part(p)) for p in PARTS)


@pytest.mark.assets
def test_real_bible_has_66_books_and_31102_verses(need):
    need("king-james-bible")
    found = datasets.verses()
    assert len(found) == 31102 and len({v.book for v in found}) == 66
    assert len({(v.book, v.chapter) for v in found}) == 1189
    assert found[-1].text.startswith("The grace of our Lord Jesus Christ be with you all")


@pytest.mark.assets
def test_real_plays_have_their_scenes(need):
    need("shakespeare")
    found = datasets.shakespeare_documents()
    n = {w: sum(d.id.startswith(f"{w}/") for d in found) for w in ("sonnets", "hamlet", "macbeth", "tempest")}
    assert n == {"sonnets": 154, "hamlet": 20, "macbeth": 26, "tempest": 10}
    assert len({d.id.split("/")[0] for d in found}) == 42
    assert not any("PERSONS REPRESENTED" in d.text or "Dramatis Personae" in d.text for d in found)
    assert 4.9e6 < sum(len(d.text) for d in found) < 5.06e6
