"""A page of results: each rule is broken once; and a whole page is executed, stored, and taken into a site."""

import json

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.tools import test_anatomy
from tests.tools.test_anatomy import ADDRESS, COLAB, claim
from tools import anatomy, chapter, notebooks, result_pages

OPENING = "# BERT: results\n\nDoes pretraining help? These are results; the chapter will follow."
LIMITS = "## What it does not show\n\nOne corpus, one width."
LOAD = 'from tlcourse import results\n\nruns = results.load("pretrained/bert")'
ALT = {"mystnb": {"image": {"alt": "Accuracy rises with the number of steps."}}}


def shows(statement):
    cell = test_anatomy.shows(statement)
    cell.source = "claim()"  # which the rules read as Python
    return cell


def table(*tags):
    data = {"text/html": '<table class="tl-table"></table>', "text/plain": "a"}
    output = new_output("execute_result", data=data, execution_count=1)
    return new_code_cell("table(rows, columns)", outputs=[output], metadata={"tags": list(tags)})


def figure(metadata=ALT):
    output = new_output("display_data", data={"image/png": "AAAA", "text/plain": "<Figure>"})
    return new_code_cell("plot()", outputs=[output], metadata=metadata)


def page(*texts, cells=None):
    if cells is None:
        cells = [new_code_cell(COLAB), new_code_cell(LOAD), table(), figure(), shows("one holds")]
    return new_notebook(cells=[*(new_markdown_cell(text) for text in texts or (OPENING, LIMITS)), *cells])


def faults(made, claims=("one holds",)):
    return result_pages.faults(made, [claim(statement) for statement in claims], ADDRESS)


def test_a_whole_page_of_results_has_no_faults_and_is_no_chapter():
    assert faults(page()) == []
    assert "0 exercises, 4 wanted" in "\n".join(anatomy.faults(page(), [claim("one holds")], ADDRESS))


def test_an_empty_page_has_every_kind_of_fault():
    found = "\n".join(faults(page("", cells=[]), claims=()))
    for fault in ("title", "question", "will follow", "'What it does not show'", "a table", "a figure", "no code",
                  "results.load", "0 claims, 1 wanted"):  # fmt: skip
        assert fault in found


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        ((OPENING.replace("# BERT: results", ""), LIMITS), "its one title"),
        ((OPENING.replace("help?", "helps."), LIMITS), "asks no question"),
        (("# BERT\n\nThe chapter will follow.\n\n## Why?\n\nWhy?", LIMITS), "asks no question"),
        (
            (OPENING.replace("the chapter will follow", "read it. It will follow"), LIMITS),
            "the chapter will follow",
        ),
        ((OPENING,), "'What it does not show' is missing"),
        ((OPENING, "## What it does not show\n\n## Next\n\nText."), "'What it does not show' says nothing"),
        ((OPENING, LIMITS + "\n\nIt reached 0.85."), "'0.85' is typed"),
        ((OPENING, LIMITS + "\n\n![](a.svg)"), "the image a.svg has no alt text"),
    ],
)
def test_a_text_that_lacks_something_is_a_fault(texts, fault):
    (found,) = faults(page(*texts))
    assert fault in found


@pytest.mark.parametrize(
    "heading", ["## What these results do not show", "## Limits", "## What it does not show"]
)
def test_limits_go_by_several_names(heading):
    assert result_pages.limits_faults(f"{heading}\n\nText.") == []


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ([new_code_cell(LOAD), figure(), shows("one holds")], "no compared cell shows a table"),
        (
            [new_code_cell(LOAD), table("nbval-ignore-output"), figure(), shows("one holds")],
            "no compared cell shows",
        ),
        ([new_code_cell(LOAD), table(), shows("one holds")], "no cell shows a figure"),
        ([new_code_cell(LOAD), table(), figure({}), shows("one holds")], "no alt text in the metadata"),
        (
            [new_code_cell("results.load"), table(), figure(), shows("one holds")],
            "no cell reads a results file",
        ),
    ],
)
def test_a_page_that_shows_too_little_is_a_fault(cells, fault):
    (found,) = faults(page(cells=[new_code_cell(COLAB), *cells]))
    assert fault in found


def test_claims_are_held_to_the_same_as_a_chapters():
    made = page(cells=[new_code_cell(COLAB), new_code_cell(LOAD), table(), figure()])
    assert faults(made, ()) == ["0 claims, 1 wanted"]
    assert faults(page(), ("another",)) == [
        "recorded, and not shown: ✓ another (at least 1)",
        "shown, and not recorded: ✓ one holds (at least 1); run: make chapter",
    ]


def test_a_page_without_the_colab_cell_is_a_fault():
    (found,) = faults(page(cells=[new_code_cell(LOAD), table(), figure(), shows("one holds")]))[:1]
    assert "does not install the package" in found


def test_the_kind_is_in_the_metadata_and_survives_the_normal_form():
    made = page()
    assert notebooks.kind_of(made) == "chapter"
    made.metadata.update(tlcourse={"kind": "results"})
    assert notebooks.kind_of(notebooks.normalise(made)) == "results"
    made.metadata.tlcourse.kind = "result"
    with pytest.raises(ValueError, match="kind is 'result'; write one of chapter, results, or leave it out"):
        notebooks.kind_of(made)


SOURCES = [
    COLAB,
    "from tlcourse import figures, results\nfrom tlcourse.claims import claim\nfrom tlcourse.tables import table\n\n"
    'runs = results.load("transfer/finetuning_random_start").select(task="finetune")\nfound = results.accuracy(runs)',
    'table([{"arm": "random start", "accuracy, %": found}], {"arm": "", "accuracy, %": ".1f"})',
    'ax = figures.compare({"random start": found}, xlabel="accuracy, %")',
    'ax = figures.arms({"2,000 tweets": {"random start": found}}, xlabel="accuracy, %")',
    'table([{"runs": len(runs), "seeds": len({r["seed"] for r in runs})}], {"runs": "d", "seeds": "d"})',
    'print("one domain, one size")',
    'claim("above-half", "a random start is right more often than not", found.low, at_least=50, interval=found)',
]


def test_a_page_of_real_results_runs_and_keeps_every_rule(tiny_book):
    root = tiny_book(bert=SOURCES)
    path = root / "book" / "bert.ipynb"
    made = notebooks.read(path)
    made.cells = [new_markdown_cell(OPENING), *made.cells[1:], new_markdown_cell(LIMITS)]
    for cell in made.cells[4:6]:
        cell.metadata.update(ALT)
    made.metadata.update(tlcourse={"kind": "results"})
    notebooks.write(path, notebooks.normalise(made))
    chapter.rewrite("bert", root)
    stored = notebooks.read(path)
    assert notebooks.kind_of(stored) == "results" and notebooks.faults(stored) == []
    from tlcourse import claims

    recorded = claims.load(root / "data" / "claims" / "bert")
    assert result_pages.faults(stored, recorded, ADDRESS) == []
    images = ["image/png" in output.data for cell in stored.cells[4:6] for output in cell.outputs]
    # A cell that ends with `ax = …` shows its figure, the second like the first.
    assert images == [True, True]
    shown = notebooks.code_cells(stored)[2].outputs[0].data
    assert "tl-table" in shown["text/html"] and "random start" in shown["text/plain"]
    assert json.loads((root / "data/claims/bert/above-half.json").read_text())["at_least"] == 50
