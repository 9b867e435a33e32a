"""Jobs of a stored experiment, run again and compared, on a small study of its own."""

import json
import math
from pathlib import Path

import pytest

from tlcourse import results
from tools import again
from tools.notebooks import ROOT

SCRIPT = '''"""A study for tests: squares, the best of which is squared again."""
import pathlib

from tlcourse import results

STUDY = results.Study("toy", {}, assets=[], script=pathlib.Path(__file__))


def square(number: int) -> dict:
    return {"value": number**2, "right": "1" * 100, "seconds": 99.0, "runs": [{"a": [0.5, number]}]}


def main() -> None:
    tuning = STUDY.run({f"tune {n}": (square, {"number": n}) for n in (1, 2, 3)})
    best = max(run["value"] for run in tuning.values())
    print("chosen", best)
    STUDY.write(tuning | STUDY.run({"best": (square, {"number": best})}), best=best)
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The path of its results file, made by the study itself."""
    (tmp_path / "toy.py").write_text(SCRIPT)
    monkeypatch.setattr(results, "SCRIPTS", tmp_path)
    monkeypatch.setattr(results, "WORK", tmp_path / "work")
    monkeypatch.setattr(results, "folder", lambda: tmp_path)
    monkeypatch.setattr(results, "one_thread", lambda: None)
    module = results.load_script(tmp_path / "toy.py")
    arguments = {f"tune {n}": {"number": n} for n in (1, 2, 3)} | {"best": {"number": 9}}
    records = {key: module.square(**kw) | {"arguments": kw} for key, kw in arguments.items()}
    return module.STUDY.write(records)


def edit(path: Path, key: str, **fields):
    body = json.loads(path.read_text())
    body["runs"][key] |= fields
    path.write_text(json.dumps(body))


def test_jobs_that_give_the_same_are_said_to(toy, capsys):
    before = toy.read_bytes()
    assert again.main(["toy", "--jobs", "10"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{key}: the same" for key in ("best", "tune 1", "tune 2", "tune 3")
    ]
    assert toy.read_bytes() == before


def test_what_depends_on_tuning_follows_the_stored_tuning(toy):
    study = again.all_jobs("toy")
    assert study.jobs["best"][1] == {"number": 9}


def test_as_many_jobs_are_drawn_as_asked_for_and_the_same_by_the_same_seed(toy):
    study = again.all_jobs("toy")
    draws = [tuple(again.drawn(study, 2, seed)) for seed in range(20)]
    assert all(len(d) == 2 for d in draws) and len(set(draws)) > 1
    assert draws == [tuple(again.drawn(study, 2, seed)) for seed in range(20)]


def test_a_number_that_moved_little_is_close_and_one_that_moved_far_makes_it_fail(toy, capsys):
    edit(toy, "best", value=81.5)
    assert again.main(["toy", "--jobs", "9"]) == 0
    assert "best: close, 1 fields; most in value: 81.5 → 81 (0.61 % apart)" in capsys.readouterr().out
    edit(toy, "best", value=90)
    assert again.main(["toy", "--jobs", "9"]) == 1
    assert "best: DIFFERENT, 1 fields; most in value: 90 → 81 (10 % apart)" in capsys.readouterr().out


def test_answers_are_compared_by_the_share_of_items(toy, capsys):
    edit(toy, "tune 1", right="0" * 3 + "1" * 97)
    assert again.main(["toy", "--jobs", "9"]) == 0
    edit(toy, "tune 1", right="0" * 4 + "1" * 96)
    assert again.main(["toy", "--jobs", "9"]) == 1
    assert "(4 % apart)" in capsys.readouterr().out.splitlines()[-3]


def test_a_field_too_few_or_of_another_kind_is_found_wherever_it_is(toy):
    def places(stored, fresh):
        return [(c.place, c.close) for c in again.changes(stored, fresh)]

    assert places({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}) == [("a[0].b", False)]
    assert places({"a": 1}, {"a": 1, "c": 2}) == [("c", False)]
    assert places({"a": 1, "c": 2}, {"a": 1}) == [("c", False)]
    assert places({"a": [1, 2]}, {"a": [1]}) == [("a", False)]
    assert places({"a": True}, {"a": 1.01}) == [("a", False)]
    assert places({"a": {"seconds": 1}}, {"a": {"seconds": 2}}) == []


def test_what_is_no_number_is_the_same_only_as_itself():
    def found(stored, fresh):
        return [(c.size, c.close) for c in again.changes({"a": stored}, {"a": fresh})]

    assert found(math.nan, math.nan) == found(0.0, -0.0) == found(math.inf, math.inf) == []
    for stored, fresh in [(math.nan, 1.0), (1, math.nan), (math.inf, 1.0), (math.inf, -math.inf)]:
        assert found(stored, fresh) == [(1.0, False)]
    assert found(0, 0.5) == [(1.0, False)]


@pytest.mark.parametrize("number", ["0", "-1", "some"])
def test_less_than_one_job_is_refused(toy, capsys, number):
    with pytest.raises(SystemExit, match="2"):
        again.main(["toy", f"--jobs={number}"])
    assert f"{number} jobs compare nothing; give a number from 1" in capsys.readouterr().err


def test_results_of_another_recipe_are_not_compared(toy, capsys):
    script = toy.with_name("toy.py")
    script.write_text(SCRIPT.replace("number**2", "number**3"))
    assert again.main(["toy"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "toy: script, settings or assets changed since; run: make experiment NAME=toy\n"


def test_a_job_with_other_arguments_than_the_stored_ones_is_not_compared(toy, capsys):
    script = toy.with_name("toy.py")
    # in main, which is no part of the recipe
    script.write_text(SCRIPT.replace('{"number": best}', '{"number": best + 1}'))
    assert again.main(["toy"]) == 2
    assert "toy: best is stored with other arguments; run: make" in capsys.readouterr().err


def test_a_fault_of_the_script_is_not_told_as_missing_results(toy):
    toy.with_name("toy.py").write_text(SCRIPT.replace("best=best", 'best=tuning["tune 4"]'))
    with pytest.raises(KeyError, match="tune 4"):
        again.main(["toy"])


def test_an_experiment_without_results_names_the_command(toy, capsys):
    assert again.main(["absent"]) == 2
    assert "make experiment NAME=absent" in capsys.readouterr().err


def test_a_job_that_is_not_stored_names_the_command(toy, capsys):
    body = json.loads(toy.read_text())
    del body["runs"]["best"]
    toy.write_text(json.dumps(body))
    assert again.main(["toy"]) == 2
    assert "no stored record of best; run: make experiment NAME=toy" in capsys.readouterr().err


def stored_experiments():
    folder = ROOT / "data" / "results"
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json"))


@pytest.mark.assets
@pytest.mark.parametrize("name", stored_experiments())
def test_every_stored_experiment_can_be_run_again_from_its_own_records(name):
    study = again.all_jobs(name)  # which asks for the same recipe and the same arguments
    assert set(study.jobs) == set(study.stored)
