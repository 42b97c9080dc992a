"""Hosts as gateways have them, made on this machine: Debian with systemd as its first process.

They need a Debian root (`.ci/host_root.sh` makes it) in SHOPFLOOR_HOST_ROOT, and root's rights.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from shopfloor.main import main


@pytest.fixture(scope="session")
def unable() -> Callable[[str], NoReturn]:
    """Skips by name; where ``CI`` is set, fails."""

    def skip(reason: str) -> NoReturn:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    return skip


@pytest.fixture(scope="session")
def host_root(unable: Callable[[str], NoReturn]) -> Path:
    """The directory of a Debian with systemd and Python, which nothing may be changed in."""
    if os.geteuid() != 0:
        unable("hosts are started by root only")
    root = os.environ.get("SHOPFLOOR_HOST_ROOT")
    if root is None:
        unable("SHOPFLOOR_HOST_ROOT is not set; .ci/host_root.sh DIRECTORY makes a Debian root and prints its path")
    return Path(root)


@pytest.fixture(scope="session")
def archive(host_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `shopfloor agent pack` makes for the Python of the root."""
    path = tmp_path_factory.mktemp("archive") / "agent.tar.gz"
    [library] = (host_root / "usr" / "lib").glob("python3.*")
    python = library.name.removeprefix("python")
    assert main(["agent", "pack", "--platform", os.uname().machine, "--python", python, "--output", str(path)]) == 0
    return path


class Machine:
    """A Debian that systemd has started, with a network of its own in which there is nothing but itself.

    What is changed in it is gone when it stops.
    """

    def __init__(self, root: Path, log: Path, binds: Mapping[Path, str]) -> None:
        bound = [f"--bind-ro={source}:{target}" for source, target in binds.items()]
        self._log = log
        with log.open("wb") as console:
            self._nspawn = subprocess.Popen(
                [
                    *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={root}"),
                    *("--volatile=overlay", "--private-network", "--boot", "--console=pipe", *bound),
                    # What a machine of its own may do and a container may not: ask the clock, confine devices.
                    *("--system-call-filter=adjtimex clock_adjtime bpf", "--capability=CAP_BPF"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )
        try:
            self.leader = self._first_process()
            self.run("systemctl", "is-system-running", "--wait")
        except BaseException:
            self.stop()
            raise

    def _first_process(self) -> int:
        """The process that is number 1 in there, when it answers."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            for child in psutil.Process(self._nspawn.pid).children():
                inside = Path(f"/proc/{child.pid}/root/run/systemd/private")
                if child.name() == "systemd" and inside.exists():
                    return child.pid
            time.sleep(0.1)
        raise AssertionError(f"the machine did not start: {self._log.read_text(errors='replace')[-2000:]}")

    def within(self, *arguments: str | Path) -> list[str]:
        """The command that runs ``arguments`` in the machine, as root."""
        return ["nsenter", "--all", f"--target={self.leader}", *map(str, arguments)]

    def beside(self, *arguments: str | Path) -> list[str]:
        """The command that runs ``arguments`` with the files of this machine in the network of that one."""
        return ["nsenter", f"--net=/proc/{self.leader}/ns/net", *map(str, arguments)]

    def run(self, *arguments: str | Path, code: int = 0) -> str:
        """Run a command in the machine to its end; return what it printed."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            self.within(*arguments), capture_output=True, text=True, check=False, timeout=180, env=environment
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def path(self, inside: str) -> Path:
        """A file of the machine as this machine reaches it."""
        return Path(f"/proc/{self.leader}/root{inside}")

    def stop(self) -> None:
        """Shut down in order; when that takes too long, at once."""
        self._nspawn.send_signal(signal.SIGTERM)
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()


@pytest.fixture(scope="module")
def machine(
    host_root: Path, archive: Path, unable: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A started machine, with the archive of the agent in /root."""
    if shutil.which("systemd-nspawn") is None:
        unable("systemd-nspawn is not installed; install Debian's package systemd-container")
    log = tmp_path_factory.mktemp("machine") / "console.log"
    machine = Machine(host_root, log, {archive: "/root/agent.tar.gz"})
    try:
        yield machine
    finally:
        machine.stop()
