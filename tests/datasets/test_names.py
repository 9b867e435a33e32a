"""Names in texts by lookup: each rule on a small list, and a slow search as oracle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.datasets.names import Gazetteer, Match, gazetteer
from tlcourse.datasets.wordnet import NamedInstance, Synset
from tlcourse.spans import Span, words


def instance(name, kind="person", group="g"):
    return NamedInstance(name, kind, f"{name}%1", group)


def meaning(*lemmas, named=False):
    return Synset(f"{lemmas[0]}%1", "n", lemmas, "", (), "noun.act", (), ("city%1",) if named else ())


def listed(*names, common=()):
    keys = {tuple(n[a:b] for a, b in words(n)): ("place", n) for n in names}
    return Gazetteer(keys, frozenset(common))


def found(names, text, **options):
    return [m.name for m in listed(*names, common=("in", "yesterday")).find(text, **options)]


def test_the_longest_name_is_found_with_its_place_type_and_group():
    text = "He left New York City's Bronx."
    matches = listed("New York", "New York City", "Bronx").find(text)
    assert matches == (
        Match(Span(8, 21, "place"), "New York City", "New York City"),
        Match(Span(24, 29, "place"), "Bronx", "Bronx"),
    )
    assert [text[m.span.start : m.span.end] for m in matches] == ["New York City", "Bronx"]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("he saw Reagan there", True),
        ("he saw Nancy Reagan there", False),
        ("the Reagan Library", False),
        ("he saw Mr. Reagan", True),
        ("then President Reagan spoke", True),
        ("In Reagan we trust", True),
        ("so In Reagan we trust", False),
        ("Nancy Reagan spoke", False),
        ("Yesterday Reagan spoke", True),
        ("the Bank of Reagan", False),
        ("a friend of Reagan", True),
        ("of Reagan", True),
        ("Nancy, Reagan and", True),
        ("Reagan's Library", True),
        ("Reagan", True),
    ],
)
def test_only_whole_names_are_kept_if_asked(text, whole):
    assert found(["Reagan"], text) == (["Reagan"] if whole else [])
    assert found(["Reagan"], text, whole=False) == ["Reagan"]


def test_a_name_in_other_letters_is_not_found():
    assert found(["Reagan"], "reagan REAGAN Reagans") == []


@given(st.lists(st.sampled_from(["New", "York", "City", "x", ",", "Bronx"]), max_size=12))
def test_every_name_is_found_that_a_slow_search_from_the_left_finds(tokens):
    names = ["New York", "New York City", "Bronx"]
    text, at, oracle = " ".join(tokens), 0, []
    while at < len(tokens):
        n = max((n for n in (1, 2, 3) if " ".join(tokens[at : at + n]) in names), default=0)
        n = min(n, len(tokens) - at)
        oracle += [" ".join(tokens[at : at + n])] * bool(n)
        at += n or 1
    assert found(names, text, whole=False) == oracle


def test_an_empty_list_finds_nothing():
    assert Gazetteer({}, frozenset()).find("New York") == ()


@pytest.mark.parametrize(
    ("instances", "meanings", "expected"),
    [
        ([instance("Bush")], [meaning("shrub", "bush")], None),
        ([instance("Bush")], [meaning("bush", named=True)], "person"),
        ([instance("Sunday")], [meaning("Sunday")], None),
        ([instance("Sunday")] * 2, [meaning("Sunday")], "person"),
        ([instance("Chicago", "place")], [meaning("Chicago")], "place"),
        ([instance("London"), instance("London", "place")], [], "place"),
        ([instance("Yale"), instance("Yale", "other")], [], "other"),
        ([instance("UN", "organisation")], [], "other"),
        ([instance("Jackson"), instance("Jackson"), instance("Jackson", "place")], [], "person"),
        ([instance("van Gogh")], [], None),
        ([instance("President Reagan")], [], None),
    ],
)
def test_the_type_of_a_name_is_that_of_most_of_its_bearers(instances, meanings, expected):
    names = gazetteer(instances, meanings, []).names
    assert [kind for kind, _ in names.values()] == ([expected] if expected else [])


def test_names_keep_their_groups_and_texts_give_the_common_words():
    found = gazetteer([instance("St. Louis", "place", "louis")], [], ["In the U.S., it's IN"])
    assert found.names == {("St.", "Louis"): ("place", "louis")}
    assert found.common == {"the", "it", "'s"}
