"""Runs one server process for another process, and takes it down when that process dies, however it dies.

A process killed with SIGKILL cannot clean up, and Linux's parent-death signal is tied to the thread that started the
child. So a guard stands in between: a small process of its own that polls whether its parent is still there, and whose
own death the kernel reports to the server (PR_SET_PDEATHSIG, prctl(2)). The guard needs the standard library only; it
is run as a script.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

_POLL_S = 0.25
_STOP_S = 30.0
_PR_SET_PDEATHSIG = 1


class GuardedProcess:
    """A server process that does not outlive this one.

    It gets ``stop_signal`` when :meth:`stop` is called, when this process ends in any way, and when its guard is
    killed. Its output goes to ``log``; signals typed at the terminal do not reach it.

    :param user: number of the user to run as, with that user's ``group`` and no other groups (needs root).
    :raises OSError: the command cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        log: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        user: int | None = None,
        group: int | None = None,
    ) -> None:
        guard = [sys.executable, "-I", "-S", __file__]
        identity = [str(-1 if user is None else user), str(-1 if group is None else group)]
        answer, answering = os.pipe()
        with open(answer, encoding="utf-8") as first_line, log.open("ab") as output:  # noqa: PTH123 - a descriptor
            try:
                self._guard = subprocess.Popen(
                    [*guard, str(os.getpid()), str(int(stop_signal)), *identity, *command],
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=answering,
                    stderr=output,
                    start_new_session=True,
                )
            finally:
                os.close(answering)
            started = first_line.readline().strip()
        if not started.isdigit():
            self._guard.wait()
            raise OSError(f"{command[0]} cannot be started: {started or f'see {log}'}")
        self.pid = int(started)

    def poll(self) -> int | None:
        """The exit code of the server (negative: the signal that ended it), or None while it runs."""
        code = self._guard.poll()
        return code if code is None or code < 128 else 128 - code

    def stop(self) -> None:
        """Ask the server to stop and wait until it has; the guard kills it when it takes longer than 30 s."""
        self._guard.terminate()
        self._guard.wait()


def _guard(parent: int, stop_signal: int, user: int, group: int, command: list[str]) -> NoReturn:
    awaited = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    guard = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def die_with_guard() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
        prctl(_PR_SET_PDEATHSIG, stop_signal)
        if os.getppid() != guard:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            preexec_fn=die_with_guard,  # noqa: PLW1509 - the guard has one thread
            user=None if user < 0 else user,
            group=None if group < 0 else group,
            extra_groups=None if user < 0 else [],
        )
    except OSError as error:
        os.write(1, f"{error}\n".encode())
        sys.exit(1)
    os.write(1, f"{server.pid}\n".encode())
    os.dup2(2, 1)

    stop_before: float | None = None
    while (code := server.poll()) is None:
        received = signal.sigtimedwait(awaited, _POLL_S)
        stop = os.getppid() != parent or (received is not None and received.si_signo != signal.SIGCHLD)
        if stop and stop_before is None:
            stop_before = time.monotonic() + _STOP_S
            server.send_signal(stop_signal)
        elif stop_before is not None and time.monotonic() > stop_before:
            server.kill()
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    _guard(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
