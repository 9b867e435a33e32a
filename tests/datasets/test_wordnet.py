from collections import Counter

import pytest

from tlcourse import assets, datasets
from tlcourse.datasets import NamedInstance, Synset, wordnet
from tlcourse.datasets.documents import PARTS, fold

ROWS = {
    "entity": ("n", 3, [("entity", 0)], [("~", "city")], "that which exists"),
    "city": ("n", 15, [("city", 1), ("metropolis", 0)], [("@", "entity")], 'a large town; "the city slept"'),
    "person": ("n", 3, [("person", 10)], [("@", "entity")], "a human being"),
    "capital": ("n", 15, [("capital", 2)], [("@", "city"), ("@", "entity")], "a seat of government"),
    "dc": (
        "n",
        15,
        [("Washington", 1), ("Washington_D.C.", 0)],
        [("@i", "city"), ("@i", "capital"), ("#p", "entity")],
        "the capital of the United States",
    ),
    "george": ("n", 18, [("Washington", 0), ("George_Washington", 0)], [("@i", "person")], "1st President"),
    "canton": ("n", 17, [("Canton", 0)], [("@i", "city")], "a city in China"),
    "battle": ("n", 4, [("Marathon", 0)], [("@i", "entity")], "a battle in 490 BC"),
    "nations": ("n", 14, [("UN", 0)], [("@i", "entity")], "an organization of states"),
    "run": ("v", 38, [("run", 0)], [("@", "go")], 'move fast; "Don\'t run"; "the children ran"- Mark Twain'),
    "go": ("v", 38, [("go", 15)], [], "change location"),
    "dry": ("a", 0, [("dry", 1)], [("!", "wet")], "free from liquid"),
    "wet": ("a", 0, [("wet(a)", 0)], [], "covered with liquid"),
    "arid": ("s", 0, [("arid", 0), ("waterless", 0)], [("&", "dry")], "lacking water"),
    "damp": ("s", 0, [("arid", 0)], [("&", "wet")], "slightly wet"),
    "fast": ("r", 2, [("fast", 0)], [], 'quickly; "run fast"'),
}


def gloss(text):
    return wordnet._gloss(text)


def test_synsets_have_the_fields_of_the_files(write_wordnet):
    write_wordnet(ROWS)
    found = {s.id: s for s in datasets.synsets()}
    assert len(found) == len(ROWS)
    assert found["washington%1:15:01::"] == Synset(
        id="washington%1:15:01::",
        pos="n",
        lemmas=("Washington", "Washington D.C."),
        definition="the capital of the United States",
        examples=(),
        lexname="noun.location",
        hypernyms=(),
        instance_of=("capital%1:15:02::", "city%1:15:01::"),
    )
    assert found["capital%1:15:02::"].hypernyms == ("city%1:15:01::", "entity%1:03:00::")
    assert found["run%2:38:00::"].examples == ("Don't run", "the children ran")
    assert (found["go%2:38:15::"].pos, found["go%2:38:15::"].lexname) == ("v", "verb.motion")
    assert (found["fast%4:02:00::"].examples, found["fast%4:02:00::"].lexname) == (("run fast",), "adv.all")
    assert found["wet%3:00:00::"].lemmas == ("wet",)  # the mark (a) says where an adjective may stand
    assert {"arid%5:00:00:dry:01", "arid%5:00:00:wet:00"} < found.keys()
    assert found["washington%1:15:01::"].group == "washington"


@pytest.mark.parametrize("edition", [1, 2, 3])
def test_editions_with_other_offsets_and_orders_give_the_same_results(write_wordnet, edition):
    def everything():
        return datasets.synsets(), datasets.named_instances(), datasets.gloss_documents()

    write_wordnet(ROWS)
    expected = everything()
    write_wordnet(ROWS, edition)
    assert everything() == expected


@pytest.mark.parametrize(
    ("text", "definition", "examples"),
    [
        ("a whole", "a whole", ()),
        ('a whole; "one"; "two"', "a whole", ("one", "two")),
        ('a tool:"one"', "a tool", ("one",)),
        ('go under, "The raft sank"', "go under", ("The raft sank",)),
        ('(of persons) "a hard man"; "b"', "(of persons)", ("a hard man", "b")),
        ('a report (e.g., "he said so")', 'a report (e.g., "he said so")', ()),
        ('spread ("straw" is archaic); "strew toys"', 'spread ("straw" is archaic)', ("strew toys",)),
        ('in the phrase "the call"', 'in the phrase "the call"', ()),
        ('dirty; "a seedy street"- James Joyce; "b"', "dirty", ("a seedy street", "b")),
        ('for sale; "a notice of sale', "for sale", ("a notice of sale",)),
        ('empty; ""', "empty", ()),
        ("a place; ", "a place", ()),
    ],
)
def test_gloss_is_cut_into_definition_and_examples(text, definition, examples):
    assert gloss(text) == (definition, examples)


def test_named_instances_have_kinds_and_groups_joined_by_bearer_and_by_name(write_wordnet):
    write_wordnet(ROWS)
    found = datasets.named_instances()
    assert NamedInstance("Canton", "place", "canton%1:17:00::", "canton%1:17:00::") in found
    kinds = {n.name: n.kind for n in found}
    assert (kinds["George Washington"], kinds["UN"], kinds["Marathon"]) == ("person", "organisation", "other")
    groups = {n.name: n.group for n in found}
    assert groups["George Washington"] == groups["Washington D.C."] == "washington%1:15:01::"
    assert len(set(groups.values())) == 4
    assert not any(n.name in ("city", "person") for n in found)


def test_without_instances_there_are_no_names(write_wordnet):
    write_wordnet({"entity": ROWS["entity"], "city": ROWS["city"]})
    assert datasets.named_instances() == ()


def test_repeated_definitions_and_examples_are_dropped_and_the_first_kept(write_wordnet):
    rows = {
        "a": ("n", 20, [("alpha", 0)], [], 'a variety of Aster; "It grew"; "it grew!"'),
        "b": ("n", 20, [("beta", 0)], [], "A variety of aster;"),
        "c": ("n", 20, [("gamma", 0)], [], 'another plant; "it grew"; "It died"'),
    }
    write_wordnet(rows)
    assert [(s.lemmas[0], s.examples) for s in datasets.distinct_synsets()] == [
        ("alpha", ("It grew",)),
        ("gamma", ("It died",)),
    ]
    assert [d.sentences for d in datasets.gloss_documents()] == [
        ("alpha: a variety of Aster", "It grew"),
        ("gamma: another plant", "It died"),
    ]


def test_splits_keep_words_and_names_together(write_wordnet):
    rows = {
        f"{word}{i}": ("n", 18, [(f"w{word}", i)], [("@i", "root")], f"meaning {i} of {word}")
        for word in range(40)
        for i in range(2)
    } | {"root": ("n", 3, [("root", 0)], [], "the top")}
    write_wordnet(rows)
    parts = datasets.wordnet_split(0, test=0.2, validation=0.2)
    assert sum(len(parts.part(p)) for p in PARTS) == 81
    assert all(n == 2 for n in Counter(s.group for s in parts.test if s.group != "root").values())
    names = datasets.instance_split(0)
    seen = [{n.name for n in names.part(p)} for p in PARTS]
    assert [len(s) for s in seen] == [24, 6, 10] and len(set.union(*seen)) == 40


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("00001740 03 n 01 entity 0 000", "data.noun, line 1 is no synset: there is no gloss"),
        ("00001740 03 x 01 entity 0 000 | g", "part of speech 'x' with 1 words"),
        ("00001740 03 n 00 000 | g", "part of speech 'n' with 0 words"),
        ("00001740 45 n 01 entity 0 000 | g", "0 pointers in 0 fields, class 45"),
        ("00001740 03 n 01 entity 0 002 @ 00000001 n 0000 | g", "002 pointers in 4 fields"),
        ("00001740 03 n 02 entity 0 | g", "data.noun, line 1 is no synset: "),
        ("00001740 03 n 01 entity 0 001 @ 00000001 n 0000 | g", "entity%1:03:00:: points to offset 00000001"),
        ("00001740 00 s 01 arid 0 000 | g", "the adjective 'arid' is like no other"),
    ],
)
def test_malformed_files_are_named(write, line, message):
    for name in ("noun", "verb", "adj", "adv"):
        write("wordnet", f"data.{name}", line + "\n" if name == "noun" else "")
    with pytest.raises(ValueError, match=message):
        datasets.synsets()


def test_missing_asset_is_an_error_that_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path))
    wordnet.synsets.cache_clear()
    with pytest.raises(assets.MissingAssetError, match="run `tlcourse assets fetch wordnet`"):
        datasets.synsets()


# The real data


@pytest.fixture
def wordnet_asset(real):
    if not assets.present("wordnet"):
        pytest.skip("wordnet is not in the cache; run `tlcourse assets fetch wordnet`")


@pytest.mark.assets
def test_real_wordnet_has_the_published_numbers(wordnet_asset):
    """Synsets and word-sense pairs, which have no case, by part of speech: wnstats(7WN) of version 3.0."""
    found = datasets.synsets()
    pos = Counter("a" if s.pos == "s" else s.pos for s in found)
    assert pos == {"n": 82115, "v": 13767, "a": 18156, "r": 3621}
    senses = Counter()
    for s in found:
        senses["a" if s.pos == "s" else s.pos] += len({lemma.lower() for lemma in s.lemmas})
    assert senses == {"n": 146312, "v": 25047, "a": 30002, "r": 5580}
    assert len({s.id for s in found}) == 117659
    assert {s.lexname for s in found} == set(datasets.CLASSES) and len(datasets.CLASSES) == 45
    assert all(s.definition for s in found)
    ids = {s.id for s in found}
    assert all(above in ids for s in found for above in (*s.hypernyms, *s.instance_of))
    dog = next(s for s in found if s.id == "dog%1:05:00::")
    assert dog.lemmas == ("dog", "domestic dog", "Canis familiaris")
    assert dog.hypernyms == ("canine%1:05:00::", "domestic_animal%1:05:00::")
    assert dog.examples == ("the dog barked all night",)
    assert sum('"' in s.definition for s in found) == 17


@pytest.mark.assets
def test_real_names_and_splits_are_as_documented(wordnet_asset):
    names = datasets.named_instances()
    assert Counter(n.kind for n in names) == {
        "person": 9073,
        "place": 5050,
        "other": 1150,
        "organisation": 333,
    }
    assert len({n.synset for n in names}) == 7730
    assert len(datasets.distinct_synsets()) == 116688
    parts, split = datasets.instance_split(0), datasets.wordnet_split(0)
    for one, two in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not {n.name.casefold() for n in parts.part(one)} & {n.name.casefold() for n in parts.part(two)}
        assert not {fold(s.definition) for s in split.part(one)} & {
            fold(s.definition) for s in split.part(two)
        }
    assert {s.lexname for s in split.test} == {s.lexname for s in split.validation} == set(datasets.CLASSES)
