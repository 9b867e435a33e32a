"""The command: which parts run, for how long, and what is stored when."""

import json

import pytest

from benchmarks import __main__ as command
from tests.benchmarks.test_table import TIMES

RECORD = {"network": "n", "task": "forward", "aim": 0.97, "shape": [2, 8], "flops": 10, **TIMES}


@pytest.fixture
def told():
    return []


@pytest.fixture
def bench(monkeypatch, tmp_path, told):
    """Two quick parts; bench(...) runs the command on a folder of its own."""
    given = {}

    def part(name):
        def measure(seconds, say):
            given[name] = seconds
            return [RECORD | {"network": name}]

        return measure

    monkeypatch.setattr(
        command, "PARTS", {"one": (part("one"), 3), "two": (part("two"), 1), "untimed": (part("u"), 0)}
    )
    monkeypatch.setattr(command, "limits", lambda: {"matmul_gflops": 1.0, "read_gbytes": 1.0})

    def run(*arguments):
        command.main(
            ["--store", str(tmp_path / "store"), "--to", str(tmp_path / "README.md"), *arguments], told.append
        )
        return given

    return run


def test_all_parts_share_the_minutes_and_are_stored(bench, tmp_path, told):
    given = bench("--minutes", "10")
    assert given == {"one": 60.0, "two": 60.0, "u": 60.0}  # four minutes for four comparisons
    stored = {path.name: json.loads(path.read_text()) for path in (tmp_path / "store").iterdir()}
    assert set(stored) == {"one.json", "two.json", "untimed.json"}
    assert stored["one.json"]["records"] == [RECORD | {"network": "one"}]
    assert stored["one.json"]["command"] == "python -m benchmarks --only one"
    assert {"date", "environment", "limits", "seconds", "part"} < set(stored["one.json"])
    page = (tmp_path / "README.md").read_text()
    assert all(f"| {name} | forward |" in page for name in ("one", "two", "u"))
    assert told == ["— one", "— two", "— untimed", "README.md is written"]


def test_one_part_alone_leaves_the_others_as_they_were(bench, tmp_path):
    bench("--only", "one")
    before = (tmp_path / "store" / "one.json").read_text()
    bench("--only", "two")
    assert (tmp_path / "store" / "one.json").read_text() == before
    assert "| one | forward |" in (tmp_path / "README.md").read_text()


def test_what_is_done_is_kept_when_a_later_part_fails(bench, tmp_path, monkeypatch):
    def fails(seconds, say):
        raise FileNotFoundError("no checkpoint")

    monkeypatch.setitem(command.PARTS, "two", (fails, 1))
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        bench()
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["one.json"]


def test_the_table_is_written_anew_without_measuring(bench, tmp_path):
    bench("--only", "one")
    (tmp_path / "README.md").unlink()
    assert bench("--table").keys() == {"one"}
    assert "| one | forward |" in (tmp_path / "README.md").read_text()


def test_an_unknown_part_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        command.read(["--only", "three"])
    assert "invalid choice: 'three' (choose from" in capsys.readouterr().err


def test_the_page_in_the_repository_is_that_of_the_stored_records():
    assert command.TABLE.read_text(encoding="utf-8") == command.table.write(command.table.load(command.STORE))
