import json
import os
import platform
import random

import numpy as np
import pytest
import torch

from tlcourse import runtime


@pytest.fixture
def ask_for(monkeypatch):
    """Sets TLCOURSE_PROFILE (None unsets it) and whether torch sees a CUDA device."""

    def ask(name, *, cuda=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.delenv("TLCOURSE_PROFILE", raising=False)
        if name is not None:
            monkeypatch.setenv("TLCOURSE_PROFILE", name)

    return ask


@pytest.mark.parametrize("asked", [None, "", "cpu", " cpu "])
@pytest.mark.parametrize("cuda", [False, True])
def test_profile_is_cpu_unless_gpu_is_asked_for_even_beside_a_gpu(ask_for, asked, cuda):
    ask_for(asked, cuda=cuda)
    assert runtime.profile() == "cpu"
    assert runtime.device() == torch.device("cpu")


def test_profile_is_gpu_where_asked_for_and_a_device_is_there(ask_for):
    ask_for("gpu", cuda=True)
    assert runtime.profile() == "gpu"
    assert runtime.device() == torch.device("cuda")


@pytest.mark.parametrize("asked", ["tpu", "GPU", "cuda"])
def test_unknown_profile_is_named_with_the_choices(ask_for, asked):
    ask_for(asked, cuda=True)
    with pytest.raises(ValueError, match=f"TLCOURSE_PROFILE='{asked}' is no profile; set it to cpu or gpu"):
        runtime.profile()


@pytest.mark.parametrize("call", [runtime.profile, runtime.device, runtime.environment])
def test_gpu_without_a_device_raises_and_never_falls_back(ask_for, call):
    ask_for("gpu", cuda=False)
    with pytest.raises(
        RuntimeError, match=r"finds no CUDA device; choose a GPU runtime .* set TLCOURSE_PROFILE=cpu"
    ):
        call()


def test_sizes_are_those_of_the_profile(ask_for):
    given = {"cpu": {"labels": 500, "epochs": 2}, "gpu": {"labels": 2000, "epochs": 3}}
    ask_for(None)
    assert vars(runtime.sizes(**given)) == given["cpu"]
    ask_for("gpu", cuda=True)
    assert vars(runtime.sizes(**given)) == given["gpu"]


def test_sizes_given_for_one_profile_only_are_listed(ask_for):
    ask_for(None)
    with pytest.raises(ValueError, match="one profile only: epochs, labels; give every size for cpu and gpu"):
        runtime.sizes(cpu={"labels": 1, "n": 2}, gpu={"epochs": 1, "n": 2})


def _draws(generator):
    return random.random(), np.random.rand(), torch.rand(1).item(), torch.rand(1, generator=generator).item()  # noqa: NPY002


def test_one_seed_gives_one_stream_of_every_library_and_another_seed_others():
    first, again, other = (_draws(runtime.seed_everything(seed)) for seed in (7, np.int64(7), 8))
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_returned_generator_does_not_draw_from_the_global_one():
    generator = runtime.seed_everything(3)
    torch.rand(5, generator=generator)
    drawn = torch.rand(1)
    runtime.seed_everything(3)
    assert torch.equal(torch.rand(1), drawn)
    assert generator.initial_seed() == 3


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "0", None, True])
def test_bad_seed_is_named(seed):
    with pytest.raises(ValueError, match=r"seed=.* is not an integer of 0…4294967295; try seed=0"):
        runtime.seed_everything(seed)


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_seeds_at_both_ends_are_taken(seed):
    assert runtime.seed_everything(seed).initial_seed() == seed


def test_environment_names_versions_and_machine(ask_for):
    ask_for(None)
    found = runtime.environment()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert found["python"] == platform.python_version()
    assert found["machine"] == platform.machine()
    assert found["threads"] == torch.get_num_threads()
    assert (found["profile"], found["device"]) == ("cpu", "cpu")
    assert found["processor"]
    assert {"transformers", "accelerate", "timm", "kernels"} <= found.keys()
    assert json.loads(json.dumps(found)) == found


def test_environment_holds_no_host_name_and_no_path(ask_for):
    ask_for(None)
    values = [str(v) for v in runtime.environment().values()]
    assert all(os.sep not in v.replace("GNU/Linux", "") for v in values)
    assert platform.node() not in values


def test_environment_names_the_gpu_of_the_gpu_profile(ask_for, monkeypatch):
    ask_for("gpu", cuda=True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Example T4")
    assert runtime.environment()["device"] == "Example T4"


def test_environment_says_where_a_library_is_not_installed(ask_for, monkeypatch):
    ask_for(None)
    monkeypatch.setattr(runtime, "_RECORDED", ("no-such-library",))
    assert runtime.environment()["no-such-library"] == "not installed"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Example CPU @ 2 GHz\n", "Example CPU @ 2 GHz"),
        ("processor\t: 0\n", "arch"),
        (None, "arch"),
    ],
)
def test_processor_is_the_model_name_or_else_the_architecture(monkeypatch, tmp_path, cpuinfo, expected):
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    monkeypatch.setattr(runtime, "Path", lambda _: file)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arch")
    assert runtime._processor() == expected
