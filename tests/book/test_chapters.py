"""Every chapter of the table of contents, as it is stored. That its outputs are right, nbval checks."""

import pytest

from tlcourse import claims
from tools import anatomy, notebooks, result_pages

CHAPTERS = notebooks.chapters()
RULES = {"chapter": anatomy.faults, "results": result_pages.faults}


def stored(name):
    return notebooks.read(notebooks.path_of(name))


def recorded(name):
    folder = claims.FOLDER / name
    return claims.load(folder) if folder.is_dir() else []


def test_every_notebook_of_the_book_is_in_the_table_of_contents():
    book = notebooks.ROOT / "book"
    there = {path.relative_to(book).with_suffix("").as_posix() for path in book.rglob("*.ipynb")}
    assert {name for name in there if ".ipynb_checkpoints" not in name} == set(CHAPTERS)


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_file_is_whole_normal_and_stable(name):
    faults = notebooks.faults(stored(name))
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_file_is_byte_for_byte_in_normal_form(name):
    text = notebooks.path_of(name).read_text(encoding="utf-8")
    normal = text == notebooks.text_of(notebooks.normalise(stored(name)))
    assert normal, "run: make tidy"


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_page_has_all_that_a_page_of_its_kind_has(name):
    notebook = stored(name)
    faults = RULES[notebooks.kind_of(notebook)](notebook, recorded(name), anatomy.address())
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", CHAPTERS)
def test_claims_are_recorded_under_the_chapters_name(name):
    assert {claim.chapter for claim in recorded(name)} == {name}


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_budget_of_its_own_has_its_reason(name):
    budget = stored(name).metadata.get("tlcourse", {}).get("budget", {})
    assert not budget or len(budget.get("because", "")) > 20
    assert set(budget) <= {"seconds", "gigabytes", "because"}


def test_no_claims_are_kept_of_chapters_that_are_gone():
    kept = {path.parent.relative_to(claims.FOLDER).as_posix() for path in claims.FOLDER.rglob("*.json")}
    assert kept <= set(CHAPTERS)
