import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools.comparison import differences


def cell(source="f()", tags=(), **outputs):
    made = [new_output("stream", name="stdout", text=outputs.pop("stdout"))] if "stdout" in outputs else []
    if outputs:
        data = {mime.replace("_", "/"): text for mime, text in outputs.items()}
        made.append(new_output("display_data", data=data))
    return new_code_cell(source, outputs=made, metadata={"tags": list(tags)}, execution_count=1)


def differ(before, after):
    return differences(new_notebook(cells=before), new_notebook(cells=after))


def test_equal_outputs_do_not_differ():
    assert differ([cell(stdout="1\n")], [cell(stdout="1\n")]) == []


def test_other_text_differs_and_the_cell_and_both_texts_are_named():
    found = differ([cell("a"), cell("b", stdout="one\n")], [cell("a"), cell("b", stdout="two\n")])
    assert [(difference.cell, difference.source) for difference in found] == [(1, "b")]
    assert "-one" in found[0].text and "+two" in found[0].text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"stdout": "1\n"}, {}),
        ({}, {"stdout": "1\n"}),
        ({"text_html": "<p>a</p>"}, {"text_html": "<p>b</p>"}),
        (
            {"application_papermill.record/text/plain": "0.1"},
            {"application_papermill.record/text/plain": "0.2"},
        ),
    ],
)
def test_missing_new_and_changed_outputs_differ(before, after):
    assert len(differ([cell(**before)], [cell(**after)])) == 1


def test_pictures_do_not_differ_nor_data_inside_html():
    page = '<img src="data:image/png;base64,{}" alt="a">'
    before = [cell(image_png="AAAA", text_plain="<Figure>"), cell(text_html=page.format("AAA="))]
    after = [cell(image_png="BBBB", text_plain="<Figure>"), cell(text_html=page.format("BB/+"))]
    assert differ(before, after) == []


def test_html_around_the_data_still_differs():
    before = [cell(text_html='<img src="data:image/png;base64,AAAA" alt="a">')]
    after = [cell(text_html='<img src="data:image/png;base64,AAAA" alt="b">')]
    assert len(differ(before, after)) == 1


def test_split_streams_do_not_differ_from_joined_ones():
    split = cell(stdout="a\n")
    split.outputs.append(new_output("stream", name="stdout", text="b\n"))
    assert differ([cell(stdout="a\nb\n")], [split]) == []


def test_ignored_cells_do_not_differ():
    before = [
        cell(tags=["nbval-ignore-output"], stdout="1 s"),
        cell("# NBVAL_IGNORE_OUTPUT\nf()", stdout="1 s"),
    ]
    after = [
        cell(tags=["nbval-ignore-output"], stdout="2 s"),
        cell("# NBVAL_IGNORE_OUTPUT\nf()", stdout="2 s"),
    ]
    assert differ(before, after) == []


def test_notebooks_with_other_code_are_refused():
    with pytest.raises(ValueError, match="different code cells"):
        differ([cell("a")], [cell("b")])
