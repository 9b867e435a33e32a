"""The book's own Sphinx extensions: on a small book for the pages they make, on small sources for their parts."""

import io
import json
import re
import sys
from dataclasses import replace

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, writes

STATEMENT = "LoRA's loss is at most 1 point (of 100) *here*"


@pytest.fixture
def extensions(request, monkeypatch):
    monkeypatch.syspath_prepend(str(request.config.rootpath / "book" / "_ext"))
    yield
    for name in ("api_listing", "assets_listing", "measured", "offline_mathjax", "accessible_theme"):
        sys.modules.pop(name, None)


def recorded(**changes):
    claim = {
        "id": "lora-is-close",
        "chapter": "transfer/finetuning",
        "statement": STATEMENT,
        "value": 0.4217,
        "at_least": None,
        "at_most": 1.0,
        "interval": [0.1, 0.74],
        "level": 0.95,
        "unit": "points",
        "supports": ["S9"],
        "machine": {},
    }
    return claim | changes


def chapter(**metadata):
    cells = [
        new_markdown_cell("# Fine-tuning"),
        new_code_cell("import tlcourse", execution_count=1),
        new_code_cell(
            "claim()",
            execution_count=2,
            outputs=[new_output("stream", name="stdout", text=f"✓ {STATEMENT} (points: at most 1)\n")],
        ),
    ]
    language = {"name": "python", "pygments_lexer": "ipython3"}
    kernel = {"name": "python3", "display_name": "Python 3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": language, **metadata})


@pytest.fixture
def book(tmp_path, extensions):
    """A function: claims, metadata → warnings and HTML pages of a small book that records them."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    def build(*claims, **metadata):
        source = tmp_path / "source"
        for folder in ("book/transfer", "data/claims/transfer/finetuning"):
            (source / folder).mkdir(parents=True)
        for claim in claims:
            (source / "data/claims" / claim["chapter"]).mkdir(parents=True, exist_ok=True)
            (source / "data/claims" / claim["chapter"] / f"{claim['id']}.json").write_text(json.dumps(claim))
        (source / "book/transfer/finetuning.ipynb").write_text(writes(chapter(**metadata)))
        statements = "\n".join(f"(s{n})=\n## S{n}\n\n```{{measured}} S{n}\n```\n" for n in range(1, 25))
        (source / "audit.md").write_text(f"# Audit\n\n```{{coverage}}\n```\n\n{statements}")
        (source / "index.md").write_text(
            "# Results\n\n```{claims}\n```\n\n```{toctree}\naudit\nbook/transfer/finetuning\n```\n"
        )
        warnings = io.StringIO()
        with docutils_namespace():
            Sphinx(
                *(str(source), None, str(tmp_path / "html"), str(tmp_path / "doctrees"), "html"),
                confoverrides={
                    "extensions": ["myst_nb", "measured"],
                    "nb_execution_mode": "off",
                    "nitpicky": True,
                    "html_theme": "basic",
                },
                status=None,
                warning=warnings,
            ).build()
        pages = {f.stem: f.read_text(encoding="utf-8") for f in (tmp_path / "html").rglob("*.html")}
        return warnings.getvalue(), pages

    return build


def test_results_and_audit_link_a_claim_to_the_cell_that_prints_it(book):
    warnings, pages = book(recorded())
    assert warnings == ""
    assert 'id="cell-2"' in pages["finetuning"]
    assert pages["finetuning"].count("claim-output") == 1
    for name in ("index", "audit"):
        assert 'href="book/transfer/finetuning.html#cell-2"' in pages[name]
        assert "0.42 [0.10, 0.74]" in pages[name]
    assert 'href="audit.html#s9"' in pages["index"]


def test_statement_with_markup_is_shown_as_it_stands(book):
    _, pages = book(recorded())
    assert "1 point (of 100) *here*" in pages["index"]


def test_audit_says_of_statements_without_a_claim_that_nothing_is_measured_yet(book):
    _, pages = book(recorded())
    assert pages["audit"].count("not yet") == 23
    assert "planned" in pages["audit"]


def test_audit_tells_a_page_of_results_from_a_chapter(book):
    warnings, pages = book(recorded(), tlcourse={"kind": "results"})
    assert warnings == ""
    rows = re.sub(r"<[^>]+>", "", pages["audit"])
    # S9 is taught in this one chapter, S7 also in a planned one: twice each, in the table and at the statement.
    assert rows.count("results only: Fine-tuning") == 2 * 5
    assert rows.count("results only: Fine-tuning; planned: concepts") == 2
    assert "0.42 [0.10, 0.74]" in pages["audit"] and "cell 2" in pages["audit"]


def test_audit_of_a_chapter_calls_nothing_results_only(book):
    assert "results only" not in book(recorded())[1]["audit"]


def test_claim_that_no_cell_prints_any_more_is_a_warning_that_names_the_command(book):
    warnings, _ = book(recorded(), recorded(id="gone", statement="something else"))
    assert "'gone'" in warnings
    assert "make chapter NAME=transfer/finetuning" in warnings


def test_book_without_claims_says_so(book):
    warnings, pages = book()
    assert warnings == ""
    assert "No chapter has recorded its claims yet." in pages["index"]


@pytest.mark.parametrize(
    ("value", "interval", "shown"),
    [
        (45133.1, None, "45,133"),
        (0.0000029, None, "below 0.0001"),
        (0.0, None, "0"),
        (-1.34, (-5.21, -1.34), "−1.3 [−5.2, −1.3]"),
    ],
)
def test_measured_numbers_are_written_as_a_reader_writes_them(extensions, value, interval, shown):
    import measured

    from tlcourse.claims import Claim

    claim = Claim("a", "b", "c", value, at_most=99999.0, interval=interval)
    assert measured.measurement(claim).replace("\\", "") == shown


def test_every_statement_is_taught_somewhere(extensions):
    import measured

    from tlcourse import claims

    assert {s for taught in measured.TAUGHT.values() for s in taught} == set(claims.STATEMENTS)


def test_signatures_of_the_listing_equal_those_of_the_imported_functions(extensions):
    import inspect

    import api_listing

    from tlcourse import claims, widgets

    for module, function in ((claims, claims.claim), (widgets, widgets.frames)):
        node = api_listing.definition(module.__name__, function.__name__)
        shown = eval(f"lambda {api_listing.arguments(node)[1:-1]}: None")
        wanted = [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]
        assert [(p.name, p.kind, p.default) for p in inspect.signature(shown).parameters.values()] == wanted


@pytest.mark.parametrize("module", ["tlcourse.transfer.finetuning", "tlcourse.claims", "tlcourse.training"])
def test_every_public_name_of_a_module_is_listed(extensions, module):
    import api_listing

    names = api_listing.public_names(api_listing.tree_of(module))
    assert names
    assert [name for name in names if not api_listing.entry(module, name)] == []


def test_a_long_constant_is_counted_and_a_short_one_shown(extensions):
    import ast

    import api_listing

    long = ast.parse(f"({', '.join(['Measure(1)'] * 40)})", mode="eval").body
    assert api_listing.value(long) == "40 values, which the source lists."
    assert api_listing.value(ast.parse("(1, 2)", mode="eval").body) == "`(1, 2)`"


def test_module_that_does_not_exist_is_named(extensions):
    import api_listing

    with pytest.raises(FileNotFoundError, match=r"no module tlcourse\.nothing"):
        api_listing.source_of("tlcourse.nothing")


def test_prose_keeps_code_and_shows_markup_as_text(extensions):
    import api_listing

    assert api_listing.prose("A `*x` of\n  [b] $c$.\n\nNext.") == [
        "A `*x` of \\[b\\] \\$c\\$\\.",
        "",
        "Next\\.",
        "",
    ]


@pytest.fixture
def page(tmp_path, extensions):
    """A function: Markdown → warnings and HTML of a page with the directives of assets_listing."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    def build(text):
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / "index.md").write_text(text)
        warnings = io.StringIO()
        with docutils_namespace():
            Sphinx(
                *(str(tmp_path / "source"), None, str(tmp_path / "html"), str(tmp_path / "trees"), "html"),
                confoverrides={
                    "extensions": ["myst_nb", "assets_listing"],
                    "myst_enable_extensions": ["deflist"],
                    "html_theme": "basic",
                },
                status=None,
                warning=warnings,
            ).build()
        return warnings.getvalue(), (tmp_path / "html" / "index.html").read_text(encoding="utf-8")

    return build


def test_checkpoints_are_listed_with_their_cards_and_what_was_measured(page, tmp_path, monkeypatch):
    from tests.test_weights_card import CARD
    from tlcourse.weights import card, content_hash, shipped

    folder = tmp_path / "checkpoints" / "bert-mini"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 8_100_000)
    digest = content_hash(folder / "model.safetensors")
    card.write_card(folder, replace(CARD, sha256=digest, metrics={"loss *a*": -1.25, "perplexity": 12345.6}))
    monkeypatch.setattr(shipped, "home", lambda: tmp_path / "checkpoints")
    warnings, html = page("# Data\n\n```{checkpoints}\n```\n")
    assert warnings == ""
    for shown in (
        "8.1 MB",
        "WordNet 3.0, glosses; King James Bible",
        "1,000 steps, 8.2 million tokens, 1.6 core-hours",
        "loss *a* −1.25; perplexity 12,346",
        "public domain, outside of the United Kingdom",
        "Good for: Experiments – on one",
        "Not good for: Anything that needs knowledge of the world.",
        "make experiment NAME=pretrained/checkpoints",
        "50 minutes",
        digest[:12],
    ):
        assert shown in re.sub(r"<[^>]+>", "", html).replace("\n", " "), shown
    assert "from_pretrained(&quot;bert-mini&quot;)" in re.sub(r"</?span[^>]*>", "", html)


@pytest.mark.parametrize(("model", "saw"), [("ResNet", "images"), ("MaskedAutoencoder", "items")])
def test_of_a_network_of_no_text_is_listed_what_it_saw_and_short_times(
    page, tmp_path, monkeypatch, model, saw
):
    from tests.test_weights_card import CARD
    from tlcourse.weights import card, content_hash, shipped

    folder = tmp_path / "checkpoints" / "zoo-tiny"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x")
    digest = content_hash(folder / "model.safetensors")
    facts = {"name": "zoo-tiny", "model": model, "tokens": 57_600, "seconds": 119.4, "cpu_seconds": 90.0}
    card.write_card(folder, replace(CARD, sha256=digest, **facts))
    monkeypatch.setattr(shipped, "home", lambda: tmp_path / "checkpoints")
    warnings, html = page("# Data\n\n```{checkpoints}\n```\n")
    text = re.sub(r"<[^>]+>", "", html).replace("\n", " ")
    assert warnings == ""
    assert f"1,000 steps, 57,600 {saw}, 1.5 core-minutes" in text
    assert "119 seconds on" in text


def test_page_without_checkpoints_says_so(page, tmp_path, monkeypatch):
    from tlcourse.weights import shipped

    monkeypatch.setattr(shipped, "home", lambda: tmp_path / "none")
    assert page("# Data\n\n```{checkpoints}\n```\n")[1].count("No checkpoint is stored yet.") == 1


def test_mathjax_bundle_is_one_file_that_draws_its_own_glyphs(extensions):
    import offline_mathjax

    assert offline_mathjax.bundle_path().stat().st_size > 2_000_000
    assert "svg" in offline_mathjax.BUNDLE


def test_mended_body_has_no_forbidden_roles_and_a_clean_link(extensions):
    import accessible_theme

    context = {
        "body": '<div role="list" class="citation-list"><div class="citation" role="doc-biblioentry"></div></div>'
        '<p class="admonition-title">Solution to<a class="x" href="#a"> Exercise 1</a></p>'
    }
    accessible_theme.mended_body(None, "", "", context, None)
    assert "role=" not in context["body"]
    assert 'Solution to <a class="x" href="#a">Exercise 1</a>' in context["body"]
