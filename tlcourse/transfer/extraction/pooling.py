"""What makes one row per item out of a layer's output: functions (output, batch) → (B, ...) without parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


def mean_tokens(output: Tensor, batch: Any) -> Tensor:
    """(B, T, D) → (B, D), the mean over the positions that the batch's attention_mask (B, T) shows.

    Without such a mask, over all. Raises ValueError on other shapes and on a row of padding alone.
    """
    _check(output, 3, "(B, T, D)")
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if mask is None:
        return output.mean(1)
    if mask.shape != output.shape[:2]:
        raise ValueError(f"attention_mask {tuple(mask.shape)} for an output {tuple(output.shape)}")
    seen = mask.to(output.device) != 0  # (B, T)
    if not (full := seen.any(1)).all():
        row = int(full.logical_not().nonzero()[0])
        raise ValueError(f"row {row} of attention_mask is padding alone; leave such rows out of the batch")
    # Padding is set to zero rather than multiplied by it: it may hold anything, and 0 · nan is nan.
    return output.masked_fill(~seen.unsqueeze(2), 0).sum(1) / seen.sum(1, keepdim=True)


def first_token(output: Tensor, batch: Any) -> Tensor:
    """(B, T, D) → (B, D), the first position: BERT's [CLS]."""
    _check(output, 3, "(B, T, D)")
    return output[:, 0]


def mean_pixels(output: Tensor, batch: Any) -> Tensor:
    """(B, C, H, W) → (B, C), the mean over an image's positions."""
    _check(output, 4, "(B, C, H, W)")
    return output.mean((2, 3))


@dataclass(frozen=True)
class part:
    """`part(0)`, `part("last_hidden_state")`: an element of a tuple, a mapping or a model's output; then: pool it."""

    key: int | str
    then: Callable[[Any, Any], Tensor] | None = None

    def __call__(self, output: Any, batch: Any) -> Any:
        try:
            found = output[self.key]
        except (KeyError, IndexError, TypeError):
            kind = f"{type(output).__name__} with {list(output)}" if isinstance(output, Mapping) else ""
            kind = kind or f"{type(output).__name__} of {len(output) if hasattr(output, '__len__') else 1}"
            raise ValueError(f"part({self.key!r}) is not in its output, a {kind}") from None
        return found if self.then is None else self.then(found, batch)


def _check(output: Any, n_dims: int, shape: str) -> None:
    if not isinstance(output, Tensor):
        raise ValueError(
            f"its output is a {type(output).__name__}, not {shape}; choose a part first, as in part(0, mean_tokens)"
        )
    if output.ndim != n_dims:
        raise ValueError(f"its output is {tuple(output.shape)}, not {shape}; pool it in another way")
