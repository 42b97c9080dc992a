"""A gateway file as a running agent reads it: by a child process, so that what checks it does not stay in memory.

pydantic and PyYAML take as much memory as the agent has left; they are needed for half a second at the start and when
the file changes. The child (`agent.gateway_reader`) answers with plain data or with the mistakes in the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

import cbor2

from agent.config import GatewayConfig
from agent.errors import ConfigurationError, ReadingError
from agent.models import Template, hold_templates
from agent.plain_data import from_plain
from wire.errors import DocumentError


class Reading:
    """A child process that reads ``path``. Whoever starts it can do something else until `result` is called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The child finds the same modules as this process, and none in a working directory that only it would search.
        # In a session of its own it gets no Ctrl-C: that is for the agent, which ends the child.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-P", "-m", "agent.gateway_reader", str(path)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, start_new_session=True
            )
        except OSError as error:
            raise ReadingError(f"{path}: no process can be started to read it: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.__exit__(None, None, None)

    def result(self) -> GatewayConfig:
        """Return what the file says; its device models are held from now on (`agent.models.hold_templates`).

        Raises `DocumentError` naming every problem with its line, `ConfigurationError` for anything else that is wrong
        with the file, `ReadingError` when the child did not come to an end.
        """
        told, _ = self._process.communicate()
        if self._process.returncode:
            raise ReadingError(
                f"{self._path}: the process that reads it ended with {self._process.returncode} and no answer; what it "
                "said stands before this line, and -9 means that there was no memory for it"
            )
        answer = cbor2.loads(told)
        if "problems" in answer:
            raise DocumentError(answer["problems"])
        if "fault" in answer:
            raise ConfigurationError(answer["fault"])
        hold_templates({name: from_plain(Template, template) for name, template in answer["templates"].items()})
        return from_plain(GatewayConfig, answer["config"])


def read_apart(path: Path) -> GatewayConfig:
    """Read a gateway file as `Reading` does, and wait for it."""
    with Reading(path) as reading:
        return reading.result()
