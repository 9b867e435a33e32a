"""The chapters as files: which there are, their normal form, and what is wrong with a stored one.

A chapter's notebook may be a page of results instead, until the chapter is written: metadata.tlcourse.kind says so.
Files of both kinds are held to the same here; what must stand in them, `anatomy` and `result_pages` say.

`python -m tools.notebooks [NAME…]` brings chapters into normal form without executing them.
"""

import hashlib
import os
import re
import sys
import tempfile
from copy import deepcopy
from pathlib import Path

import nbformat
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbval.plugin import coalesce_streams, find_comment_markers, find_metadata_tags

ROOT = Path(__file__).resolve().parent.parent
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}
KINDS = ("chapter", "results")
KEPT_CELL_METADATA = ("mystnb", "slideshow", "tags")
MAX_LINES = 15
MIN_COMPARED = 0.65
GLUE = "application/papermill.record/"
HIDDEN_TAGS = {"remove-cell", "remove-output", "remove_cell", "remove_output"}
UNSTABLE = {
    "an object's address": r"\bat 0x[0-9a-f]{6,}|\b0x[0-9a-f]{9,}\b",
    "a path of this machine": r"(?<![\w.:/])/(?:home|root|Users|tmp|var|usr|opt|mnt)/[\w./-]+|"
    + re.escape(str(ROOT)),
    "a progress bar": r"\d+%\|[^|\n]*\|",
}


def chapters(root: Path = ROOT) -> list[str]:
    """Names such as 'transfer/finetuning' of the notebooks in _toc.yml, in the order of the book."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [page.removeprefix("book/") for page in _pages(toc) if (root / f"{page}.ipynb").is_file()]


def _pages(node: object) -> list[str]:
    if isinstance(node, list):
        return [page for item in node for page in _pages(item)]
    if not isinstance(node, dict):
        return []
    own = [value for key, value in node.items() if key in ("root", "file")]
    return own + [page for value in node.values() for page in _pages(value)]


def path_of(name: str, root: Path = ROOT) -> Path:
    """The notebook of a chapter. Raises FileNotFoundError naming the chapters that there are."""
    path = root / "book" / f"{name}.ipynb"
    if not path.is_file():
        raise FileNotFoundError(f"no chapter {name!r}; there are: {', '.join(chapters(root)) or 'none yet'}")
    return path


def kind_of(notebook: NotebookNode) -> str:
    """'chapter', or 'results' for a page that shows results before its chapter. Raises ValueError on another kind."""
    kind = notebook.metadata.get("tlcourse", {}).get("kind", "chapter")
    if kind not in KINDS:
        raise ValueError(
            f"metadata.tlcourse.kind is {kind!r}; write one of {', '.join(KINDS)}, or leave it out"
        )
    return kind


def read(path: Path) -> NotebookNode:
    """A notebook, cells with ids, no conversion warnings."""
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def write(path: Path, notebook: NotebookNode) -> None:
    """Store a valid notebook; readers see the old file or the whole new one. Raises ValidationError."""
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False
    ) as partial:
        try:
            partial.write(text_of(notebook))
            partial.flush()
            os.fsync(partial.fileno())
            os.chmod(partial.name, 0o644)
        except BaseException:
            os.unlink(partial.name)
            raise
    os.replace(partial.name, path)


def text_of(notebook: NotebookNode) -> str:
    """The file's text."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def normalise(notebook: NotebookNode) -> NotebookNode:
    """A copy without what changes from run to run or from editor to editor; outputs and counts stay."""
    nb = deepcopy(notebook)
    nb.nbformat, nb.nbformat_minor = 4, 5
    own = {key: nb.metadata[key] for key in ("mystnb", "tlcourse") if key in nb.metadata}
    nb.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": LANGUAGE, **own})
    used: set[str] = set()
    for cell in nb.cells:
        cell.source = "\n".join(line.rstrip() for line in cell.source.splitlines()).strip("\n")
        cell.metadata = nbformat.from_dict(
            {key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata}
        )
        cell.id = _cell_id(cell, used)
        if cell.cell_type == "code":
            cell.outputs = coalesce_streams(cell.outputs)
    _count(nb)
    return nb


def _cell_id(cell: NotebookNode, used: set[str]) -> str:
    """From the content, so that an edit changes the ids of no other cells."""
    name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
    n = next(n for n in range(1, 10_000) if (name if n == 1 else f"{name}-{n}") not in used)
    used.add(name if n == 1 else f"{name}-{n}")
    return name if n == 1 else f"{name}-{n}"


def _count(nb: NotebookNode) -> None:
    """Number the cells that have run from 1; a cell that has not run stays without a number."""
    run = [cell for cell in nb.cells if cell.cell_type == "code" and cell.execution_count is not None]
    for n, cell in enumerate(run, 1):
        cell.execution_count = n
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = n


def without_outputs(notebook: NotebookNode) -> NotebookNode:
    """A copy as if no cell had run."""
    nb = deepcopy(notebook)
    for cell in code_cells(nb):
        cell.outputs, cell.execution_count = [], None
    return nb


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: NotebookNode) -> str:
    """The text of the markdown cells, a blank line between cells."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def is_compared(cell: NotebookNode) -> bool:
    """Whether nbval runs the cell and compares its outputs."""
    options = {**dict(find_metadata_tags(cell.metadata)), **dict(find_comment_markers(cell.source))}
    return options.get("check", True) and not options.get("skip", False)


def compared_share(notebook: NotebookNode) -> float:
    """The share of shown outputs whose content nbval compares. An image is shown, and is not compared."""
    verdicts = []
    for cell in code_cells(notebook):
        if HIDDEN_TAGS & set(cell.metadata.get("tags", [])):
            continue
        for output in cell.outputs:
            mimes = set(output.get("data", {}))
            if mimes and all(mime.startswith(GLUE) for mime in mimes):
                continue
            image = any(mime.startswith("image/") for mime in mimes)
            verdicts.append(is_compared(cell) and (not image or "text/html" in mimes))
    return sum(verdicts) / len(verdicts) if verdicts else 1.0


def faults(notebook: NotebookNode) -> list[str]:
    """What is wrong with a stored notebook as a file; empty where nothing is."""
    found = []
    counts = [cell.execution_count for cell in code_cells(notebook)]
    for n, cell in enumerate(code_cells(notebook)):
        found += [f"code cell {n}: {fault}" for fault in _cell_faults(cell)]
    if None not in counts and counts != list(range(1, len(counts) + 1)):
        found.append(f"execution counts are {counts}, not 1…{len(counts)}; run: make chapter")
    if "widgets" in notebook.metadata:
        found.append("widget state is stored, which loads scripts from elsewhere; use tlcourse.widgets")
    if not found and text_of(normalise(notebook)) != text_of(notebook):
        found.append("the file is not in normal form; run: make tidy")
    if compared_share(notebook) < MIN_COMPARED:
        found.append(
            f"{compared_share(notebook):.0%} of the shown outputs are compared, {MIN_COMPARED:.0%} wanted; "
            "show data beside figures, and tag fewer cells nbval-ignore-output"
        )
    return found


def _cell_faults(cell: NotebookNode) -> list[str]:
    found = []
    lines = [line for line in cell.source.splitlines() if line.strip()]
    if cell.execution_count is None:
        found.append("has never run; run: make chapter")
    if not lines:
        found.append("is empty")
    if len(cell.source.splitlines()) > MAX_LINES:
        found.append(f"has {len(cell.source.splitlines())} lines, {MAX_LINES} at most; split it")
    if lines and lines[-1].rstrip().endswith(";"):
        found.append("ends in a semicolon, which nbval takes for a difference; write `_ = …`")
    for output in cell.outputs:
        found += _output_faults(output)
    return found


def _output_faults(output: NotebookNode) -> list[str]:
    if output.output_type == "error":
        return [f"holds an error: {output.ename}: {output.evalue}"]
    if output.output_type == "stream":
        texts = [output.text]
        found = ["writes to stderr"] if output.name == "stderr" else []
    else:
        texts = [text for mime, text in output.data.items() if mime.startswith("text/")]
        found = ["shows an ipywidget"] if any("widget-view" in mime for mime in output.data) else []
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", "\n".join(texts))
    return found + [f"shows {what}" for what, pattern in UNSTABLE.items() if re.search(pattern, text)]


def python_of(cell: NotebookNode) -> str:
    """The cell as plain Python, magics turned into calls."""
    return TransformerManager().transform_cell(cell.source)


if __name__ == "__main__":
    for chapter in sys.argv[1:] or chapters():
        write(path_of(chapter), normalise(read(path_of(chapter))))
