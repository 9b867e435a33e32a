import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tlcourse.claims import Claim
from tools import anatomy

ADDRESS = "https://example.org/course"
COLAB = f'import sys\n\nif "google.colab" in sys.modules:\n    %pip install -q "tlcourse @ git+{ADDRESS}"'
EXERCISE = "```{{exercise-start}} Count\n:label: ex-{0}\n```\nCount.\n```{{exercise-end}}\n```\n"
SOLUTION = "```{{solution-start}} ex-{0}\n:class: dropdown\n```\nTwo.\n```{{solution-end}}\n```\n"
HEADINGS = ["The idea", "By hand", "On real data", "The experiment", "Where it fails"]
HEADINGS += ["The document says, we measured", "At scale", "Recap", "Exercises", "Quiz", "Further reading"]


def text(headings=HEADINGS, words=anatomy.MIN_WORDS, opening="You will be able to count."):
    return "\n\n".join(["# Title", opening, *(f"## {h}" for h in headings), " ".join(["word"] * words)])


def notebook(*cells, prose=""):
    return new_notebook(cells=[new_markdown_cell(prose), *cells])


def claim(statement):
    return Claim(id="a", chapter="one", statement=statement, value=2.0, at_least=1.0)


def shows(statement, *tags):
    output = new_output("stream", name="stdout", text=f"✓ {statement} (at least 1)\n")
    return new_code_cell("claim(…)", outputs=[output], metadata={"tags": list(tags)})


def test_a_whole_chapter_has_no_faults():
    exercises = "\n".join(EXERCISE.format(n) + SOLUTION.format(n) for n in range(4))
    statements = ["one holds", "two holds", "three (3) holds"]
    cells = [new_code_cell(COLAB), *(shows(statement) for statement in statements)]
    made = notebook(*cells, prose=text() + "\n" + exercises)
    assert anatomy.faults(made, [claim(s) for s in statements], ADDRESS) == []


def test_an_empty_chapter_has_every_kind_of_fault():
    found = "\n".join(anatomy.faults(notebook(), [], ADDRESS))
    for fault in ("title", "The idea", "able to", "0 words", "no code", "0 claims", "0 exercises"):
        assert fault in found


@pytest.mark.parametrize("missing", HEADINGS)
def test_a_missing_part_is_named(missing):
    (fault,) = anatomy.part_faults(text([h for h in HEADINGS if h != missing]))
    assert repr(missing) in fault


def test_parts_in_another_order_are_a_fault():
    (fault,) = anatomy.part_faults(text([HEADINGS[1], HEADINGS[0], *HEADINGS[2:]]))
    assert "the order" in fault


def test_a_heading_inside_code_is_no_part_and_a_comment_there_is_no_title():
    hidden = text(HEADINGS[1:]) + "\n\n```python\n# a comment\n## The idea\n```\n"
    (fault,) = anatomy.part_faults(hidden)
    assert "'The idea' is missing" in fault


def test_words_are_counted_without_code_mathematics_and_markup():
    prose = (
        "# Five words are [read here](https://example.org/not-these).\n\n$$a word$$ and `not_this` $b$\n\n"
        "```python\nno word here\n```\n\n<!-- typed: nor here -->\n\n"
        "````{note} Title\n:class: tip\nword-one word's\n```\nnone\n```\nend\n````\nlast\n"
    )
    assert " ".join(anatomy.words(prose)) == "Five words are read here and word-one word's end last"


@pytest.mark.parametrize(
    "typed",
    [
        "It reached 0.85 in the end.",
        "It reached .85.",
        "It is 3 % better.",
        "It is 3% better.",
        "It is 12 percent better.",
        "| a | 97.5 |",
        "```{note}\nIt reached 0.85.\n```",
    ],
)
def test_a_number_typed_into_the_prose_is_a_fault(typed):
    assert len(anatomy.typed_numbers(f"Some text.\n\n{typed}\n\nMore.")) == 1


@pytest.mark.parametrize(
    "fine",
    [
        "It reached {glue:md}`accuracy` %.",
        "The published accuracy is 0.85 {cite:p}`devlin2019`.",
        "<!-- typed: a setting of the run -->\nThe rate is 0.001.",
        "With `lr=0.001` and $\\alpha = 0.1$ and $$\nx = 0.5\n$$ the loss falls.",
        "```python\nlr = 0.001\n```",
        "It needs Python 3.11 and has the licence CC BY-NC-SA 4.0.",
        "[a link](https://example.org/v1.2/50%) and 2,624 images in 3 rows.",
        "It took version 1.2.3 of it.",
    ],
)
def test_numbers_from_the_run_from_papers_and_with_a_reason_are_fine(fine):
    assert anatomy.typed_numbers(f"Some text.\n\n{fine}\n\nMore.") == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import sys", "does not install"),
        (COLAB.replace(ADDRESS, "https://example.org/fork"), f"from git\\+{ADDRESS}"),
        (COLAB + "\nprint('hello')", "must do everything under"),
        (f'import sys\n\nif True:\n    %pip install "tlcourse @ git+{ADDRESS}"  # google.colab', "must do"),
    ],
)
def test_a_colab_cell_that_does_less_or_more_is_a_fault(source, fault):
    with pytest.raises(AssertionError, match=fault):
        assert anatomy.colab_faults(notebook(new_code_cell(source)), ADDRESS) == []


def test_a_second_colab_cell_is_a_fault():
    cells = [new_code_cell(COLAB), new_code_cell("1"), new_code_cell("'google.colab' in sys.modules")]
    assert anatomy.colab_faults(notebook(*cells[:2]), ADDRESS) == []
    assert "see cells [2]" in anatomy.colab_faults(notebook(*cells), ADDRESS)[0]


def test_a_picture_needs_alt_text_of_its_own():
    picture = new_output("display_data", data={"image/png": "AAAA", "text/plain": "<Figure>"})
    alt = {"mystnb": {"image": {"alt": "Accuracy rises with the labels."}}}
    assert anatomy.alt_faults(notebook(new_code_cell("plot()", outputs=[picture], metadata=alt))) == []
    bare = notebook(new_code_cell("plot()", outputs=[picture]))
    assert "no alt text in the metadata" in anatomy.alt_faults(bare)[0]
    two = notebook(new_code_cell("plot()", outputs=[picture, picture], metadata=alt))
    assert "2 images share one alt text" in anatomy.alt_faults(two)[0]


@pytest.mark.parametrize(
    ("tag", "n_faults"), [('<img src="a" alt="Accuracy rises with labels">', 0), ('<img src="a" alt="">', 1)]
)
def test_an_image_in_html_needs_alt_text(tag, n_faults):
    output = new_output("execute_result", data={"text/html": tag}, execution_count=1)
    assert len(anatomy.alt_faults(notebook(new_code_cell("w", outputs=[output])))) == n_faults


@pytest.mark.parametrize(
    ("prose", "n_faults"),
    [
        ("![A backbone with a head on top](a.svg)", 0),
        ("![](a.svg)", 1),
        ("```{figure} a.svg\n:alt: A backbone with a head on top\n```", 0),
        (":::{figure} a.svg\n:name: a\n:::", 1),
    ],
)
def test_an_image_in_the_prose_needs_alt_text(prose, n_faults):
    assert len(anatomy.alt_faults(notebook(prose=prose))) == n_faults


def test_claims_that_are_not_shown_not_recorded_or_not_compared_are_faults():
    cells = [shows("a"), shows("b"), shows("c", "nbval-ignore-output")]
    found = anatomy.claim_faults(notebook(*cells), [claim("a"), claim("c"), claim("d")])
    assert found == [
        "recorded, and not shown: ✓ d (at least 1)",
        "shown, and not recorded: ✓ b (at least 1); run: make chapter",
        "nbval does not compare the cell that shows: ✓ c (at least 1)",
        "2 claims, 3 wanted",
    ]


def test_an_exercise_without_a_folded_solution_is_a_fault():
    whole = [EXERCISE.format(n) + SOLUTION.format(n) for n in range(4)]
    assert anatomy.exercise_faults("\n".join(whole)) == []
    assert "3 exercises, 4 wanted" in anatomy.exercise_faults("\n".join(whole[:3]))[0]
    unsolved = [*whole, EXERCISE.format(9)]
    assert "do not match" in anatomy.exercise_faults("\n".join(unsolved))[0]
    open_one = "\n".join(whole).replace(":class: dropdown\n", "", 1)
    assert anatomy.exercise_faults(open_one) == ["the solution of ex-0 is not :class: dropdown"]


def test_the_address_is_the_projects():
    assert anatomy.address().startswith("https://")
