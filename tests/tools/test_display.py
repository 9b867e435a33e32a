import io
import time

import pytest

from tools import display
from tools.execution import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def running(chapter="a/b", cell=3, cells=12):
    progress = Progress(chapter, cells, cell)
    progress.started = time.monotonic() - 50
    progress.peak_bytes = 3 * 2**30 // 2
    return progress


def test_line_tells_chapter_cell_seconds_and_memory():
    assert display.line(running()) == f"{'a/b':<28} █████··············· cell  3/12    50 s  peak 1.5 GB"


def test_line_of_a_chapter_that_has_not_begun_is_empty_of_progress():
    assert display.line(Progress("a")).endswith("cell  0/0     0 s  peak 0.0 GB")


def test_terminal_redraws_its_lines_in_place(monkeypatch):
    monkeypatch.setattr(display, "TERMINAL_SECONDS", 0.01)
    out = Terminal()
    with display.live([running("one"), running("two"), Progress("later")], out):
        time.sleep(0.2)
    drawings = out.getvalue().split("\x1b[2A")
    assert len(drawings) > 2
    assert all(drawing.count("\n") == 2 and "one" in drawing and "two" in drawing for drawing in drawings)
    assert "later" not in out.getvalue()


def test_log_gets_a_line_now_and_then_and_one_at_the_end(monkeypatch):
    monkeypatch.setattr(display, "TERMINAL_SECONDS", 0.01)
    monkeypatch.setattr(display, "LOG_SECONDS", 0.2)
    out, progress = io.StringIO(), running()
    with display.live([progress, Progress("later")], out):
        time.sleep(0.5)
        progress.ended = progress.started + 60
        time.sleep(0.3)
    lines = out.getvalue().splitlines()
    assert 2 <= len(lines) <= 4
    assert "60 s" in lines[-1] and not any("60 s" in line for line in lines[:-1])
    assert "\x1b" not in out.getvalue()


def test_what_fails_inside_is_passed_on_after_a_last_line():
    out, progress = io.StringIO(), running()
    progress.ended = progress.started + 1
    with pytest.raises(KeyError), display.live([progress], out):
        raise KeyError
    assert len(out.getvalue().splitlines()) == 1
