"""Runs a chapter in a fresh kernel of this environment, without network, and watches its time and memory."""

import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager

from tools.notebooks import code_cells

OFFLINE = Path(__file__).resolve().parent / "offline"
CELL_TIMEOUT = 900
POLL_SECONDS = 0.2
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def offline_environment() -> dict[str, str]:
    """Variables that keep a Python process and its children off the network."""
    path = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def warm_up() -> None:
    """Build Matplotlib's cache of fonts, as its first import on a machine does, and says on stderr."""
    import matplotlib.font_manager  # noqa: F401


@dataclass
class Progress:
    """Where an execution stands; written by the thread that runs it, read by the one that shows it."""

    chapter: str
    cells: int = 0
    cell: int = 0
    started: float | None = None
    ended: float | None = None
    peak_bytes: int = 0
    error: str = ""
    pid: int | None = field(default=None, repr=False)

    @property
    def seconds(self) -> float:
        if self.started is None:
            return 0.0
        return (time.monotonic() if self.ended is None else self.ended) - self.started


def execute(
    notebook: NotebookNode, folder: Path, progress: Progress, environment: Mapping[str, str] | None = None
) -> bool:
    """Run the notebook's cells in place with `folder` as working directory; whether all of them ran.

    progress is kept up to date; after a failure its `error` says which cell and why. environment: variables
    besides this process's own and the ones that keep the kernel offline.
    """
    kernel = AsyncKernelManager(
        kernel_name=CURRENT_ENV_KERNEL_NAME, kernel_spec_manager=NbvalKernelspecManager()
    )
    progress.cells = len(code_cells(notebook))
    numbers = {id(cell): n for n, cell in enumerate(code_cells(notebook), 1)}

    def started(cell: NotebookNode, **_: object) -> None:
        progress.cell = numbers.get(id(cell), progress.cell)

    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=CELL_TIMEOUT,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=started,
        shutdown_kernel="immediate",
    )
    variables = {**os.environ, **offline_environment(), **(environment or {})}
    variables.pop("MPLBACKEND", None)  # a kernel draws into the notebook
    progress.started = time.monotonic()
    try:
        with _watched(kernel, progress):
            client.execute(env=variables, stderr=subprocess.DEVNULL, cleanup_kc=True)
    except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
        progress.error = f"code cell {progress.cell - 1}: {COLOUR.sub('', str(error)).strip()}"
    finally:
        progress.ended = time.monotonic()
    return not progress.error


@contextmanager
def _watched(kernel: AsyncKernelManager, progress: Progress) -> Iterator[None]:
    """Note the largest memory of the kernel and its children while the block runs."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            progress.pid = getattr(kernel.provisioner, "pid", None)
            progress.peak_bytes = max(progress.peak_bytes, _tree_bytes(progress.pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _tree_bytes(pid: int | None) -> int:
    """Resident memory of a process and its children; 0 once it is gone."""
    try:
        parent = psutil.Process(pid) if pid else None
        tree = [parent, *parent.children(recursive=True)] if parent else []
        return sum(process.memory_info().rss for process in tree)
    except psutil.Error:
        return 0


def kill_kernels() -> None:
    """End the kernels that this process started: after an interrupt nothing goes on in the background."""
    for child in psutil.Process().children(recursive=True):
        if "ipykernel" in " ".join(child.cmdline()):
            child.kill()
