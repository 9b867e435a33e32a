import os
import re
import shutil
import subprocess

import pytest

from tools.notebooks import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
TARGETS = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()


def make(folder, *arguments):
    """As typed in a shell: under `make test` the inner make would otherwise report the folders it enters."""
    shell = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return subprocess.run(["make", *arguments], cwd=folder, env=shell, capture_output=True, text=True)


def test_make_alone_explains_every_target():
    done = make(ROOT)
    assert done.returncode == 0 and done.stderr == ""
    explained = set(re.findall(r"^make ([\w-]+)", done.stdout, re.M))
    assert explained == set(TARGETS) - {"help"}


def test_an_old_python_is_refused_with_the_way_out_and_nothing_is_made(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old-python"
    old.write_text(
        '#!/bin/sh\nexec python3 -c "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[1])" "$2"\n'
    )
    old.chmod(0o755)
    done = make(tmp_path, "setup", "PYTHON=./old-python")
    assert done.returncode != 0
    assert "This is Python 3.9; Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_experiment_that_is_not_there_is_said_in_one_line(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    done = make(tmp_path, "-o", "assets", "experiment", "NAME=no/such")
    assert done.returncode != 0 and len(done.stdout.splitlines()) == 1
