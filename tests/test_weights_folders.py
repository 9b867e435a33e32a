"""Models as folders: found without a download, read with care, written complete."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from tlcourse import assets
from tlcourse.weights import WeightsError, locate, read_folder, save_folder

STATE = {"w": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}


def test_a_folder_is_itself_and_an_asset_is_where_the_cache_has_it(tmp_path, monkeypatch):
    assert locate(tmp_path) == locate(str(tmp_path)) == tmp_path
    monkeypatch.setattr(assets, "path", lambda name: tmp_path / name)
    assert locate("minilm") == tmp_path / "minilm"


def test_a_hub_id_that_is_cached_is_found_there(tmp_path, monkeypatch):
    snapshot = tmp_path / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (tmp_path / "models--some--model" / "refs").mkdir()
    (tmp_path / "models--some--model" / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert locate("some/model") == snapshot


@pytest.mark.parametrize("source", ["nobody/nothing", "no such thing"])
def test_what_is_nowhere_names_the_command_that_fetches_it(tmp_path, monkeypatch, source):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    wanted = (
        f"{source!r} is no asset .*minilm.*, no folder, .*hf download {source} config.json model.safetensors"
    )
    with pytest.raises(FileNotFoundError, match=wanted):
        locate(source)


def test_what_is_saved_is_what_is_read(tmp_path):
    settings = {"model_type": "bert", "ärger": None, "n": 3}
    save_folder(tmp_path / "deep" / "er", settings, STATE, dtype=torch.float16)
    found, state = read_folder(tmp_path / "deep" / "er", "bert")
    assert found == settings and state.keys() == STATE.keys()
    assert all(state[n].dtype == torch.float16 and torch.equal(state[n], t.half()) for n, t in STATE.items())
    assert sorted(os.listdir(tmp_path / "deep" / "er")) == ["config.json", "model.safetensors"]


def test_saving_again_replaces_both_files_and_leaves_others(tmp_path):
    save_folder(tmp_path, {"model_type": "a"}, STATE)
    (tmp_path / "vocab.txt").write_text("word")
    save_folder(tmp_path, {"model_type": "b"}, {"w": torch.zeros(1)})
    settings, state = read_folder(tmp_path, "b")
    assert settings == {"model_type": "b"} and torch.equal(state["w"], torch.zeros(1))
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors", "vocab.txt"]


def test_settings_that_are_no_json_leave_what_was_there(tmp_path):
    save_folder(tmp_path, {"model_type": "a"}, STATE)
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_folder(tmp_path, {"model_type": torch.float16}, {"w": torch.zeros(1)})
    assert read_folder(tmp_path, "a")[1].keys() == STATE.keys()


def test_an_interrupted_config_leaves_the_old_one_and_no_part(tmp_path, monkeypatch):
    save_folder(tmp_path, {"model_type": "a"}, STATE)
    replace = os.replace

    def stop(source, target):
        if str(target).endswith("config.json"):
            raise OSError("pulled the plug")
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(OSError, match="pulled the plug"):
        save_folder(tmp_path, {"model_type": "b"}, STATE)
    assert json.loads((tmp_path / "config.json").read_text()) == {"model_type": "a"}
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("files", "kind", "message"),
    [
        ({}, FileNotFoundError, "holds no config.json; a model's folder needs config.json and model.safetensors"),
        ({"config.json": "{}"}, FileNotFoundError, "holds no model.safetensors"),
        ({"config.json": "{", "model.safetensors": ""}, WeightsError, "config.json is no JSON .*; fetch it again"),
        ({"config.json": "[]", "model.safetensors": ""}, WeightsError, "model_type None; 'bert' is wanted here"),
        ({"config.json": '{"model_type": "gpt2"}', "model.safetensors": ""}, WeightsError,
         "holds a model of model_type 'gpt2'; 'bert' is wanted here"),
        ({"config.json": '{"model_type": "bert"}', "model.safetensors": ""}, WeightsError, "damaged or cut off"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_says_what_is_wrong(tmp_path, files, kind, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(kind, match=message):
        read_folder(tmp_path, "bert")


def test_bytes_that_are_no_text_are_no_json(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe{}")
    save_file(STATE, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"config\.json is no JSON"):
        read_folder(tmp_path, "bert")
