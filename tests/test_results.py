"""Stored results: resumable jobs, fingerprints, and the intervals drawn from them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from tlcourse import metrics, results

SCRIPT = '''"""A study for tests."""
import os
import pathlib

from tlcourse import results

SETTINGS = {"factor": 2}
STUDY = results.Study("toy", SETTINGS, assets=["thing"], script=pathlib.Path(__file__))


def double(number: int) -> dict:
    """Counts its calls in a file, so that a test can see whether it ran."""
    with open(os.environ["TOY_CALLS"], "a") as calls:
        calls.write(f"{number}\\n")
    if number > 5:
        raise ValueError(f"{number} is too large")
    return {"task": "toy", "seed": number, "value": SETTINGS["factor"] * number}


def total(numbers: tuple) -> dict:
    return double(sum(numbers))


def several(number: int) -> dict:
    return {"runs": [{"seed": n, "v": n} for n in reversed(range(number))]}


def plan():
    return {f"double {n}": (double, {"number": n}) for n in (1, 2, 3)}
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A study with its script, its working folder and its results folder in a temporary place."""
    scripts, stored = tmp_path / "experiments", tmp_path / "data" / "results"
    scripts.mkdir()
    stored.mkdir(parents=True)
    (scripts / "toy.py").write_text(SCRIPT)
    monkeypatch.setenv("TOY_CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr(results, "SCRIPTS", scripts)
    monkeypatch.setattr(results, "WORK", tmp_path / "work")
    monkeypatch.setattr(results, "folder", lambda: stored)
    monkeypatch.setattr(results, "ProcessPoolExecutor", Inline)
    asset = SimpleNamespace(files=[SimpleNamespace(name="a.bin", sha256="00")])
    monkeypatch.setattr(results.assets, "get", lambda name: asset)
    module = results.load_script(scripts / "toy.py")
    return SimpleNamespace(
        module=module, study=module.STUDY, calls=tmp_path / "calls", asset=asset, stored=stored
    )


def test_a_script_may_hold_a_dataclass_whose_annotations_are_text(tmp_path):
    script = tmp_path / "toy_records.py"
    script.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "\n\n@dataclass\nclass Row:\n    n: int\n"
    )
    assert results.load_script(script).Row(3).n == 3


class Inline:
    """A pool of no processes, so that a test sees what the jobs do."""

    def __init__(self, *arguments):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def shutdown(self, cancel_futures):
        self.cancelled = cancel_futures

    def submit(self, function, *arguments):
        from concurrent.futures import Future

        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def silent(line):
    pass


def test_a_second_run_repeats_no_job(toy):
    first = toy.study.run(toy.module.plan(), say=silent)
    again = toy.study.run(toy.module.plan(), say=silent)
    assert again == first and [r["value"] for r in first.values()] == [2, 4, 6]
    assert toy.calls.read_text().split() == ["1", "2", "3"]


def test_jobs_that_ended_before_a_failure_are_kept(toy):
    jobs = toy.module.plan() | {"bad": (toy.module.double, {"number": 6})}
    with pytest.raises(ValueError, match="6 is too large"):
        toy.study.run(jobs, workers=1, say=silent)
    toy.study.run(toy.module.plan(), say=silent)
    assert toy.calls.read_text().split().count("1") == 1


def test_a_changed_recipe_runs_again_and_a_changed_comment_does_not(toy):
    toy.study.run(toy.module.plan(), say=silent)
    toy.study.script.write_text(SCRIPT.replace("SETTINGS = ", "# only a comment\nSETTINGS = "))
    toy.study.run(toy.module.plan(), say=silent)
    assert len(toy.calls.read_text().split()) == 3
    toy.study.script.write_text(SCRIPT.replace("number > 5", "number > 4"))
    toy.study.run(toy.module.plan(), say=silent)
    assert len(toy.calls.read_text().split()) == 6


def test_results_are_current_until_script_settings_or_assets_change(toy):
    path = toy.study.write(toy.study.run(toy.module.plan(), say=silent), note="hello")
    assert path == toy.stored / "toy.json" and results.stale() == []
    toy.asset.files[0].sha256 = "11"
    assert "toy: script, settings or assets changed" in results.stale()[0]
    toy.asset.files[0].sha256 = "00"
    toy.study.script.write_text(SCRIPT.replace('"factor": 2', '"factor": 3'))
    assert len(results.stale()) == 1
    toy.study.script.unlink()
    assert "its script toy.py is gone" in results.stale()[0]


def test_loading_gives_the_runs_ordered_by_seed(toy):
    toy.study.write(
        toy.study.run(dict(reversed(toy.module.plan().items())), say=silent), rates={"full": 1e-4}
    )
    loaded = results.load("toy")
    assert loaded.values("value", task="toy") == [2, 4, 6]
    assert loaded.body["rates"] == {"full": 1e-4} and loaded.body["environment"]["python"]
    with pytest.raises(KeyError, match="no run with"):
        loaded.select(task="tea")


def test_a_job_may_hold_several_runs(toy):
    job = {"pair": (toy.module.several, {"number": 2})}
    records = toy.study.run(job, say=silent)
    assert toy.study.run(job, say=silent) == records
    toy.study.write(records)
    assert results.load("toy").values("v") == [0, 1]


def test_a_study_goes_on_from_its_results_file_in_a_fresh_clone(toy, monkeypatch, tmp_path):
    records = toy.study.run(toy.module.plan(), say=silent)
    toy.study.write(records)
    monkeypatch.setattr(results, "WORK", tmp_path / "another")
    assert toy.study.run(toy.module.plan(), say=silent) == records
    assert len(toy.calls.read_text().split()) == 3
    job = {"total": (toy.module.total, {"numbers": (1, 2)})}  # a tuple, which a file holds as a list
    toy.study.write(toy.study.run(job, say=silent))
    monkeypatch.setattr(results, "WORK", tmp_path / "a third")
    assert toy.study.run(job, say=silent)["total"]["value"] == 6
    assert len(toy.calls.read_text().split()) == 4
    other = {"total": (toy.module.total, {"numbers": (3, 1)})}  # stored by that name, of other numbers
    assert toy.study.run(other, say=silent)["total"]["value"] == 8


def test_a_half_written_file_is_never_seen(toy, monkeypatch):
    path = toy.study.write(toy.study.run(toy.module.plan(), say=silent))
    whole = path.read_text()

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        toy.study.write({})
    assert path.read_text() == whole and json.loads(whole)


def test_missing_results_name_the_command_that_makes_them(toy):
    with pytest.raises(FileNotFoundError, match="make experiment NAME=transfer/nothing"):
        results.load("transfer/nothing")
    with pytest.raises(FileNotFoundError, match="no experiment 'nothing'"):
        results.Study("nothing", {}, [])


def test_workers_compute_with_one_thread(monkeypatch):
    import torch

    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    results.one_thread()
    assert asked == [1]


ORPHANS = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tlcourse import results

if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), results._start_worker) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="a process is killed by signal")
def test_workers_end_when_the_study_is_killed(tmp_path):
    (tmp_path / "study.py").write_text(ORPHANS)
    study = subprocess.Popen([sys.executable, tmp_path / "study.py"], stdout=subprocess.PIPE, text=True)
    worker = psutil.Process(int(study.stdout.readline()))
    study.kill()
    study.communicate()
    worker.wait(timeout=10)
    assert not worker.is_running()


def test_a_worker_leaves_at_once_when_its_parent_is_gone(monkeypatch):
    happened = []
    parent = SimpleNamespace(join=lambda: happened.append("parent gone"))
    monkeypatch.setattr(results, "parent_process", lambda: parent)
    monkeypatch.setattr(results, "one_thread", lambda: None)
    monkeypatch.setattr(results.os, "_exit", happened.append)
    results._end_with_the_parent()
    assert happened == ["parent gone", 1]
    results._start_worker()
    deadline = time.monotonic() + 5
    while len(happened) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert happened == ["parent gone", 1] * 2


def test_difference_equals_the_mean_over_seeds_of_paired_differences():
    a = [{"seed": s, "right": "1101", "groups": [0, 0, 1, 2]} for s in (0, 1)]
    b = [{"seed": s, "right": "1001", "groups": [0, 0, 1, 2]} for s in (0, 1)]
    gain = results.difference(a, b)
    assert gain.estimate == pytest.approx(25.0) and gain.low <= 25 <= gain.high
    assert results.accuracy(a).estimate == pytest.approx(75.0)
    expected = metrics.seeds_and_groups_bootstrap(
        [np.array([0.0, 100, 0, 0])] * 2, [np.array([0, 0, 1, 2])] * 2
    )
    assert gain == expected


def test_guesses_and_macro_f1_follow_from_labels_and_what_is_right():
    labels, guessed = np.array([1, 0, 0, 1, 0, 0]), np.array([1, 0, 1, 0, 0, 0])
    run = {"labels": labels.tolist(), "right": "".join("01"[int(r)] for r in labels == guessed)}
    assert results.guesses(run).tolist() == guessed.tolist()
    # Of 1: one hit, one false, one missed: 2/4. Of 0: three hits, one false, one missed: 6/8.
    assert results.macro_f1(run) == pytest.approx(100 * (2 / 4 + 6 / 8) / 2)


def test_guesses_of_more_than_two_classes_are_refused():
    with pytest.raises(ValueError, match=r"labels \[0 1 2\] are not 0 and 1"):
        results.guesses({"labels": [0, 1, 2], "right": "101"})


def ranked(seed, scores, labels="0110"):
    return {"seed": seed, "scores": scores, "labels": labels, "groups": [0, 0, 1, 1]}


def test_auc_and_its_difference_are_means_over_seeds_of_the_closed_form():
    perfect = [ranked(s, [0.1, 0.8, 0.9, 0.2]) for s in (0, 1)]
    half = [ranked(0, [0.1, 0.8, 0.1, 0.2]), ranked(1, [0.5, 0.5, 0.5, 0.5])]  # 5/8 and 1/2
    options = {"n_resamples": 200}
    assert results.auc(half, **options).estimate == pytest.approx((0.625 + 0.5) / 2)
    gain = results.auc_difference(perfect, half, **options)
    assert gain.estimate == pytest.approx(1 - (0.625 + 0.5) / 2)
    assert 0 <= gain.low <= gain.estimate <= gain.high <= 1


@pytest.mark.parametrize("change", [{"seed": 1}, {"labels": "0111"}, {"groups": [0, 0, 1, 2]}])
def test_auc_difference_refuses_other_test_items(change):
    runs = [ranked(s, [0.1, 0.8, 0.9, 0.2]) for s in (0, 1)]
    with pytest.raises(ValueError, match=r"have other test items; select both arms alike"):
        results.auc_difference(runs, [runs[0] | change, runs[1]])
    with pytest.raises(ValueError, match="2 runs and 1 runs cannot be paired"):
        results.auc_difference(runs, runs[:1])


def test_difference_refuses_other_seeds():
    run = {"right": "10", "groups": [0, 1]}
    with pytest.raises(ValueError, match="cannot be paired"):
        results.difference([run | {"seed": 0}, run | {"seed": 1}], [run | {"seed": 0}, run | {"seed": 2}])


def test_the_study_of_seeds_used_the_rates_that_its_studies_hold_today():
    for name, choices in results.load("transfer/seeds").body["used"].items():
        body = results.load(name).body
        assert choices and choices == {key: body[key] for key in choices}, name


def test_every_stored_results_file_is_current():
    assert results.stale() == []


def test_the_package_carries_the_results_where_there_is_no_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    assert results.folder() == Path(results.__file__).resolve().parent / "data" / "results"
