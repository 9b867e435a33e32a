"""Image parts against torch's own layers in a row."""

import pytest
import torch
from torch import nn

from tlcourse.models.autoencoder import ImageConfig, ImageDecoder, ImageEncoder

CONFIG = ImageConfig(8, 12, 3, 5, widths=(4, 6))


def double(module):
    """In float64, where only rounding could differ."""
    return module.double()


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_encoder_is_convolutions_relus_and_a_linear_layer():
    ours = double(ImageEncoder(CONFIG))
    theirs = double(
        nn.Sequential(
            nn.Conv2d(3, 4, 4, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5)
        )
    )  # fmt: skip
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        a.data.copy_(b.data)
    x = numbers(3, 3, 8, 12)
    assert torch.allclose(ours(x), theirs(x), atol=1e-12)
    assert torch.allclose(ours.maps(x), theirs[:4](x), atol=1e-12)


def test_decoder_is_a_linear_layer_and_transposed_convolutions_with_relus_between():
    ours = double(ImageDecoder(CONFIG))
    theirs = double(
        nn.Sequential(
            nn.Linear(5, 36), nn.Unflatten(1, (6, 2, 3)),
            nn.ReLU(), nn.ConvTranspose2d(6, 4, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 4, 2, 1),
        )
    )  # fmt: skip
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        a.data.copy_(b.data)
    z = numbers(4, 5)
    out = ours(z)
    assert out.shape == (4, 3, 8, 12) and bool((out < 0).any())
    assert torch.allclose(out, theirs(z), atol=1e-12)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3, 8, 8), "images of 8 × 8 for an encoder of 8 × 12; resize them, or build"),
        (torch.zeros(2, 1, 8, 12), r"images \(2, 1, 8, 12\) have 1 channels, the model reads 3"),
        (
            torch.zeros(2, 3, 3, 12),
            "images of 3 × 12 pixels are smaller than the network's stride of 4; enlarge",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        ImageEncoder(CONFIG)(x)
