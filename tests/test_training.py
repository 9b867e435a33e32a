"""`fit` against slow, obvious loops, closed forms and transformers' schedules."""

import io
import json
import math
import random
import sys
import time
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F

from tlcourse.training import TrainingConfig, fit, predict
from tlcourse.training.batches import epoch_batches
from tlcourse.training.optimiser import adamw

N = 22
CONFIG = TrainingConfig(epochs=3, batch_size=4, learning_rate=1e-2, warmup=0.2, clip_norm=None)


def network(dropout=0.0, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2))


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(N, 5, generator=generator)
    return [(x[i], int(x[i, 0] > 0)) for i in range(N)]


def loss(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def assert_same(a, b, tolerance=0.0):
    states = a.state_dict(), b.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert (tensor - states[1][name]).abs().max() <= tolerance * tensor.abs().max(), name


def obvious_loop(model, data, config, rates, *, clip_norm=None):
    """Adam's update with decoupled decay written out, in float64; returns the losses."""
    model.double().train()
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in model.named_parameters()}
    losses = []
    epoch, step = 0, 0
    while step < len(rates):
        for numbers in epoch_batches(len(data), config.batch_size, config.seed, epoch):
            x = torch.stack([data[i][0] for i in numbers]).double()
            value = F.cross_entropy(model(x), torch.tensor([data[i][1] for i in numbers]))
            model.zero_grad()
            value.backward()
            norm = math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
            shrink = 1 if clip_norm is None else min(1, clip_norm / (norm + 1e-6))
            with torch.no_grad():
                for name, p in model.named_parameters():
                    first, second = moments[name]
                    gradient = p.grad * shrink
                    first.mul_(0.9).add_(0.1 * gradient)
                    second.mul_(0.999).add_(0.001 * gradient**2)
                    if name in ("0.weight", "4.weight"):
                        p.mul_(1 - rates[step] * config.weight_decay)
                    unbiased = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
                    p.sub_(rates[step] * unbiased[0] / (unbiased[1].sqrt() + 1e-8))
            losses.append(value.item())
            step += 1
            if step == len(rates):
                break
        epoch += 1
    return losses


def test_fit_is_adamw_over_the_shuffled_epochs_as_written_out_by_hand(data):
    config = TrainingConfig(epochs=3, batch_size=4, learning_rate=1e-2, weight_decay=0.3, clip_norm=None)
    ours, theirs = network().double(), network()
    history = fit(ours, [(x.double(), y) for x, y in data], loss, config)
    total = 18  # three epochs of five batches of four and one of two
    rates = [1e-2 * (s / 2 if s < 2 else (total - s) / (total - 2)) for s in range(total)]
    losses = obvious_loop(theirs, data, config, rates)
    assert_same(ours, theirs, 1e-10)
    assert history.losses == pytest.approx(losses, rel=1e-10)
    assert history.learning_rates == pytest.approx(rates, rel=1e-12)
    assert history.steps == list(range(1, total + 1))


def test_clipping_shrinks_the_whole_gradient_to_the_norm_as_by_hand(data):
    config = TrainingConfig(max_steps=5, batch_size=4, learning_rate=1e-2, schedule="constant", warmup=0)
    ours, theirs, unclipped = network().double(), network(), network()
    config = TrainingConfig(**{**vars(config), "clip_norm": 0.1})
    fit(ours, [(x.double(), y) for x, y in data], loss, config)
    obvious_loop(theirs, data, config, [1e-2] * 5, clip_norm=0.1)
    obvious_loop(unclipped, data, config, [1e-2] * 5)
    assert_same(ours, theirs, 1e-10)
    assert (ours[0].weight - unclipped[0].weight).abs().max() > 1e-5


@pytest.mark.parametrize("warmup", [0, 0.1, 0.25, 1])
@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        ("linear", transformers.get_linear_schedule_with_warmup),
        ("cosine", transformers.get_cosine_schedule_with_warmup),
        ("constant", lambda o, warm, _: transformers.get_constant_schedule_with_warmup(o, warm)),
    ],
)
def test_schedules_equal_those_of_transformers(schedule, theirs, warmup):
    total = 40
    config = TrainingConfig(max_steps=total, learning_rate=0.5, schedule=schedule, warmup=warmup)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = theirs(optimizer, round(warmup * total), total)
    for step in range(total):
        assert 0.5 * config.factor(step, total) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("total", "n_warm"), [(4, 0), (12, 1), (14, 1), (16, 2), (18, 2)])
def test_warmup_takes_the_nearest_whole_number_of_updates(total, n_warm):
    """A tenth of 12 updates is one and of 18 two: 1.2 and 1.8 are nearest to these."""
    config = TrainingConfig(max_steps=total, schedule="constant", warmup=0.1)
    assert sum(config.factor(step, total) < 1 for step in range(total)) == n_warm


def test_each_group_has_its_own_rate_and_decay_under_one_schedule(data):
    """With a loss that does not depend on the weights, only decay moves them: p·Π(1 − lr·λ·factor)."""
    model = network()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    groups = [
        {"params": list(model[0].parameters()), "lr": 0.1, "weight_decay": 0.5},
        {"params": [*model[1].parameters(), *model[4].parameters()]},
    ]
    config = TrainingConfig(max_steps=8, batch_size=4, learning_rate=0.02, weight_decay=0.2, warmup=0.25)
    history = fit(model, data, lambda m, b: (m(b[0]) * 0).mean(), config, parameter_groups=groups)
    factors = [0, 0.5, *(1 - k / 6 for k in range(6))]
    assert history.learning_rates == pytest.approx([0.02 * f for f in factors])
    for name, rate, decay in (("0.weight", 0.1, 0.5), ("4.weight", 0.02, 0.2)):
        shrink = math.prod(1 - rate * f * decay for f in factors)
        torch.testing.assert_close(model.get_parameter(name), start[name] * shrink)
    for name in ("0.bias", "1.weight", "1.bias", "4.bias"):
        assert torch.equal(model.get_parameter(name), start[name]), f"{name} decayed"


def test_decay_spares_what_the_rule_of_berts_release_spares():
    """optimization.py of Devlin et al. (2019): no decay where the name has LayerNorm or bias in it."""
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8
    )
    model = nn.ModuleDict({"bert": transformers.BertModel(config), "conv": nn.Conv2d(3, 4, 2)})
    model["LayerNorm"] = nn.LayerNorm((3, 4))  # its weight is a matrix
    model["bilinear"] = nn.MultiheadAttention(4, 2, add_bias_kv=True)  # its bias_k is (1, 1, 4)
    optimizer = adamw(model, TrainingConfig(epochs=1), None)
    ours = {p for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    names = [name for name, _ in model.named_parameters()]
    assert {name for name, p in model.named_parameters() if p in ours} == {
        name for name in names if "LayerNorm" not in name and "bias" not in name
    }
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)


@pytest.mark.parametrize("accumulate", [2, 3, 4, 7])
def test_accumulated_pieces_equal_the_whole_batch(data, accumulate):
    whole, pieces = network(), network()
    config = {**vars(CONFIG), "clip_norm": 0.5}
    history = fit(whole, data, loss, TrainingConfig(**config))
    other = fit(pieces, data, loss, TrainingConfig(**{**config, "accumulate": accumulate}))
    # Sums in another order, amplified by Adam's division: float32 keeps about five digits.
    assert_same(whole, pieces, 1e-4)
    assert other.losses == pytest.approx(history.losses, rel=1e-4)
    assert len(other.steps) == len(history.steps) == 18


def test_accumulation_never_reads_more_than_a_piece(data):
    sizes = []

    def watched(model, batch):
        sizes.append(len(batch[0]))
        return loss(model, batch)

    fit(network(), data, watched, TrainingConfig(epochs=1, batch_size=10, accumulate=3))
    assert sizes == [4, 3, 3, 4, 3, 3, 1, 1]  # batches of 10, 10 and 2


class FreezeBetween:
    """Layer 0 is open in epoch 1 only."""

    def on_epoch(self, model, epoch):
        model[0].requires_grad_(epoch == 1)


def test_frozen_parameters_stand_still_and_start_when_unfrozen_and_stop_when_frozen_again(data):
    model = network()
    seen = []

    class Watch:
        def on_step(self, model, step):
            seen.append(model[0].weight.detach().clone())

    start = model[0].weight.detach().clone()
    config = TrainingConfig(epochs=3, batch_size=4, learning_rate=1e-2, weight_decay=0.5, warmup=0)
    fit(model, data, loss, config, callbacks=[FreezeBetween(), Watch()])
    assert all(torch.equal(w, start) for w in seen[:6]), "moved while frozen"
    moves = [not torch.equal(a, b) for a, b in pairwise(seen[5:12])]
    assert moves == [True] * 6, "did not move when unfrozen"
    assert all(torch.equal(w, seen[11]) for w in seen[12:]), "moved by decay or momentum after refreezing"
    assert not torch.equal(model[4].weight, network()[4].weight)


def test_parameters_outside_the_loss_stand_still(data):
    model = nn.ModuleDict({"used": network(), "unused": nn.Linear(2, 2)})
    start = model["unused"].weight.detach().clone()
    fit(model, data, lambda m, b: loss(m["used"], b), CONFIG)
    assert torch.equal(model["unused"].weight, start)


def test_callbacks_are_told_in_order(data):
    heard = []

    class All:
        def on_start(self, model):
            heard.append("start" if model.training else "start in eval")

        def on_epoch(self, model, epoch):
            heard.append(("epoch", epoch))

        def on_step(self, model, step):
            heard.append(step)

    fit(network(), data, loss, TrainingConfig(max_steps=5, batch_size=8), callbacks=[All()])
    assert heard == ["start", ("epoch", 0), 1, 2, 3, ("epoch", 1), 4, 5]


def score_by_step(scores):
    calls = iter(scores)
    return lambda model: next(calls)


def test_the_best_parameters_and_buffers_are_restored(data):
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    states = []

    class Keep:
        def on_step(self, model, step):
            states.append({name: t.clone() for name, t in model.state_dict().items()})

    config = TrainingConfig(max_steps=8, batch_size=4, evaluate_every=2, learning_rate=1e-2)
    scores = score_by_step([0.1, 0.7, 0.7, 0.2])
    history = fit(model, data, loss, config, evaluate=scores, callbacks=[Keep()])
    assert history.best_step == 4  # the first of equals
    assert history.evaluations == [(2, 0.1), (4, 0.7), (6, 0.7), (8, 0.2)]
    assert len(history.steps) == 8 and not history.stopped_early
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, states[3][name]), name
        assert name == "1.num_batches_tracked" or not torch.equal(tensor, states[7][name]), name


@pytest.mark.parametrize(
    ("patience", "scores", "n_steps"),
    [
        (1, [0.3, 0.2], 4),
        (2, [0.3, 0.4, 0.4, 0.1], 8),
        (2, [0.3, 0.2, 0.5, 0.4, 0.4], 10),
        (3, [0.5, 0.1, 0.1, 0.1], 8),
    ],
)
def test_patience_counts_evaluations_without_improvement(data, patience, scores, n_steps):
    config = TrainingConfig(max_steps=20, batch_size=4, evaluate_every=2, patience=patience)
    history = fit(network(), data, loss, config, evaluate=score_by_step(scores))
    assert (len(history.steps), history.stopped_early) == (n_steps, True)


def test_a_run_that_ends_with_its_patience_did_not_stop_early(data):
    config = TrainingConfig(max_steps=4, batch_size=4, evaluate_every=2, patience=1)
    assert not fit(network(), data, loss, config, evaluate=score_by_step([2, 1])).stopped_early


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"epochs": 2}, [6, 12]),
        ({"max_steps": 8}, [6, 8]),
        ({"epochs": 1, "evaluate_every": 4}, [4, 6]),
        ({"max_steps": 3, "evaluate_every": 10}, [3]),
    ],
)
def test_evaluations_come_each_epoch_or_as_asked_and_at_the_end(data, options, expected):
    history = fit(network(), data, loss, TrainingConfig(batch_size=4, **options), evaluate=lambda model: 0.5)
    assert [step for step, _ in history.evaluations] == expected


def test_evaluation_sees_the_model_in_eval_mode_and_training_goes_on_in_its_modes(data):
    model = network(dropout=0.5)
    seen = []

    class HoldDropout:
        def on_epoch(self, model, epoch):
            model[3].eval()

    def watched(model, batch):
        seen.append((model.training, model[3].training))
        return loss(model, batch)

    def evaluate(model):
        assert not model.training and not model[3].training
        return 0.0

    fit(
        model,
        data,
        watched,
        TrainingConfig(epochs=2, batch_size=11),
        evaluate=evaluate,
        callbacks=[HoldDropout()],
    )
    assert seen == [(True, False)] * 4


def test_a_model_that_comes_in_eval_mode_is_trained_in_training_mode(data):
    seen = []

    def watched(model, batch):
        seen.append({module.training for module in model.modules()})
        return loss(model, batch)

    model = network(dropout=0.5).eval()
    fit(model, data, watched, TrainingConfig(max_steps=2))
    assert seen == [{True}] * 2
    assert not model.training


@pytest.mark.parametrize("fails", [False, True])
def test_fit_gives_back_modes_random_states_and_a_model_without_traces(data, fails):
    model = network(dropout=0.2).eval()
    model[1].train()
    modes = [module.training for module in model.modules()]
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    draws = []
    for run in (False, True):
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        torch.manual_seed(5)
        if run and fails:
            with pytest.raises(RuntimeError, match="on purpose"):
                fit(model, data, broken_after(3), CONFIG)
        elif run:
            fit(model, data, loss, CONFIG)
        draws.append((random.random(), float(np.random.rand()), float(torch.rand(()))))  # noqa: NPY002
    assert draws[0] == draws[1]
    assert [module.training for module in model.modules()] == modes
    for name, module in model.named_modules():
        assert vars(module).keys() == before[name].keys()
        assert not any(vars(module)[hooks] for hooks in vars(module) if "hooks" in hooks)
    assert all(p.grad is None for p in model.parameters())


def broken_after(n):
    calls = iter(range(n))

    def broken(model, batch):
        if next(calls, None) is None:
            raise RuntimeError("on purpose")
        return loss(model, batch)

    return broken


def test_the_same_seed_gives_the_same_run_and_another_seed_another(data):
    config = TrainingConfig(epochs=2, batch_size=4, learning_rate=1e-2)
    first, second, third = (network(dropout=0.3) for _ in range(3))
    torch.manual_seed(1)
    fit(first, data, loss, config)
    torch.manual_seed(2)
    fit(second, data, loss, config)
    fit(third, data, loss, TrainingConfig(**{**vars(config), "seed": 1}))
    assert_same(first, second)
    assert not torch.equal(first[0].weight, third[0].weight)


def test_gradients_from_before_do_not_leak_into_the_first_update(data):
    clean, stale = network(), network()
    for p in stale.parameters():
        p.grad = torch.full_like(p, 100.0)
    fit(clean, data, loss, CONFIG)
    fit(stale, data, loss, CONFIG)
    assert_same(clean, stale)


def test_bf16_trains_close_to_float32_with_parameters_that_stay_float32(data):
    exact, rounded = network(), network()
    kinds = set()

    def watched(model, batch):
        kinds.add(model(batch[0]).dtype)
        return loss(model, batch)

    config = TrainingConfig(max_steps=6, batch_size=8, learning_rate=1e-3)
    fit(exact, data, loss, config)
    fit(rounded, data, watched, TrainingConfig(**{**vars(config), "mixed_precision": "bf16"}))
    assert kinds == {torch.bfloat16}
    assert rounded[0].weight.dtype == torch.float32
    assert not torch.equal(exact[0].weight, rounded[0].weight)
    # Adam moves each weight by about the learning rate a step, whichever way bf16 rounds.
    assert (exact[0].weight - rounded[0].weight).abs().max() <= 2 * 6 * 1e-3


@pytest.mark.parametrize(("clip_norm", "norm"), [(1.0, "nan"), (None, "0")])
def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_parameters(data, clip_norm, norm):
    model = network()
    kept = []

    def watched(model, batch):
        kept.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return loss(model, batch) * (math.inf if len(kept) == 3 else 1)

    steady = {"warmup": 0, "schedule": "constant", "clip_norm": clip_norm}
    config = TrainingConfig(max_steps=5, batch_size=4, learning_rate=2e-3, **steady)
    expected = (
        rf"loss inf, gradient norm {norm} in step 3 of 5 at learning rate 0.002; the parameters are those of the step "
        r"before. Try learning_rate=0.0002 or a longer warmup"
    )
    with pytest.raises(FloatingPointError, match=expected):
        fit(model, data, watched, config)
    for name, p in model.named_parameters():
        assert torch.equal(p, kept[-1][name]), name


def test_a_gradient_that_is_not_finite_stops_even_when_the_loss_is_finite(data):
    model = network()
    start = model[4].weight.detach().clone()
    with pytest.raises(FloatingPointError, match=r"loss 0, gradient norm (nan|inf) in step 1 of"):
        # sqrt has the value 0 and the slope infinity at 0.
        fit(model, data, lambda m, b: (m(b[0]) * 0).abs().sum().sqrt(), TrainingConfig(epochs=1))
    assert torch.equal(model[4].weight, start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"epochs=None, max_steps=None: give one of the two"),
        ({"epochs": 1, "max_steps": 1}, r"epochs=1, max_steps=1: give one of the two"),
        ({"epochs": 0}, "epochs=0 must be a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs=1.5 must be a whole number"),
        ({"epochs": 1, "learning_rate": "1e-3"}, "learning_rate='1e-3' must be positive"),
        ({"epochs": 1, "schedule": 3}, "schedule=3 must be one of"),
        ({"epochs": 1, "warmup": [0.1]}, r"warmup=\[0.1\] must be a share"),
        ({"epochs": "3"}, "epochs='3' must be a whole number"),
        ({"epochs": True}, "epochs=True must be a whole number"),
        ({"epochs": 1, "batch_size": None}, "batch_size=None must be"),
        ({"epochs": 1, "accumulate": 0}, "accumulate=0 must be"),
        ({"epochs": 1, "patience": 0}, "patience=0 must be"),
        ({"epochs": 1, "evaluate_every": -1}, "evaluate_every=-1 must be"),
        ({"epochs": 1, "learning_rate": 0}, "learning_rate=0 must be positive"),
        ({"epochs": 1, "learning_rate": math.nan}, "learning_rate=nan must be positive"),
        ({"epochs": 1, "weight_decay": -0.1}, "weight_decay=-0.1 must be 0 or more"),
        ({"epochs": 1, "warmup": 100}, "warmup=100 must be a share of the steps, from 0 to 1"),
        ({"epochs": 1, "clip_norm": 0}, "clip_norm=0 must be positive, or None"),
        ({"epochs": 1, "schedule": "step"}, "schedule='step' must be one of linear, cosine, constant"),
        ({"epochs": 1, "mixed_precision": "fp8"}, "mixed_precision='fp8' must be one of no, bf16, fp16"),
        ({"epochs": 1, "seed": -1}, "seed=-1 must be a whole number from 0"),
        ({"epochs": 1, "seed": 2**32}, "seed=4294967296 must be a whole number from 0 to 2³²−1"),
    ],
)
def test_a_config_out_of_range_is_refused_by_name_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**options)


def test_numpys_numbers_become_pythons():
    config = TrainingConfig(epochs=np.int64(2), learning_rate=np.float32(0.5), seed=np.uint32(7), clip_norm=1)
    assert json.loads(json.dumps(asdict(config))) == asdict(config)
    assert (config.epochs, config.learning_rate, config.seed, config.clip_norm) == (2, 0.5, 7, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": []}, "the data set is empty"),
        ({"lengths": [1, 2]}, "2 lengths for 22 items"),
        ({"config": TrainingConfig(epochs=1, patience=2)}, "patience=2 needs evaluate"),
        ({"resume": True}, "resume=True, checkpoint_every=None need a checkpoint_folder"),
        ({"checkpoint_every": 5}, "resume=False, checkpoint_every=5 need a checkpoint_folder"),
        ({"checkpoint_every": 0, "checkpoint_folder": "x"}, "checkpoint_every=0 must be at least 1"),
        ({"callbacks": [object()]}, "has none of the methods on_start, on_epoch, on_step"),
        ({"loss": lambda m, b: m(b[0])[:, 0]}, r"the loss has the shape \(16,\); it must be one number"),
        ({"loss": lambda m, b: 0.5}, "the loss is a float; it must be a tensor, such as the .loss of"),
        ({"loss": lambda m, b: m(b[0]).detach().mean()}, "the loss depends on no trainable parameter"),
        ({"evaluate": lambda m: None}, "evaluate returns a NoneType; it must return a number"),
        ({"evaluate": lambda m: {"accuracy": 0.5}}, "evaluate returns a dict; it must return a number"),
        ({"evaluate": lambda m: math.nan}, "evaluate returns NaN after step 2"),
        ({"model": nn.Tanh()}, "the Tanh has no parameters to train"),
    ],
)
def test_fit_refuses_what_does_not_fit_and_says_what(data, options, message):
    arguments = {
        "model": network(),
        "dataset": data,
        "loss": loss,
        "config": TrainingConfig(epochs=1),
        **options,
    }
    with pytest.raises(ValueError, match=message):
        fit(**arguments)


def test_a_frozen_model_is_refused_by_the_loss(data):
    model = network().requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameter; unfreeze some"):
        fit(model, data, loss, CONFIG)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            lambda m: [{"params": m.parameters()}, {"lr": 1e-3, "name": "head"}],
            "group 1 has lr, name, but no params",
        ),
        (lambda m: [{"params": m[0].parameters()}], r"4 parameters are missing \(1.weight, 1.bias, 4.weight"),
        (
            lambda m: [{"params": m.parameters()}, {"params": m[4].parameters()}],
            r"2 parameters are there twice \(4.weight, 4.bias\)",
        ),
        (
            lambda m: [{"params": m.parameters()}, {"params": nn.Linear(3, 2).parameters()}],
            r"2 parameters are not the model's \(\(2, 3\), \(2,\)\)",
        ),
    ],
)
def test_parameter_groups_must_cover_the_model_once(data, groups, message):
    model = network()
    with pytest.raises(ValueError, match=f"parameter_groups: {message}"):
        fit(model, data, loss, CONFIG, parameter_groups=groups(model))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "options", "shown"),
    [(Terminal, {}, True), (Terminal, {"progress": False}, False), (io.StringIO, {}, False)],
)
def test_progress_is_shown_on_a_terminal_only_and_leaves_no_line(
    data, monkeypatch, capsys, stream, options, shown
):
    screen = stream()
    monkeypatch.setattr(sys, "stderr", screen)

    class Slow:  # the bar redraws itself every tenth of a second
        def on_step(self, model, step):
            time.sleep(0.11)

    fit(network(), data, loss, TrainingConfig(max_steps=2), callbacks=[Slow()], **options)
    assert capsys.readouterr().out == ""
    assert ("loss" in screen.getvalue()) is shown
    assert screen.getvalue().endswith("\r" if shown else "")


def test_fit_then_predict_learns_a_rule(data):
    """The rule, the sign of one of five inputs, is linear: a network that learns nothing stays near one half."""
    model = network()

    def accuracy(model):
        rows = predict(model, data, forward=lambda m, b: m(b[0])).argmax(1)
        return float((rows == torch.tensor([y for _, y in data])).float().mean())

    history = fit(
        model, data, loss, TrainingConfig(epochs=30, batch_size=8, learning_rate=1e-2), evaluate=accuracy
    )
    assert accuracy(model) == max(score for _, score in history.evaluations) == 1.0
    assert history.losses[-1] < 0.3 * history.losses[0]
    assert 0 < history.seconds < 60
