"""Executes one chapter and stores it: `python -m tools.chapter transfer/finetuning`.

The notebook and its recorded claims are replaced only after every cell ran and every claim held.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools import display, notebooks
from tools.execution import Progress, execute, kill_kernels, warm_up
from tools.notebooks import ROOT

RUN = "_run.json"


def rewrite(name: str, root: Path = ROOT) -> Progress:
    """Execute a chapter; on success replace it, its claims and its record of time and memory.

    Raises FileNotFoundError on an unknown chapter, RuntimeError where a cell fails.
    """
    path = notebooks.path_of(name, root)
    notebook = notebooks.without_outputs(notebooks.read(path))
    fresh = root / "_build" / "claims"
    shutil.rmtree(fresh / name, ignore_errors=True)
    progress = Progress(name)
    with display.live([progress]):
        variables = {"TLCOURSE_RECORD_CLAIMS": str(fresh), "TLCOURSE_CHAPTER": name}
        execute(notebook, path.parent, progress, variables)
    if progress.error:
        raise RuntimeError(f"{name}: {progress.error}")
    record(progress, fresh / name / RUN)
    notebooks.write(path, notebooks.normalise(notebook))
    replace_folder(fresh / name, root / "data" / "claims" / name)
    return progress


def record(progress: Progress, path: Path) -> None:
    """Store how long a chapter took, how much memory, and on which machine."""
    from tlcourse import runtime

    path.parent.mkdir(parents=True, exist_ok=True)
    run = {
        "seconds": round(progress.seconds, 1),
        "peak_megabytes": round(progress.peak_bytes / 2**20),
        "cells": progress.cells,
        "cores": os.cpu_count(),
        "machine": runtime.environment(),
    }
    path.write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def replace_folder(source: Path, target: Path) -> None:
    """Move the files of `source` into `target`; files that `source` lacks go."""
    target.mkdir(parents=True, exist_ok=True)
    wanted = {file.name for file in source.iterdir()}
    for file in source.iterdir():
        os.replace(file, target / file.name)
    for file in target.iterdir():
        if file.is_file() and file.name not in wanted:
            file.unlink()


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        names = ", ".join(notebooks.chapters()) or "none yet"
        print(f"name one chapter, as in: make chapter NAME=transfer/finetuning. There are: {names}")
        return 2
    try:
        path = notebooks.path_of(arguments[0])
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(path)], check=True)
        warm_up()
        progress = rewrite(arguments[0])
    except (FileNotFoundError, RuntimeError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kill_kernels()
        return 130
    print(f"Stored, with its claims: {notebooks.path_of(progress.chapter).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
