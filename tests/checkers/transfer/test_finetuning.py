"""The answers here are written as readers write them, not as the checkers know them."""

import pytest
import torch
from torch import nn

from tlcourse import widgets
from tlcourse.checkers.transfer.finetuning import CHECKERS, LORA, QUIZ, SHARE
from tlcourse.exercises import audit, check


def test_each_checker_accepts_its_solution_and_gives_stub_and_mistakes_their_hints():
    assert audit(CHECKERS) == []


def test_the_share_is_that_of_the_model_it_speaks_of():
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3))
    model[0].requires_grad_(False)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert check("transfer/finetuning/share", trainable / sum(p.numel() for p in model.parameters())).right
    assert "Linear(4, 10), ReLU(), Linear(10, 3)" in SHARE.stub


@pytest.mark.parametrize(
    ("answer", "fragment"),
    [
        (39.8, "in percent"),
        (0.4, None),
        (0.6, "is frozen"),
        (50 / 83, "is frozen"),
        (0.66, "trainable to frozen"),
        (0.5, "tensors, or layers"),
        (0.33, "modules"),
        (0.43, "biases are missing"),
        (0.36, "own bias is missing"),
        (33, "how many parameters"),
        (0.9, "Write down each layer"),
    ],
)
def test_share_hint_fits(answer, fragment):
    feedback = check("transfer/finetuning/share", answer)
    assert feedback.right if fragment is None else fragment in feedback.message


def test_lora_right_answer_equals_a_linear_layer_with_the_merged_weight():
    for x, weight, bias, a, b, alpha in LORA.cases():
        merged = nn.functional.linear(x, weight + alpha / a.shape[0] * (b @ a), bias)
        assert torch.allclose(LORA.right(x, weight, bias, a, b, alpha), merged, rtol=1e-5, atol=1e-5)


def lora_by_merging(x, weight, bias, a, b, alpha):
    return nn.functional.linear(x, weight + (alpha / a.size(0)) * torch.matmul(b, a), bias)


def lora_in_place(x, weight, bias, a, b, alpha):
    weight += alpha / a.shape[0] * b @ a
    return x @ weight.T + bias


def lora_swapped(x, weight, bias, a, b, alpha):
    rank = a.shape[0]
    return nn.functional.linear(x, weight, bias) + (alpha / rank) * nn.functional.linear(x, a @ b)


def lora_unscaled(x, weight, bias, a, b, alpha):
    return nn.functional.linear(x, weight + b @ a, bias)


def lora_rank_of_b(x, weight, bias, a, b, alpha):
    return nn.functional.linear(x, weight + alpha / b.shape[0] * b @ a, bias)


def lora_scaled_by_width(x, weight, bias, a, b, alpha):
    return nn.functional.linear(x, weight + alpha / x.shape[-1] * b @ a, bias)


def lora_after(x, weight, bias, a, b, alpha):
    y = nn.functional.linear(x, weight, bias)
    return y + alpha / len(a) * nn.functional.linear(nn.functional.linear(y, a), b)


def lora_without_bias(x, weight, bias, a, b, alpha):
    return x @ (weight + alpha / len(a) * b @ a).T


def lora_untransposed(x, weight, bias, a, b, alpha):
    return x @ weight + bias + (x @ a.T @ b.T) * (alpha / len(a))


def lora_typo(x, weight, bias, a, b, alpha):
    return x @ weights.T + bias  # noqa: F821


@pytest.mark.parametrize(
    ("answer", "fragment"),
    [
        (lora_by_merging, None),
        (lora_in_place, "changes its argument `weight`"),
        (lora_swapped, "wrong order"),
        (lora_unscaled, "not scaled"),
        (lora_rank_of_b, "number of outputs"),
        (lora_scaled_by_width, "width of the input"),
        (lora_after, "layer's output here"),
        (lora_without_bias, "bias is missing"),
        (lora_untransposed, "multiply by weight.T"),
        (
            lora_typo,
            "NameError: name 'weights' is not defined. Look at the line `return x @ weights.T + bias",
        ),
    ],
)
def test_lora_hint_fits(answer, fragment):
    feedback = check("transfer/finetuning/lora", answer)
    assert feedback.right if fragment is None else fragment in feedback.message


def l2sp_flat(parameters, reference, strength):
    now = torch.cat([parameters[name].flatten() for name in reference])
    then = torch.cat([start.flatten() for start in reference.values()])
    return 0.5 * strength * (now - then).pow(2).sum()


def l2sp_decay(parameters, reference, strength):
    return strength / 2 * sum(p.pow(2).sum() for n, p in parameters.items() if n in reference)


def l2sp_decay_of_all(parameters, reference, strength):
    return strength / 2 * sum(p.pow(2).sum() for p in parameters.values())


def l2sp_all(parameters, reference, strength):
    total = 0
    for name, p in parameters.items():
        total += ((p - reference[name]) ** 2).sum()
    return strength / 2 * total


def l2sp_get_zero(parameters, reference, strength):
    return strength / 2 * sum(((p - reference.get(n, 0)) ** 2).sum() for n, p in parameters.items())


def l2sp_no_half(parameters, reference, strength):
    return strength * sum(
        nn.functional.mse_loss(parameters[n], r, reduction="sum") for n, r in reference.items()
    )


def l2sp_mse(parameters, reference, strength):
    return strength / 2 * sum(nn.functional.mse_loss(parameters[n], r) for n, r in reference.items())


def l2sp_norm(parameters, reference, strength):
    return strength / 2 * sum(torch.linalg.vector_norm(parameters[n] - r) for n, r in reference.items())


def l2sp_float(parameters, reference, strength):
    return strength / 2 * sum(((parameters[n] - r) ** 2).sum().item() for n, r in reference.items())


def l2sp_detached(parameters, reference, strength):
    return strength / 2 * sum(((parameters[n].detach() - r) ** 2).sum() for n, r in reference.items())


def l2sp_returns_early(parameters, reference, strength):
    for name in reference:
        return strength / 2 * ((parameters[name] - reference[name]) ** 2).sum()


def l2sp_overwrites(parameters, reference, strength):
    for name in reference:
        total = ((parameters[name] - reference[name]) ** 2).sum()
    return strength / 2 * total


@pytest.mark.parametrize(
    ("answer", "fragment"),
    [
        (l2sp_flat, None),
        (l2sp_decay, "plain weight decay"),
        (l2sp_decay_of_all, "plain weight decay"),
        (l2sp_all, "KeyError: 'head.weight'. Look at the line `total += ((p - reference[name]) ** 2).sum()`"),
        (l2sp_get_zero, "head is pulled to zero"),
        (l2sp_no_half, "½ is missing"),
        (l2sp_mse, "mean of the squares in each tensor"),
        (l2sp_norm, "adds up distances"),
        (l2sp_float, "returns a float; a tensor is wanted"),
        (l2sp_detached, "no gradient flows"),
        (l2sp_returns_early, "Only the first tensor"),
        (l2sp_overwrites, "Only the last tensor"),
    ],
)
def test_l2sp_hint_fits(answer, fragment):
    feedback = check("transfer/finetuning/l2sp", answer)
    assert feedback.right if fragment is None else fragment in feedback.message


def test_l2sp_right_answer_has_the_gradient_that_its_praise_names():
    checker = CHECKERS[2]
    for parameters, reference, strength in checker.cases():
        checker.right(parameters, reference, strength).backward()
        for name, start in reference.items():
            wanted = strength * (parameters[name].detach() - start)
            assert torch.allclose(parameters[name].grad, wanted, rtol=1e-6, atol=1e-6)
        assert parameters["head.weight"].grad is None


def test_quiz_has_five_questions_and_the_right_answer_is_not_given_away_by_its_place_or_length():
    assert len(QUIZ) == 5
    places = [[option.right for option in question.options].index(True) for question in QUIZ]
    assert max(places.count(place) for place in places) <= 2
    longest = [max(question.options, key=lambda option: len(option.text)).right for question in QUIZ]
    assert sum(longest) <= 2
    assert "5 questions" in repr(widgets.quiz("a-quiz", QUIZ))
