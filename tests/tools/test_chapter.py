import json

import pytest

from tlcourse import claims
from tools import chapter, notebooks

CLAIM = "from tlcourse.claims import claim\nclaim('holds', 'two is more than one', 2, at_least=1)"


def stored_claims(root):
    return sorted(path.name for path in (root / "data" / "claims" / "one").iterdir())


def test_rewriting_stores_outputs_claims_time_and_memory(tiny_book):
    root = tiny_book(one=["%matplotlib inline\n1 + 1", CLAIM])
    stale = root / "data" / "claims" / "one" / "stale.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    chapter.rewrite("one", root)
    notebook = notebooks.read(root / "book" / "one.ipynb")
    assert notebooks.faults(notebook) == []
    assert notebooks.code_cells(notebook)[0].outputs[0].data == {"text/plain": "2"}
    assert stored_claims(root) == ["_run.json", "holds.json"]
    run = json.loads((root / "data" / "claims" / "one" / "_run.json").read_text())
    assert 0.5 < run["seconds"] < 120 and 30 < run["peak_megabytes"] < 4000 and run["cells"] == 2
    assert run["machine"]["python"].startswith("3.")
    assert "/" not in json.dumps(run["machine"]["system"])
    (claim,) = claims.load(root / "data" / "claims")
    assert (claim.chapter, claim.value) == ("one", 2)


def test_a_chapter_that_fails_leaves_notebook_and_claims_as_they_were(tiny_book):
    root = tiny_book(one=[CLAIM, "claim('fails', 'two is more than three', 2, at_least=3)"])
    kept = root / "data" / "claims" / "one" / "kept.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    before = (root / "book" / "one.ipynb").read_bytes()
    with pytest.raises(RuntimeError, match=r"(?s)one: code cell 1: .*two is more than three.*measured 2"):
        chapter.rewrite("one", root)
    assert (root / "book" / "one.ipynb").read_bytes() == before
    assert stored_claims(root) == ["kept.json"]


def test_two_executions_give_the_same_bytes_pictures_included(tiny_book):
    plot = "import matplotlib.pyplot as plt\nax = plt.subplots()[1]\n_ = ax.plot([1, 3, 2])"
    root = tiny_book(one=[plot, "1 + 1"])
    path = root / "book" / "one.ipynb"
    chapter.rewrite("one", root)
    first = path.read_bytes()
    chapter.rewrite("one", root)
    assert path.read_bytes() == first and b"image/png" in first


def test_an_unknown_chapter_is_named(capsys):
    assert chapter.main(["no/such"]) == 1
    assert "no chapter 'no/such'" in capsys.readouterr().err


def test_no_name_shows_how_to_give_one(capsys):
    assert chapter.main([]) == 2
    assert "make chapter NAME=" in capsys.readouterr().out
