"""What `make test` asks of stored outputs: each kind of wrong notebook must turn nbval red."""

import os
import re
import subprocess

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools import check, notebooks

BOOK = {  # name → (source, stored text) of the cells
    "right": [("print('a')", "a\n"), ("b = 1", "")],
    "wrong": [("print('a')", "b\n")],
    "network": [("import socket\n_ = socket.create_connection(('192.0.2.1', 80), 5)", "")],
    "timeout": [("import time\ntime.sleep(30)", ""), ("print('a')", "a\n")],
}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """pytest's output on all of them, with the options of `make test` and a short time limit."""
    folder = tmp_path_factory.mktemp("book")
    for name, cells in BOOK.items():
        made = []
        for n, (source, text) in enumerate(cells, 1):
            outputs = [new_output("stream", name="stdout", text=text)] if text else []
            made.append(new_code_cell(source, outputs=outputs, execution_count=n))
        notebooks.write(folder / f"{name}.ipynb", notebooks.normalise(new_notebook(cells=made)))
    options = [*check.NBVAL, "--nbval-cell-timeout", "3", "-rA", "--rootdir", str(folder)]
    done = subprocess.run(
        check.pytest(*options, *(str(folder / f"{name}.ipynb") for name in BOOK)),
        cwd=notebooks.ROOT,
        env={**os.environ, **check.nbval("a").variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    return done.stdout


def verdicts(said, name):
    return re.findall(rf"^(PASSED|FAILED|XPASS\S*|XFAIL) \S*{name}\.ipynb::Cell \d", said, re.M)


def test_right_outputs_are_green(said):
    assert verdicts(said, "right") == ["PASSED", "PASSED"]


def test_a_wrong_stored_output_is_red(said):
    assert verdicts(said, "wrong") == ["FAILED"]


def test_a_kernel_that_asks_the_network_is_red(said):
    assert verdicts(said, "network") == ["FAILED"]
    assert "the network is blocked here, and socket.getaddrinfo wants '192.0.2.1'" in said


def test_a_pass_after_a_timeout_is_red(said):
    assert verdicts(said, "timeout") == ["FAILED", "FAILED"]
    assert "XPASS(strict)" in said
