"""Masked: some parts of the input are hidden, and only those are scored (Pathak et al. 2016; He et al. 2022).

The encoder reads the input with the hidden parts filled by one value, as SimMIM does (Xie et al. 2022), so that any
encoder will do; the masked autoencoder of He et al. leaves them out, which saves a transformer most of its work.
"""

from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.models.autoencoder.plain import Autoencoder


class MaskedAutoencoder(Autoencoder):
    """Autoencoder that is shown inputs with parts hidden; score it by `mean_where(errors, hidden)`.

    fill: what stands in place of a hidden number; for text the id of [MASK].
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, fill: float = 0):
        super().__init__(encoder, decoder)
        self.fill = fill

    def forward(
        self, inputs: Tensor, attention_mask: Tensor | None = None, *, hidden: Tensor | None = None
    ) -> Tensor:
        """hidden: boolean, broadcastable to inputs, True where they are hidden; None hides nothing."""
        return super().forward(inputs if hidden is None else self.hide(inputs, hidden), attention_mask)

    def hide(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """The inputs as the encoder sees them.

        Raises ValueError on a mask that is not boolean or does not fit, and on a row with nothing left to read.
        """
        fits = hidden.dim() == inputs.dim() and all(
            h in (1, n) for h, n in zip(hidden.shape, inputs.shape, strict=True)
        )
        if hidden.dtype != torch.bool or not fits:
            raise ValueError(
                f"hidden is {hidden.dtype} {tuple(hidden.shape)}; give booleans for inputs {tuple(inputs.shape)}"
            )
        if hidden.flatten(1).all(1).any():
            raise ValueError("hidden covers all of an input; leave a part of each to read")
        return inputs.masked_fill(hidden, self.fill)

    def settings(self) -> dict[str, Any]:
        return {"fill": self.fill}


def hidden_parts(n_rows: int, n_parts: int, ratio: float, generator: torch.Generator | None = None) -> Tensor:
    """Which of n_parts are hidden, (n_rows, n_parts) boolean: in every row the same number, the nearest to the ratio.

    One part at least is hidden and one stays. Raises ValueError on a ratio of 0 or 1, and on a single part.
    """
    if not 0 < ratio < 1:
        raise ValueError(
            f"ratio={ratio} must lie between 0 and 1; 0 leaves nothing to score, 1 nothing to read"
        )
    if n_parts < 2:
        raise ValueError(f"{n_parts} parts cannot be hidden and kept; cut the inputs into two at least")
    n_hidden = min(max(round(ratio * n_parts), 1), n_parts - 1)
    device = "cpu" if generator is None else generator.device
    chances = torch.rand(n_rows, n_parts, generator=generator, device=device)
    chosen = chances.argsort(1)[:, :n_hidden]
    return torch.zeros(n_rows, n_parts, dtype=torch.bool, device=device).scatter(1, chosen, True)


def hidden_patches(
    inputs: Tensor, size: int | tuple[int, int], ratio: float, generator: torch.Generator | None = None
) -> Tensor:
    """Patches of images (B, C, H, W) or spectrograms (B, M, T): boolean (B, 1, H, W) or (B, M, T).

    size: of a patch, one number for squares. Raises ValueError where patches do not tile the inputs.
    """
    if inputs.dim() not in (3, 4):
        raise ValueError(f"inputs have shape {tuple(inputs.shape)}; give images (B, C, H, W) or (B, M, T)")
    height, width = (size, size) if isinstance(size, int) else size
    H, W = inputs.shape[-2:]
    if height < 1 or width < 1 or H % height or W % width:
        raise ValueError(f"patches of {height} × {width} do not tile inputs of {H} × {W}")
    rows, columns = H // height, W // width
    parts = hidden_parts(len(inputs), rows * columns, ratio, generator).unflatten(1, (rows, columns))
    mask = parts.repeat_interleave(height, 1).repeat_interleave(width, 2).to(inputs.device)  # (B, H, W)
    return mask.unsqueeze(1) if inputs.dim() == 4 else mask


def hidden_frames(video: Tensor, ratio: float, generator: torch.Generator | None = None) -> Tensor:
    """Whole frames of videos (B, T, C, H, W): boolean (B, T, 1, 1, 1)."""
    if video.dim() != 5:
        raise ValueError(f"video has shape {tuple(video.shape)}; give (B, T, C, H, W)")
    mask = hidden_parts(len(video), video.shape[1], ratio, generator).to(video.device)
    return mask[:, :, None, None, None]


def hidden_tokens(
    input_ids: Tensor,
    ratio: float,
    generator: torch.Generator | None = None,
    *,
    special_ids: tuple[int, ...] = (),
) -> Tensor:
    """Tokens of sentences (B, T), boolean: of each row's ordinary ones the number nearest to the ratio, one at least.

    special_ids: never hidden, padding among them. A row without two ordinary tokens has nothing hidden.
    """
    hidden_parts(1, 2, ratio)  # checks the ratio
    special = torch.tensor(special_ids, dtype=input_ids.dtype, device=input_ids.device)
    ordinary = ~torch.isin(input_ids, special)
    n = ordinary.sum(1, keepdim=True)  # (B, 1)
    n_hidden = (ratio * n).round().clamp(min=1).minimum(n - 1)
    device = input_ids.device if generator is None else generator.device
    chances = torch.rand(input_ids.shape, generator=generator, device=device).to(input_ids.device)
    rank = (
        chances.masked_fill(~ordinary, 2).argsort(1).argsort(1)
    )  # ordinary tokens come first, in random order
    return (rank < n_hidden) & ordinary
