"""Images in, words out: a picture as a sequence of patches (Dosovitskiy et al. 2021)."""

from torch import Tensor, nn


def patches(images: Tensor, size: int) -> Tensor:
    """Cut images (B, C, H, W) into squares of size × size, row by row: (B, T, C·size²), T = (H/size)·(W/size).

    Raises ValueError unless size divides height and width.
    """
    if images.dim() != 4 or size < 1 or images.shape[2] % size or images.shape[3] % size:
        raise ValueError(f"patches of {size} × {size} do not tile images {tuple(images.shape)}, (B, C, H, W)")
    x = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, C, H/size, size, W/size, size)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


class PatchEmbedding(nn.Module):
    """Images in, words out: each patch through one linear layer, (B, C, H, W) → (B, T, D) (Dosovitskiy et al. 2021)."""

    def __init__(self, size: int, d_model: int, n_channels: int = 3):
        super().__init__()
        self.size = size
        self.project = nn.Linear(n_channels * size**2, d_model)

    def forward(self, images: Tensor) -> Tensor:
        return self.project(patches(images, self.size))
