"""Fresh outputs against stored ones, by nbval's own comparison, so that `make book` and `make test` agree."""

import difflib
from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from nbformat import NotebookNode
from nbval.plugin import IPyNbCell, coalesce_streams, get_sanitize_patterns, nocolors

from tools.notebooks import code_cells, is_compared

SANITIZE = Path(__file__).resolve().parent / "nbval-sanitize.cfg"
# As in nbval.plugin.IPyNbFile, which sets them where no other code can read them.
SKIPPED = (
    "metadata",
    "traceback",
    "prompt_number",
    "output_type",
    "name",
    "execution_count",
    "application/vnd.jupyter.widget-view+json",
    "image/png",
    "image/jpeg",
)


@dataclass(frozen=True)
class Difference:
    """A code cell, counted from 0 as nbval does, whose fresh outputs are not the stored ones."""

    cell: int
    source: str
    text: str


class _Comparison:
    """The part of nbval's cell that compares; it needs no kernel and no pytest."""

    compare_outputs = IPyNbCell.compare_outputs
    sanitize = IPyNbCell.sanitize
    colors = nocolors

    def __init__(self) -> None:
        patterns = OrderedDict(get_sanitize_patterns(SANITIZE.read_text(encoding="utf-8")))
        self.parent = SimpleNamespace(skip_compare=SKIPPED, sanitize_patterns=patterns)
        self.comparison_traceback: list[str] = []

    def format_output_compare(self, key: str, left: object, right: object) -> None:
        lines = (str(left).splitlines(), str(right).splitlines())
        self.comparison_traceback = list(difflib.unified_diff(*lines, "stored", f"fresh {key}", "", "", n=1))


def differences(stored: NotebookNode, fresh: NotebookNode) -> list[Difference]:
    """The compared cells whose outputs differ. Raises ValueError where the notebooks have other code."""
    before, after = code_cells(stored), code_cells(fresh)
    if [cell.source for cell in before] != [cell.source for cell in after]:
        raise ValueError("the notebooks have different code cells; compare a notebook with its own execution")
    found = []
    for n, (old, new) in enumerate(zip(before, after, strict=True)):
        comparison = _Comparison()
        if is_compared(old) and not comparison.compare_outputs(_streams(new), _streams(old)):
            found.append(Difference(n, old.source, "\n".join(map(str, comparison.comparison_traceback))))
    return found


def _streams(cell: NotebookNode) -> list[NotebookNode]:
    return coalesce_streams(deepcopy(cell.outputs))
