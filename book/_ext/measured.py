"""Pages made from what was measured: every claim with its cell, every long experiment, and the audit of S1…S24.

Records come from data/claims and data/results, cells from the stored notebooks. A recorded claim that no cell of
its chapter prints any more is a warning, and warnings fail the build.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from tlcourse import claims

LOGGER = logging.getLogger(__name__)
RUN = "_run.json"

# Where each statement is taught; a chapter that has no notebook yet is shown as planned.
TAUGHT = {
    "transfer/concepts": ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S18"),
    "transfer/finetuning": ("S7", "S8", "S9", "S10", "S11"),
    "transfer/extraction": ("S12", "S13", "S14"),
    "transfer/distance": ("S15",),
    "transfer/fusion": ("S16",),
    "pretrained/pretraining": ("S2", "S5", "S17"),
    "pretrained/autoencoders": ("S19", "S20"),
    "pretrained/attention": ("S21",),
    "pretrained/bert": ("S22",),
    "pretrained/gpt2": ("S23",),
    "pretrained/albert": ("S24",),
    "cases/language": ("S3",),
    "cases/vision": ("S3", "S5"),
    "cases/deployment": ("S3",),
}


def escaped(text: str) -> str:
    """Text as Markdown that shows it unchanged."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def chapters(statement: str) -> list[str]:
    return [name for name, statements in TAUGHT.items() if statement in statements]


def notebook_of(book: Path, chapter: str) -> Path:
    return book / "book" / f"{chapter}.ipynb"


def title_of(notebook: Path) -> str:
    """The first heading of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    headings = (
        re.search(r"^# (.+)$", "".join(c["source"]), re.M)
        for c in cells
        if c["cell_type"] == "markdown"
    )
    return next((found[1].strip() for found in headings if found), notebook.stem)


def cells_that_claim(notebook: Path) -> dict[str, int]:
    """Statement → execution count of the cell whose stored output prints it."""
    found = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            printed = (
                "".join(output.get("text", []))
                if output["output_type"] == "stream"
                else ""
            )
            for line in printed.splitlines():
                if line.startswith("✓ "):
                    # A bound and a statement may both hold brackets: every cut before " (" is a candidate.
                    for cut in re.finditer(r" \(", line):
                        found.setdefault(
                            line[2 : cut.start()], cell["execution_count"]
                        )
    return found


def cell_label(chapter: str, count: int) -> str:
    return f"{chapter.replace('/', '-')}-cell-{count}"


def label_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Give every executed cell an id, `cell-12`, and a label to refer to it by, `transfer-finetuning-cell-12`.

    Outputs that are claims get the class `claim-output`, for the style sheet to wrap them.
    """
    docname = app.env.docname
    labels = app.env.get_domain("std").anonlabels
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code" and cell.get("exec_count"):
            anchor = f"cell-{cell['exec_count']}"
            cell["ids"].append(anchor)
            labels[
                cell_label(docname.removeprefix("book/"), cell["exec_count"])
            ] = (docname, anchor)
            for shown in cell.findall(nodes.literal_block):
                if shown.astext().startswith("✓ "):
                    shown["classes"].append("claim-output")


def statement_of(claim: claims.Claim) -> str:
    """The statement as a sentence begins."""
    return escaped(claim.statement[0].upper() + claim.statement[1:])


def measurement(claim: claims.Claim) -> str:
    """The measured value with its interval, as a reader writes numbers."""
    (row,) = claims.table_rows([claim])
    shown = row["measured"]
    if claim.interval is None and abs(claim.value) >= 1000:
        shown = f"{claim.value:,.0f}"
    elif claim.interval is None and 0 < abs(claim.value) < 1e-4:
        shown = "below 0.0001" if claim.value > 0 else "above -0.0001"
    return escaped(shown.replace("-", "−"))


class Generated(SphinxDirective):
    """A directive whose content is Markdown made from files."""

    @property
    def book(self) -> Path:
        return Path(self.env.srcdir)

    def recorded(self) -> list[claims.Claim]:
        """All recorded claims; none where no chapter was recorded yet."""
        folder = self.book / "data" / "claims"
        for file in folder.rglob("*.json"):
            self.env.note_dependency(str(file))
        return claims.load(folder) if folder.is_dir() else []

    def parsed(self, lines: Iterable[str]) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(lines))

    def cell_reference(self, claim: claims.Claim) -> str:
        """A link to the cell that makes the claim; a warning where there is none."""
        notebook = notebook_of(self.book, claim.chapter)
        self.env.note_dependency(str(notebook))
        cells = cells_that_claim(notebook) if notebook.is_file() else {}
        if claim.statement not in cells:
            LOGGER.warning(
                "claim %r is recorded but no cell of %s prints it; run: make chapter NAME=%s",
                claim.id,
                claim.chapter,
                claim.chapter,
                location=self.get_location(),
            )
            return claim.chapter
        count = cells[claim.statement]
        return f"{{ref}}`cell {count} <{cell_label(claim.chapter, count)}>`"

    def in_order(self, made: list[claims.Claim]) -> list[claims.Claim]:
        """Claims of one chapter in the order of its cells."""
        notebook = notebook_of(self.book, made[0].chapter)
        cells = cells_that_claim(notebook) if notebook.is_file() else {}
        return sorted(made, key=lambda claim: cells.get(claim.statement, 0))


class ClaimTables(Generated):
    """`{claims}`: a section per chapter, with a table of its claims and how long it ran."""

    def run(self) -> list[nodes.Node]:
        by_chapter = defaultdict(list)
        for claim in self.recorded():
            by_chapter[claim.chapter].append(claim)
        if not by_chapter:
            return self.parsed(["No chapter has recorded its claims yet."])
        return [self.section(chapter, made) for chapter, made in by_chapter.items()]

    def section(self, chapter: str, made: list[claims.Claim]) -> nodes.section:
        notebook = notebook_of(self.book, chapter)
        title = title_of(notebook) if notebook.is_file() else chapter
        section = nodes.section(
            ids=[f"results-{chapter.replace('/', '-')}"], names=[]
        )
        section += nodes.title("", title)
        self.state.document.note_explicit_target(section, section)
        section += self.parsed(
            [*self.introduction(chapter, made), "", *self.table(made)]
        )
        return section

    def introduction(self, chapter: str, made: list[claims.Claim]) -> list[str]:
        lines = [
            f"{len(made)} {'claim' if len(made) == 1 else 'claims'} of {{doc}}`/book/{chapter}`."
        ]
        record = self.book / "data" / "claims" / chapter / RUN
        if record.is_file():
            run = json.loads(record.read_text(encoding="utf-8"))
            machine = run["machine"]
            lines += [
                f"They were recorded in one run of {run['seconds']:.0f} seconds and",
                f"{run['peak_megabytes'] / 1000:.1f} GB at most, on {run['cores']} cores of",
                f"{escaped(str(machine.get('processor', 'an unnamed processor')))},",
                f"with Python {machine.get('python', '?')} and PyTorch {machine.get('torch', '?')}.",
            ]
        return lines

    def table(self, made: list[claims.Claim]) -> list[str]:
        lines = [
            "```{list-table}",
            ":header-rows: 1",
            ":class: claims",
            "",
            "* - Statement",
            "  - Bound",
        ]
        lines += ["  - Measured"]
        for claim in self.in_order(made):
            bears_on = "".join(
                f", {{ref}}`{s} <{s.lower()}>`" for s in claim.supports
            )
            lines += [
                f"* - {statement_of(claim)} ({self.cell_reference(claim)}{bears_on})",
                f"  - {escaped(claim.bound.replace('-', '−'))}",
                f"  - {measurement(claim)}",
            ]
        return [*lines, "```"]


class Experiments(Generated):
    """`{experiments}`: the long experiments whose stored results chapters read."""

    def run(self) -> list[nodes.Node]:
        lines = []
        for file in sorted((self.book / "data" / "results").rglob("*.json")):
            self.env.note_dependency(str(file))
            stored = json.loads(file.read_text(encoding="utf-8"))
            hours = stored.get("cpu_seconds", stored["worker_seconds"]) / 3600
            machine = stored["environment"]
            lines += [
                f"`{stored['command']}`",
                f": {len(stored['runs']):,} runs, {hours:.1f} core-hours, on",
                f"  {escaped(str(machine.get('processor', 'an unnamed processor')))} with PyTorch",
                f"  {machine.get('torch', '?')}; data and weights: {', '.join(stored['assets'])}.",
                "",
            ]
        return self.parsed(lines or ["No experiment has stored results yet."])


class Coverage(Generated):
    """`{coverage}`: one row for each statement: where it is taught, how many claims bear on it."""

    def run(self) -> list[nodes.Node]:
        made = self.recorded()
        lines = ["```{list-table}", ":header-rows: 1", ":class: coverage", ""]
        lines += ["* - Statement", "  - Taught in", "  - Claims"]
        for statement in claims.STATEMENTS:
            count = sum(statement in claim.supports for claim in made)
            lines += [
                f"* - {{ref}}`{statement} <{statement.lower()}>`",
                f"  - {taught_in(self.book, statement)}",
                f"  - {count or '–'}",
            ]
        return self.parsed([*lines, "```"])


class Measured(Generated):
    """`{measured} S9`: where the statement is taught, and what was measured of it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        statement = self.arguments[0]
        if statement not in claims.STATEMENTS:
            raise self.error(f"no statement {statement!r}; they run from S1 to S24")
        bearing = [
            claim for claim in self.recorded() if statement in claim.supports
        ]
        lines = [f"**Taught in** {taught_in(self.book, statement)}", ""]
        lines += ["**Measured**" if bearing else "**Measured** not yet", ""]
        for claim in bearing:
            lines += [
                f"- {statement_of(claim)}: {measurement(claim)} {escaped(claim.unit)}",
                f"  ({self.cell_reference(claim)}; bound: {escaped(claim.bound.replace('-', '−'))})",
            ]
        return self.parsed(lines)


def taught_in(book: Path, statement: str) -> str:
    """Links to the chapters that there are and to results of some that are not, and the names of the rest."""
    there, results, planned = [], [], []
    for chapter in chapters(statement):
        notebook, link = notebook_of(book, chapter), f"{{doc}}`/book/{chapter}`"
        if not notebook.is_file():
            planned.append(chapter.split("/")[1])
        else:
            (results if is_results_page(notebook) else there).append(link)
    groups = {"": there, "*results only:* ": results, "*planned:* ": planned}
    return "; ".join(
        f"{label}{', '.join(names)}" for label, names in groups.items() if names
    )


def is_results_page(notebook: Path) -> bool:
    """Whether it shows results before its chapter is written."""
    metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
    return metadata.get("tlcourse", {}).get("kind") == "results"


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("claims", ClaimTables)
    app.add_directive("experiments", Experiments)
    app.add_directive("coverage", Coverage)
    app.add_directive("measured", Measured)
    app.connect("doctree-read", label_cells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
