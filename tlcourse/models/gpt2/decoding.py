"""Reading one more token in every row, written for speed: the blocks as one loop, and the output layer for few rows.

For one token in a few rows, calling modules and making views costs as much as the arithmetic of a small network.
`Block` and `GPT2.run` compute the same, and are the ones to read first.

Shapes: B batch, S positions in the cache, D width, A heads, K width of a head, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.models.gpt2.cache import KeyValueCache

if TYPE_CHECKING:
    from tlcourse.models.gpt2.network import GPT2

Step = Callable[[Tensor, Tensor | slice, Tensor | None], Tensor]


def next_states(model: GPT2, cache: KeyValueCache) -> Step:
    """A function that reads one token a row: ids (B,), positions and mask as `GPT2.run` takes them → states (B, D)."""
    if is_plain(model):
        return _in_one_loop(model, cache)
    return lambda ids, positions, mask: model.run(ids[:, None], positions, mask, cache)[:, 0]


def is_plain(model: GPT2) -> bool:
    """Whether everything before the output layer is as GPT2 builds it: nothing replaced, wrapped or hooked."""
    from tlcourse.models.gpt2 import network  # here, because it imports this module

    own = {network.GPT2, network.Block, network.CausalSelfAttention, network.FeedForward}
    own |= {nn.Embedding, nn.Dropout, nn.ModuleList, nn.LayerNorm, nn.Linear}
    return all(
        type(part) in own and _calls_nothing_else(part) for part in model.modules() if part is not model.head
    )


def _calls_nothing_else(part: nn.Module) -> bool:
    """Whether calling a module runs the forward of its class and no hook, of its own or of all modules."""
    of_all = getattr(torch.nn.modules.module, "_has_any_global_hook", dict)()
    return not (of_all or part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part))


def _in_one_loop(model: GPT2, cache: KeyValueCache) -> Step:
    n_heads = model.config.n_heads
    tokens, places, norm = model.token_embedding.weight, model.position_embedding.weight, _norm(model.norm)
    layers = [
        (
            _norm(block.attention_norm), _linear(block.attention.qkv), _linear(block.attention.output),
            _norm(block.feed_forward_norm), _linear(block.feed_forward.up), _linear(block.feed_forward.down),
            block.feed_forward.activation, memory, *memory.unbind(),
        )
        for block, memory in zip(model.blocks, cache.layers, strict=True)
    ]  # fmt: skip

    def step(ids: Tensor, positions: Tensor | slice, mask: Tensor | None) -> Tensor:
        column, n_rows = cache.length, len(ids)
        place = places[positions if isinstance(positions, slice) else positions[:, 0]]
        x = F.embedding(ids, tokens) + place  # (B, D)
        for norm_1, project, output, norm_2, up, down, activation, memory, keys, values in layers:
            qkv = project(norm_1(x)).view(n_rows, 3, n_heads, -1)  # (B, 3, A, K)
            memory.select(3, column).copy_(qkv[:, 1:].transpose(0, 1))  # (2, B, A, K)
            k, v = keys.narrow(2, 0, column + 1), values.narrow(2, 0, column + 1)  # each (B, A, S, K)
            heads = F.scaled_dot_product_attention(qkv[:, 0].unsqueeze(2), k, v, attn_mask=mask)
            x += output(heads.reshape(n_rows, -1))  # from (B, A, 1, K)
            x += down(activation(up(norm_2(x))))
        cache.advance(1)
        return norm(x)

    return step


def _linear(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    """The layer as one kernel, for states (B, in), without the view and the checks of each call."""
    if layer.bias is None:
        return layer
    bias, matrix = layer.bias, layer.weight.t()
    return lambda x: torch.addmm(bias, x, matrix)


def _norm(layer: nn.LayerNorm) -> Callable[[Tensor], Tensor]:
    shape, weight, bias, eps = layer.normalized_shape, layer.weight, layer.bias, layer.eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)


def _packs() -> bool:
    """Whether this PyTorch has oneDNN and its two calls, which are not public: without them all works, but slower."""
    calls = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, call) for call in calls)


def column_by_column(weight: Tensor) -> Tensor:
    """The same matrix (out, in) with each column, not each row, in one piece of memory.

    Generation multiplies matrices by one vector or a few. Where out exceeds in, BLAS adds up long columns in single
    precision up to 2.5 times as fast as it multiplies by short rows; for more rows the order hardly matters.
    """
    return weight.t().contiguous().t()


def output_layer(model: GPT2, n_rows: int) -> Callable[[Tensor], Tensor]:
    """The output layer, hidden states (B, D) → logits (B, V), for many calls with few rows.

    The token table itself must stay row by row: column by column, a training step at 124 M took a fifth longer. A copy
    of a small table, at most 16 MB, pays after some ten tokens; that of a large one would cost much memory. For one
    row the copy is column by column; for a few it is in the blocks that oneDNN's product reads one after the other,
    by the calls that torch.compile makes too: up to twice as fast. A few rows times a large table are faster written
    the other way round.
    """
    head, few = model.head, 1 < n_rows <= 8
    plain = type(head) is nn.Linear and head.bias is None and _calls_nothing_else(head)
    if not plain or head.weight.dtype != torch.float32:
        return head
    small = head.weight.numel() <= 2**22
    if n_rows == 1 and small:
        table = column_by_column(head.weight)
        return lambda hidden: F.linear(hidden, table)
    if few and small and head.weight.device.type == "cpu" and _packs():
        blocks = torch.ops.mkldnn._reorder_linear_weight(head.weight, n_rows)
        return lambda hidden: torch.ops.mkldnn._linear_pointwise(hidden, blocks, None, "none", [], "")
    if few and head.weight.numel() > 2**21:
        return lambda hidden: (head.weight @ hidden.t()).t().contiguous()
    return head
