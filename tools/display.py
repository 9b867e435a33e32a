"""Shows how executions go: lines that renew themselves on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from tools.execution import Progress

BAR = 20
TERMINAL_SECONDS = 0.5
LOG_SECONDS = 15.0


def line(progress: Progress) -> str:
    """Chapter, cell, seconds and memory."""
    done = progress.cell if progress.ended is None else progress.cells
    filled = BAR * done // max(1, progress.cells)
    bar = "█" * filled + "·" * (BAR - filled)
    gigabytes = progress.peak_bytes / 2**30
    return (
        f"{progress.chapter:<28} {bar} cell {progress.cell:>2}/{progress.cells}"
        f" {progress.seconds:>5.0f} s  peak {gigabytes:.1f} GB"
    )


@contextmanager
def live(progresses: Sequence[Progress], out: TextIO | None = None) -> Iterator[None]:
    """Show the executions that are under way while the block runs, and each one as it ends."""
    out = sys.stdout if out is None else out
    over = threading.Event()
    show = _on_terminal if out.isatty() else _in_log
    shower = threading.Thread(target=show, args=(progresses, out, over), daemon=True)
    shower.start()
    try:
        yield
    finally:
        over.set()
        shower.join()


def _on_terminal(progresses: Sequence[Progress], out: TextIO, over: threading.Event) -> None:
    drawn = 0
    while True:
        last = over.is_set()
        begun = [progress for progress in progresses if progress.started is not None]
        text = "".join(f"\x1b[2K{line(progress)}\n" for progress in begun)
        out.write((f"\x1b[{drawn}A" if drawn else "") + text)
        out.flush()
        drawn = len(begun)
        if last:
            return
        over.wait(TERMINAL_SECONDS)


def _in_log(progresses: Sequence[Progress], out: TextIO, over: threading.Event) -> None:
    shown = {progress.chapter: time.monotonic() for progress in progresses}
    ended: set[str] = set()
    while True:
        last = over.is_set()
        for progress in progresses:
            ends = progress.ended is not None and progress.chapter not in ended
            runs = progress.started is not None and progress.ended is None
            if ends or (runs and time.monotonic() - shown[progress.chapter] >= LOG_SECONDS):
                shown[progress.chapter] = time.monotonic()
                out.write(line(progress) + "\n")
                out.flush()
                ended |= {progress.chapter} if ends else set()
        if last:
            return
        over.wait(TERMINAL_SECONDS)
