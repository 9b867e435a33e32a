import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebooks


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def result(data, count=1):
    return new_output("execute_result", data=data, execution_count=count)


def notebook(*cells):
    """Text, then the cells, numbered as if they had run, in normal form."""
    for n, cell in enumerate(cells, 1):
        if cell.cell_type == "code" and cell.execution_count is None:
            cell.execution_count = n
    return notebooks.normalise(new_notebook(cells=[new_markdown_cell("# Title"), *cells]))


def test_chapters_are_the_notebooks_of_the_toc_in_its_order(tmp_path):
    (tmp_path / "_toc.yml").write_text(
        "root: book/index\nparts:\n- caption: A\n  chapters:\n  - file: book/t/late\n    sections:\n"
        "    - file: book/t/inner\n  - file: book/t/gone\n- chapters:\n  - file: book/a/early\n"
    )
    for name in ("t/late", "t/inner", "a/early", "a/unlisted"):
        path = tmp_path / "book" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert notebooks.chapters(tmp_path) == ["t/late", "t/inner", "a/early"]


def test_unknown_chapter_is_an_error_that_names_the_known_ones(tiny_book):
    root = tiny_book(one=["1"], two=["2"])
    with pytest.raises(FileNotFoundError, match="no chapter 'three'; there are: one, two"):
        notebooks.path_of("three", root)


def test_normal_form_is_reached_in_one_step_and_from_any_ids():
    def made():
        cells = [new_markdown_cell("text  \nmore \n\n"), new_code_cell("a = 1 \na\n", execution_count=7)]
        return new_notebook(cells=cells)

    once = notebooks.normalise(made())
    assert notebooks.text_of(once) == notebooks.text_of(notebooks.normalise(made()))
    assert notebooks.text_of(once) == notebooks.text_of(notebooks.normalise(once))
    assert [cell.source for cell in once.cells] == ["text\nmore", "a = 1\na"]


def test_normal_form_drops_what_editors_add_and_keeps_tags_outputs_and_budget():
    cell = new_code_cell("1", outputs=[result({"text/plain": "1"}, 9)], execution_count=9)
    cell.metadata.update(
        tags=["hide-input"],
        ExecuteTime={"a": 1},
        execution={"iopub.status.busy": "10:00"},
        mystnb={"image": {}},
    )
    nb = new_notebook(cells=[cell])
    nb.metadata.update(widgets={}, kernelspec={"name": "mine"}, tlcourse={"budget": {"seconds": 200}})
    normal = notebooks.normalise(nb)
    assert normal.cells[0].metadata == {"tags": ["hide-input"], "mystnb": {"image": {}}}
    assert normal.metadata == {
        "kernelspec": notebooks.KERNELSPEC,
        "language_info": notebooks.LANGUAGE,
        "tlcourse": {"budget": {"seconds": 200}},
    }
    assert normal.cells[0].outputs[0].data == {"text/plain": "1"}
    assert normal.cells[0].execution_count == normal.cells[0].outputs[0].execution_count == 1
    nbformat.validate(normal)


def test_normal_form_joins_split_streams_and_leaves_the_original_alone():
    nb = new_notebook(cells=[new_code_cell("f()", outputs=[stream("a\n"), stream("b\n")], execution_count=1)])
    assert [output.text for output in notebooks.normalise(nb).cells[0].outputs] == ["a\nb\n"]
    assert [output.text for output in nb.cells[0].outputs] == ["a\n", "b\n"]


def test_an_edit_changes_no_other_cells_id_and_equal_cells_differ():
    sources = ["a", "b", "b", "c"]
    before = notebooks.normalise(new_notebook(cells=[new_markdown_cell(s) for s in sources]))
    sources[0] = "new"
    after = notebooks.normalise(new_notebook(cells=[new_markdown_cell(s) for s in sources]))
    ids = [cell.id for cell in before.cells]
    assert len(set(ids)) == 4
    assert ids[1:] == [cell.id for cell in after.cells][1:] and ids[0] != after.cells[0].id


def test_a_cell_that_never_ran_gets_no_number():
    nb = new_notebook(cells=[new_code_cell("1"), new_code_cell("2", execution_count=5)])
    assert [cell.execution_count for cell in notebooks.normalise(nb).cells] == [None, 1]


def test_an_invalid_notebook_is_not_written_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.ipynb"
    notebooks.write(path, notebook(new_code_cell("1")))
    before = path.read_text()
    broken = notebook(new_code_cell("1"))
    broken.cells[0].cell_type = "nonsense"
    with pytest.raises(nbformat.ValidationError):
        notebooks.write(path, broken)
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.ipynb"
    path.write_text("old")
    monkeypatch.setattr(notebooks.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        notebooks.write(path, notebook(new_code_cell("1")))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_clean_notebook_has_no_faults():
    nb = notebook(
        new_code_cell("print('✓ holds (at least 1)')", outputs=[stream("✓ holds (at least 1)\n")]),
        new_code_cell("x", outputs=[result({"text/html": '<img src="data:image/png;base64,AAAA">'})]),
    )
    assert notebooks.faults(nb) == []


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        (new_code_cell("a\n" * 16), "has 16 lines, 15 at most"),
        (new_code_cell("plt.plot(x);"), "ends in a semicolon"),
        (new_code_cell(""), "is empty"),
        (
            new_code_cell("1/0", outputs=[new_output("error", ename="ZeroDivisionError", evalue="by zero")]),
            "ZeroDivisionError: by zero",
        ),
        (new_code_cell("f()", outputs=[stream("careful", "stderr")]), "writes to stderr"),
        (
            new_code_cell("f", outputs=[result({"text/plain": "<function f at 0x7f1f2c3d4e5f>"})]),
            "shows an object's address",
        ),
        (new_code_cell("f()", outputs=[stream("see /home/me/cache/file.txt")]), "shows a path"),
        (new_code_cell("f()", outputs=[stream(f"see {notebooks.ROOT}/a.txt")]), "shows a path"),
        (new_code_cell("f()", outputs=[stream(" 45%|████   | 9/20 [00:01]")]), "shows a progress bar"),
        (
            new_code_cell(
                "w", outputs=[result({"application/vnd.jupyter.widget-view+json": {}, "text/plain": "W"})]
            ),
            "shows an ipywidget",
        ),
    ],
)
def test_a_bad_cell_is_a_fault(cell, fault):
    assert any(fault in found for found in notebooks.faults(notebook(new_code_cell("1"), cell)))


def test_a_cell_without_count_is_a_fault():
    nb = notebook(new_code_cell("1"), new_code_cell("2"))
    nb.cells[2].execution_count = None
    assert any("code cell 1: has never run" in found for found in notebooks.faults(nb))


def test_counts_out_of_order_are_a_fault():
    nb = notebook(new_code_cell("1"), new_code_cell("2"))
    nb.cells[1].execution_count, nb.cells[2].execution_count = 2, 1
    assert any("execution counts are [2, 1], not 1…2" in found for found in notebooks.faults(nb))


def test_widget_state_is_a_fault():
    nb = notebook(new_code_cell("1"))
    nb.metadata["widgets"] = {"state": {}}
    assert any("widget state is stored" in found for found in notebooks.faults(nb))


@pytest.mark.parametrize("spoil", ["id", "metadata", "blank"])
def test_a_file_that_is_not_in_normal_form_is_a_fault(spoil):
    nb = notebook(new_code_cell("1"))
    if spoil == "id":
        nb.cells[1].id = "my-own"
    elif spoil == "metadata":
        nb.cells[1].metadata["collapsed"] = True
    else:
        nb.cells[0].source += "  "
    assert notebooks.faults(nb) == ["the file is not in normal form; run: make tidy"]


def test_compared_share_counts_text_and_html_and_neither_images_nor_ignored_nor_hidden_cells():
    image = result({"image/png": "AAAA", "text/plain": "<Figure size 640x480 with 1 Axes>"})
    nb = notebook(
        new_code_cell("a", outputs=[stream("compared")]),
        new_code_cell("b", outputs=[image]),
        new_code_cell("c", outputs=[result({"text/html": "<p>"})]),
        new_code_cell("d", outputs=[stream("1 s")], metadata={"tags": ["nbval-ignore-output"]}),
        new_code_cell("# NBVAL_SKIP\ne", outputs=[stream("skipped")]),
        new_code_cell("f", outputs=[stream("not shown")], metadata={"tags": ["remove-output"]}),
        new_code_cell("g", outputs=[result({"application/papermill.record/text/plain": "0.5"})]),
    )
    assert notebooks.compared_share(nb) == 2 / 5
    assert any("40% of the shown outputs are compared, 65% wanted" in f for f in notebooks.faults(nb))


def test_a_notebook_that_shows_nothing_counts_as_compared():
    assert notebooks.compared_share(notebook(new_code_cell("a = 1"))) == 1.0
