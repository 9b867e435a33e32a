"""A model that is only looked at stays as it was: what is compared, and what is put back."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def content(model: nn.Module) -> dict[str, str]:
    """sha256 of every parameter and buffer (of those that no checkpoint keeps, too), by dotted name."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor_digest(tensor) for name, tensor in tensors}


def tensor_digest(tensor: Tensor) -> str:
    """sha256 over type, shape and bytes of a tensor, wherever it lies and however it is strided."""
    tensor = tensor.detach().cpu().contiguous()
    found = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    found.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


ROW = 1024  # words of a row of `checksum`
ODD = torch.randint(2**31, (ROW,), generator=torch.Generator().manual_seed(0), dtype=torch.int32) | 1


def checksums(model: nn.Module) -> dict[str, str]:
    """`checksum` of every parameter and buffer, by dotted name."""
    return {name: checksum(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}


def checksum(tensor: Tensor) -> str:
    """Tells whether a tensor moved, type and shape included, in a third of the time of sha256.

    Its bits as words of 32, in rows; of each row the sum modulo 2³², each word times an odd number of its own
    (multilinear hashing; Carter & Wegman 1979); and sha256 of the sums, or of a small tensor itself. One changed word
    always changes its row's sum; several leave it as it was once in some four thousand million cases.
    """
    tensor = tensor.detach().contiguous()
    if tensor.nbytes < 8 * ROW:
        return tensor_digest(tensor)
    if tensor.data_ptr() % 4:
        tensor = tensor.clone()  # a part of a tensor of narrow numbers may begin between two words
    raw = tensor.reshape(-1).view(torch.uint8)
    whole = len(raw) // (4 * ROW) * 4 * ROW
    odd = ODD.to(raw.device)
    # A megabyte at a time stays in the processor's cache.
    rows = raw[:whole].view(torch.int32).reshape(-1, ROW).split(256)
    sums = [(row * odd).sum(1, dtype=torch.int32).view(torch.uint8) for row in rows]
    return f"{tensor.dtype} {tuple(tensor.shape)} {tensor_digest(torch.cat([*sums, raw[whole:]]))}"


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
