"""ResNet against torchvision: same weights and images, same numbers; and what does not fit is refused."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from tests.reference.classifier_pairs import error, images, randomised, shapes
from tlcourse.models import resnet
from tlcourse.models.resnet import (
    RESNET_18,
    RESNET_20,
    RESNET_34,
    RESNET_50,
    RESNET_MINI,
    ResNet,
    ResNetConfig,
)
from tlcourse.weights import WeightsError

TOLERANCE = 1e-5  # what the course promises; the order of adding up in float32 moved 2e-6
TINY = ResNetConfig((2, 1), (4, 6), small_stem=True, n_channels=2, num_classes=5)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_logits_match_torchvision_on_random_weights(name):
    theirs = randomised(name)
    ours = ResNet.from_pretrained(theirs.state_dict())
    assert not ours.training
    with torch.no_grad():
        for x in (images(3, 3, 32, 32), images(2, 3, 45, 70)):
            assert error(ours(x), theirs(x)) < TOLERANCE
            maps = torch.nn.Sequential(*list(theirs.children())[:-2])(x)
            assert error(ours.maps(x), maps) < TOLERANCE
            assert error(ours.features(x), maps.mean((2, 3))) < TOLERANCE
    assert torch.equal(ours.head(ours.features(x)), ours(x))
    assert ours.features(x).shape == (2, ours.config.n_features)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_gradients_and_statistics_match_torchvision_in_training(name):
    theirs = randomised(name, num_classes=4).double().train()
    ours = ResNet.from_pretrained(theirs.state_dict()).double().train()
    x, labels = images(3, 3, 40, 32, dtype=torch.float64), torch.tensor([0, 3, 1])
    for model in (ours, theirs):
        F.cross_entropy(model(x), labels).backward()
    keys, expected = ResNet.keys(ours.config), dict(theirs.named_parameters())
    found = dict(ours.named_parameters())
    for their_name, parameter in expected.items():
        assert error(found[keys[their_name]].grad, parameter.grad) < 1e-9, their_name
    for their_name, buffer in theirs.named_buffers():
        assert error(ours.get_buffer(keys[their_name]).double(), buffer.double()) < 1e-9, their_name


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet18", 11.69), ("resnet34", 21.80), ("resnet50", 25.56)]
)
def test_names_shapes_and_number_of_parameters_are_torchvisions(monkeypatch, name, millions):
    monkeypatch.setattr(resnet, "start_convolutional", lambda *_, **__: None)  # stays without memory
    model = getattr(resnet, name)()
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions
    state, wanted = model.state_dict(), shapes(name)
    assert {theirs: tuple(state[ours].shape) for theirs, ours in ResNet.keys(model.config).items()} == wanted
    assert len(state) == len(wanted)
    assert getattr(resnet, name)(7).head.out_features == 7


def test_presets_have_the_published_sizes():
    """ResNet-20 has 0.27 M parameters in He et al. (2016, table 6)."""
    sizes = [sum(p.numel() for p in ResNet(config).parameters()) for config in (RESNET_20, RESNET_MINI)]
    assert [round(n / 1e6, 2) for n in sizes] == [0.27, 0.08]
    assert [c.stride for c in (RESNET_18, RESNET_34, RESNET_50, RESNET_20)] == [32, 32, 32, 4]
    assert [c.n_features for c in (RESNET_18, RESNET_34, RESNET_50, RESNET_20)] == [512, 512, 2048, 64]


@pytest.mark.parametrize("size", [28, 96])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("bottleneck", [True, False])
def test_small_networks_read_small_images_and_every_parameter_gets_a_gradient(bottleneck, residual, size):
    config = dataclasses.replace(RESNET_MINI, n_channels=1, bottleneck=bottleneck, residual=residual)
    model = ResNet(config)
    out = model(images(2, 1, size, size))
    assert out.shape == (2, 10)
    assert model.maps(images(2, 1, size, size)).shape == (2, config.n_features, size // 4, size // 4)
    out.square().sum().backward()
    assert all(bool(p.grad.any()) for p in model.parameters())


def test_a_block_adds_its_input_and_a_plain_one_does_not():
    """With all convolutions zero a residual block is the identity on what is positive, a plain one gives nothing."""
    x = images(2, 6, 5, 5).relu()
    for residual, expected in ((True, x), (False, torch.zeros_like(x))):
        block = resnet.Block(6, 6, 1, False, residual)
        for layer in block.layers:
            torch.nn.init.zeros_(layer.conv.weight)
        assert torch.equal(block.eval()(x), expected)
    plain = ResNet(dataclasses.replace(RESNET_20, residual=False))
    convolutions = [n for n, p in plain.named_parameters() if p.dim() == 4]
    assert len(convolutions) == 19 and not any("shortcut" in name for name in convolutions)


def test_the_plain_network_is_the_residual_one_without_its_additions():
    """Same seed, same order of draws where no shortcut has weights of its own."""
    config = ResNetConfig((2,), (4,), small_stem=True, n_channels=2, num_classes=3)
    residual, plain = ResNet(config), ResNet(dataclasses.replace(config, residual=False))
    assert residual.state_dict().keys() == plain.state_dict().keys()
    for a, b in zip(residual.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(residual(images(2, 2, 4, 4)), plain(images(2, 2, 4, 4)))


def test_random_start_is_torchvisions_and_depends_on_its_seed_alone():
    state = torch.get_rng_state()
    model = ResNet(RESNET_20, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    for name, p in model.state_dict().items():
        if name.startswith("head"):
            assert float(p.abs().max()) <= 1 / 8 and float(p.std()) > 0.2 / 8, name  # uniform in ±1/√64
        elif p.dim() == 4:
            sd = (2 / (p.shape[2] * p.shape[3] * p.shape[0])) ** 0.5
            # sd of a sample sd: σ / √(2n); six of them
            assert abs(float(p.std()) / sd - 1) < 6 / (2 * p.numel()) ** 0.5 + 0.001, name
            assert abs(float(p.mean())) < 6 * sd / p.numel() ** 0.5, name
        else:
            assert torch.equal(p, torch.full_like(p, name.endswith(("norm.weight", "running_var")))), name
    same, other = ResNet(RESNET_20, seed=3), ResNet(RESNET_20, seed=torch.Generator().manual_seed(4))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    assert not torch.equal(model.head.weight, other.head.weight)


def test_features_that_a_hook_has_seen_are_not_overwritten_later():
    """Additions and ReLUs in place, as torchvision has them, would change what was taken from the layer before."""
    model, taken = ResNet(TINY).eval(), []
    for name in ("stem", "stages.0.0.layers.0", "stages.0.0.layers.1.norm", "stages.1.0.shortcut"):
        model.get_submodule(name).register_forward_hook(lambda *a: taken.append((a[2], a[2].clone())))
    model(images(2, 2, 8, 8))
    assert len(taken) == 4 and all(torch.equal(a, b) and bool((a < 0).any()) for a, b in taken)


def test_rows_of_a_batch_do_not_mix_in_evaluation():
    model, x = ResNet(TINY).double().eval(), images(3, 2, 8, 8, dtype=torch.float64)
    assert error(model(x)[1:2], model(x[1:2])) < 1e-12


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3, 31, 64), r"images of 31 × 64 pixels are smaller than the network's stride of 32; enlarge "
                                    r"them, or build a ResNet\(RESNET_MINI\)"),
        (torch.zeros(2, 1, 64, 64), r"images \(2, 1, 64, 64\) have 1 channels, the model reads 3"),
        (torch.zeros(64, 64), r"images have shape \(64, 64\); give"),
        (torch.zeros(2, 3, 64, 64).long(), "images are torch.int64; give floats"),
    ],
)  # fmt: skip
def test_images_that_do_not_fit_are_refused(monkeypatch, x, message):
    monkeypatch.setattr(resnet, "start_convolutional", lambda *_, **__: None)
    with pytest.raises(ValueError, match=message):
        ResNet()(x)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"widths": (64, 128)}, r"n_blocks=\(2, 2, 2, 2\) and widths=\(64, 128\); give one of each"),
        ({"widths": (), "n_blocks": ()}, r"n_blocks=\(\) and widths=\(\)"),
        ({"widths": (64, 128, 256, 0)}, r"widths\[3\]=0 must be a whole number of at least 1"),
        ({"n_blocks": (2, 2.0, 2, 2)}, r"n_blocks\[1\]=2.0 must be a whole number"),
        ({"n_channels": 0}, "n_channels=0 must be"),
        ({"num_classes": True}, "num_classes=True must be"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        ResNetConfig(**sizes)


def test_weights_of_a_wide_resnet_and_of_a_vgg_are_refused():
    wide = randomised("resnet50", width_per_group=1, num_classes=2).state_dict()
    with pytest.raises(
        WeightsError, match=r"misshapen \(\d+\): .*stages\.0\.0\.layers\.0\.conv\.weight: \(1, 64,"
    ):
        ResNet.from_pretrained(wide)
    with pytest.raises(WeightsError, match=r"no ResNet of torchvision's .*They begin: features\.0\.weight"):
        ResNet.from_pretrained({"features.0.weight": torch.zeros(1)})
