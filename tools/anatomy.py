"""What a chapter must have: its parts in order, its claims, exercises and words, its Colab cell, its alt texts."""

import ast
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode

from tlcourse.claims import Claim
from tools.notebooks import ROOT, code_cells, is_compared, prose, python_of

# Name of the part, and what its heading matches.
PARTS = {
    "The idea": r"\bidea\b",
    "By hand": r"\bby hand\b",
    "On real data": r"\breal data\b",
    "The experiment": r"\bexperiment\b",
    "Where it fails": r"\bfails?\b",
    "The document says, we measured": r"\bmeasured\b",
    "At scale": r"\bat scale\b",
    "Recap": r"\brecap\b",
    "Exercises": r"\bexercises\b",
    "Quiz": r"\bquiz\b",
    "Further reading": r"\bfurther reading\b",
}
MIN_WORDS, MIN_CLAIMS, MIN_EXERCISES = 1200, 3, 4
MIN_ALT = 20
CLAIM_LINE = re.compile(r"^✓ .+ \(.+\)$", re.MULTILINE)
OPENING = re.compile(r"^ {0,3}(`{3,}|~{3,}|:{3,})\s*(?:\{([\w:-]+)\})?")
READ_DIRECTIVES = (
    r"exercise|solution|admonition|note|tip|warning|important|caution|seealso|hint|dropdown|margin"
)
HEADING = re.compile(r"^##\s+(.+)$", re.M)
# A number that was measured has a decimal point or a percent sign; versions, licences and links have too.
TYPED = re.compile(r"(?<![\w.])\d*\.\d+(?!\.?\w)|\d\s?(?:%|percent)")
NOT_MEASURED = re.compile(
    r"\{[\w:-]+\}`[^`]*`"  # roles, glue among them
    r"|`[^`]*`|<!--.*?-->"
    r"|\$\$.*?\$\$|\$[^$\n]+\$"
    r"|\]\([^)]*\)|<https?:[^>]*>"
    r"|\bCC[ -]BY[-A-Z]*[ -]\d\.\d|\b(?:Python|WordNet|version|Apache|licen[cs]e)[ -]\d[\d.]*",
    re.S | re.I,
)
MARKED = re.compile(r"<!-- typed: \S.*?-->|\{cite", re.S)


def address(root: Path = ROOT) -> str:
    """The repository's public address, from pyproject.toml."""
    with open(root / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]["urls"]["Repository"]


def faults(notebook: NotebookNode, claims: Sequence[Claim], repository: str) -> list[str]:
    """What a chapter lacks; empty where nothing is."""
    text = prose(notebook)
    return [
        *part_faults(text),
        *typed_numbers(text),
        *colab_faults(notebook, repository),
        *alt_faults(notebook),
        *claim_faults(notebook, claims),
        *exercise_faults(text),
    ]


def part_faults(text: str) -> list[str]:
    """One title, every part in its order, and enough words."""
    found = []
    plain = readable(text)
    found += title_faults(plain)
    headings = HEADING.findall(plain)
    places = {}
    for part, pattern in PARTS.items():
        places[part] = next((n for n, h in enumerate(headings) if re.search(pattern, h, re.I)), None)
        if places[part] is None:
            found.append(f"the part {part!r} is missing: no heading (## …) matches {pattern}")
    there = [part for part in PARTS if places[part] is not None]
    if there != sorted(there, key=places.get):
        found.append(f"the parts stand in the order {sorted(there, key=places.get)}, not {there}")
    opening = plain.split("\n## ")[0]
    if not re.search(r"\bable to\b", opening):
        found.append("the opening does not say what the reader will be able to do")
    if len(words(plain)) < MIN_WORDS:
        found.append(f"{len(words(plain))} words, {MIN_WORDS} wanted")
    return found


def title_faults(plain: str) -> list[str]:
    """One title, and nothing before it."""
    if len(re.findall(r"^# ", plain, re.M)) != 1 or not plain.lstrip().startswith("# "):
        return ["the page must open with its one title (# …)"]
    return []


def words(text: str) -> list[str]:
    """Words that are read: no code, no mathematics, no directives' own lines."""
    return re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", NOT_MEASURED.sub(" ", readable(text)))


def readable(text: str) -> str:
    """The text without code, comments and directives, but with what stands in exercises and notes."""
    kept: list[str] = []
    fences: list[str] = []  # of the blocks that are open, from the outermost
    skipping = False  # whether the innermost hides its content
    for line in text.splitlines():
        mark = OPENING.match(line)
        if fences and mark and set(line.strip()) == {fences[-1][0]} and len(mark[1]) >= len(fences[-1]):
            fences.pop()
            skipping = False
        elif mark and not skipping:
            fences.append(mark[1])
            skipping = not re.match(READ_DIRECTIVES, mark[2] or "")
        elif not skipping and not re.match(r"^(:[\w-]+:|%)", line):
            kept.append(line)
    return "\n".join(kept)


def typed_numbers(text: str) -> list[str]:
    """Decimals and percents written by hand, outside of paragraphs with a citation or a reason.

    A number that was chosen, not measured, gets its reason: `<!-- typed: a setting of the run -->`.
    """
    found = []
    for paragraph in re.split(r"\n\s*\n", readable(text)):
        number = TYPED.search(NOT_MEASURED.sub(" ", paragraph))
        if number and not MARKED.search(paragraph):
            line = " ".join(paragraph.split())
            found.append(
                f"{number.group()!r} is typed into the prose: {line[:90]}…; show it with glue, cite its "
                "source, or give a reason: <!-- typed: why -->"
            )
    return found


def colab_faults(notebook: NotebookNode, repository: str) -> list[str]:
    """The first code cell installs the package on Colab, from the one address, and does nothing elsewhere."""
    cell = next(iter(code_cells(notebook)), None)
    if cell is None:
        return ["the chapter has no code"]
    found = []
    if f"git+{repository}" not in cell.source:
        found.append(f"the first code cell does not install the package from git+{repository}")
    guarded = [
        node for node in ast.parse(python_of(cell)).body if not isinstance(node, ast.Import | ast.ImportFrom)
    ]
    if len(guarded) != 1 or "google.colab" not in ast.unparse(getattr(guarded[0], "test", guarded[0])):
        found.append('the first code cell must do everything under: if "google.colab" in sys.modules')
    elsewhere = [n for n, other in enumerate(code_cells(notebook)) if n and "google.colab" in other.source]
    if elsewhere or cell.outputs:
        found.append(
            f"only the first code cell is for Colab, and it shows nothing here; see cells {elsewhere}"
        )
    return found


def alt_faults(notebook: NotebookNode) -> list[str]:
    """Every image says what is to be seen in it, in at least a short sentence."""
    found = []
    for n, cell in enumerate(code_cells(notebook)):
        data = [output.data for output in cell.outputs if "data" in output]
        images = sum(any(mime.startswith("image/") for mime in mimes) for mimes in data)
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if images and len(alt) < MIN_ALT:
            found.append(f"code cell {n}: its image has no alt text in the metadata mystnb.image.alt")
        if images > 1:
            found.append(f"code cell {n}: {images} images share one alt text; split the cell")
        tags = [tag for mimes in data for tag in re.findall(r"<img\b[^>]*>", str(mimes.get("text/html", "")))]
        bare = [tag for tag in tags if len(_attribute(tag, "alt")) < MIN_ALT]
        found += [f"code cell {n}: an <img> of its HTML has no alt text" for _ in bare]
    text = prose(notebook)
    found += [
        f"the image {file} has no alt text"
        for alt, file in re.findall(r"!\[(.*?)\]\((.*?)\)", text)
        if len(alt) < MIN_ALT
    ]
    for directive in re.findall(r"^[`:]{3,}\{(?:figure|image)\}.*?^[`:]{3,}$", text, re.M | re.S):
        if not re.search(r"^:alt:\s*\S.{19,}", directive, re.M):
            found.append(f"{directive.splitlines()[0]} has no :alt:")
    return found


def _attribute(tag: str, name: str) -> str:
    match = re.search(rf'\b{name}="([^"]*)"', tag)
    return match.group(1) if match else ""


def claim_faults(notebook: NotebookNode, claims: Sequence[Claim], least: int = MIN_CLAIMS) -> list[str]:
    """The claims that the page shows are the recorded ones, at least so many, and nbval compares each."""
    shown, hidden = set(), set()
    for cell in code_cells(notebook):
        text = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        (shown if is_compared(cell) else hidden).update(CLAIM_LINE.findall(text))
    recorded = {f"✓ {claim.statement} ({claim.bound})" for claim in claims}
    found = [f"recorded, and not shown: {line}" for line in sorted(recorded - shown - hidden)]
    found += [
        f"shown, and not recorded: {line}; run: make chapter" for line in sorted((shown | hidden) - recorded)
    ]
    found += [f"nbval does not compare the cell that shows: {line}" for line in sorted(hidden)]
    if len(shown) < least:
        found.append(f"{len(shown)} claims, {least} wanted")
    return found


def exercise_faults(text: str) -> list[str]:
    """Enough exercises, each with a solution that is folded away."""
    names = re.findall(r"^[`:]{3,}\{exercise(?:-start)?\}(.*?)^[`:]{3,}", text, re.M | re.S)
    solutions = re.findall(r"^[`:]{3,}\{solution(?:-start)?\}\s*(\S+)(.*?)^[`:]{3,}", text, re.M | re.S)
    labels = {label for name in names for label in re.findall(r"^:label:\s*(\S+)", name, re.M)}
    found = []
    if len(names) < MIN_EXERCISES:
        found.append(f"{len(names)} exercises, {MIN_EXERCISES} wanted")
    if labels != {label for label, _ in solutions} or len(labels) != len(names):
        found.append(
            f"exercises {sorted(labels)} and solutions {sorted(s for s, _ in solutions)} do not match"
        )
    found += [
        f"the solution of {label} is not :class: dropdown"
        for label, body in solutions
        if "dropdown" not in body
    ]
    return found
