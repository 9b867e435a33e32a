"""The methods inside the training loop: what moves, when, and what stays to the bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tlcourse.training import TrainingConfig, fit
from tlcourse.transfer.finetuning import (
    L2SP,
    GradualUnfreezing,
    add_lora,
    discriminative_lr,
    freeze,
    hold_statistics,
    layer_groups,
    merge_lora,
    unfreeze,
)

SETTINGS = {
    "batch_size": 8,
    "learning_rate": 1e-2,
    "warmup": 0.0,
    "schedule": "constant",
    "weight_decay": 0.1,
}


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 4, generator=generator)
    return [(row, int(row.sum() > 0)) for row in x]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2)
    )


def loss(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y)


def config(epochs=1, **changes):
    return TrainingConfig(epochs=epochs, max_steps=None, **{**SETTINGS, **changes})


def state(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def moved(model, before):
    return [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]


def test_gradual_unfreezing_moves_one_more_layer_each_epoch(data):
    moves = []

    class Record:
        def __init__(self):
            self.before = None

        def on_epoch(self, model, epoch):
            if self.before is not None:
                moves.append({name.split(".")[0] for name in moved(model, self.before)} - {"1"})
            self.before = state(model)

    model = network()
    fit(
        model,
        data,
        loss,
        config(4),
        callbacks=[GradualUnfreezing(layer_groups(model)), Record()],
        progress=False,
    )
    assert moves == [{"5"}, {"3", "5"}, {"0", "3", "5"}]


def test_discriminative_rates_move_upper_layers_further(data):
    model = network()
    before = state(model)
    groups = discriminative_lr(model, 1e-2, 0.1)
    fit(model, data, loss, config(weight_decay=0.0), parameter_groups=groups, progress=False)
    steps = [(model.state_dict()[f"{i}.weight"] - before[f"{i}.weight"]).abs().max() for i in (0, 3, 5)]
    assert steps[0] < 0.3 * steps[1] < 0.3 * 0.3 * steps[2]


def test_lora_training_moves_only_factors_and_merges(data):
    model = network()
    before = state(model)
    freeze(model, hold_statistics=True)
    add_lora(model, ["0", "3"], rank=2, generator=torch.Generator().manual_seed(1))
    start = state(model)
    unfreeze(model, "5")
    fit(model, data, loss, config(2), progress=False)
    factors = [f"{i}.{key}" for i in (0, 3) for key in ("lora_A", "lora_B")]
    assert sorted(moved(model, start)) == sorted([*factors, "5.weight", "5.bias"])
    merge_lora(model)
    assert list(model.state_dict()) == list(before)
    assert moved(model, before) == ["0.weight", "3.weight", "5.weight", "5.bias"]


def test_held_statistics_stay_through_training_and_free_ones_move(data):
    model = network()
    before = state(model)
    freeze(model, "0", "1", "3")
    with hold_statistics(model):
        fit(model, data, loss, config(), progress=False)
    assert moved(model, before) == ["5.weight", "5.bias"]
    fit(model, data, loss, config(), progress=False)
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} <= set(moved(model, before))


def test_a_strong_l2sp_keeps_the_body_near_its_start(data):
    distances = []
    for strength in (0.0, 0.1, 10.0):
        model = network()
        before = state(model)
        penalty = L2SP(model, strength, head="5")
        fit(
            model,
            data,
            lambda m, b, p=penalty: loss(m, b) + p(m),
            config(8, weight_decay=0.0),
            progress=False,
        )
        distances.append(
            sum((model.state_dict()[f"{i}.weight"] - before[f"{i}.weight"]).norm() for i in (0, 3))
        )
    assert distances[0] > distances[1] > distances[2]


def test_a_gradually_unfrozen_run_resumed_within_an_epoch_ends_with_the_same_bits(data, tmp_path):
    class Interrupt:
        def on_step(self, model, step):
            if step == 8:  # three steps make an epoch
                raise KeyboardInterrupt

    def run(*more, **checkpoints):
        model = network()
        callbacks = [GradualUnfreezing(layer_groups(model)), *more]
        fit(model, data, loss, config(4), callbacks=callbacks, progress=False, **checkpoints)
        return model.state_dict()

    whole = run()
    folder = {"checkpoint_folder": tmp_path, "checkpoint_every": 1}
    with pytest.raises(KeyboardInterrupt):
        run(Interrupt(), **folder)
    assert any(tmp_path.iterdir())
    resumed = run(resume=True, **folder)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
