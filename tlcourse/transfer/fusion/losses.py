"""Several losses at once, and how much each counts."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


class JointLoss(NamedTuple):
    """total: (), what is minimised; parts: each task's own loss (), not weighted, without gradient, to be plotted."""

    total: Tensor
    parts: dict[str, Tensor]


class FixedWeights(nn.Module):
    """Σ weight · loss over tasks, with weights that stay. Raises ValueError on a weight that is not positive."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        bad = {task: weight for task, weight in weights.items() if not (math.isfinite(weight) and weight > 0)}
        if bad or not weights:
            raise ValueError(f"weights={bad or dict(weights)}; give a positive number for each task")
        self._weights = dict(weights)

    def weights(self) -> dict[str, float]:
        """What each task's loss is multiplied by."""
        return dict(self._weights)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        _check_tasks(losses, self._weights)
        return sum(self._weights[task] * loss for task, loss in losses.items())


class UncertaintyWeights(nn.Module):
    """Σ exp(−s) · loss + s / 2 over tasks, with a learned s = log σ² for each; at its best, a weight is 1 / (2 · loss).

    A task whose loss stays high is weighted less. Kendall, Gal & Cipolla (2018), "Multi-task learning using uncertainty
    to weigh losses", the form for classification. s starts at 0, that is weights of 1; give this module's parameters to
    the optimiser beside the model's.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        if not tasks or isinstance(tasks, str):
            raise ValueError(f"tasks={tasks!r}; give the names of the tasks, at least one, in a list")
        self.log_variances = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in tasks})

    def weights(self) -> dict[str, float]:
        """What each task's loss is multiplied by at present."""
        return {task: math.exp(-s.item()) for task, s in self.log_variances.items()}

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        _check_tasks(losses, self.log_variances)
        s = self.log_variances
        return sum(torch.exp(-s[task]) * loss + s[task] / 2 for task, loss in losses.items())


def joint_loss(
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    losses: Mapping[str, Loss],
    weighting: nn.Module,
) -> JointLoss:
    """One loss out of a loss for each task: weighting({task: losses[task](outputs[task], targets[task])}).

    The tasks are those of targets: one without labels in this batch is left out there. weighting: `FixedWeights` or
    `UncertaintyWeights`. Raises ValueError for a task without output, without loss or without weight, for no task at
    all, and for a loss that is not one number.
    """
    for what, known in (("output", outputs), ("loss", losses)):
        if missing := [task for task in targets if task not in known]:
            raise ValueError(f"no {what} for the tasks {missing} of targets; there are {list(known)}")
    if not targets:
        raise ValueError("targets name no task; give labels for at least one")
    parts = {task: losses[task](outputs[task], target) for task, target in targets.items()}
    if wrong := {task: tuple(loss.shape) for task, loss in parts.items() if loss.ndim}:
        raise ValueError(f"losses of shapes {wrong}; each must be one number, as the mean over the batch is")
    return JointLoss(weighting(parts), {task: loss.detach() for task, loss in parts.items()})


def _check_tasks(losses: Mapping[str, Tensor], known: Mapping) -> None:
    if unknown := [task for task in losses if task not in known]:
        raise ValueError(f"no weight for the tasks {unknown}; there are weights for {list(known)}")
