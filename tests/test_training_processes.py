"""What runs and processes share: accelerate's singletons, random states, gradients; two processes against one."""

import json
import os
import random
import runpy
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import accelerate
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn

from tlcourse import runtime, weights
from tlcourse.training import TrainingConfig, fit, processes

CPU = torch.device("cpu")
SCRIPT = Path(__file__).parent / "reference" / "two_processes.py"
SINGLETONS = (PartialState, AcceleratorState, GradientState)


@pytest.fixture(autouse=True)
def clean_singletons():
    kept = [dict(kind._shared_state) for kind in SINGLETONS]
    for kind in SINGLETONS:
        kind._shared_state.clear()
    yield
    for kind, before in zip(SINGLETONS, kept, strict=True):
        kind._shared_state.clear()
        kind._shared_state.update(before)


def data():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(3, generator=generator), torch.randn(1, generator=generator)) for _ in range(8)]


def loss(model, batch):
    return nn.functional.mse_loss(model(batch[0]).float(), batch[1])


@pytest.mark.parametrize("order", [("no", "bf16"), ("bf16", "no")])
def test_runs_of_different_precision_follow_each_other_and_leave_accelerate_uninitialised(order):
    for precision in order:
        config = TrainingConfig(max_steps=2, batch_size=4, mixed_precision=precision)
        seen = []
        fit(nn.Linear(3, 1), data(), lambda m, b, s=seen: s.append(m(b[0]).dtype) or loss(m, b), config)
        assert seen == [torch.bfloat16 if precision == "bf16" else torch.float32] * 2
    assert all(kind._shared_state == {} for kind in SINGLETONS)


def test_the_readers_own_accelerator_goes_on_as_before_and_its_prepared_model_trains_unchanged():
    own = accelerate.Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=3)
    before = [dict(kind._shared_state) for kind in SINGLETONS]
    plain = nn.Linear(3, 1)
    prepared = own.prepare(plain)
    forward, start = prepared.forward, plain.weight.detach().clone()
    fit(prepared, data(), loss, TrainingConfig(max_steps=3, batch_size=4, learning_rate=0.1))
    assert [dict(kind._shared_state) for kind in SINGLETONS] == before
    assert (own.mixed_precision, own.gradient_accumulation_steps) == ("bf16", 3)
    assert prepared is plain and prepared.forward == forward
    assert not torch.equal(plain.weight, start)


def test_accelerates_state_comes_back_after_an_error():
    own = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    with pytest.raises(ZeroDivisionError), processes.own_accelerator("no"):
        raise ZeroDivisionError
    assert own.state.mixed_precision == "bf16"


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("cpu", "fp16", "mixed_precision='fp16' does not work on this cpu; try 'bf16' or 'no'"),
        ("cuda", "bf16", "mixed_precision='bf16' does not work on this cuda; try 'fp16' or 'no'"),
    ],
)
def test_precision_that_the_device_lacks_is_refused(monkeypatch, device, precision, message):
    monkeypatch.setattr(runtime, "device", lambda: torch.device(device))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    with pytest.raises(ValueError, match=message):
        fit(nn.Linear(3, 1), data(), loss, TrainingConfig(epochs=1, mixed_precision=precision))


def draws():
    return random.random(), random.gauss(0, 1), np.random.normal(), torch.rand(3).tolist()  # noqa: NPY002


def test_random_states_survive_json():
    draws()  # leaves a Gaussian number in store
    state = json.loads(json.dumps(processes.random_state(CPU)))
    first = draws()
    processes.set_random_state(state, CPU)
    assert draws() == first


def test_random_states_of_a_cuda_device_are_kept(monkeypatch):
    kept = torch.arange(16, dtype=torch.uint8)
    back = []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: kept)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: back.append((state, device)))
    cuda = torch.device("cuda")
    processes.set_random_state(json.loads(json.dumps(processes.random_state(cuda))), cuda)
    assert torch.equal(back[0][0], kept) and back[0][1] == cuda


def test_processes_draw_differently_from_one_seed():
    drawn = []
    for index in (0, 1):
        with processes.seeded(2**32 - 1, SimpleNamespace(device=CPU, process_index=index)):
            drawn.append(torch.rand(()).item())
    assert drawn[0] != drawn[1]


def test_gradients_and_loss_are_summed_and_absent_ones_stay_absent():
    """An accelerator of two like processes: every sum is the double."""
    doubled = SimpleNamespace(device=CPU, reduce=lambda flat, how: flat * 2 if how == "sum" else None)
    used, half, unused, frozen = (nn.Parameter(torch.ones(n)) for n in (2, 3, 4, 5))
    half.data = half.data.half()
    frozen.requires_grad_(False)
    used.grad, half.grad = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0, 5.0]).half()
    total = processes.sum_gradients([used, half, unused, frozen], torch.tensor(0.25), doubled)
    assert total.item() == 0.5 and total.shape == ()
    assert used.grad.tolist() == [2, 4]
    assert half.grad.tolist() == [6, 8, 10] and half.grad.dtype == torch.float16
    assert unused.grad is None and frozen.grad is None


def test_one_process_passes_values_through():
    alone = SimpleNamespace(num_processes=1)
    tensor = torch.ones(2)
    processes.spread([tensor], alone)
    assert processes.gathered("x", alone) == ["x"] and processes.from_main_process(0.5, alone) == 0.5


def test_several_processes_get_the_main_processs_values(monkeypatch):
    """accelerate's collectives stand in as two processes would see them on the second one."""
    two = SimpleNamespace(num_processes=2)
    monkeypatch.setattr(processes, "gather_object", lambda values: ["main", *values])
    monkeypatch.setattr(processes, "broadcast_object_list", lambda values: [7.0])
    monkeypatch.setattr(processes, "broadcast", lambda tensor: torch.full_like(tensor, 7))
    tensor = nn.Parameter(torch.ones(2))
    processes.spread([tensor], two)
    assert tensor.tolist() == [7, 7]
    assert processes.gathered("second", two) == ["main", "second"]
    assert processes.from_main_process(1.0, two) == 7


def test_a_process_beside_the_main_one_computes_its_share_and_writes_nothing(tmp_path, monkeypatch):
    """The second of two, alone: what it would send to the first one is recorded."""
    sent, waited = [], []
    second = SimpleNamespace(
        device=CPU,
        num_processes=2,
        process_index=1,
        is_main_process=False,
        scaler=None,
        reduce=lambda flat, how: sent.append(flat) or flat,
        wait_for_everyone=lambda: waited.append(True),
    )
    monkeypatch.setattr(processes, "own_accelerator", lambda _: nullcontext(second))
    for collective in ("gather_object", "broadcast"):
        monkeypatch.setattr(processes, collective, lambda values: values)
    sizes = []
    config = TrainingConfig(max_steps=1, batch_size=5, clip_norm=None)
    folder = tmp_path / "run"
    fit(
        nn.Linear(3, 1),
        data(),
        lambda m, b: sizes.append(len(b[0])) or loss(m, b),
        config,
        checkpoint_folder=folder,
    )
    assert sizes == [2]  # of five
    assert len(sent) == 1 and len(sent[0]) == 1 + 2 + 3 + 1  # loss, which gradients there are, weight, bias
    assert waited == [True] and not folder.exists()


@pytest.fixture
def scaled(monkeypatch):
    """fit under fp16's loss scaling, on the CPU: the scaler that it uses."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)

    @contextmanager
    def accelerator(_):
        machine = accelerate.Accelerator(cpu=True)
        machine.scaler = scaler
        yield machine

    monkeypatch.setattr(processes, "own_accelerator", accelerator)
    return scaler


def test_loss_scaling_changes_nothing_but_the_scale(scaled, monkeypatch):
    config = TrainingConfig(max_steps=6, batch_size=4, learning_rate=0.01, clip_norm=0.1)
    torch.manual_seed(0)
    scaled_model = nn.Linear(3, 1)
    plain_model = nn.Linear(3, 1)
    plain_model.load_state_dict(scaled_model.state_dict())
    history = fit(scaled_model, data(), loss, config)
    assert scaled.get_scale() == 2.0**12  # grew twice
    monkeypatch.undo()
    plain = fit(plain_model, data(), loss, config)
    assert torch.equal(scaled_model.weight, plain_model.weight)  # powers of two scale exactly
    assert history.losses == plain.losses


def test_an_overflow_under_loss_scaling_passes_the_update_over(scaled):
    model = nn.Linear(3, 1)
    start = model.weight.detach().clone()
    huge = torch.tensor(3e36)  # times the scale beyond float32, alone within
    history = fit(model, data(), lambda m, b: m(b[0]).mean() * huge, TrainingConfig(max_steps=1, warmup=0))
    assert len(history.steps) == 1
    assert scaled.get_scale() == 2.0**9
    assert torch.equal(model.weight, start)


@pytest.mark.timeout(240)
def test_two_processes_train_as_one_does_and_only_the_main_one_writes(tmp_path):
    """Unequal and empty pieces, gradual unfreezing, an unused layer, clipping, resume; see the script."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    runpy.run_path(str(SCRIPT))["main"](one)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, str(SCRIPT), str(two)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folders = {(1, 0): (one, 0), (2, 0): (two, 0), (2, 1): (two, 1)}
    seen = {key: json.loads((folder / f"{rank}.json").read_text()) for key, (folder, rank) in folders.items()}
    parameters = {
        key: weights.load_checkpoint(folder / f"{rank}.safetensors")
        for key, (folder, rank) in folders.items()
    }
    assert [seen[key]["processes"] for key in ((1, 0), (2, 0), (2, 1))] == [1, 2, 2]
    assert [seen[key]["rank"] for key in ((1, 0), (2, 0), (2, 1))] == [0, 0, 1]
    assert seen[2, 0]["drawn"] != seen[2, 1]["drawn"]
    assert seen[2, 0]["drawn"] == seen[1, 0]["drawn"]
    for name, tensor in parameters[1, 0].items():
        ours = parameters[2, 0][name]
        assert torch.equal(ours, parameters[2, 1][name]), name
        if not name.startswith("norm.running"):  # each process has statistics of its own pieces
            # Sums in another order, amplified by Adam's division.
            assert (tensor - ours).abs().max() <= 1e-4 * tensor.abs().max(), name
    losses = [seen[key]["losses"] for key in seen]
    assert losses[1] == losses[2] == pytest.approx(losses[0], rel=1e-5)
    assert seen[2, 0]["evaluations"] == seen[2, 1]["evaluations"] == [[4, 1.0], [8, 2.0], [12, 3.0]]
    assert all(values["resumed"] and values["drawn_again"] for values in seen.values())
    assert all("loss nan" in values["error"] for values in seen.values())
