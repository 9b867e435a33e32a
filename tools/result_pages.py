"""What a page of results must have: a short notebook that shows what a long experiment found, before its chapter is.

It stands where the chapter will stand, says `"tlcourse": {"kind": "results"}` in its metadata, and is held to less than
a chapter: no derivation, no exercises. What is held to the same: every number comes from the results file, claims are
recorded and compared, figures have alt texts, and what the results do not show is said.
"""

import ast
import re
from collections.abc import Sequence

from nbformat import NotebookNode

from tlcourse.claims import Claim
from tools.anatomy import (
    HEADING,
    alt_faults,
    claim_faults,
    colab_faults,
    readable,
    title_faults,
    typed_numbers,
)
from tools.notebooks import code_cells, is_compared, prose, python_of

MIN_CLAIMS = 1
LIMITS = r"\bnot show\b|\blimits\b"
# "The chapter will follow", "until the chapter follows".
FOLLOWS = r"\bchapter\b[^.?!]*\bfollows?\b"


def faults(notebook: NotebookNode, claims: Sequence[Claim], repository: str) -> list[str]:
    """What a page of results lacks; empty where nothing is."""
    text = prose(notebook)
    return [
        *opening_faults(text),
        *limits_faults(text),
        *shown_faults(notebook),
        *source_faults(notebook),
        *typed_numbers(text),
        *colab_faults(notebook, repository),
        *alt_faults(notebook),
        *claim_faults(notebook, claims, MIN_CLAIMS),
    ]


def opening_faults(text: str) -> list[str]:
    """A title, a question, and that a chapter will follow, all before the first heading."""
    plain = readable(text)
    opening = plain.split("\n## ")[0]
    found = title_faults(plain)
    if "?" not in opening:
        found.append("the opening asks no question; say what the experiment was to find out")
    if not re.search(FOLLOWS, opening, re.I):
        found.append("the opening does not say that the chapter will follow")
    return found


def limits_faults(text: str) -> list[str]:
    """A section on what the results do not show, with something in it."""
    plain = readable(text)
    for heading in HEADING.finditer(plain):
        if re.search(LIMITS, heading[1], re.I):
            section = re.split(r"^##? ", plain[heading.end() :], maxsplit=1, flags=re.M)[0]
            return [] if section.strip() else [f"the section {heading[1]!r} says nothing"]
    return ["the section 'What it does not show' is missing: no heading (## …) matches " + LIMITS]


def shown_faults(notebook: NotebookNode) -> list[str]:
    """At least one table, which nbval compares, and at least one figure."""
    shown = [
        (cell, output.data) for cell in code_cells(notebook) for output in cell.outputs if "data" in output
    ]
    found = []
    if not any("<table" in str(data.get("text/html", "")) and is_compared(cell) for cell, data in shown):
        found.append("no compared cell shows a table; end one with tlcourse.tables.table(rows, columns)")
    if not any(mime.startswith("image/") for _, data in shown for mime in data):
        found.append("no cell shows a figure; draw one with tlcourse.figures")
    return found


def source_faults(notebook: NotebookNode) -> list[str]:
    """The page reads a results file; whether the file fits its script, `results.stale` says."""
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(python_of(cell))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "results.load",
                "tlcourse.results.load",
            ):
                return []
    return ['no cell reads a results file; begin with results.load("pretrained/bert")']
