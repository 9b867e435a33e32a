"""Where each token of a padded batch stands, and which earlier ones it sees."""

import torch
from torch import Tensor

from tlcourse.layers import causal_mask


def check_positions(input_ids: Tensor, padding: Tensor | None, limit: int, n_new: int = 0) -> Tensor | slice:
    """Position of each token: its place in its row, padding not counted. (B, T), or one slice for all rows.

    padding: as `layers.padding_mask` gives it. Raises ValueError where the longest row and the n_new tokens to come
    behind it exceed the limit.
    """
    length = input_ids.shape[1]
    positions: Tensor | slice = slice(0, length)
    if padding is not None:
        counts = padding[:, 0, 0].long().cumsum(-1)  # (B, T)
        if not torch.compiler.is_compiling():  # a graph cannot depend on values: there padding counts
            length = int(counts[:, -1].max())
        positions = (counts - 1).clamp_(min=0)  # padding on the left takes the first place; nothing sees it
    if length + n_new > limit:
        tokens = f"{length} tokens" if n_new == 0 else f"{length} tokens of prompt and {n_new} new ones"
        raise ValueError(
            f"{tokens} are more than n_positions={limit}; cut the text, from the left to go on with it"
        )
    return positions


def prompt_mask(padding: Tensor | None, n: int) -> Tensor | None:
    """Who sees whom in a batch read from its start: (B, 1, T, T), or None where plain causality is enough."""
    if padding is None:
        return None
    kept = padding[:, 0, 0]  # (B, T)
    if not torch.compiler.is_compiling() and (kept[:, :-1] >= kept[:, 1:]).all():
        return None  # padding on the right: causality hides it already, and the kernel for it is faster
    # Padding sees itself, so that no query is without a key, which some kernels answer with nan.
    return padding & causal_mask(n, device=kept.device) | torch.eye(n, dtype=torch.bool, device=kept.device)
