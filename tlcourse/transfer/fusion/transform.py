"""A transformation matrix for each view, applied before they are fused."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tlcourse.layers import as_generator
from tlcourse.transfer.fusion.alignment import Alignment, cca, procrustes
from tlcourse.transfer.fusion.combine import SumFusion
from tlcourse.transfer.fusion.views import Views, check_views, check_widths

MakeFusion = Callable[[Sequence[int]], nn.Module]


class TransformFusion(nn.Module):
    """Each view through a matrix of its own into one space of width W, then another fusion, by default the sum.

    `TransformFusion.learned` starts at random and is trained with what follows; `.procrustes` and `.cca` are computed
    from paired features (see `procrustes` and `cca`) and frozen: `requires_grad_(True)` lets them be trained further.
    fusion: makes the fusion from the widths after the transformation, as `ConcatFusion` or `ProductFusion` do.
    `maps` are nn.Linear(D, W), one for each view.
    """

    def __init__(self, maps: Sequence[nn.Linear], fusion: MakeFusion = SumFusion) -> None:
        super().__init__()
        self.widths = check_widths([linear.in_features for linear in maps])
        self.maps = nn.ModuleList(maps)
        self.fusion = fusion([linear.out_features for linear in maps])
        self.width = self.fusion.width

    @classmethod
    def learned(
        cls,
        widths: Sequence[int],
        width: int,
        *,
        fusion: MakeFusion = SumFusion,
        seed: int | torch.Generator = 0,
    ) -> "TransformFusion":
        """Random matrices that keep a variance of one: normal, sd 1 / √D; biases 0. Raises ValueError on width < 1."""
        widths = check_widths(widths)
        if width < 1:
            raise ValueError(f"width={width} must be at least 1")
        generator = as_generator(seed)
        zeros = [torch.zeros(d, dtype=torch.float32) for d in widths]
        matrices = [torch.randn(d, width, generator=generator) / d**0.5 for d in widths]
        maps = [_linear(zero, matrix) for zero, matrix in zip(zeros, matrices, strict=True)]
        return cls(maps, fusion)

    @classmethod
    def procrustes(cls, views: Views, *, fusion: MakeFusion = SumFusion) -> "TransformFusion":
        """Every view centred and rotated onto the first, from paired features (N, D) each."""
        return cls._computed(procrustes(views), views, fusion)

    @classmethod
    def cca(
        cls, views: Views, width: int, *, ridge: float = 0.0, fusion: MakeFusion = SumFusion
    ) -> "TransformFusion":
        """The `width` most correlated directions of the views, from paired features (N, D) each."""
        return cls._computed(cca(views, width, ridge=ridge), views, fusion)

    @classmethod
    def _computed(cls, found: Alignment, views: Views, fusion: MakeFusion) -> "TransformFusion":
        """In the type and on the device of the views."""
        maps = [
            _linear(mean, matrix).to(view).requires_grad_(False)
            for mean, matrix, view in zip(found.means, found.matrices, views, strict=True)
        ]
        return cls(maps, fusion)

    def transform(self, views: Views) -> list[Tensor]:
        """The views in one space, (B, W) each, before they are fused."""
        check_views(views, self.widths)
        return [linear(view) for linear, view in zip(self.maps, views, strict=True)]

    def forward(self, views: Views) -> Tensor:
        return self.fusion(self.transform(views))


def _linear(mean: Tensor, matrix: Tensor) -> nn.Linear:
    """x → (x − mean) @ matrix."""
    linear = nn.Linear(*matrix.shape, dtype=matrix.dtype, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        linear.weight.copy_(matrix.T)
        linear.bias.copy_(-mean @ matrix)
    return linear
