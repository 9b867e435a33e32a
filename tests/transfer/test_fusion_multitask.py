"""Multi-task and mixed learning: gradients against sums of separate ones, weights against closed forms."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from transformers import BertConfig, BertModel

from tlcourse.transfer.fusion import (
    ConcatFusion,
    FixedWeights,
    MixedModel,
    MultiTaskModel,
    SumFusion,
    UncertaintyWeights,
    joint_loss,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n, d, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=seeded(seed))


def network(width=6, out=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 6), nn.Tanh(), nn.Linear(6, out)
    ).double()


INPUTS = {"image": rows(5, 4, 1), "sound": rows(5, 3, 2)}


def multitask(fusion=None, reads=None):
    torch.manual_seed(0)
    encoders = {"image": nn.Linear(4, 2), "sound": nn.Linear(3, 2)}
    heads = {"digit": nn.Linear(2, 10), "speaker": nn.Linear(2, 4), "loudness": nn.Linear(2, 1)}
    reads = {"speaker": "sound", "loudness": "sound"} if reads is None else reads
    return MultiTaskModel(encoders, fusion or SumFusion([2, 2]), heads, reads=reads).double()


# ---------------------------------------------------------------- multi-task


def test_heads_read_the_fused_features_or_the_view_they_name():
    model = multitask()
    image, sound = model.encoders["image"](INPUTS["image"]), model.encoders["sound"](INPUTS["sound"])
    found = model(INPUTS)
    assert list(found) == ["digit", "speaker", "loudness"]
    assert torch.equal(model.features(INPUTS), torch.stack([image, sound]).sum(0))
    assert torch.equal(found["digit"], model.heads["digit"](model.features(INPUTS)))
    assert torch.equal(found["speaker"], model.heads["speaker"](sound))
    reversed_ = {"sound": INPUTS["sound"], "image": INPUTS["image"]}
    joined = MultiTaskModel(model.encoders, ConcatFusion([2, 2]), {"a": nn.Identity()})
    assert torch.equal(joined(reversed_)["a"], torch.cat([image, sound], 1))  # in the order of the encoders


def test_a_task_runs_only_the_encoders_that_it_reads():
    model = multitask()
    runs = []
    for view, encoder in model.encoders.items():
        encoder.register_forward_hook(lambda m, i, o, view=view: runs.append(view))
    found = model({"sound": INPUTS["sound"]}, ["loudness", "speaker"])
    assert list(found) == ["loudness", "speaker"]
    assert runs == ["sound"]
    model(INPUTS)
    assert runs == ["sound", "image", "sound"]


def test_gradients_of_the_joint_loss_are_the_weighted_sum_of_each_tasks_own():
    model = multitask()
    targets = {
        "digit": torch.randint(10, (5,), generator=seeded(3)),
        "speaker": torch.randint(4, (5,), generator=seeded(4)),
        "loudness": rows(5, 1, 5),
    }
    losses = {"digit": cross_entropy, "speaker": cross_entropy, "loudness": mse_loss}
    weights = {"digit": 1.0, "speaker": 0.25, "loudness": 3.0}
    expected = [torch.zeros_like(p) for p in model.parameters()]
    for task, weight in weights.items():
        model.zero_grad()
        losses[task](model(INPUTS)[task], targets[task]).backward()
        for total, p in zip(expected, model.parameters(), strict=True):
            total += weight * (0 if p.grad is None else p.grad)
    model.zero_grad()
    found = joint_loss(model(INPUTS), targets, losses, FixedWeights(weights))
    found.total.backward()
    for total, p in zip(expected, model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, total, rtol=1e-12, atol=1e-14)
    assert found.total.item() == pytest.approx(sum(weights[t] * found.parts[t].item() for t in weights))
    assert not any(part.requires_grad for part in found.parts.values())


def test_a_task_without_labels_in_the_batch_counts_nothing():
    model = multitask()
    targets = {"speaker": torch.randint(4, (5,), generator=seeded(4))}
    losses = {"digit": cross_entropy, "speaker": cross_entropy}
    found = joint_loss(model(INPUTS), targets, losses, FixedWeights({"digit": 9, "speaker": 2}))
    assert list(found.parts) == ["speaker"]
    found.total.backward()
    assert model.heads["digit"].weight.grad is None
    assert model.encoders["image"].weight.grad is None


def test_one_encoder_under_two_names_is_shared():
    encoder = nn.Linear(4, 2)
    model = MultiTaskModel(
        {"left": encoder, "right": encoder}, ConcatFusion([2, 2]), {"same": nn.Linear(4, 2)}
    )
    assert len(list(model.encoders.parameters())) == 2
    assert model({"left": torch.ones(1, 4), "right": torch.zeros(1, 4)})["same"].shape == (1, 2)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: MultiTaskModel({}, SumFusion([2]), {"a": nn.Identity()}),
            "0 encoders and 1 heads; give a view",
        ),
        (lambda: MultiTaskModel({"a": nn.Identity()}, SumFusion([2]), {}), "1 encoders and 0 heads"),
        (
            lambda: multitask(reads={"digit": "smell"}),
            r"reads has 'digit': 'smell'; .* the views \['image', 'sound'\]",
        ),
        (
            lambda: multitask(reads={"digits": "sound"}),
            r"reads has 'digits': 'sound'; the tasks are \['digit', 'spe",
        ),
        (
            lambda: multitask()(INPUTS, ["digit", "year"]),
            r"no tasks \['year'\]; there are \['digit', 'speaker'",
        ),
        (
            lambda: multitask()({"sound": INPUTS["sound"]}),
            r"inputs hold the views \['sound'\], not \['image'\]",
        ),
        (lambda: multitask().features({}), r"inputs hold the views \[\], not \['image', 'sound'\]"),
        (
            lambda: multitask()({"image": rows(4, 4), "sound": rows(5, 3)}),
            r"views hold \[4, 5\] items; row i of every view",
        ),
    ],
)
def test_multi_task_models_refuse_what_does_not_fit(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# ---------------------------------------------------------------- weights of losses


def test_uncertainty_weights_reach_one_over_twice_the_loss():
    weighting = UncertaintyWeights(["a", "b"])
    assert weighting.weights() == {"a": 1.0, "b": 1.0}
    losses = {"a": torch.tensor(4.0), "b": torch.tensor(0.1)}
    optimiser = torch.optim.LBFGS(weighting.parameters(), max_iter=200, tolerance_grad=1e-9)

    def closure():
        optimiser.zero_grad()
        total = weighting(losses)
        total.backward()
        return total

    optimiser.step(closure)
    assert weighting.weights()["a"] == pytest.approx(1 / 8, rel=1e-3)
    assert weighting.weights()["b"] == pytest.approx(5, rel=1e-3)


def test_uncertainty_weights_match_their_formula_and_pass_gradients_to_the_losses():
    weighting = UncertaintyWeights(["a", "b"])
    with torch.no_grad():
        weighting.log_variances["a"].fill_(0.7)
        weighting.log_variances["b"].fill_(-1.2)
    losses = {"a": torch.tensor(2.0, requires_grad=True), "b": torch.tensor(3.0, requires_grad=True)}
    total = weighting(losses)
    expected = 2 * math.exp(-0.7) + 0.7 / 2 + 3 * math.exp(1.2) - 1.2 / 2
    assert total.item() == pytest.approx(expected, rel=1e-6)
    total.backward()
    assert losses["a"].grad.item() == pytest.approx(math.exp(-0.7), rel=1e-6)
    assert weighting.weights()["b"] == pytest.approx(math.exp(1.2), rel=1e-6)
    assert weighting({"b": losses["b"]}).item() == pytest.approx(3 * math.exp(1.2) - 0.6, rel=1e-6)


def test_fixed_weights_are_visible_and_cannot_be_changed_through_what_shows_them():
    given = {"a": 2.0, "b": 0.5}
    weighting = FixedWeights(given)
    given["a"] = weighting.weights()["a"] = 9
    assert weighting.weights() == {"a": 2.0, "b": 0.5}
    assert weighting({"a": torch.tensor(1.0), "b": torch.tensor(4.0)}).item() == 4.0


ONE = {"a": torch.ones(2, 3)}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: FixedWeights({}), r"weights={}; give a positive number for each task"),
        (lambda: FixedWeights({"a": 1, "b": 0, "c": -1}), r"weights={'b': 0, 'c': -1}; give"),
        (lambda: FixedWeights({"a": math.inf}), r"weights={'a': inf}"),
        (lambda: UncertaintyWeights([]), r"tasks=\[\]; give the names of the tasks"),
        (
            lambda: UncertaintyWeights("ab"),
            "tasks='ab'; give the names of the tasks, at least one, in a list",
        ),
        (
            lambda: UncertaintyWeights(["a"])({"b": torch.ones(())}),
            r"no weight for the tasks \['b'\]; there are weights for \['a'\]",
        ),
        (lambda: FixedWeights({"a": 1})({"b": torch.ones(())}), r"no weight for the tasks \['b'\]"),
        (
            lambda: joint_loss(ONE, {"b": ONE["a"]}, {"b": mse_loss}, FixedWeights({"b": 1})),
            r"no output for the tasks \['b'\] of targets; there are \['a'\]",
        ),
        (
            lambda: joint_loss(ONE, ONE, {"b": mse_loss}, FixedWeights({"a": 1})),
            r"no loss for the tasks \['a'\]",
        ),
        (lambda: joint_loss(ONE, {}, {"a": mse_loss}, FixedWeights({"a": 1})), "targets name no task"),
        (
            lambda: joint_loss(ONE, ONE, {"a": lambda x, y: (x - y).sum(1)}, FixedWeights({"a": 1})),
            r"losses of shapes {'a': \(2,\)}; each must be one number",
        ),
    ],
)
def test_losses_and_weights_that_do_not_fit_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# ---------------------------------------------------------------- mixed learning


def test_shared_layers_are_one_module_that_starts_as_the_firsts_and_the_callers_stay():
    first, second = network(seed=0), network(out=2, seed=1)
    states = [copy.deepcopy(n.state_dict()) for n in (first, second)]
    model = MixedModel({"source": first, "target": second}, ["0", "2"])
    a, b = model.networks["source"], model.networks["target"]
    assert a[0] is b[0]
    assert a[2] is b[2]
    assert a[4] is not b[4]
    assert torch.equal(b[0].weight, first[0].weight)
    assert torch.equal(b[4].weight, second[4].weight)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
    for n, state in zip((first, second), states, strict=True):
        assert all(torch.equal(n.state_dict()[key], state[key]) for key in state)
    shared = model.shared_parameters()
    assert list(shared) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert shared["2.bias"] is b[2].bias
    n_parameters = sum(p.numel() for p in model.parameters())
    assert n_parameters == sum(p.numel() for n in (first, second) for p in n.parameters()) - sum(
        p.numel() for p in shared.values()
    )


def test_outputs_are_those_of_the_networks_with_the_layers_swapped_by_hand():
    first, second = network(seed=0), network(out=2, seed=1)
    model = MixedModel({"source": first, "target": second}, ["0", "2"])
    x, y = rows(5, 4, 1), rows(3, 4, 2)
    found = model({"source": x, "target": y})
    assert torch.equal(found["source"], first(x))
    by_hand = nn.Sequential(first[0], second[1], first[2], second[3], second[4])
    assert torch.equal(found["target"], by_hand(y))
    assert list(model({"target": y})) == ["target"]


def test_gradients_of_shared_layers_are_the_sum_over_both_losses_and_others_their_own():
    model = MixedModel({"a": network(seed=0), "b": network(out=2, seed=1)}, ["0"])
    inputs = {"a": rows(5, 4, 1), "b": rows(3, 4, 2)}
    targets = {"a": torch.tensor([0, 1, 2, 1, 0]), "b": torch.tensor([0, 1, 1])}
    losses = {"a": cross_entropy, "b": cross_entropy}
    alone = {}
    for name in "ab":
        model.zero_grad()
        cross_entropy(model({name: inputs[name]})[name], targets[name]).backward()
        alone[name] = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        model.zero_grad(set_to_none=True)
    joint_loss(model(inputs), targets, losses, FixedWeights({"a": 1.0, "b": 2.0})).total.backward()
    zero = torch.zeros(())
    for name, p in model.named_parameters():
        expected = alone["a"].get(name, zero) + 2 * alone["b"].get(name, zero)
        torch.testing.assert_close(p.grad, expected, rtol=1e-12, atol=1e-14)
    both = set(alone["a"]) & set(alone["b"])
    assert both == {"networks.a.0.weight", "networks.a.0.bias"}


def test_layers_of_other_names_and_whole_blocks_are_shared_and_inputs_may_be_keyword_arguments():
    torch.manual_seed(0)
    settings = {
        "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12
    }  # fmt: skip
    first, second = (BertModel(BertConfig(**settings)).eval() for _ in range(2))
    model = MixedModel(
        {"a": first, "b": second}, {"embeddings": "embeddings", "encoder.layer.0": "encoder.layer.1"}
    )
    batch = {"input_ids": torch.arange(6).view(2, 3), "attention_mask": torch.ones(2, 3, dtype=torch.long)}
    found = model({"a": batch, "b": batch})
    assert torch.equal(found["a"].last_hidden_state, first(**batch).last_hidden_state)
    states = second.encoder.layer[0](first.embeddings(batch["input_ids"]))
    expected = first.encoder.layer[0](states)
    torch.testing.assert_close(found["b"].last_hidden_state, expected)


def test_a_layer_that_hangs_in_two_places_is_replaced_in_both():
    torch.manual_seed(0)
    twice = nn.Linear(4, 4)
    model = MixedModel(
        {"a": nn.Sequential(nn.Linear(4, 4)), "b": nn.Sequential(twice, nn.Tanh(), twice)}, ["0"]
    )
    assert model.networks["b"][0] is model.networks["b"][2] is model.networks["a"][0]


def test_state_loads_and_shared_layers_stay_shared():
    model = MixedModel({"a": network(seed=0), "b": network(seed=1)}, "0")
    other = MixedModel({"a": network(seed=2), "b": network(seed=3)}, "0")
    other.load_state_dict(model.state_dict())
    x = rows(2, 4)
    assert torch.equal(other({"b": x})["b"], model({"b": x})["b"])
    assert other.networks["a"][0] is other.networks["b"][0]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.out = nn.Linear(3, 5)
        self.out.weight = self.embedding.weight


def pair(a=None, b=None):
    return {"a": a or network(), "b": b or network(seed=1)}


@pytest.mark.parametrize(
    ("networks", "shared", "text"),
    [
        (lambda: {"a": network()}, ["0"], r"1 networks, \['a'\]; give two by name"),
        (pair, [], "shared names no layer; without any, these are two models"),
        (pair, ["5"], r"no layer '5' in Sequential; nearest: '"),
        (pair, {"0": "zero"}, r"no layer 'zero' in Sequential; nearest: '"),
        (lambda: pair(nn.Linear(1, 1)), ["0"], "no layer '0' in Linear; nearest: it has no layers"),
        (pair, ["1"], r"'1' \(Tanh\) has no parameters to share"),
        (
            lambda: {k: nn.Sequential(n) for k, n in pair().items()},
            ["0", "0.2"],
            "'0.2' lies in '0', which is shared as",
        ),
        (pair, {"0": "0", "2": "0"}, "'0' is to be shared twice; name each layer once"),
        (
            lambda: pair(Tied(), Tied()),
            ["embedding"],
            r"'embedding' holds a weight that 'out' of the same network uses",
        ),
        (
            lambda: pair(b=network(width=7)),
            ["0"],
            r"'0' of the first network and '0' of the second differ: Linear\(in_features=4, out_features=6, .*\) and "
            r"Linear\(in_features=4, out_features=7, bias=True\); share layers of one kind",
        ),
        (pair, {"0": "2"}, r"'0' of the first network and '2' of the second differ: Linear\(in_features=4"),
        (
            lambda: {str(s): nn.Sequential(nn.Conv2d(1, 1, 3, stride=s)) for s in (1, 2)},
            ["0"],
            r"differ: Conv2d\(1, 1, .*stride=\(1, 1\)\) and Conv2d\(1, 1, .*stride=\(2, 2\)\)",
        ),
    ],
)
def test_layers_that_cannot_be_shared_are_refused(networks, shared, text):
    with pytest.raises(ValueError, match=text):
        MixedModel(networks(), shared)


class Silent(nn.Module):
    """Prints nothing about its size."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))
        if n > 2:
            self.more = nn.Parameter(torch.ones(1))


def test_shapes_count_where_a_layer_prints_nothing_about_them():
    with pytest.raises(ValueError, match=r"differ: weight \(1,\) and weight \(2,\)"):
        MixedModel({"a": nn.Sequential(Silent(1)), "b": nn.Sequential(Silent(2))}, ["0"])
    networks = {"a": nn.Sequential(Silent(3)), "b": nn.Sequential(Silent(3))}
    del networks["b"][0].more
    with pytest.raises(ValueError, match=r"differ: more \(1,\) and nothing"):
        MixedModel(networks, ["0"])


def test_inputs_for_no_network_are_refused():
    model = MixedModel(pair(), ["0"])
    for inputs in ({}, {"c": rows(2, 4)}):
        with pytest.raises(ValueError, match=r"inputs for \[.*\]; give them for one or both of \['a', 'b'\]"):
            model(inputs)
