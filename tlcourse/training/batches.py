"""Items into batches: their order in training, a pure function of (seed, epoch), and predictions in theirs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.utils.data import default_collate

POOL = 50  # batches whose items are sorted together by length


def epoch_batches(
    n_items: int, batch_size: int, seed: int, epoch: int, lengths: Sequence[int] | None = None
) -> list[list[int]]:
    """Numbers of all items, each once, shuffled and cut into batches; the last may be smaller.

    With lengths, pools of 50 batches are sorted by length before they are cut, and then the batches are shuffled:
    items of a batch are of similar length and need little padding.
    """
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(n_items)
    if lengths is not None:
        lengths = np.asarray(lengths)
        pools = np.split(order, range(POOL * batch_size, n_items, POOL * batch_size))
        order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    order = order.tolist()
    batches = [order[start : start + batch_size] for start in range(0, n_items, batch_size)]
    if lengths is not None:
        generator.shuffle(batches)
    return batches


def reader(dataset: Sequence, collate: Callable[[list], Any] | None, device: torch.device) -> Callable:
    """Function from numbers of items to their batch on device."""
    collate = default_collate if collate is None else collate
    # PyTorch's protocol for data sets that read many items at once.
    many = getattr(dataset, "__getitems__", None) or (lambda numbers: [dataset[i] for i in numbers])
    if device.type == "cpu":
        return lambda numbers: collate(many(numbers))
    return lambda numbers: send_to_device(collate(many(numbers)), device)


def predict(
    model: nn.Module,
    dataset: Sequence,
    *,
    collate: Callable[[list], Any] | None = None,
    batch_size: int = 64,
    lengths: Sequence[int] | None = None,
    forward: Callable[[nn.Module, Any], Tensor] | None = None,
) -> Tensor:
    """Outputs for all items, in the order of dataset: (N, ...), on the CPU.

    forward(model, batch) → (B, ...); by default model(**batch) for a mapping, else model(batch), and the .logits
    of an output that has them. lengths: of the items; puts similar ones into a batch. Batches go to the device of
    the model's parameters. Runs in evaluation mode without gradients; modes are restored.
    Raises ValueError on an empty data set, lengths for another one, or outputs that do not fit together.
    """
    if len(dataset) == 0:
        raise ValueError("the data set is empty; give at least one item")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    check_lengths(lengths, dataset)
    forward = _call if forward is None else forward
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    read = reader(dataset, collate, device)
    # The longest first: if memory does not suffice, it shows at once.
    order = np.arange(len(dataset)) if lengths is None else np.argsort(-np.asarray(lengths), kind="stable")
    outputs = []
    with evaluating(model), torch.inference_mode():
        for numbers in np.split(order, range(batch_size, len(order), batch_size)):
            output = forward(model, read(numbers.tolist()))
            _check_output(output, len(numbers), outputs)
            outputs.append(output.cpu())
    return torch.cat(outputs)[torch.from_numpy(np.argsort(order))]


def check_lengths(lengths: Sequence[int] | None, dataset: Sequence) -> None:
    if lengths is not None and len(lengths) != len(dataset):
        raise ValueError(f"{len(lengths)} lengths for {len(dataset)} items; give one per item")


def _call(model: nn.Module, batch: Any) -> Tensor:
    if isinstance(batch, (tuple, list)):
        raise ValueError(
            f"a batch is a {type(batch).__name__} of {len(batch)}; say what of it the model gets, as in "
            "forward=lambda model, batch: model(batch[0])"
        )
    output = model(**batch) if isinstance(batch, Mapping) else model(batch)
    return getattr(output, "logits", output)


def _check_output(output: Any, n_items: int, before: list[Tensor]) -> None:
    if not isinstance(output, Tensor):
        raise ValueError(
            f"the model returns a {type(output).__name__}; choose a tensor of it, as in "
            "forward=lambda model, batch: model(**batch).last_hidden_state[:, 0]"
        )
    if output.ndim == 0 or len(output) != n_items:
        raise ValueError(
            f"an output of shape {tuple(output.shape)} for {n_items} items; one row per item is needed"
        )
    if before and before[0].shape[1:] != output.shape[1:]:
        raise ValueError(
            f"outputs of shapes {tuple(before[0].shape)} and {tuple(output.shape)} make no one tensor; pad to one "
            "length in collate, or pool in forward"
        )


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Afterwards every module is in training or evaluation mode as it was before."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode."""
    with modes_kept(model):
        model.eval()
        yield
