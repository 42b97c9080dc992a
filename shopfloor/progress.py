"""How far a long work is: on standard error, and only once it takes more than two seconds."""

from __future__ import annotations

import sys
import time

_SILENT_SECONDS = 2.0
_LINE_SECONDS = 5.0
_BAR_SECONDS = 0.1
_WIDTH = 30


class Progress:
    """A bar on a terminal, a line every five seconds elsewhere. A context manager that clears the bar at its end."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar = sys.stderr.isatty()
        self._next = time.monotonic() + _SILENT_SECONDS
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown and self._bar:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def show(self, share: float | None, remark: str) -> None:
        """Show ``share`` (0 to 1) of the work as done, ``None`` when nobody knows; and in words what is being done."""
        now = time.monotonic()
        if now < self._next:
            return
        self._shown = True
        part = "" if share is None else f"{min(share, 1.0):.0%}, "
        if self._bar:
            self._next = now + _BAR_SECONDS
            done = round(_WIDTH * min(share or 0.0, 1.0))
            bar = "" if share is None else f"[{'#' * done}{'-' * (_WIDTH - done)}] "
            print(f"\r\033[K{self._title}: {bar}{part}{remark}", end="", file=sys.stderr, flush=True)
        else:
            self._next = now + _LINE_SECONDS
            print(f"{self._title}: {part}{remark}", file=sys.stderr, flush=True)
