"""Runs that are killed, checkpoints that are damaged, disks that are full: what resumes ends as if nothing had been."""

import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tlcourse import training
from tlcourse.training import CheckpointError, checkpoints
from tlcourse.training.checkpoints import Checkpoint

SCRIPT = Path(__file__).parent / "reference" / "training_run.py"
spec = importlib.util.spec_from_file_location("training_run", SCRIPT)
recipe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)
TOTAL, EVERY = 32, recipe.EVERY


@pytest.fixture(scope="module")
def uninterrupted():
    model, history = recipe.run()
    assert len(history.steps) == TOTAL and history.best_step == 15
    return {name: t.clone() for name, t in model.state_dict().items()}, history


def assert_bit_identical(outcome, expected):
    (model, history), (state, whole) = outcome, expected
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    for part in ("steps", "losses", "learning_rates", "evaluations", "best_step", "stopped_early"):
        assert getattr(history, part) == getattr(whole, part), part


class Stop(Exception):
    pass


class StopAt:
    def __init__(self, at):
        self.at = at

    def on_step(self, model, step):
        if step == self.at:
            raise Stop


def run_until(folder, step, **options):
    with pytest.raises(Stop):
        recipe.run(folder, callbacks=[StopAt(step)], **options)


def intact(folder):
    return [f"step-{step:08d}" for step in checkpoints.steps(folder)]


def test_checkpoints_change_nothing_in_the_run(tmp_path, uninterrupted):
    assert_bit_identical(recipe.run(tmp_path), uninterrupted)
    assert intact(tmp_path) == ["step-00000030", "step-00000032"]


@pytest.mark.parametrize("step", [1, 3, 4, 8, 9, 13, 15, 16, 17, 20, 24, 27, 31, 32])
def test_a_run_stopped_at_any_step_resumes_to_bit_identical_parameters(tmp_path, uninterrupted, step):
    run_until(tmp_path, step, resume=True)
    assert_bit_identical(recipe.run(tmp_path, resume=True), uninterrupted)


def test_a_run_stopped_again_and_again_resumes_to_bit_identical_parameters(tmp_path, uninterrupted):
    for step in (5, 11, 12, 25):
        run_until(tmp_path, step, resume=True)
    model, history = recipe.run(tmp_path, resume=True)
    assert_bit_identical((model, history), uninterrupted)


@pytest.mark.parametrize("moment", ["step", "checkpoint"])
def test_a_killed_process_resumes_to_bit_identical_parameters(tmp_path, uninterrupted, moment):
    seed = random.SystemRandom().randrange(2**32)
    step = random.Random(seed).randint(EVERY + 1, TOTAL - 1)
    print(f"killed at step {step}, drawn with seed {seed}")  # pytest shows it on failure
    command = [sys.executable, str(SCRIPT), str(tmp_path), str(step if moment == "step" else 0), moment]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    leftovers = [path.name for path in tmp_path.iterdir() if path.name.startswith(".partial-")]
    assert len(leftovers) == (moment == "checkpoint")
    assert checkpoints.steps(tmp_path), "no checkpoint to resume from"
    assert_bit_identical(recipe.run(tmp_path, resume=True), uninterrupted)
    assert intact(tmp_path) == sorted(path.name for path in tmp_path.iterdir())


def test_a_run_resumed_within_an_epoch_is_told_of_the_epochs_after_it_only(tmp_path):
    heard = []

    class Hear:
        def on_epoch(self, model, epoch):
            heard.append(epoch)

    run_until(tmp_path, 14)  # eight updates make an epoch; the newest checkpoint is of update 12
    recipe.run(tmp_path, callbacks=[Hear()], resume=True)
    assert heard == [2, 3]


def test_a_finished_run_resumes_to_its_end_without_another_step(tmp_path, uninterrupted):
    recipe.run(tmp_path)
    seconds = json.loads((tmp_path / "step-00000032" / "facts.json").read_text())["history"]["seconds"]
    model, history = recipe.run(tmp_path, resume=True, callbacks=[StopAt(33)])
    assert_bit_identical((model, history), uninterrupted)
    assert history.seconds > seconds > 0


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    config = replace(recipe.CONFIG, patience=2)
    model, history = recipe.run(tmp_path, config=config)
    assert history.stopped_early and history.steps[-1] == 25
    again = recipe.run(tmp_path, config=config, resume=True)
    assert_bit_identical(again, (model.state_dict(), history))


def test_without_checkpoint_every_there_is_one_each_epoch_and_at_the_end(tmp_path):
    config = replace(recipe.CONFIG, epochs=None, max_steps=12)
    recipe.run(tmp_path, config=config, checkpoint_every=None)
    assert intact(tmp_path) == ["step-00000008", "step-00000012"]


def test_the_scale_of_fp16_is_part_of_a_checkpoint(tmp_path, monkeypatch):
    from accelerate import Accelerator

    from tlcourse.training import processes

    scales = []

    @contextmanager
    def accelerator(_):
        machine = Accelerator(cpu=True)
        machine.scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=4)
        yield machine
        scales.append(machine.scaler.get_scale())

    monkeypatch.setattr(processes, "own_accelerator", accelerator)
    recipe.run()
    with pytest.raises(Stop):
        recipe.run(tmp_path, callbacks=[StopAt(17)])
    recipe.run(tmp_path, resume=True)
    assert scales == [2.0**9] * 2


def test_the_modes_that_a_callback_set_are_part_of_a_checkpoint(tmp_path):
    class NoDropoutInTheSecondEpoch:
        def on_epoch(self, model, epoch):
            model.dropout.train(epoch != 1)

    model, history = recipe.run(callbacks=[NoDropoutInTheSecondEpoch()])
    with pytest.raises(Stop):
        recipe.run(tmp_path, callbacks=[NoDropoutInTheSecondEpoch(), StopAt(14)])
    again = recipe.run(tmp_path, callbacks=[NoDropoutInTheSecondEpoch()], resume=True)
    assert_bit_identical(again, (model.state_dict(), history))


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("damage", [flip_a_byte, cut_off, Path.unlink])
@pytest.mark.parametrize("name", ["tensors.safetensors", "facts.json", "SHA256SUMS"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, uninterrupted, name, damage):
    run_until(tmp_path, 20)
    assert intact(tmp_path) == ["step-00000015", "step-00000018"]
    damage(tmp_path / "step-00000018" / name)
    with pytest.warns(UserWarning, match="step-00000018 is damaged; continuing from step-00000015"):
        outcome = recipe.run(tmp_path, resume=True)
    assert_bit_identical(outcome, uninterrupted)
    assert checkpoints.newest(tmp_path).step == TOTAL


def test_sums_that_are_not_even_text_are_damage(tmp_path):
    checkpoints.write(tmp_path, Checkpoint(1, {"a": torch.ones(1)}, {}))
    (tmp_path / "step-00000001" / "SHA256SUMS").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CheckpointError, match="are damaged"):
        checkpoints.newest(tmp_path)


def test_with_all_checkpoints_damaged_the_run_ends_with_an_error_and_touches_nothing(tmp_path):
    run_until(tmp_path, 20)
    for folder in tmp_path.iterdir():
        cut_off(folder / "tensors.safetensors")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    expected = (
        r"all checkpoints in .* are damaged \(step-00000018, step-00000015\); restore one from a backup"
    )
    with pytest.raises(CheckpointError, match=expected):
        recipe.run(tmp_path, resume=True)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("unit", ["safetensors", "json"])
def test_on_a_full_disk_the_checkpoint_of_before_stays(tmp_path, uninterrupted, monkeypatch, unit):
    """The system refuses to let files grow, or the second file of the checkpoint does not fit any more."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    class Fill:
        def on_step(self, model, step):
            if step == 7 and unit == "safetensors":
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
            elif step == 7:
                monkeypatch.setattr(checkpoints, "_write_text", no_space)

    def no_space(path, text):
        path.write_text(text[:10])
        raise OSError(28, "No space left on device")

    expected = (
        r"the checkpoint of step 9 could not be written to .*(File too large|No space left).*; the one of step 6 is "
        r"intact. Make room, then run again with resume=True"
    )
    try:
        with pytest.raises(OSError, match=expected):
            recipe.run(tmp_path, callbacks=[Fill()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
        monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000006"]
    assert_bit_identical(recipe.run(tmp_path, resume=True), uninterrupted)


def test_a_full_disk_at_the_first_checkpoint_says_that_there_is_none(tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.weights, "save", no_space)
    with pytest.raises(OSError, match=r"step 3 could not be written to .*; there is none before it"):
        recipe.run(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


OTHER_RUNS = {
    "model": ({"width": 7}, r"model.first.weight: \(6, 5\) float32 before, \(7, 5\) float32 now"),
    "config": (
        {"config": replace(recipe.CONFIG, learning_rate=0.5, schedule="cosine")},
        r"config.learning_rate: 0.01 before, 0.5 now\n  config.schedule: linear before, cosine now",
    ),
    "data": ({"n": 29}, "items: 30 before, 29 now"),
    "lengths": ({"lengths": [1] * 30}, "lengths: [0-9a-f]{64} before, [0-9a-f]{64} now"),
    "evaluation": ({"evaluate": None}, "evaluated: True before, False now"),
    "groups": (
        {"parameter_groups": None},
        r"parameter_groups.first.weight: lr 0.005, weight_decay 0.01 before, lr 0.01, weight_decay 0.01 now",
    ),
}


@pytest.mark.parametrize("kind", OTHER_RUNS)
def test_checkpoints_of_another_run_are_refused_with_what_differs(tmp_path, kind):
    options, message = OTHER_RUNS[kind]
    run_until(tmp_path, 7)
    before = checkpoints.newest(tmp_path)
    with pytest.raises(CheckpointError, match=f"holds checkpoints of another run:\n  (.|\n)*{message}"):
        recipe.run(tmp_path, resume=True, **options)
    assert checkpoints.newest(tmp_path).facts == before.facts


def test_a_folder_with_a_run_is_not_written_over(tmp_path):
    run_until(tmp_path, 7)

    class Unasked:
        def on_start(self, model):
            raise AssertionError("the callbacks were started")

    with pytest.raises(FileExistsError, match="holds the checkpoint of step 6; continue it with resume=True"):
        recipe.run(tmp_path, callbacks=[Unasked()])
    with pytest.raises(CheckpointError, match="another run"):
        recipe.run(tmp_path, callbacks=[Unasked()], resume=True, width=9)
    assert intact(tmp_path) == ["step-00000003", "step-00000006"]


def test_a_snapshot_comes_back_as_it_was_and_its_sums_are_those_of_sha256sum(tmp_path):
    tensors = {"a/b": torch.randn(3, 2).T, "c": torch.tensor(True), "d": torch.zeros(0, 4)}
    path = checkpoints.write(tmp_path / "deep" / "folder", Checkpoint(7, tensors, {"x": [0.1, None, "ü"]}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = checkpoints.newest(tmp_path / "deep" / "folder")
    assert back.step == 7 and back.facts == {"x": [0.1, None, "ü"]}
    assert all(torch.equal(back.tensors[name], tensor) for name, tensor in tensors.items())
    if shutil.which("sha256sum"):
        subprocess.run(
            ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=path, check=True, capture_output=True
        )


def test_an_empty_or_absent_folder_has_no_snapshot(tmp_path):
    (tmp_path / "step-old").mkdir()
    assert checkpoints.newest(tmp_path) is None and checkpoints.newest(tmp_path / "none") is None


def test_writing_keeps_two_snapshots_and_clears_what_a_kill_or_damage_left(tmp_path):
    (tmp_path / ".partial-old").mkdir(parents=True)
    for step in (3, 6, 9, 12):
        checkpoints.write(tmp_path, Checkpoint(step, {"a": torch.tensor(step)}, {}))
    assert checkpoints.steps(tmp_path) == [9, 12]
    cut_off(tmp_path / "step-00000012" / "facts.json")
    checkpoints.write(tmp_path, Checkpoint(10, {"a": torch.tensor(10)}, {}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000009", "step-00000010"]
    checkpoints.write(tmp_path, Checkpoint(10, {"a": torch.tensor(11)}, {}))
    assert checkpoints.newest(tmp_path).tensors["a"] == 11


def test_a_snapshot_is_on_the_disk_before_its_rename_and_the_rename_before_an_old_one_goes(
    tmp_path, monkeypatch
):
    """A file keeps its inode number when it is renamed: by that each flush is known again afterwards."""
    for step in (1, 2):
        checkpoints.write(tmp_path, Checkpoint(step, {"a": torch.ones(1)}, {}))
    events = []
    flush, rename, delete = os.fsync, Path.rename, shutil.rmtree
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(os.fstat(handle).st_ino), flush(handle)))
    monkeypatch.setattr(Path, "rename", lambda *paths: (events.append("rename"), rename(*paths)))
    monkeypatch.setattr(
        shutil, "rmtree", lambda path, **more: (events.append(Path(path).name), delete(path, **more))
    )
    path = checkpoints.write(tmp_path, Checkpoint(3, {"a": torch.ones(1)}, {}))
    renamed = events.index("rename")
    assert set(events[:renamed]) == {path.stat().st_ino, *(file.stat().st_ino for file in path.iterdir())}
    assert events[renamed + 1 :].index(tmp_path.stat().st_ino) < events[renamed + 1 :].index("step-00000001")


def test_systems_that_open_no_folders_write_snapshots_all_the_same(tmp_path, monkeypatch):
    real = os.open

    def windows(path, *options, **more):
        if Path(path).is_dir():
            raise PermissionError
        return real(path, *options, **more)

    monkeypatch.setattr(os, "open", windows)
    checkpoints.write(tmp_path, Checkpoint(1, {"a": torch.ones(1)}, {}))
    assert checkpoints.newest(tmp_path).step == 1


def test_differences_are_named_by_path_and_long_lists_cut():
    before = {"config": {"a": 1, "b": 2}, "model": {f"w{i}": 1 for i in range(9)}, "gone": 1}
    now = {"config": {"a": 1, "b": 3}, "model": {f"w{i}": 2 for i in range(9)}, "new": None}
    assert checkpoints.differences(before, before) == []
    assert checkpoints.differences(before, now) == [
        "config.b: 2 before, 3 now",
        *(f"model.w{i}: 1 before, 2 now" for i in range(5)),
        "model: 4 more",
        "gone: 1 before, absent now",
        "new: absent before, None now",
    ]


def test_errors_of_checkpoints_are_public():
    assert training.CheckpointError is CheckpointError and issubclass(CheckpointError, ValueError)
