"""The loop itself.

A step is one update of the parameters from `batch_size` items. How many processes share these items, and in how
many pieces each of them computes its share, changes memory and time but not the result, because every piece counts
by its number of items. Gradients are summed in `processes` rather than by PyTorch's DistributedDataParallel: that
fixes at the start which parameters have gradients, which gradual unfreezing changes on the way, and it would hand
the loss a wrapper in place of the model. `accelerate` finds the processes and their devices, and brings autocast
and loss scaling; its wrapper of the optimiser is left out, because it costs a third of a small network's step.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from tlcourse.training import checkpoints, processes, state
from tlcourse.training.batches import check_lengths, epoch_batches, evaluating, modes_kept, reader
from tlcourse.training.config import History, TrainingConfig
from tlcourse.training.optimiser import adamw
from tlcourse.training.state import Run

EVENTS = ("on_start", "on_epoch", "on_step")


def fit(
    model: nn.Module,
    dataset: Sequence,
    loss: Callable[[nn.Module, Any], Tensor],
    config: TrainingConfig,
    *,
    collate: Callable[[list], Any] | None = None,
    parameter_groups: Sequence[Mapping] | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    callbacks: Sequence[Any] = (),
    lengths: Sequence[int] | None = None,
    checkpoint_folder: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train model in place with AdamW, on the device of the profile.

    dataset: len() and items by number; collate: list of items → batch (default: PyTorch's). loss(model, batch):
    mean over the batch's items, (). parameter_groups: dicts of params and, if wanted, lr and weight_decay, which
    cover every parameter once; the schedule scales each lr. Frozen parameters do not move, and do from when they
    are unfrozen. evaluate(model): higher is better; at the end the model has the best parameters. callbacks:
    objects with any of on_start(model), on_epoch(model, epoch from 0, as it begins), on_step(model, updates done).
    lengths: of the items; puts similar ones into a batch. checkpoint_every: updates, None for each epoch; with
    resume, the run continues from the newest intact checkpoint in the folder, if there is one. progress: shown
    where stderr is a terminal.

    The same seed gives the same run; the caller's random states and the modules' modes are restored. Raises
    FloatingPointError when the loss or the gradient is not finite, before it reaches the parameters;
    CheckpointError when the folder belongs to another run; FileExistsError when it holds one and resume is false;
    OSError when a checkpoint cannot be written; ValueError on arguments that do not fit.
    """
    started = time.perf_counter()
    _check(dataset, config, evaluate, callbacks, lengths, checkpoint_folder, checkpoint_every, resume)
    starts, epochs, steps = (
        [getattr(callback, event) for callback in callbacks if hasattr(callback, event)] for event in EVENTS
    )
    total = config.total_steps(len(dataset))
    per_epoch = math.ceil(len(dataset) / config.batch_size)
    evaluate_every = config.evaluate_every or per_epoch
    with (
        processes.own_accelerator(config.mixed_precision) as accelerator,
        processes.seeded(config.seed, accelerator),
        modes_kept(model),
        _without_gradients(model),
    ):
        model.to(accelerator.device)
        run = Run(model, adamw(model, config, parameter_groups), accelerator, config)
        same = state.identity(run, dataset, lengths, evaluate)
        checkpoint = state.find(checkpoint_folder, same) if resume else None
        model.train()
        for call in starts:
            call(model)
        if checkpoint is not None:
            state.restore(run, checkpoint)
        processes.spread(state.model_tensors(model).values(), accelerator)
        history, before = run.history, run.history.seconds
        first = len(history.steps)
        update = _updater(run, reader(dataset, collate, accelerator.device), loss, total)
        with _progress(progress and accelerator.is_main_process, first, total) as bar:
            for step in range(first, first if history.stopped_early else total):
                epoch, position = divmod(step, per_epoch)
                if position == 0:
                    for call in epochs:
                        call(model, epoch)
                if position == 0 or step == first:
                    batches = epoch_batches(len(dataset), config.batch_size, config.seed, epoch, lengths)
                value = update(batches[position], step)
                for call in steps:
                    call(model, step + 1)
                if not bar.disable:
                    bar.set_postfix_str(f"loss {value:.3g}", refresh=False)
                    bar.update()
                last = step + 1 == total
                if evaluate is not None and (last or (step + 1) % evaluate_every == 0):
                    waited = _evaluate(run, evaluate)
                    history.stopped_early = not last and waited >= (config.patience or math.inf)
                last = last or history.stopped_early
                if checkpoint_folder is not None and (
                    last or (step + 1) % (checkpoint_every or per_epoch) == 0
                ):
                    history.seconds = before + time.perf_counter() - started
                    state.save(run, checkpoint_folder, same)
                if last:
                    break
        if run.best is not None:
            state.copy_over(state.model_tensors(model), run.best)
    history.seconds = before + time.perf_counter() - started
    return history


def _updater(run: Run, read: Callable, loss: Callable, total: int) -> Callable[[list[int], int], float]:
    """Function (numbers of the items, step from 0) → loss, which makes one update and records it."""
    config, optimizer, accelerator, history = run.config, run.optimizer, run.accelerator, run.history
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    scaler, world, rank = accelerator.scaler, accelerator.num_processes, accelerator.process_index
    n_pieces = config.accumulate * world
    autocast = nullcontext if config.mixed_precision == "no" else accelerator.autocast

    def backward(numbers: list[int], share: float) -> Tensor:
        with autocast():
            value = loss(run.model, read(numbers))
        _check_loss(value)
        value = value if share == 1 else value * share
        (value if scaler is None else scaler.scale(value)).backward()
        return value.detach()

    def update(numbers: list[int], step: int) -> float:
        factor = config.factor(step, total)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        if n_pieces == 1:
            value = backward(numbers, 1)
        else:
            pieces = np.array_split(numbers, n_pieces)[rank::world]
            values = [backward(piece.tolist(), len(piece) / len(numbers)) for piece in pieces if len(piece)]
            value = sum(values, start=parameters[0].new_zeros(()))
        if world > 1:
            value = processes.sum_gradients(parameters, value, accelerator)
        if scaler is not None:
            scaler.unscale_(optimizer)
        value, norm = float(value), 0.0
        if config.clip_norm is not None:
            norm = float(clip_grad_norm_(parameters, config.clip_norm))
        # Scaled gradients may overflow: then the scaler passes the update over and lowers its scale.
        if not (math.isfinite(value) and (scaler is not None or math.isfinite(norm))):
            raise FloatingPointError(
                f"loss {value:.3g}, gradient norm {norm:.3g} in step {step + 1} of {total} at learning rate "
                f"{config.learning_rate * factor:.3g}; the parameters are those of the step before. Try "
                f"learning_rate={config.learning_rate / 10:.3g} or a longer warmup, and look for NaN in the data"
            )
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        optimizer.zero_grad()
        history.steps.append(step + 1)
        history.losses.append(value)
        history.learning_rates.append(config.learning_rate * factor)
        return value

    return update


def _evaluate(run: Run, evaluate: Callable[[nn.Module], float]) -> int:
    """Record a score and keep the tensors if it is the best; returns the evaluations since the best."""
    history = run.history
    # Running statistics differ between processes; the main process's count.
    processes.spread(run.model.buffers(), run.accelerator)
    with evaluating(run.model):
        score = processes.from_main_process(_number(evaluate(run.model)), run.accelerator)
    step = history.steps[-1]
    if math.isnan(score):
        raise ValueError(
            f"evaluate returns NaN after step {step}; it must return a number, higher for better"
        )
    if all(score > before for _, before in history.evaluations):
        run.best = state.copied(state.model_tensors(run.model))
        history.best_step = step
    history.evaluations.append((step, score))
    return sum(at > history.best_step for at, _ in history.evaluations)


def _number(score: Any) -> float:
    try:
        return float(score)
    except (TypeError, ValueError):
        raise ValueError(
            f"evaluate returns a {type(score).__name__}; it must return a number, higher for better"
        ) from None


@contextmanager
def _without_gradients(model: nn.Module) -> Iterator[None]:
    """No gradients of before in the first update, none left after the last."""
    model.zero_grad()
    try:
        yield
    finally:
        model.zero_grad()


def _check_loss(value: Any) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(
            f"the loss is a {type(value).__name__}; it must be a tensor, such as the .loss of transformers' outputs"
        )
    if value.ndim:
        raise ValueError(f"the loss has the shape {tuple(value.shape)}; it must be one number, as by .mean()")
    if not value.requires_grad:
        raise ValueError(
            "the loss depends on no trainable parameter; unfreeze some, or compute it with gradients"
        )


def _check(
    dataset, config, evaluate, callbacks, lengths, checkpoint_folder, checkpoint_every, resume
) -> None:
    if len(dataset) == 0:
        raise ValueError("the data set is empty; give at least one item")
    check_lengths(lengths, dataset)
    if config.patience is not None and evaluate is None:
        raise ValueError(f"patience={config.patience} needs evaluate, the score that must improve")
    if checkpoint_folder is None and (resume or checkpoint_every is not None):
        raise ValueError(f"resume={resume}, checkpoint_every={checkpoint_every} need a checkpoint_folder")
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ValueError(f"checkpoint_every={checkpoint_every} must be at least 1, or None for each epoch")
    if checkpoint_folder is not None and not resume and (steps := checkpoints.steps(checkpoint_folder)):
        raise FileExistsError(
            f"{checkpoint_folder} holds the checkpoint of step {steps[-1]}; continue it with resume=True, or name "
            "another folder"
        )
    for callback in callbacks:
        if not any(hasattr(callback, event) for event in EVENTS):
            raise ValueError(f"the callback {callback!r} has none of the methods {', '.join(EVENTS)}")


def _progress(shown: bool, first: int, total: int) -> tqdm:
    # None: where stderr is a terminal, so that a notebook stores no trace of it.
    return tqdm(initial=first, total=total, unit="step", leave=False, disable=None if shown else True)
