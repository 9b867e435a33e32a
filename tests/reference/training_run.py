"""A training run in which everything a checkpoint must hold matters, for tests in this and in other processes.

python training_run.py FOLDER KILL_AT [MOMENT]: train with checkpoints in FOLDER and die by SIGKILL in update KILL_AT,
at MOMENT 'step' (default) or 'checkpoint', that is in the middle of writing the next one.
"""

import os
import random
import signal
import sys

import numpy as np
import torch
from torch import nn

from tlcourse.training import TrainingConfig, fit, predict
from tlcourse.training import checkpoints as store

N_ITEMS = 30
CONFIG = TrainingConfig(epochs=4, batch_size=4, learning_rate=1e-2, evaluate_every=5, seed=3)  # 32 updates
EVERY = 3


class Network(nn.Module):
    """Dropout draws from PyTorch's generator, batch norm has buffers, one layer stands under two names."""

    def __init__(self, width=6):
        super().__init__()
        self.first = nn.Linear(5, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(0.3)
        self.middle = nn.Linear(width, width)
        self.head = nn.Linear(width, 5, bias=False)
        self.tied = self.middle

    def forward(self, x):
        return self.head(self.tied(self.dropout(torch.relu(self.norm(self.first(x))))))


class Noisy:
    """Items that draw from Python's and NumPy's global generators."""

    def __init__(self, n=N_ITEMS):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(n, 5, generator=generator)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] + random.gauss(0, 0.1), self.x[i].flip(0) + float(np.random.normal(0, 0.1))  # noqa: NPY002


class Unfreeze:
    """The first layer joins in with the third epoch."""

    def on_start(self, model):
        model.first.requires_grad_(False)

    def on_epoch(self, model, epoch):
        model.first.requires_grad_(epoch >= 2)


class Kill:
    def __init__(self, at):
        self.at = at

    def on_step(self, model, step):
        if step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def loss(model, batch):
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def evaluate(model):
    x = Noisy().x
    error = nn.functional.mse_loss(predict(model, x), x.flip(1)).item()
    return -abs(error - 0.93)  # best somewhere on the way, not at the end


def run(folder=None, *, width=6, n=N_ITEMS, config=CONFIG, callbacks=(), **options):
    """(model, history) of the run."""
    torch.manual_seed(0)
    model = Network(width)
    groups = [
        {"params": [*model.first.parameters(), *model.norm.parameters()], "lr": 5e-3},
        {"params": [*model.middle.parameters(), *model.head.parameters()]},
    ]
    if folder is not None:
        options = {"checkpoint_folder": folder, "checkpoint_every": EVERY, **options}
    lengths = [i % 7 for i in range(n)]
    arguments = {"evaluate": evaluate, "parameter_groups": groups, "lengths": lengths, **options}
    history = fit(model, Noisy(n), loss, config, callbacks=[Unfreeze(), *callbacks], **arguments)
    return model, history


if __name__ == "__main__":
    kill_at, moment = int(sys.argv[2]), (sys.argv[3:] or ["step"])[0]
    if moment == "checkpoint":
        flush = store._flush_folder

        def die(folder):
            if f"{folder}".rsplit("/", 1)[-1].startswith(".partial-") and len(store.steps(sys.argv[1])) >= 2:
                os.kill(os.getpid(), signal.SIGKILL)
            flush(folder)

        store._flush_folder = die
    run(sys.argv[1], callbacks=[Kill(kill_at)], resume=True)
