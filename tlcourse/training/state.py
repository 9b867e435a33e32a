"""What a checkpoint of a training run holds, and how a run goes on from it.

Beside the parameters: AdamW's moments, the states of all random generators of all processes, what is frozen or in
evaluation mode, the best parameters so far, the history, and the identity of the run, which a run that resumes must
share. The schedule and the place in the data follow from the number of updates done.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from tlcourse.training import checkpoints, processes
from tlcourse.training.checkpoints import Checkpoint, CheckpointError
from tlcourse.training.config import History, TrainingConfig


@dataclass
class Run:
    """A run under way. best: the tensors of the best evaluation so far, on the CPU; None before the first."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    config: TrainingConfig
    history: History = field(default_factory=History)
    best: dict[str, Tensor] | None = None


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers, a shared one once."""
    persistent = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in persistent}
    return dict(model.named_parameters()) | buffers


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def copy_over(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Values into tensors of the same names, in place."""
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(values[name])


def identity(
    run: Run, dataset: Sequence, lengths: Sequence[int] | None, evaluate: Callable | None
) -> dict[str, object]:
    """What two runs must share so that one can continue the other, as JSON gives it back."""
    names = {parameter: name for name, parameter in run.model.named_parameters()}
    digest = (
        None if lengths is None else hashlib.sha256(np.asarray(lengths, dtype=np.int64).tobytes()).hexdigest()
    )
    return {
        "config": asdict(run.config),
        "model": {
            name: f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
            for name, tensor in model_tensors(run.model).items()
        },
        "parameter_groups": {
            names[parameter]: f"lr {group['base_lr']}, weight_decay {group['weight_decay']}"
            for group in run.optimizer.param_groups
            for parameter in group["params"]
        },
        "items": len(dataset),
        "lengths": digest,
        "evaluated": evaluate is not None,
        "processes": run.accelerator.num_processes,
        "device": run.accelerator.device.type,
    }


def save(run: Run, folder: str | Path, same: Mapping[str, object]) -> None:
    """Write a checkpoint of the run, whose identity is `same`; only the main process does. Raises OSError."""
    accelerator = run.accelerator
    generators = processes.gathered(processes.random_state(accelerator.device), accelerator)
    if accelerator.is_main_process:
        parameters = dict(run.model.named_parameters())
        moments = {
            f"optimizer/{key}/{name}": value
            for name, parameter in parameters.items()
            for key, value in run.optimizer.state.get(parameter, {}).items()
        }
        tensors = {f"model/{name}": tensor for name, tensor in model_tensors(run.model).items()}
        tensors |= {f"best/{name}": tensor for name, tensor in (run.best or {}).items()} | moments
        facts = {
            "identity": same,
            "history": asdict(run.history),
            "generators": generators,
            "trainable": [name for name, parameter in parameters.items() if parameter.requires_grad],
            "evaluating": [name for name, module in run.model.named_modules() if not module.training],
            "scaler": run.accelerator.scaler.state_dict() if run.accelerator.scaler else None,
        }
        checkpoints.write(folder, Checkpoint(len(run.history.steps), tensors, facts))
    accelerator.wait_for_everyone()


def find(folder: str | Path, same: Mapping[str, object]) -> Checkpoint | None:
    """The newest intact checkpoint in folder, if there is one. Raises CheckpointError where it is of another run."""
    checkpoint = checkpoints.newest(folder)
    different = [] if checkpoint is None else checkpoints.differences(checkpoint.facts["identity"], same)
    if different:
        lines = "\n  ".join(["", *different])
        raise CheckpointError(
            f"{folder} holds checkpoints of another run:{lines}\nMake them agree, or name another folder"
        )
    return checkpoint


def restore(run: Run, checkpoint: Checkpoint) -> None:
    """Bring the run to where it was when the checkpoint was written."""
    facts, accelerator = checkpoint.facts, run.accelerator
    kinds: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    for path, tensor in checkpoint.tensors.items():
        kind, name = path.split("/", 1)
        kinds[kind][name] = tensor
    copy_over(model_tensors(run.model), kinds["model"])
    parameters = dict(run.model.named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in facts["trainable"])
    for name, module in run.model.named_modules():
        module.training = name not in facts["evaluating"]
    for path, value in kinds["optimizer"].items():
        key, name = path.split("/", 1)
        run.optimizer.state[parameters[name]][key] = value.to(parameters[name].device)
    if accelerator.scaler:
        accelerator.scaler.load_state_dict(facts["scaler"])
    run.best = kinds["best"] or None
    run.history = History(**facts["history"])
    run.history.evaluations = [(step, score) for step, score in run.history.evaluations]
    processes.set_random_state(facts["generators"][accelerator.process_index], accelerator.device)
