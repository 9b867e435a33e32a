import time

import pytest

from tools import book, chapter, notebooks, site
from tools.execution import Progress

GIB = 2**30


@pytest.fixture
def stored(tiny_book):
    """A book of two chapters with stored outputs, one cell of which is wrong."""
    root = tiny_book(
        right=["from tlcourse.claims import claim\nclaim('holds', 'two beats one', 2, at_least=1)"],
        wrong=["import time\ntime.sleep(2)\nprint('fresh')"],
    )
    chapter.rewrite("right", root)
    path = root / "book" / "wrong.ipynb"
    notebook = notebooks.read(path)
    notebook.cells[1].outputs = [notebooks.nbformat.v4.new_output("stream", name="stdout", text="stored\n")]
    notebooks.write(path, notebook)
    return root


def test_book_tells_right_from_wrong_outputs_side_by_side_and_touches_nothing_stored(stored):
    before = {path: path.read_bytes() for path in (stored / "book").rglob("*")}
    (stored / "data" / "claims" / "right" / "holds.json").write_text("{}")
    tree = site.staged(stored / "_build" / "executed", stored)
    start = time.monotonic()
    right, wrong = book.execute_all(["right", "wrong"], tree, stored)
    together = time.monotonic() - start
    assert right.failures == []
    (failure,) = wrong.failures
    assert "code cell 0 shows something else" in failure and "-stored" in failure and "+fresh" in failure
    assert together < right.progress.seconds + wrong.progress.seconds
    assert {path: path.read_bytes() for path in (stored / "book").rglob("*")} == before
    assert "fresh" in (tree / "book" / "wrong.ipynb").read_text()
    assert '"two beats one"' in (tree / "data" / "claims" / "right" / "holds.json").read_text()
    assert (tree / "data" / "claims" / "right" / "_run.json").is_file()
    assert (tree / "_toc.yml").is_file() and (tree / "book" / "index.md").is_file()
    text = book.report([right, wrong])
    assert "as stored" in text.splitlines()[0] and "FAILED wrong: code cell 0" in text


def test_a_failing_claim_fails_the_chapter_and_keeps_its_stored_outputs_on_the_site(tiny_book):
    claim = "from tlcourse.claims import claim\nclaim('fails', 'one beats two', 1, at_least=2)"
    root = tiny_book(one=[claim])
    tree = site.staged(root / "_build" / "executed", root)
    (outcome,) = book.execute_all(["one"], tree, root)
    assert "measured 1" in outcome.failures[0]
    assert (tree / "book" / "one.ipynb").read_bytes() == (root / "book" / "one.ipynb").read_bytes()


@pytest.mark.parametrize(
    ("seconds", "gigabytes", "allowed", "at_once", "failure", "warning"),
    [
        (119, 3.9, {}, 1, "", ""),
        (121, 3.9, {}, 1, "", "took 121 s; 120 s are wanted"),
        (181, 3.9, {}, 1, "took 181 s; 180 s are allowed", ""),
        (181, 3.9, {"seconds": 240, "because": "S"}, 1, "", ""),
        (241, 3.9, {"seconds": 240, "because": "S"}, 1, "took 241 s; 240 s are allowed", ""),
        (239, 1.0, {}, 2, "", ""),
        (300, 1.0, {}, 2, "", "took 300 s; 240 s are wanted, 2 at a time"),
        (361, 1.0, {}, 2, "took 361 s; 360 s are allowed, 2 at a time", ""),
        (10, 4.1, {}, 1, "used 4.1 GB of memory; 4.0 GB are allowed", ""),
        (10, 4.1, {"gigabytes": 5}, 1, "", ""),
        (10, 5.1, {"gigabytes": 5}, 1, "used 5.1 GB of memory; 5.0 GB are allowed", ""),
    ],
)
def test_budget(seconds, gigabytes, allowed, at_once, failure, warning):
    outcome = book.Outcome(Progress("a", started=0.0, ended=float(seconds), peak_bytes=int(gigabytes * GIB)))
    book.check_budget(outcome, allowed, at_once)
    assert (outcome.failures, outcome.warnings) == (
        [failure] if failure else [],
        [warning] if warning else [],
    )


def test_main_builds_first_from_stored_then_from_fresh_outputs(monkeypatch, capsys, tmp_path):
    built = []
    monkeypatch.setattr(site, "build", lambda *trees: built.append(trees) or tmp_path / "index.html")
    monkeypatch.setattr(site, "staged", lambda tree: tree)
    monkeypatch.setattr(notebooks, "chapters", lambda: ["a"])
    outcome = book.Outcome(Progress("a", started=0.0, ended=1.0))
    monkeypatch.setattr(book, "execute_all", lambda names, tree: [outcome])
    assert book.main() == 0
    assert built == [(site.STORED,), (book.EXECUTED,)]
    outcome.failures.append("wrong")
    assert book.main() == 1
    out = capsys.readouterr().out
    assert "You can read it now" in out and "FAILED a: wrong" in out and "1 executed in" in out


def test_main_ends_with_the_sites_complaints_when_it_cannot_be_built(monkeypatch, capsys):
    def fail(*_):
        raise site.SiteError("WARNING: broken link")

    monkeypatch.setattr(site, "staged", lambda tree: tree)
    monkeypatch.setattr(site, "build", fail)
    assert book.main() == 1
    assert "broken link" in capsys.readouterr().err
