import pytest

from tools import site

CONFIG = "title: Tiny\nonly_build_toc_files: true\nexecute:\n  execute_notebooks: 'off'\n"


@pytest.fixture
def book(tmp_path):
    (tmp_path / "_config.yml").write_text(CONFIG)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    (tmp_path / "index.md").write_text("# Tiny\n\nSee [](nowhere.md).\n")
    return tmp_path


def test_a_broken_link_fails_the_build_and_is_named_and_the_next_build_forgets_it(book):
    (book / "_build" / "html").mkdir(parents=True)
    (book / "_build" / "html" / "gone.html").write_text("a page of an earlier build")
    with pytest.raises(site.SiteError, match=r"(?s)^index\.md:3: WARNING: .*nowhere.*its log: "):
        site.build(book, book)
    (book / "index.md").write_text("# Tiny\n\nFine.\n")
    assert site.build(book, book) == book / "_build" / "html" / "index.html"
    assert "Fine." in (book / "_build" / "html" / "index.html").read_text()
    assert not (book / "_build" / "html" / "gone.html").exists()


@pytest.mark.parametrize(
    "line",
    [
        "/book/index.md:3: WARNING: 'myst' cross-reference target not found: 'x' [myst.xref_missing]",
        "/book/index.md:3: ERROR: Unknown directive type",
        "index.md:3: CRITICAL: Duplicate ID",
    ],
)
def test_a_complaint_in_the_log_is_found(line):
    assert site.problems(f"reading sources... [100%] index\n{line}\nbuild succeeded.") == [line]


def test_a_page_named_after_warnings_is_no_complaint():
    assert site.problems("reading sources... [ 50%] book/warnings\nbuild finished without errors") == []


def test_complaints_are_errors_even_where_the_exit_code_is_0(book, monkeypatch):
    class Done:
        returncode, stdout = 0, "\x1b[31mindex.md:1: WARNING: careful\x1b[0m\n"

    def run(*_, **__):
        page = book / "_build" / "html" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("")
        return Done

    monkeypatch.setattr(site.subprocess, "run", run)
    with pytest.raises(site.SiteError, match=r"^index\.md:1: WARNING: careful\n"):
        site.build(book, book)


def test_a_build_that_makes_no_page_is_an_error(book, monkeypatch):
    class Done:
        returncode, stdout = 0, "all fine\n"

    monkeypatch.setattr(site.subprocess, "run", lambda *_, **__: Done)
    with pytest.raises(site.SiteError, match="all fine"):
        site.build(book, book)


def test_staging_takes_what_the_site_is_made_of_and_nothing_else(tmp_path):
    kept = [
        "_toc.yml",
        "README.md",
        "book/a.ipynb",
        "book/_ext/e.py",
        "data/assets.toml",
        "data/claims/a/c.json",
    ]
    left = [
        ".venv/lib/README.md",
        "_build/html/a.html",
        "data/checkpoints/big",
        "book/.ipynb_checkpoints/a.ipynb",
    ]
    for name in [*kept, *left]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    tree = site.staged(tmp_path / "_build" / "source", tmp_path)
    assert {p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file()} == set(kept)


def test_of_an_exception_the_place_and_the_reason_are_shown():
    raised = ["Exception occurred:", '  File "a.py", line 2, in f', "    g()", "ValueError: no claim"]
    after = ["The full traceback has been saved in a.log", "Traceback (most recent call last):", "  more"]
    assert site.problems("\n".join(["reading sources...", *raised, *after])) == raised
