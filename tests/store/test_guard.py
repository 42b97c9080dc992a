from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from store.guard import GuardedProcess

_PARENT = """
import sys, threading, time
from pathlib import Path
from store.guard import GuardedProcess
started = []
def start():
    started.append(GuardedProcess(sys.argv[2:], directory=Path(sys.argv[1]), log=Path(sys.argv[1]) / "log"))
thread = threading.Thread(target=start)
thread.start()
thread.join()
print(started[0].pid, flush=True)
time.sleep(600)
"""
_SERVER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def wait_for_text(log: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in log.read_text():
        assert time.monotonic() < deadline, f"{text!r} not in {log.read_text()!r}"
        time.sleep(0.02)


def test_a_stopped_server_is_gone_and_its_output_is_in_the_log(tmp_path: Path) -> None:
    server = GuardedProcess(_SERVER, directory=tmp_path, log=tmp_path / "log")
    wait_for_text(tmp_path / "log", "up")
    assert server.poll() is None
    server.stop()
    assert not is_alive(server.pid)
    assert server.poll() == -signal.SIGTERM


def test_the_server_outlives_the_thread_but_not_the_process_that_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PARENT, str(tmp_path), *_SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for_text(tmp_path / "log", "up")
        time.sleep(0.5)  # longer than the guard takes to see that a parent is gone
        assert is_alive(pid)
        guard = psutil.Process(pid).ppid()
        parent.kill()
        wait_until_gone(pid)
        wait_until_gone(guard)


def test_the_server_dies_with_its_guard(tmp_path: Path) -> None:
    server = GuardedProcess(_SERVER, directory=tmp_path, log=tmp_path / "log")
    wait_for_text(tmp_path / "log", "up")
    os.kill(psutil.Process(server.pid).ppid(), signal.SIGKILL)
    wait_until_gone(server.pid)


def test_the_death_of_the_server_is_seen(tmp_path: Path) -> None:
    server = GuardedProcess(_SERVER, directory=tmp_path, log=tmp_path / "log")
    os.kill(server.pid, signal.SIGKILL)
    wait_until_gone(server.pid)
    server.stop()
    assert server.poll() == -signal.SIGKILL


def test_the_exit_code_of_the_server_is_kept(tmp_path: Path) -> None:
    server = GuardedProcess(["/bin/sh", "-c", "exit 7"], directory=tmp_path, log=tmp_path / "log")
    wait_until_gone(server.pid)
    server.stop()
    assert server.poll() == 7


def test_a_command_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-such-server"):
        GuardedProcess(["/no-such-server"], directory=tmp_path, log=tmp_path / "log")
