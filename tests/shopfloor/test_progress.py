"""What a long work says about itself: nothing at first, then a bar or lines."""

from __future__ import annotations

import io
import sys
import time

import pytest

from shopfloor.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have gone by, for a test to set."""
    seconds = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_short_work_says_nothing(passed: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        passed[0] = 0.0
        with Progress("scanning") as progress:
            passed[0] = 1.9
            progress.show(0.5, "unit 7")
        assert stream.getvalue() == ""


def test_lines_where_there_is_no_terminal(passed: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    with Progress("scanning") as progress:
        for passed[0], share in ((2.0, 0.1), (6.9, 0.5), (7.0, 0.6)):
            progress.show(share, "unit 7")
    assert stream.getvalue() == "scanning: 10%, unit 7\nscanning: 60%, unit 7\n"


def test_a_bar_on_a_terminal_that_is_gone_at_the_end(passed: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    with Progress("scanning") as progress:
        passed[0] = 2.0
        progress.show(0.5, "unit 7")
        passed[0] = 3.0
        progress.show(None, "unit 8")
    clear = "\r\033[K"
    bar = "#" * 15 + "-" * 15
    assert stream.getvalue() == f"{clear}scanning: [{bar}] 50%, unit 7{clear}scanning: unit 8{clear}"
