"""VGG against torchvision: same weights and images, same numbers; and what does not fit is refused."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from tests.reference.classifier_pairs import error, images, randomised, shapes
from tlcourse.models import vgg
from tlcourse.models.vgg import VGG, VGG_11, VGG_13, VGG_16, VGG_19, VGG_MINI, VGG_SMALL, VGGConfig
from tlcourse.weights import WeightsError, load_into

# Sums of up to 25,088 products in float32, in another order: 4e-6 was seen; 1e-5 is what the course promises.
TOLERANCE = 1e-5
# For everything that 138 million parameters are not needed for.
TINY = VGGConfig((1, 2), (4, 6), True, n_channels=2, pool=3, hidden=(12, 8), num_classes=5)
# Published by torchvision and, without batch norm, by Simonyan & Zisserman (2015, table 2), in millions.
MILLIONS = {
    ("vgg11", False): 132.86, ("vgg13", False): 133.05, ("vgg16", False): 138.36, ("vgg19", False): 143.67,
    ("vgg11", True): 132.87, ("vgg13", True): 133.05, ("vgg16", True): 138.37, ("vgg19", True): 143.68,
}  # fmt: skip


def test_logits_match_torchvision_on_random_weights():
    theirs = randomised("vgg16")
    ours = VGG.from_pretrained(theirs.state_dict())
    assert not ours.training and ours.config == VGG_16
    compare(ours, theirs)


@pytest.mark.parametrize("name", ["vgg11", "vgg19"])
def test_logits_match_torchvision_with_batch_norm_and_small_hidden_layers(name):
    """Narrow hidden layers in both, which alone would take 120 million parameters."""

    def narrow(model):
        nn = torch.nn
        model.classifier = nn.Sequential(nn.Linear(25088, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 3))

    theirs = randomised(f"{name}_bn", change=narrow)
    plan = {"vgg11": VGG_11, "vgg19": VGG_19}[name]
    ours = VGG(dataclasses.replace(plan, batch_norm=True, hidden=(8,), num_classes=3))
    load_into(ours, theirs.state_dict(), VGG.keys(ours.config))
    compare(ours.eval(), theirs)


def compare(ours, theirs):
    # Smaller than the pooled maps, larger, and not square.
    with torch.no_grad():
        for x in (images(3, 3, 32, 32), images(2, 3, 40, 72)):
            assert error(ours(x), theirs(x)) < TOLERANCE
            assert error(ours.maps(x), theirs.features(x)) < TOLERANCE
            features = theirs.classifier[:-1](theirs.avgpool(theirs.features(x)).flatten(1))
            assert error(ours.features(x), features) < TOLERANCE
    assert torch.equal(ours.head(ours.features(x)), ours(x))


@pytest.mark.parametrize(("name", "batch_norm"), MILLIONS)
def test_names_shapes_and_number_of_parameters_are_torchvisions(monkeypatch, name, batch_norm):
    monkeypatch.setattr(vgg, "start_convolutional", lambda *_, **__: None)  # stays without memory
    model = getattr(vgg, name)(batch_norm=batch_norm)
    n = sum(p.numel() for p in model.parameters())
    assert round(n / 1e6, 2) == MILLIONS[name, batch_norm]
    wanted = shapes(f"{name}_bn" if batch_norm else name)
    state = model.state_dict()
    assert {theirs: tuple(state[ours].shape) for theirs, ours in VGG.keys(model.config).items()} == wanted
    assert len(state) == len(wanted)
    assert getattr(vgg, name)(7).head.out_features == 7 and not getattr(vgg, name)(7).config.batch_norm


def test_gradients_and_dropout_match_a_network_of_torchs_own_layers():
    nn = torch.nn
    theirs = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(3), nn.Flatten(),
        nn.Linear(54, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 5),
    ).double()  # fmt: skip
    ours = VGG(TINY).double().train()
    for a, b in zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True):
        a.copy_(b + 0.1 if b.is_floating_point() else b)
        b.copy_(a)
    x = images(6, 2, 9, 12, dtype=torch.float64)
    for model in (ours, theirs):
        torch.manual_seed(0)
        F.cross_entropy(model(x), torch.arange(6) % 5).backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        # A bias before a batch norm moves nothing: its gradient is noise around 0.
        assert float((a.grad - b.grad).abs().max()) < 1e-12 * max(float(b.grad.abs().max()), 1), name
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert float((a - b).abs().max()) < 1e-12


@pytest.mark.parametrize("config", [VGG_MINI, VGG_SMALL])
@pytest.mark.parametrize("size", [28, 96])
def test_small_presets_read_small_images_and_every_parameter_gets_a_gradient(config, size):
    model = VGG(dataclasses.replace(config, n_channels=1))
    out = model(images(2, 1, size, size))
    assert out.shape == (2, 10)
    out.square().sum().backward()
    # In training mode batch norm takes the mean away, and the bias before it with it: no gradient but rounding.
    assert all(p.grad is not None for p in model.parameters())
    assert all(bool(p.grad.any()) for n, p in model.named_parameters() if not n.endswith("conv.bias"))


def test_presets_have_the_sizes_that_are_said():
    sizes = [sum(p.numel() for p in VGG(config).parameters()) for config in (VGG_MINI, VGG_SMALL)]
    assert [round(n / 1e6, 2) for n in sizes] == [0.26, 1.81]
    assert [c.stride for c in (VGG_11, VGG_13, VGG_16, VGG_19, VGG_MINI)] == [32, 32, 32, 32, 8]


def test_random_start_is_torchvisions_and_depends_on_its_seed_alone():
    state = torch.get_rng_state()
    config = dataclasses.replace(VGG_SMALL, hidden=(256, 256))
    model = VGG(config, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    for name, p in model.state_dict().items():
        if p.dim() == 1 or not p.dim():
            one = name.endswith(("norm.weight", "running_var"))
            assert torch.equal(p, torch.full_like(p, one)), name
        else:
            sd = (2 / (9 * p.shape[0])) ** 0.5 if p.dim() == 4 else 0.01
            # sd of a sample sd: σ / √(2n); six of them
            assert abs(float(p.std()) / sd - 1) < 6 / (2 * p.numel()) ** 0.5 + 0.001, name
            assert abs(float(p.mean())) < 6 * sd / p.numel() ** 0.5, name
    same, other = VGG(config, seed=3), VGG(config, seed=torch.Generator().manual_seed(4))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    assert not torch.equal(model.head.weight, other.head.weight)


def test_features_that_a_hook_has_seen_are_not_overwritten_later():
    """ReLUs in place, as torchvision has them, would change what was taken from the layer before."""
    model, taken = VGG(TINY).eval(), []
    for name in ("stages.0.0.conv", "stages.0.0.norm", "hidden.0"):
        model.get_submodule(name).register_forward_hook(lambda *a: taken.append((a[2], a[2].clone())))
    model(images(2, 2, 8, 8))
    assert len(taken) == 3 and all(torch.equal(a, b) and bool((a < 0).any()) for a, b in taken)


def test_rows_of_a_batch_do_not_mix_in_evaluation():
    model, x = VGG(TINY).double().eval(), images(3, 2, 8, 8, dtype=torch.float64)
    assert error(model(x)[1:2], model(x[1:2])) < 1e-12


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3, 31, 64), r"images of 31 × 64 pixels are smaller than the network's stride of 32; enlarge "
                                    r"them, or build a VGG\(VGG_MINI\)"),
        (torch.zeros(2, 3, 64, 31), "images of 64 × 31 pixels"),
        (torch.zeros(2, 1, 64, 64), r"images \(2, 1, 64, 64\) have 1 channels, the model reads 3; repeat"),
        (torch.zeros(3, 64, 64), r"images have shape \(3, 64, 64\); give \(B, C, H, W\)"),
        (torch.zeros(0, 3, 64, 64), r"images have shape \(0, 3, 64, 64\); give"),
        (torch.zeros(2, 3, 64, 64).byte(), "images are torch.uint8; give floats"),
    ],
)  # fmt: skip
def test_images_that_do_not_fit_are_refused(monkeypatch, x, message):
    monkeypatch.setattr(vgg, "start_convolutional", lambda *_, **__: None)
    with pytest.raises(ValueError, match=message):
        VGG(VGG_16)(x)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"widths": (64, 128)}, r"n_convolutions=\(2, 2, 3, 3, 3\) and widths=\(64, 128\); give one of each"),
        ({"widths": (), "n_convolutions": ()}, r"n_convolutions=\(\) and widths=\(\)"),
        ({"widths": (64, 128, 256, 0, 512)}, r"widths\[3\]=0 must be a whole number of at least 1"),
        ({"n_convolutions": (2, 2, 3, 3, 1.0)}, r"n_convolutions\[4\]=1.0 must be a whole number"),
        ({"hidden": (0,)}, r"hidden\[0\]=0 must be"),
        ({"pool": 0}, "pool=0 must be"),
        ({"n_channels": 0}, "n_channels=0 must be"),
        ({"num_classes": 0}, "num_classes=0 must be"),
        ({"dropout": 1.0}, "dropout=1.0 must be at least 0 and below 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        VGGConfig(**sizes)


def test_a_network_without_hidden_layers_is_maps_and_a_head():
    model = VGG(dataclasses.replace(TINY, hidden=())).eval()
    x = images(2, 2, 8, 8)
    assert error(model.features(x), F.adaptive_avg_pool2d(model.maps(x), 3).flatten(1)) == 0
    assert model.head.in_features == 54


def test_a_resnets_weights_are_refused_by_name():
    with pytest.raises(
        WeightsError, match=r"no VGG of torchvision's that is known here; .*They begin: conv1\.weight"
    ):
        VGG.from_pretrained({"conv1.weight": torch.zeros(64, 3, 7, 7)})
