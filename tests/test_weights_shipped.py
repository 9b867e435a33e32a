"""The project's own checkpoints: found by name, exported complete or not at all, opened by transformers."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.reference.checkpoint_faults import faults
from tests.test_weights_card import CARD
from tlcourse import assets
from tlcourse.models.albert import AlbertConfig, AlbertForPreTraining
from tlcourse.models.bert import BertConfig, BertForPreTraining
from tlcourse.models.gpt2 import GPT2, GPT2Config
from tlcourse.models.resnet import ResNet, ResNetConfig
from tlcourse.tokenizers import ByteLevelBPE, WordPiece
from tlcourse.weights import cards, checkpoints, content_hash, export, locate, read_card, shipped

TEXTS = ["in the beginning was the word", "and the word was measured in the beginning,"] * 4
SIZES = {"n_layers": 2, "d_model": 16, "n_heads": 2, "d_inner": 32}


def made(kind):
    """A tiny model of a kind and its tokenizer; biases and norms are moved off their start."""
    if kind == "GPT2":
        tokenizer = ByteLevelBPE.train(TEXTS, 280)
        model = GPT2(GPT2Config(vocab_size=len(tokenizer), n_positions=20, **SIZES))
    else:
        tokenizer = WordPiece.train(TEXTS, 60)
        config, cls = {
            "BertForPreTraining": (BertConfig, BertForPreTraining),
            "AlbertForPreTraining": (AlbertConfig, AlbertForPreTraining),
        }[kind]
        more = {"d_embedding": 8} if config is AlbertConfig else {}
        model = cls(config(vocab_size=len(tokenizer) + 3, n_positions=20, **SIZES, **more))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval(), tokenizer


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder of checkpoints, in place of the project's."""
    monkeypatch.setattr("tlcourse.weights.shipped.home", lambda: tmp_path / "checkpoints")
    monkeypatch.setattr("tlcourse.weights.folders.home", lambda: tmp_path / "checkpoints")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "checkpoints"


@pytest.fixture
def project(tmp_path):
    """A project with the recipe that CARD names."""
    (tmp_path / "experiments/pretrained").mkdir(parents=True)
    (tmp_path / "experiments/pretrained/checkpoints.py").touch()
    return tmp_path


@pytest.mark.parametrize("kind", ["BertForPreTraining", "AlbertForPreTraining", "GPT2"])
def test_what_is_exported_is_found_by_name_and_transformers_agrees_to_1e_5(home, project, kind):
    model, tokenizer = made(kind)
    card = export(model, tokenizer, replace(CARD, model=kind))
    assert faults(home / "bert-mini", project) == []
    assert locate("bert-mini") == home / "bert-mini"
    assert read_card("bert-mini") == card and cards() == [card] and checkpoints() == ["bert-mini"]
    assert card == replace(CARD, model=kind, sha256=content_hash(home / "bert-mini/model.safetensors"))
    loaded = type(model).from_pretrained("bert-mini").state_dict()
    assert all(torch.equal(loaded[n], t.half().float()) for n, t in model.state_dict().items())
    stored = load_file(home / "bert-mini/model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert os.listdir(home) == ["bert-mini"]


def test_a_network_of_images_is_exported_without_a_tokenizer_and_torchvision_agrees_to_1e_5(
    home, project, monkeypatch
):
    config = ResNetConfig((2, 1, 1), (4, 6, 8), small_stem=True, n_channels=1, num_classes=5)
    model = ResNet(config, seed=1)
    model(torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)))  # moves the norms' statistics
    card = export(model.eval(), None, replace(CARD, name="zoo-tiny", model="ResNet"))
    assert faults(home / "zoo-tiny", project) == []
    assert sorted(os.listdir(home / "zoo-tiny")) == ["card.json", "config.json", "model.safetensors"]
    assert read_card("zoo-tiny") == card
    loaded = ResNet.from_pretrained("zoo-tiny")
    assert loaded.config == config
    stored = loaded.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(stored[name], tensor.half().float() if tensor.is_floating_point() else tensor)
    forward = ResNet.forward
    monkeypatch.setattr(ResNet, "forward", lambda self, x: (y := forward(self, x)) + 1e-3 * y.abs().max())
    (fault,) = faults(home / "zoo-tiny", project)
    assert "zoo-tiny: torchvision's logits differ by 1.0e-03" in fault


def test_each_fault_of_a_checkpoint_is_found(home, project, monkeypatch):
    model, tokenizer = made("BertForPreTraining")
    export(model, tokenizer, CARD)
    folder = home / "bert-mini"
    forward = BertForPreTraining.forward
    with monkeypatch.context() as patch:

        def shifted(*args, **kw):
            words, next_sentence = forward(*args, **kw)
            return words + 1e-3 * words.abs().max(), next_sentence

        patch.setattr(BertForPreTraining, "forward", shifted)
        (fault,) = faults(folder, project)
        assert "transformers' logits differ by 1.0e-03" in fault
    with monkeypatch.context() as patch:
        patch.setattr(WordPiece, "encode", lambda self, text: [1, 2])
        assert faults(folder, project) == ["bert-mini: transformers' tokenizer gives other ids"]
    settings = (folder / "config.json").read_text()
    (folder / "config.json").write_text(settings.replace('"BertForPreTraining"', '"BertForMaskedLM"'))
    assert "transformers does not find every tensor" in faults(folder, project)[0]
    (folder / "config.json").write_text(settings)
    assert faults(folder, home) == [
        "bert-mini: its recipe experiments/pretrained/checkpoints.py does not exist"
    ]
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes() + b" ")
    assert faults(folder, project) == ["bert-mini: the weights are not those that its card is about"]
    folder.rename(home / "bert-mono")
    assert "bert-mono has the card of bert-mini" in faults(home / "bert-mono", project)
    (home / "bert-mono" / "card.json").unlink()
    assert "holds no card.json" in faults(home / "bert-mono", project)[0]


def test_without_a_folder_of_checkpoints_there_are_none(home):
    assert checkpoints() == [] and cards() == []
    with pytest.raises(
        FileNotFoundError, match="'bert-mini' is no checkpoint of this project; there are none yet"
    ):
        read_card("bert-mini")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of this project \(none yet\), no folder"):
        locate("bert-mini")


def test_errors_list_the_checkpoints_that_there_are(home):
    for name in ("gpt2-mini", "bert-mini", ".albert-mini-x.partial"):
        (home / name).mkdir(parents=True)
    (home / "README").touch()
    with pytest.raises(
        FileNotFoundError, match=r"'mini' is no checkpoint .*; there are bert-mini, gpt2-mini$"
    ):
        read_card("mini")
    with pytest.raises(
        FileNotFoundError, match=r"minilm.*no checkpoint of this project \(bert-mini, gpt2-mini\), no"
    ):
        locate("mini")
    with pytest.raises(FileNotFoundError, match=r"bert-mini holds no card\.json"):
        cards()


def test_a_name_stands_for_the_checkpoint_even_where_a_folder_is_called_alike(home, tmp_path, monkeypatch):
    (home / "bert-mini").mkdir(parents=True)
    (tmp_path / "bert-mini").mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate("bert-mini") == home / "bert-mini"
    assert locate("./bert-mini") == Path("bert-mini")


def test_in_a_checkout_and_in_an_installed_package_the_checkpoints_are_where_the_data_are(
    tmp_path, monkeypatch
):
    package = tmp_path / "site" / "tlcourse"
    monkeypatch.setattr(shipped, "__file__", str(package / "weights" / "shipped.py"))
    assert shipped.home() == tmp_path / "site" / "data" / "checkpoints"
    (package / "data" / "checkpoints").mkdir(parents=True)
    assert shipped.home() == package / "data" / "checkpoints"


def test_an_export_replaces_the_former_one_whole(home):
    model, tokenizer = made("GPT2")
    first = export(model, tokenizer, replace(CARD, model="GPT2"))
    (home / "bert-mini" / "left-over").touch()
    with torch.no_grad():
        model.norm.bias.add_(1)
    second = export(model, tokenizer, replace(CARD, model="GPT2", steps=7))
    assert first.sha256 != second.sha256 and read_card("bert-mini") == second
    assert not (home / "bert-mini" / "left-over").exists() and os.listdir(home) == ["bert-mini"]


def test_an_export_goes_where_it_is_told(tmp_path):
    model, tokenizer = made("GPT2")
    export(model, tokenizer, replace(CARD, model="GPT2"), tmp_path / "deep" / "bert-mini")
    assert {path.name for path in (tmp_path / "deep" / "bert-mini").iterdir()} == {
        "card.json", "config.json", "merges.txt", "model.safetensors", "tokenizer_config.json", "vocab.json"
    }  # fmt: skip


def test_an_export_leaves_the_model_as_it_was(home):
    model, tokenizer = made("GPT2")
    model.train()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    export(model, tokenizer, replace(CARD, model="GPT2"))
    assert model.training and all(torch.equal(before[n], t) for n, t in model.state_dict().items())


class FullDisk:
    def save(self, folder):
        raise OSError("no space left on device")

    def __len__(self):
        return 1


def test_an_export_that_fails_midway_leaves_what_was_there(home):
    model, tokenizer = made("GPT2")
    card = replace(CARD, model="GPT2")
    with pytest.raises(OSError, match="no space left"):
        export(model, FullDisk(), card)
    assert os.listdir(home) == []
    made_first = export(model, tokenizer, card)
    with pytest.raises(OSError, match="no space left"):
        export(model, FullDisk(), card)
    assert read_card("bert-mini") == made_first and os.listdir(home) == ["bert-mini"]


@pytest.mark.parametrize("there_before", [False, True])
def test_a_last_step_that_fails_brings_the_former_checkpoint_back(home, monkeypatch, there_before):
    model, tokenizer = made("GPT2")
    if there_before:
        former = export(model, tokenizer, replace(CARD, model="GPT2"))
    rename = Path.rename

    def fail(self, target):
        if self.name == "bert-mini" and self.parent != home:
            raise OSError("pulled the plug")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="pulled the plug"):
        export(model, tokenizer, replace(CARD, model="GPT2", steps=7))
    assert os.listdir(home) == (["bert-mini"] if there_before else [])
    assert not there_before or read_card("bert-mini") == former


def test_what_does_not_fit_together_is_not_exported(home):
    model, tokenizer = made("GPT2")
    with pytest.raises(ValueError, match="model='BertForPreTraining', but a GPT2 is exported"):
        export(model, tokenizer, CARD)
    larger = ByteLevelBPE.train(TEXTS, 281)
    with pytest.raises(
        ValueError, match="the tokenizer has 281 tokens, the GPT2 rows for 280; export the tokenizer"
    ):
        export(model, larger, replace(CARD, model="GPT2"))
    with pytest.raises(ValueError, match=r"the card of 'bert-mini' does not belong into .*elsewhere"):
        export(model, tokenizer, replace(CARD, model="GPT2"), home / "elsewhere")
    with torch.no_grad():
        model.norm.bias[3] = 65520  # rounds to infinity
    with pytest.raises(ValueError, match=r"norm.bias is not finite in float16, which ends at 65,504"):
        export(model, tokenizer, replace(CARD, model="GPT2"))
    assert not home.exists()


def test_no_checkpoint_of_the_project_is_called_like_an_asset():
    assert not set(checkpoints()) & set(assets.names())
