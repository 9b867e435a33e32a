"""Keys and values of the positions already read, so that each new token costs one position and not all of them."""

import torch
from torch import Tensor

from tlcourse.models.gpt2.config import GPT2Config


class KeyValueCache:
    """Room for the keys and values of `n_positions` columns in every layer, allocated once, filled from the left.

    `length` counts the columns that all layers hold. Memory: 2 · n_layers · B · n_positions · D numbers.
    """

    def __init__(self, config: GPT2Config, n_rows: int, n_positions: int, *, like: Tensor):
        """like: a tensor whose dtype and device the cache takes."""
        heads = (config.n_heads, n_positions, config.d_model // config.n_heads)  # A, S, K
        shape = (config.n_layers, 2, n_rows, *heads)
        self.layers = torch.empty(
            shape, dtype=like.dtype, device=like.device
        ).unbind()  # each (2, B, A, S, K)
        self.length = 0

    def extend(self, layer: int, kv: Tensor) -> tuple[Tensor, ...]:
        """Write keys and values (2, B, A, T, K) behind those held; all of the layer's, as views (B, A, S, K)."""
        n_new, memory = kv.shape[3], self.layers[layer]
        memory.narrow(3, self.length, n_new).copy_(kv)
        return memory.narrow(3, 0, self.length + n_new).unbind()

    def advance(self, n: int) -> None:
        """Count n more columns, once every layer has written them."""
        self.length += n
