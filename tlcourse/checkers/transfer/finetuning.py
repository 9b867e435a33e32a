"""Exercises and quiz of the chapter transfer/finetuning."""

import torch
from torch import Tensor

from tlcourse.exercises import Checker, Mistake
from tlcourse.widgets import Option, Question


def _random(seed: int, *shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


HEAD, TOTAL = 10 * 3 + 3, (4 * 10 + 10) + (10 * 3 + 3)

SHARE = Checker(
    id="transfer/finetuning/share",
    name="share",
    stub="""\
share = ...                    # of Sequential(Linear(4, 10), ReLU(), Linear(10, 3))
""",
    solution="""\
head = 10 * 3 + 3              # weight and bias of the last layer
backbone = 4 * 10 + 10         # weight and bias of the first; the ReLU has no parameters
share = head / (head + backbone)
""",
    right=HEAD / TOTAL,
    tolerance=0.005,
    mistakes={
        "percent": Mistake(
            100 * HEAD / TOTAL, "That is the share in percent; `share` is a part of one: divide by 100."
        ),
        "frozen": Mistake(
            1 - HEAD / TOTAL,
            "That is the share that is frozen; what is asked for is the rest, which still trains.",
        ),
        "ratio": Mistake(
            HEAD / (TOTAL - HEAD),
            "That is trainable to frozen. A share divides by all the parameters, the trainable ones "
            "included.",
        ),
        "tensors": Mistake(
            2 / 4, "That counts tensors, or layers. A tensor counts with all its entries: see `p.numel()`."
        ),
        "modules": Mistake(
            1 / 3,
            "That counts modules, one of three. They differ in size, and a ReLU has no parameters at all.",
        ),
        "no biases": Mistake(
            30 / 70, "The biases are missing: a linear layer has one more parameter for each of its outputs."
        ),
        "no bias in the head": Mistake(
            30 / TOTAL, "The head's own bias is missing: it trains too, one parameter for each class."
        ),
        "count": Mistake(
            HEAD,
            "That is how many parameters train. Divide by the number of all parameters to get the share.",
        ),
    },
    praise="33 of 83: the head's 10 · 3 weights and 3 biases train, the first layer's 50 parameters do not.",
    otherwise=(
        "Write down each layer's parameters, inputs × outputs + outputs, then divide the head's by the sum."
    ),
)


def _lora_cases() -> list[tuple]:
    """A square case, where no order of factors fails on its shape; one where all widths differ."""
    square = _random(0, (2, 3), (3, 3), (3,), (3, 3), (3, 3))
    return [(*square, 6.0), (*_random(1, (4, 6), (5, 6), (5,), (2, 6), (5, 2)), 16.0)]


def _lora(x: Tensor, weight: Tensor, bias: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    return x @ weight.T + bias + alpha / len(a) * (x @ a.T @ b.T)


LORA = Checker(
    id="transfer/finetuning/lora",
    name="lora_forward",
    stub='''\
def lora_forward(x, weight, bias, a, b, alpha):
    """x: (B, D_in). Frozen: weight (D_out, D_in), bias (D_out,).
    Trained: a (R, D_in), b (D_out, R). Returns (B, D_out)."""
    ...
''',
    solution='''\
def lora_forward(x, weight, bias, a, b, alpha):
    """x: (B, D_in). Frozen: weight (D_out, D_in), bias (D_out,).
    Trained: a (R, D_in), b (D_out, R). Returns (B, D_out)."""
    rank = a.shape[0]
    update = x @ a.T @ b.T                     # (B, D_in) → (B, R) → (B, D_out)
    return x @ weight.T + bias + alpha / rank * update
''',
    right=_lora,
    cases=_lora_cases,
    mistakes={
        "no scale": Mistake(
            lambda x, weight, bias, a, b, alpha: x @ weight.T + bias + x @ a.T @ b.T,
            "The update is not scaled: LoRA multiplies it by alpha / rank.",
        ),
        "scale without rank": Mistake(
            lambda x, weight, bias, a, b, alpha: x @ weight.T + bias + alpha * (x @ a.T @ b.T),
            "The update is scaled by alpha alone. Divide alpha by the rank, so that a larger rank does "
            "not mean a larger step.",
        ),
        "scale by the width": Mistake(
            lambda x, weight, bias, a, b, alpha: x @ weight.T + bias + alpha / a.shape[1] * (x @ a.T @ b.T),
            "alpha is divided by the width of the input. The rank is the narrow side of a, its number of "
            "rows.",
        ),
        "scale by the outputs": Mistake(
            lambda x, weight, bias, a, b, alpha: x @ weight.T + bias + alpha / b.shape[0] * (x @ a.T @ b.T),
            "alpha is divided by the number of outputs. The rank is the narrow side of b, its number of columns.",
        ),
        "scale without alpha": Mistake(
            lambda x, weight, bias, a, b, alpha: x @ weight.T + bias + 1 / len(a) * (x @ a.T @ b.T),
            "The update is divided by the rank, and alpha is missing: the scale is alpha / rank.",
        ),
        "no bias": Mistake(
            lambda x, weight, bias, a, b, alpha: x @ weight.T + alpha / len(a) * (x @ a.T @ b.T),
            "The bias is missing: the layer keeps its own, and only the weight gets an update.",
        ),
        "update alone": Mistake(
            lambda x, weight, bias, a, b, alpha: alpha / len(a) * (x @ a.T @ b.T),
            "That is the update alone. The pretrained layer still works: add x @ weight.T + bias.",
        ),
        "everything scaled": Mistake(
            lambda x, weight, bias, a, b, alpha: alpha / len(a) * (x @ weight.T + bias + x @ a.T @ b.T),
            "The pretrained layer is scaled too. alpha / rank belongs to the update alone, or the start "
            "changes.",
        ),
        "b before a": Mistake(
            lambda x, weight, bias, a, b, alpha: x @ weight.T + bias + alpha / len(a) * (x @ b.T @ a.T),
            "The factors are in the wrong order: x meets a first, which leads down to R, then b, which "
            "leads up.",
        ),
        "not transposed": Mistake(
            lambda x, weight, bias, a, b, alpha: x @ weight.T + bias + alpha / len(a) * (x @ a @ b),
            "a and b are stored as (outputs, inputs), like weight: x @ a.T @ b.T, both transposed.",
        ),
        "weight not transposed": Mistake(
            lambda x, weight, bias, a, b, alpha: x @ weight + bias + alpha / len(a) * (x @ a.T @ b.T),
            "weight is stored as (outputs, inputs): multiply by weight.T, as torch.nn.Linear does.",
        ),
        "applied to the output": Mistake(
            lambda x, weight, bias, a, b, alpha: _after(x @ weight.T + bias, a, b, alpha),
            "The update works on the layer's output here. It belongs beside the layer: its input is x as "
            "well.",
        ),
        "twice": Mistake(
            lambda x, weight, bias, a, b, alpha: x @ weight.T + bias + 2 * alpha / len(a) * (x @ a.T @ b.T),
            "The update is in there twice. Merge it into the weight, or add it beside the layer, not both.",
        ),
    },
    praise="With b = 0, its value at the start, the layer gives exactly what the pretrained one gives.",
    otherwise=(
        "Build it in three parts: x @ weight.T + bias, then x @ a.T @ b.T, then alpha over the rank as a "
        "factor."
    ),
)


def _after(y: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    return y + alpha / len(a) * (y @ a.T @ b.T)


def _l2sp_cases() -> list[tuple]:
    cases = []
    for seed, strength in ((2, 0.1), (3, 3.0)):
        weight, bias, head, old_weight, old_bias = _random(seed, (3, 4), (3,), (2, 3), (3, 4), (3,))
        parameters = {"encoder.weight": weight, "encoder.bias": bias, "head.weight": head}
        for parameter in parameters.values():
            parameter.requires_grad_()
        cases.append((parameters, {"encoder.weight": old_weight, "encoder.bias": old_bias}, strength))
    return cases


def _squares(parameters: dict[str, Tensor], reference: dict[str, Tensor]) -> Tensor:
    return sum(((parameters[name] - start) ** 2).sum() for name, start in reference.items())


def _l2sp(parameters: dict[str, Tensor], reference: dict[str, Tensor], strength: float) -> Tensor:
    return strength / 2 * _squares(parameters, reference)


L2SP = Checker(
    id="transfer/finetuning/l2sp",
    name="l2sp_penalty",
    stub='''\
def l2sp_penalty(parameters, reference, strength):
    """parameters, reference: name → tensor. The new head is not in reference: it goes free.
    Returns a tensor without dimensions."""
    ...
''',
    solution='''\
def l2sp_penalty(parameters, reference, strength):
    """parameters, reference: name → tensor. The new head is not in reference: it goes free.
    Returns a tensor without dimensions."""
    squares = 0.0
    for name, start in reference.items():
        squares = squares + ((parameters[name] - start) ** 2).sum()
    return strength / 2 * squares
''',
    right=_l2sp,
    cases=_l2sp_cases,
    mistakes={
        "pulls to zero": Mistake(
            lambda p, r, strength: strength / 2 * sum((p[name] ** 2).sum() for name in r),
            "That pulls the parameters to zero, which is plain weight decay. L2-SP pulls them to where "
            "they started: square the difference from reference.",
        ),
        "pulls all to zero": Mistake(
            lambda p, r, strength: strength / 2 * sum((parameter**2).sum() for parameter in p.values()),
            "That is plain weight decay on everything, the head included. L2-SP pulls the parameters that have a "
            "reference to where they started: square the difference.",
        ),
        "no half": Mistake(
            lambda p, r, strength: strength * _squares(p, r),
            "The factor ½ is missing; with it the gradient is strength × (parameter − start), without a 2.",
        ),
        "mean": Mistake(
            lambda p, r, strength: strength / 2 * sum(((p[n] - start) ** 2).mean() for n, start in r.items()),
            "That takes the mean of the squares in each tensor, so that an entry of a large tensor is "
            "held less. Sum them.",
        ),
        "mean of all": Mistake(
            lambda p, r, strength: strength / 2 * _squares(p, r) / sum(start.numel() for start in r.values()),
            "That divides by the number of parameters. The penalty is the sum of squares, not their mean.",
        ),
        "root": Mistake(
            lambda p, r, strength: strength / 2 * _squares(p, r).sqrt(),
            "That is the distance; the penalty is its square. Leave the square root out.",
        ),
        "root of each": Mistake(
            lambda p, r, strength: strength / 2 * sum((p[n] - start).norm() for n, start in r.items()),
            "That adds up distances; the penalty adds up squares. `.norm()` has taken a square root.",
        ),
        "absolute": Mistake(
            lambda p, r, strength: strength / 2 * sum((p[n] - start).abs().sum() for n, start in r.items()),
            "That sums absolute differences, an L1 penalty. L2 squares them.",
        ),
        "signed": Mistake(
            lambda p, r, strength: strength / 2 * sum((p[n] - start).sum() for n, start in r.items()),
            "Differences of opposite sign cancel here. Square each before you sum.",
        ),
        "square of the sum": Mistake(
            lambda p, r, strength: strength / 2 * sum((p[n] - start).sum() ** 2 for n, start in r.items()),
            "That squares the sum, in which differences of opposite sign cancel. Square first, then sum.",
        ),
        "no strength": Mistake(
            lambda p, r, strength: _squares(p, r) / 2,
            "strength is not used: it says how hard the parameters are pulled back.",
        ),
        "head pulled to zero": Mistake(
            lambda p, r, strength: (
                strength / 2 * (_squares(p, r) + sum((p[n] ** 2).sum() for n in p if n not in r))
            ),
            "The new head is pulled to zero. It has no pretrained start to stay near: loop over reference "
            "only.",
        ),
        "first only": Mistake(
            lambda p, r, strength: strength / 2 * ((p["encoder.weight"] - r["encoder.weight"]) ** 2).sum(),
            "Only the first tensor counts. Is the `return` inside the loop, or is the sum set anew on "
            "each turn?",
        ),
        "last only": Mistake(
            lambda p, r, strength: strength / 2 * ((p["encoder.bias"] - r["encoder.bias"]) ** 2).sum(),
            "Only the last tensor counts: each turn of the loop replaces the sum. Add to it.",
        ),
    },
    praise=(
        "Its gradient is strength × (parameter − start): a spring to the pretrained value, and none on the"
        " head."
    ),
    otherwise=(
        "For each name in reference, square the differences and sum them; add the sums; multiply by "
        "strength / 2."
    ),
)

CHECKERS = (SHARE, LORA, L2SP)

QUIZ = (
    Question(
        "An article advises: fine-tune on a little data, add data, fine-tune on from there, and stop when the "
        "training error is small. What makes this sound?",
        (
            Option(
                "Go on until the training error is zero.",
                "A large network can reach zero even on random labels, so zero says nothing about new examples.",
            ),
            Option(
                "Start every round from random parameters.",
                "Then nothing is transferred: training from random parameters is the baseline that fine-tuning is "
                "measured against, not a way of fine-tuning.",
            ),
            Option(
                "Judge by held-out data, and compare with a fresh start on all the data.",
                "A network can fit its training data and be wrong elsewhere, so only held-out data can say when to "
                "stop; and going on from a model fitted to little data can end worse than starting again from the "
                "pretrained parameters.",
                right=True,
            ),
            Option(
                "First choose a model with fewer parameters than there are labelled examples.",
                "The count of parameters is not the limit: they start at useful values and move little. Models "
                "with many thousand times more parameters than labels are fine-tuned as a matter of course.",
            ),
        ),
    ),
    Question(
        "You set `requires_grad = False` on every parameter of a convolutional network, put a new head on it and "
        "train with `model.train()`. Afterwards, in evaluation mode, the frozen part gives other features than "
        "before for the same image. Why?",
        (
            Option(
                "The optimiser's weight decay shrank the frozen parameters.",
                "A parameter without a gradient is skipped by the optimiser, weight decay included.",
            ),
            Option(
                "The gradient of the head's loss flowed back into the frozen layers.",
                "With `requires_grad = False` these parameters get no gradient at all.",
            ),
            Option(
                "The new head started at random, and the features it is given changed with it.",
                "The head comes after the features. It changes the prediction, and cannot change what it is fed.",
            ),
            Option(
                "The batch-norm layers went on updating their running mean and variance.",
                "These are buffers, not parameters: in training mode they follow the data, gradient or none. Hold "
                "these layers in evaluation mode.",
                right=True,
            ),
        ),
    ),
    Question(
        "Discriminative learning rates give the layers next to the input a smaller rate than those next to the "
        "output. What for?",
        (
            Option(
                "They hold what serves many tasks, and should move less.",
                "That is the reasoning behind it: late layers are more specific to the source task. How much it "
                "helps is a matter for measurement.",
                right=True,
            ),
            Option(
                "They have more parameters.",
                "Often they do not, and more parameters would be no reason for a smaller rate.",
            ),
            Option(
                "They take less time to compute with a smaller rate.",
                "The rate changes the size of a step, not the work it takes. Freezing the early layers saves work.",
            ),
            Option(
                "They start at random and must be trained with care.",
                "It is the head that starts at random. The early layers carry pretrained parameters, which a large "
                "step would destroy.",
            ),
        ),
    ),
    Question(
        "LoRA adds `(alpha / rank) * b @ a` to a frozen weight and starts with b = 0. What follows?",
        (
            Option(
                "Nothing can be learned, because the gradient of a product with zero is zero.",
                "The gradient of b depends on a, which is not zero: b moves at the first step, and a from the next.",
            ),
            Option(
                "The first outputs are the pretrained ones; later the update can be merged into the weight.",
                "The product is zero while b is zero; and as it has the weight's shape, adding it leaves a plain "
                "layer that costs nothing extra.",
                right=True,
            ),
            Option(
                "Each forward pass in training becomes cheaper, because the factors are small.",
                "The frozen layer is still computed, and the factors come on top. What shrinks is the memory for "
                "gradients and optimiser state.",
            ),
            Option(
                "After training and merging, the weight of the layer has a low rank.",
                "Only the change has a low rank. The sum of a full-rank weight and a low-rank change is in general "
                "of full rank.",
            ),
        ),
    ),
    Question(
        "Several sentences come from one newspaper article. You split the sentences at random into training and "
        "test. What is wrong with the test score?",
        (
            Option(
                "Nothing, as long as no sentence occurs twice.",
                "Sentences need not be equal to give each other away: those of one article share topic and tone.",
            ),
            Option(
                "It is too good: the model can know the article instead of the task.",
                "Topic, names and tone repeat within an article. Put each article on one side, as a whole.",
                right=True,
            ),
            Option(
                "It is too poor, because the training set lacks some sentences of each article.",
                "The error goes the other way: having seen part of an article makes the rest of it easier.",
            ),
            Option(
                "It varies more; with many random splits the mean is right.",
                "Every one of these splits leaks in the same direction, and the mean of many is as wrong as one.",
            ),
        ),
    ),
)
