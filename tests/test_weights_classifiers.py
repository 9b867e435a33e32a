"""Classifiers of images from a state dict, a file and a folder, and back; what is amiss is listed."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.reference.classifier_pairs import images, randomised
from tlcourse.models.resnet import RESNET_MINI, ResNet, ResNetConfig
from tlcourse.models.vgg import VGG, VGG_MINI, VGGConfig
from tlcourse.transfer.finetuning import replace_head
from tlcourse.weights import WeightsError

MODELS = {
    "vgg": (VGG, dataclasses.replace(VGG_MINI, n_channels=1)),
    "resnet": (ResNet, dataclasses.replace(RESNET_MINI, n_channels=1)),
    "plain": (ResNet, ResNetConfig((1, 2), (4, 6), bottleneck=True, residual=False, num_classes=3)),
}


def moved(model):
    """The model with other numbers than those of any seed, statistics too."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    return model


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_is_loaded_with_its_settings(tmp_path, name):
    cls, config = MODELS[name]
    model = moved(cls(config, seed=1))
    model.save_pretrained(tmp_path)
    again = cls.from_pretrained(tmp_path)
    assert again.config == config and not again.training
    assert equal(again.state_dict(), model.state_dict())
    assert load_file(tmp_path / "model.safetensors").keys() == cls.keys(config).keys()


def test_float16_is_written_and_loaded_as_float32_with_whole_counters(tmp_path):
    cls, config = MODELS["resnet"]
    model = moved(cls(config))
    model.save_pretrained(tmp_path, dtype=torch.float16)
    for name, tensor in cls.from_pretrained(tmp_path).state_dict().items():
        mine = model.state_dict()[name]
        assert torch.equal(tensor, mine.half().float() if mine.is_floating_point() else mine), name


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_files_of_a_torchvision_state_dict_are_read(tmp_path, ending):
    state = randomised("resnet18", num_classes=3).state_dict()
    path = tmp_path / f"weights{ending}"
    torch.save(state, path) if ending == ".pth" else save_file(state, path)
    model = ResNet.from_pretrained(path)
    assert model.config.num_classes == 3
    assert equal(model.state_dict(), ResNet.from_pretrained(state).state_dict())


def test_files_from_before_the_counters_of_batches_are_read():
    state = randomised("resnet18", num_classes=3).state_dict()
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    before = set(old)
    model = ResNet.from_pretrained(old)
    assert set(old) == before
    for name, tensor in ResNet.from_pretrained(state).state_dict().items():
        expected = torch.tensor(0) if name.endswith("num_batches_tracked") else tensor
        assert torch.equal(model.state_dict()[name], expected)


def test_another_number_of_classes_gets_a_new_head_from_the_seed(tmp_path):
    cls, config = MODELS["vgg"]
    model = moved(cls(config))
    model.save_pretrained(tmp_path)
    first, second = (cls.from_pretrained(tmp_path, num_classes=4, seed=seed) for seed in (1, 2))
    assert first.config == dataclasses.replace(config, num_classes=4)
    assert first(images(2, 1, 28, 28)).shape == (2, 4)
    x = images(2, 1, 28, 28)
    assert torch.equal(first.features(x), model.eval().features(x))
    assert torch.equal(first.head.weight, VGG(first.config, seed=1).head.weight)
    assert not torch.equal(first.head.weight, second.head.weight)
    kept = cls.from_pretrained(tmp_path, num_classes=10)
    assert equal(kept.state_dict(), model.state_dict())


def test_a_head_that_was_replaced_is_saved_with_its_number_of_classes(tmp_path):
    cls, config = MODELS["resnet"]
    model = cls(config)
    assert replace_head(model, 4) == "head"
    model.save_pretrained(tmp_path)
    again = cls.from_pretrained(tmp_path)
    assert again.config.num_classes == 4 and equal(again.state_dict(), model.state_dict())


def test_a_number_of_classes_that_cannot_be_is_refused(tmp_path):
    cls, config = MODELS["resnet"]
    cls(config).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="num_classes=0 must be a whole number"):
        cls.from_pretrained(tmp_path, num_classes=0)


def test_channels_are_taken_from_the_first_weight():
    state = randomised("resnet18", num_classes=2).state_dict()
    state["conv1.weight"] = state["conv1.weight"][:, :1].clone()
    assert ResNet.from_pretrained(state).config.n_channels == 1


def changed(**change):
    state = randomised("resnet18", num_classes=2).state_dict()
    return {name: t for name, t in (state | change).items() if t is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"conv1.weight": None}, r"the state dict: .*\n  missing \(1\): conv1.weight$"),
        ({"fc.weight": None, "fc.bias": None}, r"missing \(2\): fc.weight, fc.bias$"),
        ({"surprise": torch.zeros(1)}, r"unknown \(1\): surprise$"),
        (
            {"bn1.weight": torch.zeros(3)},
            r"misshapen \(1\): stem.norm.weight: \(3,\) float32 in the checkpoint",
        ),
        ({"conv1.weight": torch.zeros(3)}, r"misshapen \(1\): stem.conv.weight: \(3,\)"),
    ],
)
def test_what_is_amiss_is_listed(state, message):
    with pytest.raises(WeightsError, match=message):
        ResNet.from_pretrained(changed(**state))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "the state dict holds nothing; give tensors by name"),
        ({"epoch": 3, "model": {}}, "the state dict holds epoch, model; give tensors"),
    ],
)
def test_a_mapping_that_is_no_state_dict_is_refused(state, message):
    with pytest.raises(WeightsError, match=message):
        VGG.from_pretrained(state)


def test_files_and_folders_that_are_not_there_or_another_models_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.pth is no file"):
        VGG.from_pretrained(tmp_path / "absent.pth")
    with pytest.raises(FileNotFoundError, match=r"is no asset .* no folder"):
        VGG.from_pretrained(tmp_path / "absent")
    VGG(VGGConfig((1,), (2,), hidden=(2,), num_classes=2)).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="holds a model of model_type 'vgg'; 'resnet' is wanted here"):
        ResNet.from_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"depth": 3}))
    with pytest.raises(WeightsError, match=r"config\.json does not describe a VGG: .*depth"):
        VGG.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(settings | {"pool": 0}))
    with pytest.raises(WeightsError, match=r"test_files.*: pool=0 must be"):
        VGG.from_pretrained(tmp_path)


def test_a_folder_whose_name_ends_like_a_file_is_read_as_a_folder(tmp_path):
    folder = tmp_path / "model.pt"
    cls, config = MODELS["resnet"]
    model = moved(cls(config))
    model.save_pretrained(folder)
    assert equal(cls.from_pretrained(folder).state_dict(), model.state_dict())
