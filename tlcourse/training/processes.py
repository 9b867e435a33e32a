"""What a training run shares with other runs and other processes: accelerate's state, random numbers, gradients.

`accelerate` keeps its settings in singletons of the process, and the random generators are global. A run of
`tlcourse.training.fit` borrows both and gives them back, so that two runs in one notebook may differ in precision
and neither disturbs the reader's own random numbers.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import broadcast, broadcast_object_list, gather_object
from torch import Tensor, nn

from tlcourse import runtime


@contextmanager
def own_accelerator(mixed_precision: str) -> Iterator[Accelerator]:
    """An Accelerator on the device of the profile; accelerate's state of before is put back afterwards.

    mixed_precision: 'no', 'bf16' or 'fp16'. Raises ValueError where the device cannot compute in it.
    """
    device = runtime.device().type
    # Checked on CUDA only: every CPU computes bf16, if slowly.
    emulated = device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if (mixed_precision == "fp16" and device == "cpu") or (mixed_precision == "bf16" and emulated):
        other = "bf16" if mixed_precision == "fp16" else "fp16"
        raise ValueError(
            f"mixed_precision={mixed_precision!r} does not work on this {device}; try {other!r} or 'no'"
        )
    singletons = [kind._shared_state for kind in (PartialState, AcceleratorState, GradientState)]
    kept = [dict(state) for state in singletons]
    for state in singletons:
        state.clear()
    try:
        yield Accelerator(mixed_precision=mixed_precision, cpu=device == "cpu")
    finally:
        for state, before in zip(singletons, kept, strict=True):
            state.clear()
            state.update(before)


@contextmanager
def seeded(seed: int, accelerator: Accelerator) -> Iterator[None]:
    """Python's, NumPy's and PyTorch's global generators seeded, in each process by its own seed.

    Their states of before are put back afterwards.
    """
    before = random_state(accelerator.device)
    try:
        runtime.seed_everything((seed + accelerator.process_index) % 2**32)
        yield
    finally:
        set_random_state(before, accelerator.device)


def random_state(device: torch.device) -> dict:
    """The states of the global generators, as values that JSON can hold."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - collate functions still draw from it
    state = {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), *rest],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device).numpy().tobytes().hex()
    return state


def set_random_state(state: dict, device: torch.device) -> None:
    """Undo of `random_state`, also after a way through JSON."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(_bytes(state["torch"]))
    if device.type == "cuda":
        torch.cuda.set_rng_state(_bytes(state["cuda"]), device)


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def gathered(value: object, accelerator: Accelerator) -> list:
    """The value of every process, in their order."""
    return gather_object([value]) if accelerator.num_processes > 1 else [value]


def from_main_process(value: float, accelerator: Accelerator) -> float:
    """The main process's value, on all."""
    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value


def spread(tensors: Iterator[Tensor], accelerator: Accelerator) -> None:
    """Copy the main process's tensors over those of the others."""
    if accelerator.num_processes > 1:
        with torch.no_grad():
            for tensor in tensors:
                tensor.copy_(broadcast(tensor.detach().clone()))


def sum_gradients(parameters: Sequence[nn.Parameter], loss: Tensor, accelerator: Accelerator) -> Tensor:
    """Sum gradients over the processes, in place, and the loss (), which is returned.

    All in one message. A parameter that has a gradient in no process keeps none, so that it does not move.
    """
    active = [p for p in parameters if p.requires_grad]
    present = torch.tensor([p.grad is not None for p in active], device=accelerator.device)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in active]
    parts = [loss.reshape(1), present, *(g.flatten() for g in gradients)]
    summed = accelerator.reduce(torch.cat([part.float() for part in parts]), "sum")
    loss, present, *gradients = summed.split([len(part) for part in parts])
    for parameter, seen, gradient in zip(active, present.tolist(), gradients, strict=True):
        parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if seen else None
    return loss[0]
