"""A model that is only looked at stays as it was: what is compared, and what is put back."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from xxhash import xxh3_128_hexdigest


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    if any(training for _, training in modes):
        model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            if module.training != training:  # to set it takes much longer than to ask
                module.training = training


def content(model: nn.Module) -> dict[str, str]:
    """sha256 of every parameter and buffer (of those that no checkpoint keeps, too), by dotted name."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor_digest(tensor) for name, tensor in tensors}


def tensor_digest(tensor: Tensor) -> str:
    """sha256 over type, shape and bytes of a tensor, wherever it lies and however it is strided."""
    found = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    found.update(raw_bytes(tensor))
    return found.hexdigest()


def raw_bytes(tensor: Tensor) -> np.ndarray:
    """The bytes of a tensor in the order of its indices, (n,) uint8."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def checksums(model: nn.Module) -> dict[str, str]:
    """`checksum` of every parameter and buffer, by dotted name."""
    return {name: checksum(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}


def checksum(tensor: Tensor) -> str:
    """Tells whether a tensor moved, type and shape included: XXH3 in 128 bits, many times as fast as sha256.

    For comparing now with a moment ago. A name under which something is kept on disk is `tensor_digest`.
    """
    return f"{tensor.dtype} {tuple(tensor.shape)} {xxh3_128_hexdigest(raw_bytes(tensor))}"


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, compared before and after (by `checksum`).

    Buffers that the forward pass moved all the same are put back, also where the body raises. Raises RuntimeError
    naming every tensor that moved: such a model's features depend on the order of the batches.
    """
    before = checksums(model)
    buffers = [
        (module, key, buffer, buffer.clone())
        for module in model.modules()
        for key, buffer in module._buffers.items()
        if buffer is not None
    ]
    with evaluating(model):
        try:
            yield
        finally:
            after = checksums(model)
            for module, key, buffer, copy in buffers:
                if not torch.equal(buffer, copy):
                    buffer.copy_(copy)
                module._buffers[key] = buffer  # a forward pass may have assigned another tensor
    moved = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if moved:
        raise RuntimeError(
            f"the forward pass of {type(model).__name__} changed {', '.join(moved)} in evaluation mode, so features "
            "would depend on the order of the batches; buffers were put back. Make forward change nothing when "
            "self.training is False"
        )
