import sys

import pytest

from tools import check, notebooks
from tools.check import Stage


def script(code):
    return [sys.executable, "-c", code]


def test_a_stage_passes_its_output_on_and_keeps_pytests_verdict(capsys):
    stage = Stage("units", [script("print('..F.'); print('\\x1b[31m1 failed, 3 passed in 0.12s\\x1b[0m')")])
    assert check.run(stage)
    assert stage.verdict == "ok: 1 failed, 3 passed in 0.12s"
    assert "..F.\n" in capsys.readouterr().out


def test_a_stage_stops_at_the_command_that_fails_and_gets_its_variables():
    stage = Stage(
        "a",
        [
            script("import os; assert os.environ['GREETING'] == 'hello'"),
            script("raise SystemExit(3)"),
            script("print('9 passed in 1.00s')"),
        ],
        {"GREETING": "hello"},
    )
    assert not check.run(stage)
    assert stage.verdict == "FAILED"


def test_checks_stop_at_the_first_failure_and_end_with_a_table(monkeypatch, capsys):
    made = [
        Stage("first", [script("print('2 passed, 1 skipped in 0.50s')")]),
        Stage("second", [script("raise SystemExit(1)")]),
        Stage("third", [script("print('never')")]),
    ]
    monkeypatch.setattr(check, "stages", lambda: made)
    assert check.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "never" not in lines
    assert [line.split(" s  ")[-1] for line in lines[-4:-1]] == [
        "ok: 2 passed, 1 skipped in 0.50s",
        "FAILED",
        "not run",
    ]
    assert lines[-1].startswith("together")


def test_checks_that_all_pass_succeed(monkeypatch):
    monkeypatch.setattr(check, "portable_stages", lambda: [Stage("a", [script("")])])
    assert check.main(["--portable"]) == 0


def test_cheap_stages_come_first_and_notebooks_last():
    assert [stage.name for stage in check.stages()] == [
        "lint",
        "chapters",
        "site",
        "browser",
        "units",
        "notebooks",
    ]


def test_portable_stages_run_every_chapter_under_other_kernels(monkeypatch, tiny_book):
    root = tiny_book(one=["1"], two=["2"])
    monkeypatch.setattr(check, "ROOT", root)
    monkeypatch.setattr(notebooks, "chapters", lambda: ["one", "two"])
    monkeypatch.setattr(notebooks, "path_of", lambda name: root / "book" / f"{name}.ipynb")
    monkeypatch.setattr(check.os, "cpu_count", lambda: 4)
    avx2, one_thread = check.portable_stages()
    assert avx2.variables["ATEN_CPU_CAPABILITY"] == "avx2" and avx2.variables["OMP_NUM_THREADS"] == "2"
    assert one_thread.variables["OMP_NUM_THREADS"] == "1"
    for stage in (avx2, one_thread):
        (command,) = stage.commands
        assert command[-2:] == ["book/one.ipynb", "book/two.ipynb"]
        assert {"--nbval", "--nbval-current-env", "loadfile"} <= set(command)
        assert stage.variables["TRANSFORMERS_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("34 passed in 2.30s", "34 passed in 2.30s"),
        ("=== 1 failed, 2 passed in 61.20s (0:01:01) ===", "1 failed, 2 passed in 61.20s (0:01:01)"),
        ("no tests ran in 0.01s", "no tests ran in 0.01s"),
        ("3 files already formatted", None),
    ],
)
def test_verdicts_are_told_from_other_lines(line, verdict):
    match = check.VERDICT.match(line)
    assert (next(filter(None, match.groups())) if match else None) == verdict
