"""What a model may be given: ids within its tables, and masks that say where a query may look (True is seen)."""

import torch
from torch import Tensor


def causal_mask(n_queries: int, n_keys: int | None = None, device: torch.device | None = None) -> Tensor:
    """(T, S) boolean: a query sees its own and earlier positions. The queries are the last T of the S positions."""
    n_keys = n_queries if n_keys is None else n_keys
    if not 1 <= n_queries <= n_keys:
        raise ValueError(
            f"{n_queries} queries for {n_keys} keys; queries are the last positions, so at most as many"
        )
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def padding_mask(attention_mask: Tensor | None, input_ids: Tensor) -> Tensor | None:
    """(B, 1, 1, S) boolean for all heads and queries, or None where nothing is padded, which is faster.

    attention_mask: (B, S), 1 or True for a word, 0 or False for padding; None: no padding. Raises ValueError when its
    shape is not that of input_ids, on other values, and on a row of padding alone.
    """
    if attention_mask is None:
        return None
    if attention_mask.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask {tuple(attention_mask.shape)} for input_ids {tuple(input_ids.shape)}; give both as (B, T)"
        )
    mask = attention_mask if attention_mask.dtype == torch.bool else attention_mask != 0
    if not torch.compiler.is_compiling():  # a graph cannot depend on values, so there the mask always stays
        if mask.dtype != attention_mask.dtype and not torch.equal(
            mask.to(attention_mask.dtype), attention_mask
        ):
            raise ValueError(
                "attention_mask holds values other than 0 and 1; give 1 for a word, 0 for padding"
            )
        if mask.all():
            return None
        if not (full := mask.any(-1)).all():
            row = int(full.logical_not().nonzero()[0])
            raise ValueError(
                f"row {row} of attention_mask is padding alone; leave such rows out of the batch"
            )
    return mask[:, None, None, :]


def check_ids(ids: Tensor, n: int, name: str = "input_ids", limit: str = "vocab_size") -> None:
    """Raise ValueError unless ids is a non-empty (B, T) tensor of integers in 0 … n − 1."""
    if ids.dim() != 2 or ids.numel() == 0:
        raise ValueError(
            f"{name} has shape {tuple(ids.shape)}; give (B, T), at least one row and one position"
        )
    if ids.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{name} is {ids.dtype}; give integers, torch.long")
    if torch.compiler.is_compiling():
        return
    low, high = (int(x) for x in ids.aminmax())
    if low < 0 or high >= n:
        raise ValueError(f"{name} holds {low if low < 0 else high}, outside 0…{n - 1} ({limit}={n})")
