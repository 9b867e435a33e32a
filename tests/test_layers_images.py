"""The random start against torch.nn.init on the same generator; the check of images by its messages."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tlcourse.layers import check_images, in_fast_layout, start_convolutional
from tlcourse.models.resnet import RESNET_18, RESNET_MINI, ResNet
from tlcourse.models.vgg import VGG, VGG_11, VGG_MINI


def generator():
    return torch.Generator().manual_seed(5)


def test_without_gradients_images_are_laid_out_channels_last_and_stay_the_same():
    images = torch.randn(2, 3, 4, 5)
    assert in_fast_layout(images) is images
    with torch.no_grad():
        found = in_fast_layout(images)
    assert found.is_contiguous(memory_format=torch.channels_last) and torch.equal(found, images)


@pytest.mark.parametrize(
    ("model", "plain"),
    [((ResNet, RESNET_18), True), ((ResNet, RESNET_MINI), False), ((VGG, VGG_MINI), False)],
)
def test_maps_are_plain_in_training_on_photographs_and_channels_last_elsewhere(model, plain):
    network = model[0](model[1])
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert network.maps(images).is_contiguous(memory_format=torch.channels_last)
    maps = network.maps(images)
    assert maps.is_contiguous() is plain
    assert maps.is_contiguous(memory_format=torch.channels_last) is not plain


def test_kernels_of_a_large_vgg_are_plain():
    network = VGG(replace(VGG_11, hidden=(8,), num_classes=2))
    assert all(parameter.is_contiguous() for parameter in network.parameters())


@pytest.mark.parametrize("kernel", [(3, 3), (1, 5)])
def test_convolutions_start_as_torchs_kaiming_normal_by_what_leaves(kernel):
    ours = nn.Conv2d(6, 8, kernel)
    start_convolutional(ours, generator())
    theirs = torch.empty(8, 6, *kernel).to(memory_format=torch.channels_last)
    nn.init.kaiming_normal_(theirs, mode="fan_out", nonlinearity="relu", generator=generator())
    assert torch.allclose(ours.weight, theirs, rtol=1e-6)
    assert not ours.bias.any()
    assert ours.weight.is_contiguous(memory_format=torch.channels_last)


def test_transposed_convolutions_start_by_the_channels_that_leave():
    layer = nn.ConvTranspose2d(40, 10, 4, bias=False)
    start_convolutional(layer, generator())
    sd = (2 / (16 * 10)) ** 0.5
    assert abs(float(layer.weight.detach().std()) / sd - 1) < 6 / (2 * layer.weight.numel()) ** 0.5


def test_linear_layers_start_as_torchs_or_normal():
    ours, bound = nn.Linear(16, 400), 16**-0.5
    start_convolutional(ours, generator())
    for parameter in ours.parameters():
        assert 0.98 * bound < float(parameter.detach().abs().max()) <= bound
    start_convolutional(ours, generator(), linear_sd=0.01)
    expected = torch.empty(400, 16).normal_(0, 0.01, generator=generator())
    assert torch.equal(ours.weight, expected) and not ours.bias.any()


@pytest.mark.parametrize("linear_sd", [None, 0.01])
def test_norms_start_anew_and_modules_on_meta_get_their_memory(linear_sd):
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2, bias=False))
    start_convolutional(model, generator(), linear_sd=linear_sd)
    assert not any(t.is_meta for t in model.state_dict().values())
    norm = model[1]
    for tensor, value in ((norm.weight, 1), (norm.bias, 0), (norm.running_mean, 0), (norm.running_var, 1)):
        assert bool((tensor == value).all())
    assert int(norm.num_batches_tracked) == 0 and model[0].weight.requires_grad


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 2, 4, 8), None),
        (torch.zeros(1, 2, 8, 4), None),
        (
            torch.zeros(1, 2, 3, 8),
            "images of 3 × 8 pixels are smaller than the network's stride of 4; take another",
        ),
        (torch.zeros(1, 2, 8, 3), "images of 8 × 3 pixels are smaller"),
        (
            torch.zeros(1, 3, 8, 8),
            r"images \(1, 3, 8, 8\) have 3 channels, the model reads 2; repeat a grey channel",
        ),
        (torch.zeros(2, 8, 8), r"images have shape \(2, 8, 8\); give \(B, C, H, W\), at least one image"),
        (torch.zeros(0, 2, 8, 8), r"images have shape \(0, 2, 8, 8\)"),
        (
            torch.zeros(1, 2, 8, 8).byte(),
            "images are torch.uint8; give floats, scaled as in the model's training",
        ),
    ],
)
def test_images_are_checked(images, message):
    if message is None:
        check_images(images, 2, 4)
    else:
        with pytest.raises(ValueError, match=message):
            check_images(images, 2, 4, "take another")
