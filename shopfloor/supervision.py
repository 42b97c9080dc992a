"""Keeps servers and child processes running: one that dies is started again, later each time it dies at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from demo.supervision import Child
from wire.errors import ShopfloorError

FIRST_DELAY_S = 0.5
LAST_DELAY_S = 30.0
STEADY_S = 60.0
"""What has run for so long is well: when it dies later it is started again at once."""

_LOOK_S = 0.2
_log = logging.getLogger(__name__)


class Service(Protocol):
    """Something that runs beside us and can be started again after it has died."""

    @property
    def running(self) -> bool:
        """Whether it runs now."""

    def start(self) -> object:
        """Start it; raise a `ShopfloorError` or `OSError` when that cannot be."""

    def stop(self) -> None:
        """End it in order, or clean up behind it when it is dead."""


class ChildService:
    """A Python module as a child process; it logs to our own standard error."""

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._module = module
        self._arguments = tuple(arguments)
        self._environment = environment
        self._child: Child | None = None

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.returncode is None

    @property
    def pid(self) -> int | None:
        """Number of the process; None before the first start."""
        return None if self._child is None else self._child.pid

    @property
    def returncode(self) -> int | None:
        """How the process ended; None while it runs."""
        return None if self._child is None else self._child.returncode

    def start(self) -> None:
        """Start the process and leave it to itself."""
        self.stop()
        self._child = Child(self.name, self._module, self._arguments, None, self._environment)

    def first_line(self) -> str:
        """Wait for the first line of a process that was started; raise `demo.errors.SurroundingsError` if it ends."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._child.expect_line()

    def stop(self) -> None:
        """End the process in order."""
        if self._child is not None:
            self._child.stop()


@dataclass
class _Watched:
    name: str
    service: Service
    ended: Callable[[], None]
    restarts: int = 0
    delay_s: float = FIRST_DELAY_S
    started_at: float = field(default_factory=time.monotonic)
    due_at: float | None = None


class Supervisor:
    """Watches services that run; stop them yourself, in the order in which they need each other."""

    def __init__(self) -> None:
        self._watched: list[_Watched] = []

    @property
    def restarts(self) -> dict[str, int]:
        """How often each service was started again."""
        return {one.name: one.restarts for one in self._watched}

    def watch(self, name: str, service: Service, ended: Callable[[], None] = lambda: None) -> None:
        """Watch a service that has been started; ``ended`` is called each time it is found dead."""
        self._watched.append(_Watched(name, service, ended))

    def run(self, stopping: threading.Event) -> None:
        """Start again what dies, until ``stopping`` is set."""
        while not stopping.wait(_LOOK_S):
            for one in self._watched:
                if not one.service.running:
                    self._attend(one)

    def _attend(self, one: _Watched) -> None:
        now = time.monotonic()
        if one.due_at is None:
            if now - one.started_at > STEADY_S:
                one.delay_s = FIRST_DELAY_S
            one.due_at = now + one.delay_s
            one.ended()
            _log.warning("%s has ended; it is started again in %.1f s", one.name, one.delay_s)
            one.delay_s = min(2 * one.delay_s, LAST_DELAY_S)
        if now < one.due_at:
            return
        one.due_at, one.started_at = None, now
        one.restarts += 1
        try:
            one.service.stop()
            one.service.start()
        except (ShopfloorError, OSError) as error:
            _log.warning("%s cannot be started: %s", one.name, error)
