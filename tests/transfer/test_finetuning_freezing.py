"""Freezing, patterns and batch-norm statistics, against what torch does without them."""

import copy
import pickle

import pytest
import torch
from torch import nn

from tlcourse.transfer.finetuning import (
    freeze,
    hold_statistics,
    trainable_parameters,
    unfreeze,
)


class Stack(nn.Module):
    def __init__(self, n_layers=12):
        super().__init__()
        self.layer = nn.ModuleList(nn.Linear(3, 3) for _ in range(n_layers))
        self.head = nn.Linear(3, 2)


def conv_net():
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
    )
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def images():
    return torch.randn(5, 1, 9, 9, generator=torch.Generator().manual_seed(1)) + 3


def statistics(model):
    return [b.clone() for b in model.buffers()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def trained(model):
    return [name for name, p in model.named_parameters() if p.requires_grad]


def test_freeze_without_patterns_freezes_all_and_returns_the_names_that_changed():
    model = Stack(2)
    model.head.bias.requires_grad_(False)
    changed = freeze(model)
    assert changed == ["layer.0.weight", "layer.0.bias", "layer.1.weight", "layer.1.bias", "head.weight"]
    assert trained(model) == []
    assert freeze(model) == []


def test_a_prefix_ends_at_a_dot():
    model = Stack(12)
    assert freeze(model, "layer.1") == ["layer.1.weight", "layer.1.bias"]


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [
        (["layer.0.weight"], ["layer.0.weight"]),
        (["layer.*.bias"], ["layer.0.bias", "layer.1.bias"]),
        (["*.bias"], ["layer.0.bias", "layer.1.bias", "head.bias"]),
        (["layer.[0]"], ["layer.0.weight", "layer.0.bias"]),
        (["head", "layer.0.bias"], ["layer.0.bias", "head.weight", "head.bias"]),
    ],
)
def test_patterns_are_names_prefixes_and_globs(patterns, frozen):
    assert freeze(Stack(2), *patterns) == frozen


def test_unfreeze_undoes_freeze_by_pattern():
    model = Stack(3)
    freeze(model)
    assert unfreeze(model, "head") == ["head.weight", "head.bias"]
    assert trained(model) == ["head.weight", "head.bias"]
    assert len(unfreeze(model)) == 6
    assert len(trained(model)) == 8


def test_more_frozen_patterns_than_layers_names_the_pattern_and_the_nearest_layers():
    model = Stack(3)
    with pytest.raises(ValueError, match=r"'layer\.3' matches none of the 8 names; nearest: 'layer\.\d'"):
        freeze(model, *(f"layer.{i}" for i in range(5)))
    assert len(trained(model)) == 8


def test_a_misspelt_pattern_is_answered_with_the_name_meant():
    with pytest.raises(ValueError, match=r"'haed' matches none of the 6 names; nearest: 'head'"):
        unfreeze(Stack(2), "haed")


def test_patterns_heed_upper_and_lower_case_on_every_system():
    with pytest.raises(ValueError, match="'Head' matches none of the 6 names; nearest: 'head'"):
        freeze(Stack(2), "Head")


def test_a_list_of_patterns_is_refused_with_the_way_to_write_it():
    with pytest.raises(TypeError, match=r"\['head'\] is no string; give patterns one by one"):
        freeze(Stack(2), ["head"])


def test_a_model_without_parameters_has_no_name_to_match():
    with pytest.raises(ValueError, match="none of the 0 names; nearest: there are no names"):
        freeze(nn.ReLU(), "head")


def test_a_shared_parameter_is_found_under_its_second_name_and_counted_once():
    model = nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 7, bias=False))
    model[1].weight = model[0].weight
    assert trainable_parameters(model).total == 21
    assert freeze(model, "1.weight") == ["1.weight"]
    assert not model[0].weight.requires_grad
    assert trainable_parameters(model).trainable == 0


def test_integer_parameters_are_left_alone():
    model = nn.Linear(2, 2)
    model.codes = nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
    freeze(model)
    assert unfreeze(model) == ["weight", "bias"]


def test_count_matches_arithmetic():
    model = Stack(2)
    freeze(model, "layer")
    count = trainable_parameters(model)
    assert (count.trainable, count.total) == (3 * 2 + 2, 2 * (9 + 3) + 8)
    assert count.share == 8 / 32
    assert trainable_parameters(nn.ReLU()).share == 0


def test_freezing_every_parameter_does_not_stop_running_statistics():
    model = conv_net()
    freeze(model)
    parameters, before = [p.clone() for p in model.parameters()], statistics(model)
    model.train()(images())
    assert same(parameters, model.parameters())
    assert not same(before, statistics(model))


def test_held_statistics_survive_train_and_outputs_equal_evaluation():
    model = conv_net()
    expected = model.eval()(images())
    before = statistics(model)
    hold_statistics(model)
    for _ in range(3):
        model.train()
        assert torch.equal(model(images()), expected)
    assert same(before, statistics(model))


def test_a_hold_leaves_dropout_training_and_norm_weights_learning():
    model = nn.Sequential(nn.BatchNorm1d(50), nn.Dropout(0.5))
    hold = hold_statistics(model)
    assert hold.names == ["0"]
    output = model.train()(torch.randn(4, 50) + 5)
    assert (output == 0).any()
    output.sum().backward()
    assert model[0].weight.grad.abs().sum() > 0


def test_a_hold_ends_with_its_block_and_leaves_no_trace():
    model = conv_net().train()
    before = statistics(model)
    with hold_statistics(model) as hold:
        assert hold.names == ["0.1", "0.4"]
        model(images())
        assert same(before, statistics(model))
        assert all(module.training for module in model.modules())
    model(images())
    assert not same(before, statistics(model))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_training_flag_comes_back_when_forward_fails():
    model = conv_net().train()
    hold_statistics(model)
    with pytest.raises(ValueError, match="expected 4D"):
        model[0][1](torch.randn(2, 4))
    assert model[0][1].training


def test_nested_holds_end_in_any_order():
    model = conv_net().train()
    before = statistics(model)
    first, second = hold_statistics(model), hold_statistics(model)
    model(images())
    assert model[0][1].training
    first.remove()
    model(images())
    assert same(before, statistics(model))
    second.remove()
    model(images())
    assert not same(before, statistics(model))


def test_freeze_holds_the_statistics_under_its_patterns_only():
    model = conv_net().train()
    before = statistics(model)
    freeze(model, "0.0", "0.1", hold_statistics=True)
    freeze(model, "0.1", hold_statistics=True)
    model(images())
    after = statistics(model)
    assert same(before[:3], after[:3])
    assert not same(before[3:], after[3:])


def test_unfreeze_releases_what_freeze_held():
    model = conv_net().train()
    freeze(model, hold_statistics=True)
    unfreeze(model, "0.4")
    before = statistics(model)
    model(images())
    after = statistics(model)
    assert same(before[:3], after[:3])
    assert not same(before[3:], after[3:])


def test_a_bare_batch_norm_is_held_as_a_whole_model():
    model = nn.BatchNorm1d(3)
    freeze(model, "weight", hold_statistics=True)
    before = statistics(model)
    model.train()(torch.randn(4, 3) + 2)
    assert same(before, statistics(model))


def test_a_copied_and_a_pickled_model_keep_the_hold_and_can_end_it():
    model = conv_net()
    freeze(model, hold_statistics=True)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = statistics(twin)
        twin.train()(images())
        assert same(before, statistics(twin))
        unfreeze(twin)
        twin(images())
        assert not same(before, statistics(twin))
    before = statistics(model)
    model.train()(images())
    assert same(before, statistics(model))
