"""Child processes that cannot outlive the process that started them.

A child is started through this module (``python -m demo.supervision PARENT MODULE [ARGUMENT ...]``): it asks the
kernel to be killed when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG), then becomes the module.
Start children in a thread that stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from demo.errors import SurroundingsError

_PR_SET_PDEATHSIG = 1
_GRACE_S = 20.0
_LOG_LINES = 5


class Child:
    """A Python module run as a child process.

    :param log: what it says on standard error goes to this file; None: to our own standard error.
    :param environment: variables beside our own.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        log: Path | None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        with contextlib.nullcontext() if log is None else log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "demo.supervision", str(os.getpid()), module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **(environment or {})},
                # Ctrl-C in a terminal goes to the whole group; children are stopped one by one, in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, as in `subprocess.Popen.returncode`; None while it runs."""
        return self._process.poll()

    def expect_line(self) -> str:
        """Wait for the first line on the child's standard output.

        Raises `SurroundingsError` with the end of the log when the child ends instead.
        """
        stdout = self._process.stdout
        line = "" if stdout is None else stdout.readline()
        if not line:
            self._process.wait()
            raise SurroundingsError(self._obituary())
        return line.strip()

    def check(self) -> None:
        """Raise `SurroundingsError` when the child has ended by itself."""
        if self._process.poll() is not None:
            raise SurroundingsError(self._obituary())

    def stop(self) -> None:
        """End the child: SIGTERM, and SIGKILL when it does not listen."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _obituary(self) -> str:
        ended = f"{self.name} ended with code {self._process.returncode}"
        if self.log is None:
            return ended
        last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LOG_LINES:]
        return f"{ended}: " + (" | ".join(last) or "its log is empty")


def main(arguments: list[str]) -> None:
    """Tie this process to its parent, then run the module as if it had been started itself."""
    parent, module, rest = int(arguments[0]), arguments[1], arguments[2:]
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have ended before the kernel was asked.
    if os.getppid() != parent:
        sys.exit("the process that asked for this one is gone")
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
