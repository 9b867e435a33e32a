"""For every test: no network beyond this machine, no screen, none of the reader's own settings."""

import os

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import notebooks
from tools.execution import OFFLINE
from tools.offline import sitecustomize  # noqa: F401 - importing it blocks the network

SETTINGS = ("TLCOURSE_PROFILE", "TLCOURSE_RECORD_CLAIMS", "TLCOURSE_CHAPTER")


def pytest_configure(config):
    for name in SETTINGS:
        os.environ.pop(name, None)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(OFFLINE) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), *paths]))
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")


@pytest.fixture
def tiny_book(tmp_path):
    """A function that makes a book of notebooks: name → sources of its code cells, as if they had run."""

    def make(**chapters):
        pages = [f"  - file: book/{name}" for name in chapters]
        toc = ["format: jb-book", "root: book/index", "chapters:", *pages]
        (tmp_path / "_toc.yml").write_text("\n".join(toc))
        (tmp_path / "book").mkdir()
        (tmp_path / "book" / "index.md").write_text("# Tiny\n")
        for name, sources in chapters.items():
            cells = [new_markdown_cell(f"# {name}"), *(new_code_cell(source) for source in sources)]
            for n, cell in enumerate(cells[1:], 1):
                cell.execution_count = n
            notebook = notebooks.normalise(new_notebook(cells=cells))
            notebooks.write(tmp_path / "book" / f"{name}.ipynb", notebook)
        return tmp_path

    return make
