"""Tables of a notebook: HTML for the page, aligned text for everything else, numbers rounded as they shall be read.

nbval compares both forms, so a table is the checked companion of a figure, whose pixels are not compared. Round to
what holds on every machine: figures of a stored results file are the same everywhere, those of a live run are not.
"""

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

MISSING = "–"
_MINUS = re.compile(r"(?<![\w.])-(?=\.?\d)")


@dataclass(frozen=True)
class Table:
    """headings (C,), cells (R, C) as text, numeric (C,): columns of numbers, set to the right."""

    headings: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]

    def _repr_html_(self) -> str:
        head = "".join(
            f'<th scope="col"{_right(numeric)}>{html.escape(heading)}</th>'
            for heading, numeric in zip(self.headings, self.numeric, strict=True)
        )
        lines = ['<table class="tl-table">', f"<thead><tr>{head}</tr></thead>", "<tbody>"]
        for name, *rest in self.cells:
            data = "".join(
                f"<td{_right(numeric)}>{html.escape(text)}</td>"
                for text, numeric in zip(rest, self.numeric[1:], strict=True)
            )
            lines.append(f'<tr><th scope="row">{html.escape(name)}</th>{data}</tr>')
        return "\n".join([*lines, "</tbody>", "</table>"])

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.headings, *self.cells, strict=True)]
        lines = []
        for row in (self.headings, tuple("─" * width for width in widths), *self.cells):
            set_ = [
                text.rjust(width) if numeric else text.ljust(width)
                for text, width, numeric in zip(row, widths, self.numeric, strict=True)
            ]
            lines.append("  ".join(set_).rstrip())
        return "\n".join(lines)


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Table:
    """A table with a row for each mapping, heading → value. End a cell with it.

    columns: heading → format of its values, in the order shown: {"arm": "", "accuracy, %": ".1f", "steps": ",d"}. A
    number and anything else with a format of its own, such as `metrics.Interval`, is written by it; text stays as it
    is; None, for what was not measured, becomes a dash. The first column names the rows.
    Raises ValueError, naming row and column, on no rows or columns, on a row with other headings, on NaN or infinity,
    on a format that does not fit.
    """
    if not rows or not columns:
        raise ValueError(f"{len(rows)} rows and {len(columns)} columns; give at least one of each")
    for n, row in enumerate(rows):
        if row.keys() != columns.keys():
            lacks, more = columns.keys() - row.keys(), row.keys() - columns.keys()
            raise ValueError(
                f"row {n} lacks {sorted(lacks)} and has {sorted(more)} beside; give all columns to each"
            )
    cells = tuple(
        tuple(_text(row[heading], spec, f"row {n}, {heading!r}") for heading, spec in columns.items())
        for n, row in enumerate(rows)
    )
    numeric = tuple(all(not isinstance(row[heading], str) for row in rows) for heading in columns)
    return Table(tuple(columns), cells, numeric)


def _text(value: Any, spec: str, where: str) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    ends = [getattr(value, name) for name in ("estimate", "low", "high") if hasattr(value, name)]
    if not all(math.isfinite(x) for x in ends or [value] if isinstance(x, Number)):
        raise ValueError(f"{where} is {value}; give None for what was not measured")
    try:
        return _MINUS.sub("−", format(value, spec))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: the format {spec!r} does not fit {value!r} ({error})") from error


def _right(numeric: bool) -> str:
    return ' class="tl-number"' if numeric else ""
