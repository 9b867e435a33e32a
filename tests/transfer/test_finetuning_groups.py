"""Layer groups on other libraries' models, learning rates and gradual unfreezing."""

from itertools import pairwise

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from tlcourse.transfer.finetuning import (
    GradualUnfreezing,
    LayerGroup,
    discriminative_lr,
    layer_groups,
)

TINY = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 20}


class Classifier(nn.Module):
    def __init__(self, n_layers=3):
        super().__init__()
        config = BertConfig(num_hidden_layers=n_layers, **TINY)
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.head = nn.Linear(8, 2)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.feed_forward = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


class Named(nn.Module):
    """Blocks as attributes, a position embedding as a bare parameter, a norm before and after."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(5, 4))
        self.first_norm = nn.LayerNorm(4)
        self.words = nn.Embedding(9, 4)
        self.segments = nn.Embedding(2, 4)
        self.block_1 = Block()
        self.block_2 = Block()
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)


def names(model, n=None):
    return [group.name for group in layer_groups(model, n)]


def blocks(prefix, counts):
    return [f"{prefix}.{stage}.{i}" for stage, count in enumerate(counts) for i in range(count)]


MODELS = {
    "bert with a head": Classifier,
    "bert in a Sequential": lambda: nn.Sequential(Classifier().encoder, nn.Linear(8, 2)),
    "albert": lambda: AlbertModel(AlbertConfig(num_hidden_layers=3, embedding_size=4, **TINY)),
    "gpt2, tied": lambda: GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=20)),
    "resnet18": torchvision.models.resnet18,
    "vgg11": torchvision.models.vgg11,
    "lite0": lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False),
    "vit": lambda: timm.create_model("test_vit", pretrained=False),
    "named blocks": Named,
    "plain": lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)),
    "one layer": lambda: nn.Linear(2, 2),
    "norm alone": lambda: nn.Sequential(nn.LayerNorm(3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_groups_hold_every_parameter_once_and_in_order_of_the_model(name):
    model = MODELS[name]()
    grouped = [parameter for group in layer_groups(model) for parameter in group.names]
    assert sorted(grouped) == sorted(parameter for parameter, _ in model.named_parameters())
    order = [group.names[-1] for group in layer_groups(model)]
    registered = [parameter for parameter, _ in model.named_parameters()]
    assert order == sorted(order, key=registered.index)
    assert len({group.name for group in layer_groups(model)}) == len(order)


def test_groups_of_bert_are_embeddings_layers_and_head():
    layers = [f"encoder.encoder.layer.{i}" for i in range(3)]
    assert names(Classifier()) == ["encoder.embeddings", *layers, "head"]


def test_groups_of_a_backbone_inside_a_sequential_are_its_layers():
    model = MODELS["bert in a Sequential"]()
    assert names(model) == ["0.embeddings", *(f"0.encoder.layer.{i}" for i in range(3)), "1"]


def test_groups_of_resnet18_are_stem_residual_blocks_and_head():
    layers = [f"layer{stage}.{i}" for stage in (1, 2, 3, 4) for i in (0, 1)]
    groups = layer_groups(torchvision.models.resnet18())
    assert [group.name for group in groups] == ["conv1", *layers, "fc"]
    assert groups[0].names == ("conv1.weight", "bn1.weight", "bn1.bias")


def test_groups_of_vgg11_are_its_eight_convolutions_and_three_linear_layers():
    found = names(torchvision.models.vgg11())
    assert [name.split(".")[0] for name in found] == ["features"] * 8 + ["classifier"] * 3


def test_groups_of_efficientnet_lite0_are_stem_blocks_top_and_head():
    expected = ["conv_stem", *blocks("blocks", (1, 2, 2, 3, 3, 4, 1)), "conv_head", "classifier"]
    assert names(MODELS["lite0"]()) == expected


def test_bare_parameters_leading_norms_and_embeddings_join_their_neighbours():
    groups = layer_groups(Named())
    assert [group.name for group in groups] == ["words", "block_1", "block_2", "head"]
    assert groups[0].names[:2] == ("position", "first_norm.weight")
    assert groups[0].names[-1] == "segments.weight"
    assert groups[2].names[-1] == "norm.bias"


def test_a_bare_parameter_after_the_last_layer_joins_it():
    class Gain(nn.Sequential):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(2, 2))

    groups = layer_groups(nn.Sequential(nn.Linear(2, 2), Gain()))
    assert groups == [LayerGroup("0", ("0.weight", "0.bias", "1.gain"))]


def test_a_tied_output_layer_counts_where_the_embedding_is():
    groups = layer_groups(MODELS["gpt2, tied"]())
    assert groups[0].names == ("transformer.wte.weight", "transformer.wpe.weight")
    assert "lm_head" not in [group.name for group in groups]


def test_merged_groups_are_even_and_leave_the_head_alone():
    groups = layer_groups(torchvision.models.resnet18(), 4)
    assert [group.name for group in groups] == [
        "conv1 … layer1.1",
        "layer2.0 … layer3.0",
        "layer3.1 … layer4.1",
        "fc",
    ]
    assert names(Classifier(), 5) == names(Classifier())


@settings(max_examples=40, deadline=None)
@given(depth=st.integers(1, 9), data=st.data())
def test_merging_keeps_every_parameter_in_order(depth, data):
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(depth)))
    n = data.draw(st.integers(1, depth))
    groups = layer_groups(model, n)
    assert len(groups) == n
    assert [name for group in groups for name in group.names] == [
        name for name, _ in model.named_parameters()
    ]


@pytest.mark.parametrize("n", [0, 6, 100])
def test_more_groups_than_layers_is_an_error_with_the_range(n):
    with pytest.raises(
        ValueError, match=rf"n={n} groups from the 5 layers of Classifier; choose n from 1 to 5"
    ):
        layer_groups(Classifier(), n)


def test_a_model_without_parameters_has_no_groups():
    with pytest.raises(ValueError, match="ReLU has no parameters to group"):
        layer_groups(nn.ReLU())


def test_learning_rates_fall_by_howard_and_ruders_factor_from_the_head_down():
    model = Classifier()
    groups = discriminative_lr(model, 1e-3)
    rates = [group["lr"] for group in groups]
    assert rates[-1] == 1e-3
    assert all(upper / lower == pytest.approx(2.6) for lower, upper in pairwise(rates))
    assert [group["name"] for group in groups] == names(model)
    assert groups[-1]["params"][0] is model.head.weight
    assert sum(p.numel() for g in groups for p in g["params"]) == sum(p.numel() for p in model.parameters())


def test_learning_rates_take_given_groups_and_frozen_parameters():
    model = Classifier().requires_grad_(False)
    groups = discriminative_lr(model, 1.0, 0.5, groups=layer_groups(model, 3))
    assert [group["lr"] for group in groups] == [0.25, 0.5, 1.0]
    optimiser = torch.optim.SGD(groups)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 0.5, 1.0]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


@pytest.mark.parametrize("rate", [0, -1e-3, float("nan"), float("inf")])
def test_a_base_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match=rf"base_lr={rate} is no learning rate"):
        discriminative_lr(Classifier(), rate)


def test_a_decay_above_one_is_answered_with_its_inverse():
    with pytest.raises(ValueError, match=r"decay=2\.6 must be above 0 and at most 1 .*did you mean 1/2\.6\?"):
        discriminative_lr(Classifier(), 1e-3, 2.6)


def test_a_decay_of_zero_is_refused_without_a_guess():
    with pytest.raises(
        ValueError, match=r"decay=0 must be above 0 and at most 1 \(1 gives all layers one rate\)$"
    ):
        discriminative_lr(Classifier(), 1e-3, 0)


def test_groups_that_miss_or_repeat_a_parameter_are_refused():
    model = Classifier()
    groups = layer_groups(model)
    with pytest.raises(ValueError, match=r"'head\.weight' is in 0 \(2 parameters are wrong\)"):
        discriminative_lr(model, 1e-3, groups=groups[:-1])
    with pytest.raises(ValueError, match=r"'head\.weight' is in 2"):
        discriminative_lr(model, 1e-3, groups=[*groups, groups[-1]])


def test_groups_of_another_model_are_refused():
    groups = [*layer_groups(Classifier()), LayerGroup("extra", ("extra.weight",))]
    with pytest.raises(
        ValueError, match=r"1 names in the groups are no parameters of this model, the first 'extra\."
    ):
        discriminative_lr(Classifier(), 1e-3, groups=groups)
    with pytest.raises(ValueError, match=r"no parameters of this model"):
        GradualUnfreezing(groups).on_start(Classifier())


def open_groups(model, groups):
    """Names of the groups that train; a group that is half open fails."""
    parameters = dict(model.named_parameters())
    states = {group.name: {parameters[name].requires_grad for name in group.names} for group in groups}
    assert all(len(state) == 1 for state in states.values())
    return [name for name, state in states.items() if state == {True}]


@pytest.mark.parametrize("epochs_per_group", [1, 2])
def test_gradual_unfreezing_opens_one_more_group_downwards(epochs_per_group):
    model = Classifier()
    groups = layer_groups(model)
    callback = GradualUnfreezing(groups, epochs_per_group)
    callback.on_start(model)
    assert open_groups(model, groups) == ["head"]
    for epoch in range(14):
        callback.on_epoch(model, epoch)
        n_open = min(5, 1 + epoch // epochs_per_group)
        assert open_groups(model, groups) == names(model)[-n_open:]


def test_gradual_unfreezing_leaves_parameters_outside_its_groups():
    model = Classifier()
    model.encoder.embeddings.requires_grad_(False)
    callback = GradualUnfreezing(layer_groups(model)[1:])
    for epoch in range(9):
        callback.on_epoch(model, epoch)
    assert not any(p.requires_grad for p in model.encoder.embeddings.parameters())


def test_gradual_unfreezing_leaves_integer_parameters_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].codes = nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
    callback = GradualUnfreezing(layer_groups(model))
    callback.on_start(model)
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["1.weight", "1.bias"]


def test_gradual_unfreezing_refuses_no_groups_and_no_epochs():
    with pytest.raises(ValueError, match="no groups to unfreeze"):
        GradualUnfreezing([])
    with pytest.raises(ValueError, match="epochs_per_group=0 must be at least 1"):
        GradualUnfreezing(layer_groups(Classifier()), 0)
