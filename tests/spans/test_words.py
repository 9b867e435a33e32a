"""Words with their places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.spans import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. D'Amato's U.S. trip.", "Mr.|D'Amato|'s|U.S.|trip|."),
        ("It's the 1970's.", "It|'s|the|1970|'s|."),
        ("AT&T, McDonald’s", "AT&T|,|McDonald|’s"),
        ("''New York-educated''", "'|'|New|York-educated|'|'"),
        ("P. W. Botha - H. R. H.", "P.|W.|Botha|-|H.|R.|H|."),
        ("St. Louis, Mo., $1,000", "St.|Louis|,|Mo|.|,|$|1|,|000"),
        ("Shays' Rebellion", "Shays|'|Rebellion"),
        ("", ""),
    ],
)
def test_names_stay_whole_and_possessives_come_off(text, expected):
    assert [text[a:b] for a, b in words(text)] == list(filter(None, expected.split("|")))


@given(st.text())
def test_every_character_but_blanks_belongs_to_one_word(text):
    covered = [c for a, b in words(text) for c in range(a, b)]
    assert covered == sorted(set(covered))
    assert all(text[c].isspace() for c in set(range(len(text))) - set(covered))
