import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.execution import Progress, execute


def run(tmp_path, *sources, environment=None):
    cells = [new_markdown_cell("# Title"), *(new_code_cell(source) for source in sources)]
    notebook, progress = new_notebook(cells=cells), Progress("a")
    return execute(notebook, tmp_path, progress, environment), notebook, progress


def text(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def test_execution_fills_in_outputs_and_counts_and_measures(tmp_path):
    ok, notebook, progress = run(
        tmp_path,
        "import os, time\nblock = bytearray(300_000_000)\ntime.sleep(1)\nprint(os.getcwd(), os.environ['GREETING'])",
        "import subprocess, sys\nprint(os.environ['HF_HUB_OFFLINE'], 'MPLBACKEND' in os.environ or 'unset')",
        environment={"GREETING": "hello"},
    )
    assert ok and progress.error == ""
    assert text(notebook.cells[1]) == f"{tmp_path} hello\n"
    assert text(notebook.cells[2]).startswith("1 ")
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2]
    assert (progress.cell, progress.cells) == (2, 2)
    assert 1 < progress.seconds < 60
    assert 300e6 < progress.peak_bytes < 1.5e9


def test_memory_counts_the_kernels_children(tmp_path):
    child = "import time; block = b'x' * 400_000_000; time.sleep(1.5)"
    _, _, progress = run(
        tmp_path, f"import subprocess, sys\n_ = subprocess.run([sys.executable, '-c', {child!r}])"
    )
    assert progress.peak_bytes > 400e6


def test_a_failing_cell_is_named_and_later_ones_do_not_run(tmp_path):
    ok, notebook, progress = run(tmp_path, "1", "raise AssertionError('measured 0.3')", "print('later')")
    assert not ok
    assert progress.error.startswith("code cell 1: ") and "measured 0.3" in progress.error
    assert "\x1b[" not in progress.error
    assert notebook.cells[3].outputs == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_kernel_that_dies_is_an_error_and_not_a_wait(tmp_path):
    ok, _, progress = run(tmp_path, "import os\nos._exit(1)", "1")
    assert not ok and "died" in progress.error.lower()


def test_a_kernel_has_no_network(tmp_path):
    ok, _, progress = run(tmp_path, "import urllib.request\nurllib.request.urlopen('http://example.org')")
    assert not ok and "the network is blocked" in progress.error
