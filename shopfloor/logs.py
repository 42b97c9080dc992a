"""Log lines for people or for machines, and no flood of the same."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]
REPEAT_SECONDS = 60.0
_REMEMBERED = 256


class JsonLines(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, message, and a trace where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of ``record``."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Repeats(logging.Filter):
    """Lets a message through once a minute, and says with the next one how often it was held back.

    Messages that differ in numbers only are the same one.
    """

    def __init__(self, seconds: float = REPEAT_SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._now = now
        self._said: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether ``record`` is to be logged; append the count of those that were not."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        words = tuple(str(argument) for argument in arguments if not isinstance(argument, int | float))
        key = (record.name, record.levelno, record.msg, words)
        now = self._now()
        said_at, held_back = self._said.pop(key, (-self._seconds, 0))
        if now - said_at < self._seconds:
            self._said[key] = said_at, held_back + 1
            return False
        self._said[key] = now, 0
        if len(self._said) > _REMEMBERED:
            del self._said[next(iter(self._said))]
        if held_back:
            record.msg = f"{record.getMessage()} (and {held_back} times more since it was last said)"
            record.args = None
        return True


def log_to_stderr(format: LogFormat, level: int) -> None:
    """Have everything from ``level`` on written to standard error, one line a message."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines() if format == "json" else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    handler.addFilter(Repeats())
    logging.basicConfig(level=level, handlers=[handler])
