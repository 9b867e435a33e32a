"""One training loop for the whole course, on `accelerate`: `fit`, and `predict` for its outcome.

A step is one update of the parameters from `batch_size` items. How many processes share these items, and in how
many pieces each of them computes (`accumulate`), changes memory and time, not the result, because every piece
counts by its number of items. Gradients are summed over processes here rather than by DistributedDataParallel:
DDP fixes at the start which parameters have gradients, gradual unfreezing changes that on the way, and the loss
would see a wrapper in place of the model.

Step k of a run depends on (seed, k) and on the state that a checkpoint holds; the order of the data is a pure
function of (seed, epoch). That is why a killed run continues to bit-identical parameters. The files of a
checkpoint are the business of `tlcourse.checkpoints`; what goes into them is decided here.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import broadcast, broadcast_object_list, send_to_device
from torch import Tensor, nn
from torch.utils.data import default_collate
from tqdm.auto import tqdm

SCHEDULES = ("linear", "cosine", "constant")
POOL = 50  # batches whose items are sorted together by length


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how fast and how carefully to train. Exactly one of epochs and max_steps is given.

    batch_size: items per update, over all processes; accumulate: pieces in which each process computes its share.
    learning_rate rises linearly over the share `warmup` of the steps, then follows `schedule`, to 0 for linear and
    cosine. weight_decay is AdamW's (Loshchilov and Hutter 2019), on weight matrices only. clip_norm bounds the
    gradient's norm. evaluate_every: steps (None: each epoch); patience: evaluations without improvement until the
    run stops (None: never). Raises ValueError on a value that makes no sense.
    """

    epochs: int | None = None
    max_steps: int | None = None
    batch_size: int = 16
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    schedule: str = "linear"
    warmup: float = 0.1
    clip_norm: float | None = 1.0
    mixed_precision: str = "no"
    accumulate: int = 1
    evaluate_every: int | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self):
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError(
                f"give epochs or max_steps, one of both: epochs={self.epochs}, {self.max_steps=}"
            )
        for name in ("epochs", "max_steps", "batch_size", "accumulate", "evaluate_every", "patience"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name}={value!r} must be a whole number of at least 1")

    def factor(self, step: int, total: int) -> float:
        """Share of the learning rate in force at update number `step` (from 0) of `total`."""
        warmup = round(self.warmup * total)
        if step < warmup:
            return step / warmup
        if self.schedule == "constant":
            return 1.0
        share = (step - warmup) / (total - warmup)
        return 1 - share if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * share))


@dataclass
class History:
    """What happened: one entry per update in steps (from 1), losses, learning_rates; (step, score) in evaluations.

    learning_rates are those of config.learning_rate; groups with their own lr follow in proportion. best_step is
    the step whose parameters the model has now when `evaluate` was given, else None.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    best_step: int | None = None
    seconds: float = 0.0
    stopped_early: bool = False


def fit(
    model: nn.Module,
    dataset: Sequence,
    loss: Callable[[nn.Module, Any], Tensor],
    config: TrainingConfig,
    *,
    collate: Callable[[list], Any] | None = None,
    parameter_groups: Sequence[dict] | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    callbacks: Sequence = (),
    lengths: Sequence[int] | None = None,
    checkpoint_folder: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train model in place."""
    started = time.perf_counter()
    per_epoch = math.ceil(len(dataset) / config.batch_size)
    total = config.max_steps or config.epochs * per_epoch
    collate = collate or default_collate
    history, best = History(), None
    modes = {module: module.training for module in model.modules()}
    with accelerator_for(config) as accelerator, seeded(config.seed + accelerator.process_index):
        model.to(accelerator.device)
        optimizer = accelerator.prepare_optimizer(
            adamw(model, config, parameter_groups, fused=accelerator.device.type in ("cpu", "cuda"))
        )
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        model.train()
        for callback in callbacks:
            getattr(callback, "on_start", nothing)(model)
        bar = tqdm(
            total=total, leave=False, disable=None if progress and accelerator.is_main_process else True
        )
        try:
            for step in range(total):
                epoch, position = divmod(step, per_epoch)
                if position == 0:
                    batches = epoch_batches(len(dataset), config.batch_size, config.seed, epoch, lengths)
                    for callback in callbacks:
                        getattr(callback, "on_epoch", nothing)(model, epoch)
                factor = config.factor(step, total)
                for group in optimizer.param_groups:
                    group["lr"] = group["base_lr"] * factor
                items = batches[position]
                value = 0.0
                pieces = np.array_split(items, min(len(items), config.accumulate * accelerator.num_processes))
                for piece in pieces[accelerator.process_index :: accelerator.num_processes]:
                    batch = collate(gather_items(dataset, piece.tolist()))
                    if accelerator.device.type != "cpu":
                        batch = send_to_device(batch, accelerator.device)
                    with accelerator.autocast():
                        piece_loss = loss(model, batch)
                    if len(piece) < len(items):
                        piece_loss = piece_loss * (len(piece) / len(items))
                    accelerator.backward(piece_loss)
                    value = value + piece_loss.detach()
                if accelerator.num_processes > 1:
                    value = sum_over_processes(accelerator, parameters, value)
                value = float(value)
                if not math.isfinite(value):
                    rate = config.learning_rate * factor
                    raise FloatingPointError(
                        f"the loss is {value} at step {step + 1} of {total}, learning rate {rate:.3g}: try a learning"
                        f" rate of {config.learning_rate / 10:.3g} or more warm-up, and look for NaN in the data"
                    )
                if config.clip_norm is not None:
                    accelerator.clip_grad_norm_(parameters, config.clip_norm)
                optimizer.step()
                optimizer.zero_grad()
                history.steps.append(step + 1)
                history.losses.append(value)
                history.learning_rates.append(config.learning_rate * factor)
                for callback in callbacks:
                    getattr(callback, "on_step", nothing)(model, step + 1)
                bar.update()
                due = (step + 1) % (config.evaluate_every or per_epoch) == 0 or step + 1 == total
                if evaluate is not None and due:
                    score = evaluation(model, evaluate, accelerator)
                    history.evaluations.append((step + 1, score))
                    if best is None or score > max(s for _, s in history.evaluations[:-1]):
                        best = {name: t.detach().clone() for name, t in tensors(model).items()}
                        history.best_step = step + 1
                    since = sum(s > history.best_step for s, _ in history.evaluations)
                    if config.patience is not None and since >= config.patience and step + 1 < total:
                        history.stopped_early = True
                        break
            if best is not None:
                with torch.no_grad():
                    for name, tensor in tensors(model).items():
                        tensor.copy_(best[name])
        finally:
            bar.close()
            optimizer.zero_grad()
            for module, mode in modes.items():
                module.training = mode
    history.seconds = time.perf_counter() - started
    return history


def predict(
    model: nn.Module,
    dataset: Sequence,
    *,
    collate: Callable[[list], Any] | None = None,
    batch_size: int = 64,
    lengths: Sequence[int] | None = None,
    forward: Callable[[nn.Module, Any], Tensor] | None = None,
) -> Tensor:
    """Outputs of model for every item, in the order of dataset: (N, ...) on the CPU.

    forward(model, batch) gives (B, ...); by default model(**batch) for a mapping and model(batch) for anything else,
    and the `.logits` of an output that has them. Runs in eval mode without gradients; modes are restored.
    """
    collate = collate or default_collate
    forward = forward or default_forward
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    order = np.arange(len(dataset)) if lengths is None else np.argsort(np.asarray(lengths), kind="stable")
    outputs = []
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(order), batch_size):
            batch = collate(gather_items(dataset, order[start : start + batch_size].tolist()))
            outputs.append(forward(model, send_to_device(batch, device)).cpu())
    return torch.cat(outputs)[torch.from_numpy(np.argsort(order))]


def default_forward(model: nn.Module, batch: Any) -> Tensor:
    output = model(**batch) if isinstance(batch, Mapping) else model(batch)
    return getattr(output, "logits", output)


def epoch_batches(n_items: int, batch_size: int, seed: int, epoch: int, lengths=None) -> list[np.ndarray]:
    """Indices of every item once, cut into batches; a pure function of its arguments.

    With lengths, pools of 50 batches are sorted by length before they are cut, so that a batch needs little
    padding, and the batches are shuffled.
    """
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(n_items)
    if lengths is not None:
        lengths = np.asarray(lengths)
        pools = [order[i : i + POOL * batch_size] for i in range(0, n_items, POOL * batch_size)]
        order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = [order[i : i + batch_size] for i in range(0, n_items, batch_size)]
    if lengths is not None:
        generator.shuffle(batches)
    return batches


def gather_items(dataset: Sequence, indices: list[int]) -> list:
    if hasattr(dataset, "__getitems__"):  # PyTorch's protocol for reading a batch at once
        return dataset.__getitems__(indices)
    return [dataset[i] for i in indices]


def adamw(model, config, parameter_groups, *, fused) -> torch.optim.AdamW:
    """AdamW over all parameters, frozen ones too; no decay on biases and norms."""
    decays = {
        parameter
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim > 1 and "bias" not in name and "norm" not in type(module).__name__.lower()
    }
    groups = []
    for group in parameter_groups or [{"params": list(model.parameters())}]:
        base = {"lr": config.learning_rate, "weight_decay": config.weight_decay, **group}
        base["base_lr"] = base["lr"]
        members = list(group["params"])
        kept = [p for p in members if p in decays]
        bare = [p for p in members if p not in decays]
        if kept:
            groups.append({**base, "params": kept})
        if bare:
            groups.append({**base, "params": bare, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, fused=fused)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, each once."""
    stored = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in stored}
    return dict(model.named_parameters()) | buffers


def sum_over_processes(accelerator, parameters, value):
    active = [p for p in parameters if p.requires_grad]
    present = torch.tensor([float(p.grad is not None) for p in active], device=accelerator.device)
    gradients = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in active]
    value = torch.as_tensor(value, device=accelerator.device).float().reshape(1)
    flat = accelerator.reduce(torch.cat([value, present, *gradients]), "sum")
    value, present, gradients = flat.split([1, len(active), len(flat) - 1 - len(active)])
    for p, seen, g in zip(
        active, present.tolist(), gradients.split([p.numel() for p in active]), strict=True
    ):
        if seen:
            p.grad = g.view_as(p).to(p.dtype)
    return value


def evaluation(model, evaluate, accelerator) -> float:
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            buffer.copy_(broadcast(buffer))
    with evaluating(model):
        score = [float(evaluate(model))]
    if accelerator.num_processes > 1:
        broadcast_object_list(score)
    return score[0]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode; afterwards each module in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's, NumPy's and PyTorch's global generators seeded; the caller's states are put back."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def accelerator_for(config: TrainingConfig) -> Iterator[Accelerator]:
    """An Accelerator of its own for one run. Accelerate keeps it in process-wide singletons: they are put back."""
    singletons = [kind._shared_state for kind in (PartialState, AcceleratorState, GradientState)]
    kept = [dict(state) for state in singletons]
    for state in singletons:
        state.clear()
    try:
        yield Accelerator(mixed_precision=config.mixed_precision)
    finally:
        for state, before in zip(singletons, kept, strict=True):
            state.clear()
            state.update(before)


def nothing(*_) -> None:
    pass
