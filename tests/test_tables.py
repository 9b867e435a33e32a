"""Tables: the same cells in HTML and in text, rounded as asked, refused where a cell would mislead."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tlcourse.metrics import Interval
from tlcourse.tables import Table, table

COLUMNS = {"arm": "", "accuracy, %": "+.1f", "steps": ",d"}
ROWS = [
    {"arm": "BERT & co", "accuracy, %": Interval(3.21, -0.04, 6.0, 0.95), "steps": 12000},
    {"arm": "<random>", "accuracy, %": None, "steps": 5},
]


class Cells(HTMLParser):
    """Rows of (tag, attributes, text)."""

    def __init__(self, text):
        super().__init__()
        self.rows = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append([tag, dict(attrs), ""])

    def handle_data(self, data):
        if self.rows and self.rows[-1] and data.strip():
            self.rows[-1][-1][2] += data


def test_text_is_aligned_and_rounded():
    assert repr(table(ROWS, COLUMNS)) == (
        "arm                accuracy, %   steps\n"
        "─────────  ───────────────────  ──────\n"
        "BERT & co  +3.2 (−0.0 to +6.0)  12,000\n"
        "<random>                     –       5"
    )


def test_html_has_the_cells_of_the_text_and_heads_of_rows_and_columns():
    made = table(ROWS, COLUMNS)
    head, *body = Cells(made._repr_html_()).rows
    assert [text for *_, text in head] == list(made.headings)
    assert [tag for tag, *_ in head] == ["th"] * 3 and all(a["scope"] == "col" for _, a, _ in head)
    assert [[text for *_, text in row] for row in body] == [list(row) for row in made.cells]
    for first, *rest in body:
        assert first[:2] == ["th", {"scope": "row"}] and {tag for tag, *_ in rest} == {"td"}
    right = [a.get("class") == "tl-number" for row in (head, *body) for _, a, _ in row]
    assert right == [False, True, True] * 3


def test_a_column_with_words_is_set_to_the_left_and_a_dash_does_not_make_it_so():
    assert table([{"a": "x", "b": 1}, {"a": "y", "b": "none"}], {"a": "", "b": "d"}).numeric == (False, False)
    assert table([{"a": "x", "b": None}, {"a": "y", "b": 2}], {"a": "", "b": "d"}).numeric == (False, True)


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (-1.25, ".1f", "−1.2"),
        (-0.5, ".0%", "−50%"),
        (np.float32(2.5), ".2f", "2.50"),
        (np.int64(-7), ",d", "−7"),
        (3e-5, ".0e", "3e-05"),
        (True, "", "True"),
        ("3-4, -x", ".1f", "3-4, -x"),
        (Interval(-2.0, -3.0, -1.0, 0.95), ".1f", "−2.0 (−3.0 to −1.0)"),
        ((1, 2), "", "(1, 2)"),
    ],
)
def test_numbers_are_written_as_a_reader_writes_them(value, spec, text):
    assert table([{"a": value}], {"a": spec}).cells == ((text,),)


def test_columns_stand_in_the_order_asked_for_whatever_that_of_the_rows():
    made = table([{"b": 1, "a": "x"}], {"a": "", "b": ""})
    assert made == Table(("a", "b"), (("x", "1"),), (False, True))


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([], {"a": ""}, "0 rows and 1 columns; give at least one of each"),
        ([{}], {}, "1 rows and 0 columns"),
        ([{"a": 1}, {"b": 1}], {"a": ""}, "row 1 lacks ['a'] and has ['b'] beside; give all columns to each"),
        ([{"a": float("nan")}], {"a": ".1f"}, "row 0, 'a' is nan; give None for what was not measured"),
        ([{"a": Interval(1, 0, float("inf"), 0.9)}], {"a": ""}, "row 0, 'a' is "),
        ([{"a": 1.5}], {"a": "d"}, "row 0, 'a': the format 'd' does not fit 1.5 ("),
        ([{"a": (1, 2)}], {"a": ".1f"}, "row 0, 'a': the format '.1f' does not fit (1, 2) ("),
    ],
)
def test_a_table_that_would_mislead_is_refused(rows, columns, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        table(rows, columns)
