"""Weights from files by key tables: everything or one clear error."""

import hashlib
import os
import pickle
import resource
import signal
from collections import OrderedDict

import pytest
import safetensors
import safetensors.torch
import torch
import transformers
from torch import nn

from tlcourse.weights import WeightsError, content_hash, load_checkpoint, load_into, save, translate


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    return {
        "linear.weight": torch.randn(3, 4, generator=generator),
        "half": torch.randn(5, generator=generator).half(),
        "counts": torch.arange(6).view(2, 3),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 2),
    }


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor), name


def test_what_is_saved_is_what_safetensors_and_load_checkpoint_read(tmp_path, state):
    path = tmp_path / "weights.safetensors"
    save(state, path)
    assert_equal(load_checkpoint(path), state)
    assert_equal(safetensors.torch.load_file(path), state)
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt"}  # what transformers asks for
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_dtype_is_for_floating_point_tensors_only(tmp_path, state):
    save(state, tmp_path / "w.safetensors", dtype=torch.float16)
    loaded = load_checkpoint(tmp_path / "w.safetensors")
    assert {name: t.dtype for name, t in loaded.items() if t.dtype != torch.float16} == {
        "counts": torch.int64
    }
    assert torch.equal(loaded["linear.weight"], state["linear.weight"].half())


def test_views_are_saved_by_value_and_tied_tensors_once(tmp_path):
    table = torch.arange(12.0).view(3, 4)
    tied = nn.Parameter(table)
    save({"a": tied, "transposed": table.T, "row": table[1], "b": tied, "e1": torch.ones(0), "e2": torch.ones(0)},
         tmp_path / "w.safetensors")  # fmt: skip
    loaded = load_checkpoint(tmp_path / "w.safetensors")
    assert sorted(loaded) == ["a", "e1", "e2", "row", "transposed"]
    assert torch.equal(loaded["transposed"], table.T) and torch.equal(loaded["row"], table[1])


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
@pytest.mark.parametrize("legacy", [False, True])
def test_pytorch_files_of_tensors_are_read(tmp_path, state, suffix, legacy):
    path = tmp_path / f"weights{suffix}"
    torch.save(OrderedDict(state), path, _use_new_zipfile_serialization=not legacy)
    assert_equal(load_checkpoint(path), state)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("owned",)


@pytest.mark.parametrize("plain", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path, monkeypatch, plain):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    if plain:
        path.write_bytes(pickle.dumps({"w": Malicious()}, protocol=2))
    else:
        torch.save({"w": Malicious()}, path)
    with pytest.raises(WeightsError, match=r"weights.pth holds more than tensors.*a pickle can run code"):
        load_checkpoint(path)
    assert not (tmp_path / "owned").exists()


def test_a_pickle_where_safetensors_is_expected_is_named(tmp_path, state):
    path = tmp_path / "model.safetensors"
    expected = r"model.safetensors is a pickle, not a safetensors file; get the .safetensors file"
    for write in (
        lambda: torch.save(state, path),
        lambda: torch.save(state, path, _use_new_zipfile_serialization=False),
        lambda: path.write_bytes(pickle.dumps({"w": Malicious()}, protocol=2)),
    ):
        write()
        with pytest.raises(WeightsError, match=expected):
            load_checkpoint(path)


def test_a_safetensors_file_whose_first_byte_is_a_pickles_is_read(tmp_path):
    """The file starts with the length of its header, here 128, which is 0x80, as a pickle starts."""
    for length in range(1, 80):
        safetensors.torch.save_file({"n" * length: torch.ones(1)}, tmp_path / f"{length}.safetensors")
    found = [path for path in tmp_path.iterdir() if path.read_bytes()[:1] == b"\x80"]
    assert found
    for path in found:
        assert_equal(load_checkpoint(path), {"n" * int(path.stem): torch.ones(1)})


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.98])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_cut_off_anywhere_is_an_error_that_says_so(tmp_path, state, name, share):
    path = tmp_path / name
    save(state, path) if name.endswith("safetensors") else torch.save(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        WeightsError, match=rf"{name}.*(cut off|holds more than tensors, or is no PyTorch file)"
    ):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"state_dict": {"w": torch.ones(1)}, "epoch": 3},
            "holds a dict with the entries state_dict, epoch, not",
        ),
        ([torch.ones(1)], "holds a list with no names, not tensors by name; save the state_dict in it"),
    ],
)
def test_a_pytorch_file_of_something_else_says_what_it_holds(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(tmp_path / "w.pt")


def test_absent_files_and_other_endings_are_errors(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"none.safetensors is no file; give a .safetensors or .pth file"
    ):
        load_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="is no file"):
        load_checkpoint(tmp_path)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(
        WeightsError, match=r"ends in '.onnx'; weights are read from .safetensors, .pth, .pt, .bin"
    ):
        load_checkpoint(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"ends in '.bin'; weights are saved as .safetensors"):
        save({}, tmp_path / "w.bin")


def test_on_a_full_disk_the_file_of_before_stays_and_no_part_of_the_new_one(tmp_path):
    path = tmp_path / "w.safetensors"
    save({"a": torch.ones(3)}, path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"w.safetensors could not be written \(.*too large.*\); free space there"
        ):
            save({"a": torch.ones(1000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == ["w.safetensors"]
    assert torch.equal(load_checkpoint(path)["a"], torch.ones(3))


def test_the_content_hash_is_sha256(tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    assert content_hash(tmp_path / "file") == hashlib.sha256(content).hexdigest()


# The file's names, and ours with one transposed matrix per layer.
KEYS = {
    "h.{}.c_attn.weight": ("blocks.{}.0.weight", torch.t),
    "h.{}.c_attn.bias": "blocks.{}.0.bias",
    "h.{}.mask": None,
    "h.{}.mlp.{}.bias": "blocks.{}.{}.bias",
    "wte.weight": "embed.weight",
}


class Small(nn.Module):
    def __init__(self, layers=11, tied=False):
        super().__init__()
        self.embed = nn.Embedding(5, 2)
        self.blocks = nn.ModuleList(nn.ModuleList([nn.Linear(2, 3), nn.LayerNorm(3)]) for _ in range(layers))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        if tied:
            self.head = nn.Linear(2, 5, bias=False)
            self.head.weight = self.embed.weight


def foreign(layers=11):
    state = {"wte.weight": torch.randn(5, 2)}
    for i in range(layers):
        state[f"h.{i}.c_attn.weight"] = torch.randn(2, 3)
        state[f"h.{i}.c_attn.bias"] = torch.randn(3)
        state[f"h.{i}.mlp.1.bias"] = torch.randn(3)
        state[f"h.{i}.mask"] = torch.ones(1)
    return state


def test_translate_renames_transforms_and_drops_layer_by_layer():
    state = foreign()
    ours = translate(state, KEYS)
    expected = {"embed.weight": state["wte.weight"]}
    for i in range(11):
        expected[f"blocks.{i}.0.weight"] = state[f"h.{i}.c_attn.weight"].T
        expected[f"blocks.{i}.0.bias"] = state[f"h.{i}.c_attn.bias"]
        expected[f"blocks.{i}.1.bias"] = state[f"h.{i}.mlp.1.bias"]
    assert_equal(ours, expected)


def test_a_key_without_placeholder_outranks_one_with():
    keys = {"h.{}.w": "all.{}.w", "h.0.w": "first.w"}
    assert set(translate({"h.0.w": torch.ones(1), "h.1.w": torch.ones(1)}, keys)) == {"first.w", "all.1.w"}


def test_placeholders_stand_for_whole_numbers_and_dots_for_dots():
    with pytest.raises(WeightsError, match=r"unknown \(3\): h.x.w, hx1.w, h.1.w.w"):
        translate({"h.1.w": torch.ones(1), "h.x.w": 0, "hx1.w": 0, "h.1.w.w": 0}, {"h.{}.w": "{}"})


def test_translate_lists_everything_that_does_not_fit_at_once():
    state = foreign(1) | {"extra": torch.ones(1), "h.0.new": torch.ones(1), "wpe": torch.ones(1)}
    del state["h.0.c_attn.bias"], state["h.0.mask"]
    keys = KEYS | {"wpe": "embed.weight"}
    with pytest.raises(WeightsError) as error:
        translate(state, keys)
    assert str(error.value) == (
        "the checkpoint does not fit the key table\n"
        "  unknown (2): extra, h.0.new\n"
        "  missing (1): h.{}.c_attn.bias\n"
        "  clashes (1): wte.weight and wpe both become embed.weight"
    )


def test_a_table_with_unequal_placeholders_is_refused():
    with pytest.raises(ValueError, match=r"'h.{}.w' and its target 'w' need the same number of {}"):
        translate({}, {"h.{}.w": "w"})


def model_state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_load_into_by_table_fills_every_tensor_and_keeps_parameters_dtypes_and_flags():
    keys = KEYS | {"norm.{}": "blocks.{}.1.weight", "n": "seen"}
    state = foreign() | {f"norm.{i}": torch.randn(3) for i in range(11)} | {"n": torch.tensor(4)}
    model = Small().half()
    model.embed.weight.requires_grad_(False)
    parameters = dict(model.named_parameters())
    load_into(model, state, keys)
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert model.embed.weight.dtype == torch.float16 and not model.embed.weight.requires_grad
    assert_equal(
        model.state_dict(),
        {n: t.half() if t.is_floating_point() else t for n, t in translate(state, keys).items()},
    )


def test_load_into_lists_all_faults_in_one_error_and_loads_nothing():
    model, other = Small(2), Small(2)
    before, state = model_state(model), model_state(other)
    del state["blocks.1.0.bias"], state["seen"]
    state |= {
        "blocks.2.0.bias": torch.ones(3),
        "embed.weight": torch.ones(5, 3),
        "blocks.0.1.bias": torch.arange(3),
    }
    with pytest.raises(WeightsError) as error:
        load_into(model, state)
    assert str(error.value) == (
        "the checkpoint does not fit the Small; nothing was loaded\n"
        "  missing (2): seen, blocks.1.0.bias\n"
        "  unexpected (1): blocks.2.0.bias\n"
        "  misshapen (2): blocks.0.1.bias: (3,) int64 in the checkpoint, (3,) float32 in the model, "
        "embed.weight: (5, 3) float32 in the checkpoint, (5, 2) float32 in the model"
    )
    assert_equal(model_state(model), before)


def test_a_layer_too_few_or_too_many_is_found():
    with pytest.raises(
        WeightsError, match=r"missing \(4\): blocks.2.0.weight, blocks.2.0.bias, blocks.2.1.weight"
    ):
        load_into(Small(3), model_state(Small(2)))
    with pytest.raises(WeightsError, match=r"unexpected \(4\): blocks.2.0.weight"):
        load_into(Small(2), model_state(Small(3)))


@pytest.mark.parametrize("names", [("embed.weight",), ("head.weight",), ("embed.weight", "head.weight")])
def test_a_tied_tensor_may_come_under_any_of_its_names_and_stays_tied(names):
    model, value = Small(1, tied=True), torch.randn(5, 2)
    state = {n: t for n, t in model_state(Small(1)).items() if n != "embed.weight"} | dict.fromkeys(
        names, value
    )
    load_into(model, state)
    assert model.head.weight is model.embed.weight
    assert torch.equal(model.head.weight, value)


def test_a_tied_tensor_with_two_values_or_none_is_refused():
    model = Small(1, tied=True)
    before = model_state(model)
    state = before | {"head.weight": before["head.weight"] + 1}
    expected = r"contradictory \(1\): embed.weight and head.weight: one tensor in the model, two values"
    with pytest.raises(WeightsError, match=expected):
        load_into(model, state)
    state["head.weight"] = torch.ones(2, 2)
    with pytest.raises(WeightsError, match=r"misshapen \(1\): head.weight"):
        load_into(model, state)
    del state["head.weight"], state["embed.weight"]
    with pytest.raises(WeightsError, match=r"missing \(2\): embed.weight, head.weight"):
        load_into(model, state)
    assert_equal(model_state(model), before)


def test_a_tied_model_survives_save_and_load(tmp_path):
    one, two = Small(2, tied=True), Small(2, tied=True)
    save(one.state_dict(), tmp_path / "w.safetensors")
    load_into(two, load_checkpoint(tmp_path / "w.safetensors"))
    assert_equal(two.state_dict(), one.state_dict())


def test_files_written_by_transformers_load_into_its_model_with_the_same_outputs(tmp_path):
    """The official layout: tied embeddings are in the file once, and the module's outputs are the oracle."""
    config = transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    theirs, ours = transformers.GPT2LMHeadModel(config).eval(), transformers.GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path)
    load_into(ours, load_checkpoint(tmp_path / "model.safetensors"))
    ids = torch.randint(0, 20, (2, 8))
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
    assert ours.lm_head.weight is ours.transformer.wte.weight
