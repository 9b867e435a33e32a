"""The same run by one process or by two: `python two_processes.py FOLDER`, or the same under torchrun.

Every process writes what it saw to FOLDER/<number>.json and its parameters to FOLDER/<number>.safetensors.
"""

import json
import math
import os
import shutil
import sys
from pathlib import Path

import torch
from accelerate.state import PartialState
from torch import nn
from torch.nn import functional as F

from tlcourse import weights
from tlcourse.training import TrainingConfig, checkpoints, fit, state

N_ITEMS = 21  # batches of 8, 8, 5 items in 2 × 3 pieces: of unequal sizes, some empty
CONFIG = TrainingConfig(
    epochs=4, batch_size=8, learning_rate=1e-2, accumulate=3, clip_norm=0.05, evaluate_every=4
)


class Network(nn.Module):
    """The first layer joins later, another stays out of the loss, and there are running statistics."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.second = nn.Linear(6, 3)
        self.unused = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x):
        hidden = torch.tanh(self.first(x))
        self.norm(hidden.detach().repeat(2, 1))  # only for its statistics
        return self.second(hidden)


class Watch:
    def __init__(self):
        self.seen, self.evaluations, self.draws = {}, 0, []

    def on_start(self, model):
        self.seen |= {
            "rank": PartialState().process_index,
            "processes": PartialState().num_processes,
            "drawn": torch.rand(()).item(),
        }

    def on_epoch(self, model, epoch):
        model.first.requires_grad_(epoch >= 1)

    def on_step(self, model, step):
        self.draws.append(torch.rand(()).item())  # as dropout would


def loss(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def main(folder):
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(N_ITEMS, 4, generator=generator), torch.arange(N_ITEMS) % 3
    data = list(zip(x, y, strict=True))
    watch = Watch()
    rank = int(os.environ.get("RANK", 0))
    torch.manual_seed(rank)  # parameters differ at first: the main process's must win
    model = Network()
    if rank > 0:

        def refuse(*_):
            raise AssertionError("a process beside the main one wrote a checkpoint")

        checkpoints.write = refuse

    def evaluate(model):
        watch.evaluations += 1
        return watch.evaluations + rank / 10  # rises, and differs between processes

    def train():
        return fit(
            model,
            data,
            loss,
            CONFIG,
            callbacks=[watch],
            checkpoint_folder=folder / "run",
            resume=True,
            evaluate=evaluate,
        )

    history = train()
    newest = folder / "run" / "step-00000012"
    again = Network()
    if rank == 0:
        shutil.rmtree(newest)
    if watch.seen["processes"] > 1:
        torch.distributed.barrier()
    first, model = model, again
    resumed = train()
    # The second run makes the last three updates again, each process from its own random state.
    watch.seen["drawn_again"] = watch.draws[12:] == watch.draws[9:12]
    watch.seen["resumed"] = resumed.losses == history.losses and all(
        torch.equal(a, b)
        for a, b in zip(state.model_tensors(first).values(), again.state_dict().values(), strict=True)
    )
    try:
        fit(
            model,
            data,
            lambda m, b: loss(m, b) * (math.nan if rank == watch.seen["processes"] - 1 else 1),
            CONFIG,
        )
    except FloatingPointError as error:
        watch.seen["error"] = str(error)
    watch.seen["evaluations"], watch.seen["losses"] = history.evaluations, history.losses
    (folder / f"{rank}.json").write_text(json.dumps(watch.seen))
    weights.save(first.state_dict(), folder / f"{rank}.safetensors")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
