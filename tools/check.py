"""Runs the checks of `make test` (`python -m tools.check`) or `make test-portable` (`… --portable`), cheap ones first.

It stops at the first stage that fails, and ends with the stages, their times and what pytest said of each.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tools import notebooks
from tools.execution import offline_environment, warm_up
from tools.notebooks import ROOT

MIN_COVERAGE = 95
NBVAL = (
    *("--nbval", "--nbval-current-env", "--nbval-sanitize-with", "tools/nbval-sanitize.cfg"),
    *("-o", "xfail_strict=true"),
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
VERDICT = re.compile(r"^=* ?(\d+ \w+.* in [\d.]+s.*?) ?=*$|^(no tests ran.*)$")
# What another processor does differently: narrower vectors in PyTorch's own kernels, in oneDNN's and in MKL's.
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


@dataclass
class Stage:
    """One check: commands that must all succeed, with variables of their own."""

    name: str
    commands: Sequence[Sequence[str]]
    variables: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    verdict: str = "not run"


def stages() -> list[Stage]:
    """Those of `make test`, from the cheapest."""
    unit = [
        "tests",
        "--ignore=tests/book",
        "--ignore=tests/site",
        "--cov",
        f"--cov-fail-under={MIN_COVERAGE}",
    ]
    return [
        Stage("lint", [python("-m", "ruff", "check"), python("-m", "ruff", "format", "--check")]),
        Stage("chapters", [pytest("tests/book")]),
        Stage("site", [python("-m", "tools.site")]),
        Stage("browser", [pytest("tests/site")]),
        Stage("units", [pytest(*unit, *parallel(2))], {"OMP_NUM_THREADS": "1"}),
        nbval("notebooks"),
    ]


def portable_stages() -> list[Stage]:
    """Stored outputs against the kernels of another processor, and against one thread."""
    return [nbval("avx2", AVX2), nbval("one thread", {"OMP_NUM_THREADS": "1"})]


def nbval(name: str, variables: dict[str, str] | None = None) -> Stage:
    """Every chapter executed, its outputs compared with the stored ones; after a timeout, a pass is a failure."""
    paths = [str(notebooks.path_of(chapter).relative_to(ROOT)) for chapter in notebooks.chapters()]
    options = [*NBVAL, "--nbval-cell-timeout", "240"]
    side_by_side = parallel(len(paths))
    share = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2))} if side_by_side else {}
    commands = [pytest(*options, *side_by_side, *paths)] if paths else []
    return Stage(name, commands, {**offline_environment(), **share, **(variables or {})})


def parallel(files: int) -> list[str]:
    """pytest-xdist's options for two workers, one file at one of them: a notebook cannot be split."""
    return ["-n", "2", "--dist", "loadfile"] if files > 1 and (os.cpu_count() or 1) > 1 else []


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def pytest(*arguments: str) -> list[str]:
    return python("-m", "pytest", *arguments)


def run(stage: Stage) -> bool:
    """Run a stage's commands, their output passed on as it comes; whether all of them succeeded."""
    start = time.monotonic()
    ok = all(_succeeds(command, stage) for command in stage.commands)
    stage.seconds = time.monotonic() - start
    stage.verdict = f"{'ok' if ok else 'FAILED'}{'' if stage.verdict == 'not run' else ': ' + stage.verdict}"
    return ok


def _succeeds(command: Sequence[str], stage: Stage) -> bool:
    colour = {"PY_COLORS": "1"} if sys.stdout.isatty() else {}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **colour, **stage.variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    with process:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            verdict = VERDICT.match(COLOUR.sub("", line).strip())
            stage.verdict = next(filter(None, verdict.groups())) if verdict else stage.verdict
    return process.returncode == 0


def table(done: Sequence[Stage]) -> str:
    """A line for each stage, and the sum."""
    lines = [f"{stage.name:<12} {stage.seconds:>6.0f} s  {stage.verdict}" for stage in done]
    return "\n".join([*lines, f"{'together':<12} {sum(stage.seconds for stage in done):>6.0f} s"])


def main(arguments: Sequence[str]) -> int:
    todo = portable_stages() if "--portable" in arguments else stages()
    ok = True
    warm_up()
    for stage in todo:
        print(f"\n──── {stage.name} ────", flush=True)
        ok = run(stage)
        if not ok:
            break
    print(f"\n{table(todo)}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
