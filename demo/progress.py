"""What the demonstration tells while it works: progress bars on a terminal, plain lines elsewhere; always on
standard error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

_PLAIN_STEP = 0.25
_FILE_WIDTH = 160


@dataclass
class Phase:
    """A phase under way; ``advance_to`` takes the share that is done, 0 to 1, and any remark."""

    title: str
    _progress: Progress | None
    _task: TaskID | None
    _console: Console
    _announced: float = 0.0

    def advance_to(self, share: float, remark: str = "") -> None:
        """Show how far the phase is."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=share, remark=remark)
        elif share >= self._announced + _PLAIN_STEP:
            self._announced = share - share % _PLAIN_STEP
            self._console.print(f"  {self.title}: {share:.0%} {remark}".rstrip())


def _console() -> Console:
    console = Console(stderr=True, highlight=False)
    # A file has no width; lines are broken only where the reader's screen ends.
    return console if console.is_terminal else Console(stderr=True, highlight=False, width=_FILE_WIDTH)


@dataclass
class Narrator:
    """Runs phases one after the other and keeps how many seconds each took."""

    console: Console = field(default_factory=_console)
    seconds: dict[str, float] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text)

    @contextmanager
    def phase(self, name: str, title: str) -> Iterator[Phase]:
        """Run a phase; its seconds are kept under ``name``."""
        begin = time.monotonic()
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description:<34}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[remark]}"),
            )
            with Progress(*columns, console=self.console) as progress:
                task = progress.add_task(title, total=1.0, remark="")
                yield Phase(title, progress, task, self.console)
                progress.update(task, completed=1.0)
        else:
            self.say(f"{title} ...")
            yield Phase(title, None, None, self.console)
        self.seconds[name] = round(time.monotonic() - begin, 2)
