"""Sizes that cannot be are refused by name."""

import pytest

from tlcourse.models.autoencoder import AudioConfig, ImageConfig, TextConfig, VectorConfig, VideoConfig

IMAGE = {"height": 8, "width": 12, "n_channels": 1, "n_latent": 4}
VIDEO = IMAGE | {"n_frames": 3}


@pytest.mark.parametrize(
    ("config", "sizes", "message"),
    [
        (VectorConfig, {"n_inputs": 4, "n_latent": 0}, "n_latent=0 must be a whole number of at least 1"),
        (VectorConfig, {"n_inputs": 0, "n_latent": 1}, "n_inputs=0 must be"),
        (VectorConfig, {"n_inputs": 4, "n_latent": 1, "hidden": (3, 0)}, r"hidden\[1\]=0 must be"),
        (ImageConfig, IMAGE | {"n_latent": 0}, "n_latent=0 must be"),
        (ImageConfig, IMAGE | {"height": 0}, "height=0 must be"),
        (ImageConfig, IMAGE | {"width": 8.0}, "width=8.0 must be"),
        (ImageConfig, IMAGE | {"n_channels": True}, "n_channels=True must be"),
        (ImageConfig, IMAGE | {"widths": (4, 0)}, r"widths\[1\]=0 must be"),
        (ImageConfig, IMAGE | {"widths": (4, 4, 4)},
         "8 × 12 pixels cannot be halved 3 times; give one to 2 widths, or pad the images to multiples of 8"),
        (ImageConfig, IMAGE | {"height": 16, "width": 10, "widths": (4, 4)}, "halved 2 times; give one to 1 widths"),
        (ImageConfig, IMAGE | {"height": 7}, "7 × 12 pixels cannot be halved 2 times; give one to 1 widths"),
        (ImageConfig, IMAGE | {"widths": ()}, "cannot be halved 0 times; give one to 2"),
        (AudioConfig, {"n_mels": 0, "n_frames": 8, "n_latent": 2}, "n_mels=0 must be"),
        (AudioConfig, {"n_mels": 8, "n_frames": 0, "n_latent": 2}, "n_frames=0 must be"),
        (AudioConfig, {"n_mels": 8, "n_frames": 9, "n_latent": 2}, "8 × 9 pixels cannot be halved"),
        (AudioConfig, {"n_mels": 8, "n_frames": 8, "n_latent": 0}, "n_latent=0 must be"),
        (VideoConfig, VIDEO | {"n_frames": 1}, "n_frames=1; a video has two frames at least"),
        (VideoConfig, VIDEO | {"n_frames": 0}, "n_frames=0 must be"),
        (VideoConfig, VIDEO | {"n_latent": 0}, "n_latent=0 must be"),
        (VideoConfig, VIDEO | {"d_frame": 0}, "d_frame=0 must be"),
        (VideoConfig, VIDEO | {"d_state": 0}, "d_state=0 must be"),
        (VideoConfig, VIDEO | {"widths": (2, 2, 2)}, "8 × 12 pixels cannot be halved 3"),
        (TextConfig, {"n_latent": 0}, "n_latent=0 must be"),
        (TextConfig, {"n_heads": 3}, "n_heads=3 does not divide d_model=128"),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_are_refused(config, sizes, message):
    with pytest.raises(ValueError, match=message):
        config(**sizes)


def test_lists_as_json_has_them_become_tuples():
    assert VectorConfig(4, 2, [3]) == VectorConfig(4, 2, (3,))
    assert ImageConfig(**IMAGE, widths=[4]).widths == AudioConfig(8, 8, 2, [4]).widths == (4,)
    assert VideoConfig(**VIDEO, widths=[4]).widths == (4,)


def test_smallest_maps_are_the_image_over_the_stride():
    assert ImageConfig(**IMAGE, widths=(3, 5)).smallest == (5, 2, 3)
