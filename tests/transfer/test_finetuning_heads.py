"""New heads on other libraries' classifiers, and label curves."""

import math

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

from tlcourse.transfer.finetuning import freeze, label_curve, replace_head, unfreeze

BERT = BertConfig(
    vocab_size=20,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=8,
    num_labels=2,
)
IMAGE = torch.zeros(2, 3, 64, 64)
CLASSIFIERS = {
    "resnet18": (torchvision.models.resnet18, "fc", IMAGE),
    "vgg11": (torchvision.models.vgg11, "classifier.6", IMAGE),
    "lite0": (lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False), "classifier", IMAGE),
    "bert": (lambda: BertForSequenceClassification(BERT), "classifier", torch.ones(2, 5, dtype=torch.long)),
    "plain": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2, bias=False)),
        "2",
        torch.ones(2, 4),
    ),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_new_head_gives_the_new_number_of_outputs_and_its_name(name):
    build, head, inputs = CLASSIFIERS[name]
    model = build().eval()
    had_bias = model.get_submodule(head).bias is not None
    rest = {n: p.clone() for n, p in model.named_parameters() if not n.startswith(f"{head}.")}
    assert replace_head(model, 7, generator=torch.Generator().manual_seed(0)) == head
    output = model(inputs)
    assert getattr(output, "logits", output).shape == (2, 7)
    assert (model.get_submodule(head).bias is not None) == had_bias
    assert all(torch.equal(p, model.get_parameter(n)) for n, p in rest.items())
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("name", ["plain", "lite0"])
def test_a_generator_makes_the_head_repeatable(name):
    weights = []
    for seed in (3, 3, 4):
        model = CLASSIFIERS[name][0]()
        head = replace_head(model, 5, generator=torch.Generator().manual_seed(seed))
        weights.append(model.get_submodule(head).weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    bound = 1 / math.sqrt(weights[0].shape[1])
    assert 0 < weights[0].abs().max() <= bound


def test_a_new_head_starts_as_nn_linear_does_and_keeps_nothing_of_the_old():
    """Uniform within ±1/√in, of deviation 1/√(3·in): known to 0.3 % from 20,000 weights, to 6 % from 50 biases."""
    model = nn.Sequential(nn.Linear(400, 50))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 9.0)
    replace_head(model, 50, generator=torch.Generator().manual_seed(0))
    for parameter, tolerance in ((model[0].weight, 0.01), (model[0].bias, 0.2)):
        assert parameter.abs().max() <= 1 / 20
        assert parameter.std().item() == pytest.approx(1 / 20 / math.sqrt(3), rel=tolerance)


def test_a_new_head_trains_in_a_frozen_model_and_its_name_is_a_pattern():
    model = torchvision.models.resnet18()
    freeze(model)
    head = replace_head(model, 2)
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    freeze(model)
    assert unfreeze(model, head) == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("name", ["plain", "lite0"])
def test_a_new_head_has_the_type_of_the_old(name):
    model = CLASSIFIERS[name][0]().double()
    assert model.get_submodule(replace_head(model, 3)).weight.dtype == torch.float64


def test_a_head_that_the_model_makes_itself_gets_the_type_of_the_old():
    """As timm's models did before they looked after it themselves."""

    class Resettable(nn.Module):
        def __init__(self):
            super().__init__()
            self.reset_classifier(2)

        def reset_classifier(self, n_classes):
            self.head = nn.Linear(4, n_classes)

        def get_classifier(self):
            return self.head

    model = Resettable().double()
    assert replace_head(model, 3) == "head"
    assert (model.head.weight.dtype, model.head.bias.dtype) == (torch.float64, torch.float64)


def test_a_transformers_config_learns_the_number_of_labels():
    model = BertForSequenceClassification(BERT)
    replace_head(model, 4)
    assert model.config.num_labels == model.num_labels == 4
    assert BERT.num_labels == 2
    inputs = torch.ones(2, 5, dtype=torch.long)
    assert torch.isfinite(model(inputs, labels=torch.tensor([3, 0])).loss)


def test_a_transformers_model_that_has_classified_regresses_with_a_new_head():
    model = BertForSequenceClassification(BERT).eval()
    inputs = torch.ones(2, 5, dtype=torch.long)
    model(inputs, labels=torch.tensor([1, 0]))
    replace_head(model, 1)
    labels = torch.tensor([-1.5, 4.0])
    output = model(inputs, labels=labels)
    torch.testing.assert_close(output.loss, (output.logits[:, 0] - labels).square().mean())


def test_a_wrapper_that_carries_an_encoders_config_is_no_transformers_model():
    model = nn.Sequential(nn.Linear(4, 3))
    model.config = BERT
    assert replace_head(model, 5) == "0"


@pytest.mark.parametrize("model", [BertModel, BertForMaskedLM])
def test_a_model_without_a_classifier_is_refused(model):
    with pytest.raises(
        ValueError, match=r"last nn\.Linear .* outputs for config\.num_labels=2: it is no classifier"
    ):
        replace_head(model(BERT), 3)


def test_models_without_a_linear_head_are_refused():
    with pytest.raises(ValueError, match=r"Sequential has no nn\.Linear as its head"):
        replace_head(nn.Sequential(nn.Conv2d(3, 3, 1)), 3)
    with pytest.raises(ValueError, match=r"Linear has no nn\.Linear as its head; add one, or wrap the model"):
        replace_head(nn.Linear(2, 2), 3)


def test_a_model_with_two_heads_is_refused():
    class Distilled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.head_dist = nn.Linear(2, 2), nn.Linear(2, 2)

        def get_classifier(self):
            return self.head, self.head_dist

    with pytest.raises(ValueError, match="Distilled has several heads"):
        replace_head(Distilled(), 3)


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="n_classes=0 must be at least 1"):
        replace_head(nn.Sequential(nn.Linear(2, 2)), 0)


def recorded(calls):
    def train_and_score(size, seed, start_state):
        calls.append((size, seed, start_state))
        return size + seed / 10, f"{seed} after {size}"

    return train_and_score


def test_a_warm_curve_passes_on_the_end_state_of_the_size_before():
    calls = []
    curve = label_curve(recorded(calls), [10, 20, 40], [1, 2], warm=True)
    assert calls == [
        (10, 1, None),
        (20, 1, "1 after 10"),
        (40, 1, "1 after 20"),
        (10, 2, None),
        (20, 2, "2 after 10"),
        (40, 2, "2 after 20"),
    ]
    np.testing.assert_array_equal(curve.scores, [[10.1, 20.1, 40.1], [10.2, 20.2, 40.2]])
    assert (curve.sizes, curve.seeds, curve.warm) == ((10, 20, 40), (1, 2), True)


def test_a_fresh_curve_always_starts_from_nothing():
    calls = []
    curve = label_curve(recorded(calls), range(1, 4), range(2))
    assert [start for _, _, start in calls] == [None] * 6
    assert curve.scores.shape == (2, 3)
    assert not curve.warm


@pytest.mark.parametrize("sizes", [[], [0, 10], [10, 10], [20, 10]])
def test_sizes_must_grow(sizes):
    with pytest.raises(ValueError, match="must be positive and grow"):
        label_curve(recorded([]), sizes, [0])


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_differ(seeds):
    with pytest.raises(ValueError, match="must be distinct, at least one"):
        label_curve(recorded([]), [10], seeds)


def test_a_score_that_is_not_finite_names_its_run():
    with pytest.raises(ValueError, match="score nan for size=10, seed=3"):
        label_curve(lambda size, seed, state: (float("nan"), None), [10], [3])
