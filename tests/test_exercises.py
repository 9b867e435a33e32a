import dataclasses
import linecache

import numpy as np
import pytest
import torch

from tlcourse import exercises
from tlcourse.exercises import NO_ANSWER, NO_RETURN, Checker, Feedback, Mistake, audit, check, judge

HALF = Checker(
    id="tests/half",
    name="half",
    stub="half = ...\n",
    solution="half = 1 / 2\n",
    right=0.5,
    tolerance=0.01,
    mistakes={
        "percent": Mistake(50, "Divide by 100."),
        "twice": Mistake(2.0, "Turn it round."),
        "third": Mistake(1 / 3, "Of two, not of three."),
    },
    praise="One of two.",
    otherwise="Count again.",
)


def two_cases():
    return [(torch.tensor([[1.0, -2.0]]), 3.0), (torch.tensor([[0.5, 4.0], [1.0, 1.0]]), -1.0)]


SCALE = Checker(
    id="tests/scale",
    name="scale",
    stub="def scale(x, factor):\n    ...\n",
    solution="def scale(x, factor):\n    return x * factor\n",
    right=lambda x, factor: x * factor,
    cases=two_cases,
    mistakes={
        "adds": Mistake(lambda x, factor: x + factor, "Multiply."),
        "divides": Mistake(lambda x, factor: x / factor, "The other way round."),
        "forgets": Mistake(lambda x, factor: x, "Use factor."),
    },
    praise="Scaled.",
    otherwise="One operation is enough.",
)


def scalar_cases():
    return [(torch.tensor([1.0, 2.0], requires_grad=True),)]


TOTAL = Checker(
    id="tests/total",
    name="total",
    stub="def total(x):\n    raise NotImplementedError\n",
    solution="def total(x):\n    return x.sum()\n",
    right=lambda x: x.sum(),
    cases=scalar_cases,
    mistakes={
        "mean": Mistake(lambda x: x.mean(), "Not the mean."),
        "product": Mistake(lambda x: x.prod(), "Not the product."),
        "largest": Mistake(lambda x: x.max() * 7, "Not the largest."),
    },
    praise="Three.",
    otherwise="Add them up.",
)


def in_a_cell(source, name):
    """Defines a function as a notebook does: its source can be looked up under the name of a file."""
    file = f"<cell of {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace = {"torch": torch}
    exec(compile(source, file, "exec"), namespace)
    return namespace[name]


def test_feedback_shows_a_mark_and_the_message_as_text_and_html():
    assert repr(Feedback(True, "a < b")) == "✓ Right. a < b"
    assert (
        Feedback(False, "a < b")._repr_html_() == '<p role="status"><strong>✗ Not yet.</strong> a &lt; b</p>'
    )


@pytest.mark.parametrize(
    "answer", [0.5, "0.5", 0.495, torch.tensor(0.5), np.float32(0.5), torch.tensor([0.5])]
)
def test_a_right_number_of_any_kind_is_accepted(answer):
    assert judge(HALF, answer) == Feedback(True, "One of two.")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (..., NO_ANSWER),
        (None, NO_ANSWER),
        (50.4, "Divide by 100."),
        (0.33, "Of two, not of three."),
        (0.7, "0.7 is not it. Count again."),
        (float("nan"), "nan is not it. Count again."),
        ("half", "`half` should be a number, and it is a str."),
        ([0.5], "`half` should be a number, and it is a list."),
        (torch.tensor([0.5, 0.5]), "`half` should be a number, and it is a Tensor."),
        (lambda: 0.5, "`half` should be a number, and it is a function."),
    ],
)
def test_a_wrong_number_gets_the_hint_that_fits(answer, hint):
    assert judge(HALF, answer) == Feedback(False, hint)


def test_a_right_function_is_accepted_whatever_it_uses_inside():
    def scale(x, factor):
        return torch.stack([torch.stack([entry * factor for entry in row]) for row in x])

    assert judge(SCALE, scale).right


def returns(value):
    return lambda x, factor: value


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda x, factor: None, NO_RETURN),
        (lambda x, factor: ..., NO_RETURN),
        (lambda x, factor: x * factor if factor > 0 else None, NO_RETURN),
        (lambda x, factor: x - (-factor), "Multiply."),
        (lambda x, factor: x.clone(), "Use factor."),
        (lambda x, factor: 2 * x, "The shape is right, the numbers are not. One operation is enough."),
        (returns(torch.zeros(3)), "The result has shape (3,); (1, 2) is wanted. One operation is enough."),
        (returns(1.5), "The function returns a float; a tensor is wanted, so that gradients can flow."),
        (torch.zeros(2), "Pass the function itself, `scale` without brackets; this is a Tensor."),
        (3.0, "Pass the function itself, `scale` without brackets; this is a float."),
        (
            lambda x, factor: x.mul_(factor),
            "The function changes its argument `x`; called again, it gives something else. Use a copy.",
        ),
    ],
)
def test_a_wrong_function_gets_the_hint_that_fits(answer, hint):
    assert judge(SCALE, answer) == Feedback(False, hint)


def test_a_changed_dictionary_is_noticed():
    checker = dataclasses.replace(
        SCALE, cases=lambda: [({"a": torch.ones(2)}, 2.0)], right=lambda x, factor: x["a"]
    )

    def pops(x, factor):
        return x.pop("a")

    def writes(x, factor):
        x["a"] = x["a"] * factor
        return x["a"]

    for answer in (pops, writes):
        assert "changes its argument `x`" in judge(checker, answer).message
    assert judge(checker, lambda x, factor: x["a"] * 1).right


def test_a_function_right_in_one_case_only_is_told_about_the_other():
    feedback = judge(SCALE, lambda x, factor: x * abs(factor))
    assert feedback == Feedback(False, "The shape is right, the numbers are not. One operation is enough.")


def test_a_wrong_scalar_is_told_both_numbers():
    assert (
        judge(TOTAL, lambda x: x.sum() + 1).message
        == "For one input the function gives 4, and 3 is right. Add them up."
    )


def test_a_right_number_without_gradient_is_told_so():
    assert judge(TOTAL, lambda x: x.sum()).right
    assert "no gradient flows through them" in judge(TOTAL, lambda x: x.sum().detach()).message


@pytest.mark.parametrize("stub", ["raise NotImplementedError", "raise NotImplementedError('your turn')"])
def test_a_stub_that_raises_is_a_stub(stub):
    assert judge(TOTAL, in_a_cell(f"def total(x):\n    {stub}\n", "total")) == Feedback(False, NO_ANSWER)


def test_an_exception_becomes_a_hint_with_the_reader_s_line():
    source = "def scale(x, factor):\n    wide = torch.ones(7, 3)\n    return x @ wide    # here\n"
    message = judge(SCALE, in_a_cell(source, "scale")).message
    assert message.startswith("The code stops with RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert message.endswith("Look at the line `return x @ wide    # here`.")


def test_an_exception_in_a_helper_of_the_same_cell_names_the_helper_s_line():
    source = "def helper(x):\n    return x['a']\n\ndef scale(x, factor):\n    return helper({})\n"
    message = judge(SCALE, in_a_cell(source, "scale")).message
    assert message == "The code stops with KeyError: 'a'. Look at the line `return x['a']`."


def test_only_the_first_line_of_a_long_message_is_shown():
    def scale(x, factor):
        raise ValueError("first\nsecond")

    assert judge(SCALE, scale).message.startswith(
        "The code stops with ValueError: first. Look at the line `raise"
    )


def test_a_wrong_signature_and_a_call_that_ends_the_program_are_hints_too():
    assert "TypeError: " in judge(SCALE, lambda x: x).message

    def scale(x, factor):
        raise SystemExit

    assert judge(SCALE, scale).message == "The code stops with RuntimeError: the code ends the program."


def test_an_answer_that_always_raises_is_not_taken_for_a_mistake_that_does():
    raising = Mistake(lambda x, factor: x @ torch.ones(9), "A hint that does not fit.")
    checker = dataclasses.replace(SCALE, mistakes={"raises": raising} | SCALE.mistakes)
    assert "NameError" in judge(checker, in_a_cell("def scale(x, factor):\n    return y\n", "scale")).message


def test_an_answer_that_fails_in_one_case_as_a_mistake_does_gets_its_hint():
    flat = Mistake(lambda x, factor: x.reshape(1, 2) * 2, "Two rows do not fit into one.")
    checker = dataclasses.replace(SCALE, mistakes={"flat": flat} | SCALE.mistakes)
    assert judge(checker, lambda x, factor: 2 * x.view(1, 2)).message == "Two rows do not fit into one."


def test_keyboard_interrupts_are_not_swallowed():
    def scale(x, factor):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(SCALE, scale)


def test_check_finds_the_exercise_by_its_id():
    assert check("transfer/finetuning/share", 33 / 83).right
    assert check("transfer/finetuning/lora", ...) == Feedback(False, NO_ANSWER)


def test_an_unknown_exercise_raises_naming_the_nearest():
    with pytest.raises(
        LookupError,
        match="no exercise 'transfer/finetuning/shares'; did you mean 'transfer/finetuning/share'",
    ):
        check("transfer/finetuning/shares", 1)


def test_every_chapter_with_exercises_is_found_with_ids_of_its_own():
    assert "transfer/finetuning" in exercises.chapters()
    ids = [c.id for chapter in exercises.chapters() for c in exercises.of_chapter(chapter)]
    assert len(set(ids)) == len(ids)
    for chapter in exercises.chapters():
        assert all(c.id.rpartition("/")[0] == chapter for c in exercises.of_chapter(chapter))


def test_audit_finds_nothing_in_good_checkers():
    assert audit([HALF, SCALE, TOTAL]) == []


@pytest.mark.parametrize(
    ("checker", "fault"),
    [
        (
            dataclasses.replace(HALF, solution="half = 0.6"),
            "tests/half: its solution gets ✗ Not yet. 0.6 is not it",
        ),
        (dataclasses.replace(HALF, stub="half = 0.5"), "tests/half: its stub gets ✓ Right."),
        (dataclasses.replace(HALF, stub="half = 0"), "tests/half: its stub gets ✗ Not yet. 0 is not it."),
        (dataclasses.replace(HALF, tolerance=0.2), "tests/half: the mistake 'third' gets ✓ Right."),
        (
            dataclasses.replace(SCALE, cases=lambda: [(torch.ones(1), 1.0)]),
            "'forgets' gets ✓ Right.",
        ),
        (
            dataclasses.replace(HALF, mistakes=dict(list(HALF.mistakes.items())[:2])),
            "tests/half: knows fewer than three mistakes",
        ),
        (
            dataclasses.replace(
                SCALE, mistakes={n: Mistake(m.answer, "Wrong.") for n, m in SCALE.mistakes.items()}
            ),
            "tests/scale: knows fewer than three mistakes with hints of their own",
        ),
        (
            dataclasses.replace(HALF, mistakes=HALF.mistakes | {"again": Mistake(50.1, "Never reached.")}),
            "tests/half: the mistake 'again' gets ✗ Not yet. Divide by 100.",
        ),
    ],
)
def test_audit_names_each_fault(checker, fault):
    assert any(fault in found for found in audit([checker])), audit([checker])
