"""The agent as a service of a Debian that systemd has started: installed from the archive by the words of the manual.

The machine has no network but its own loopback; the meters, the server and the broker of the site are put into it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.timebase import Timebase
from store.database import connect
from store.records import read_records
from wire.chain import RunResult, verify_run
from wire.event import Event
from wire.keys import VerifyingKey

pytestmark = pytest.mark.hosts

MANUAL = Path(__file__).parents[2] / "docs" / "agent" / "install.md"
SERVICE = "shopfloor-agent"
CONFIG = "/etc/shopfloor/gateway.yaml"
SHOPFLOOR = "/opt/shopfloor/bin/shopfloor"
AS_SERVICE = ("runuser", "-u", "shopfloor", "--", SHOPFLOOR)
GATEWAY = Path(__file__).with_name("gateway.yaml.format")
WATCHDOG_S = 6
"""In place of the unit's minute, which a test need not wait for; the agent says twice in it that it lives."""
PROBE = """\
import ctypes, json, mmap, os, socket, subprocess, sys

def outcome(attempt):
    try:
        return attempt() or "done"
    except OSError as error:
        return os.strerror(error.errno)

def write(path):
    def attempt():
        with open(path, "w") as file:
            file.write("x")
    return attempt

libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    def attempt():
        if getattr(libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), name)
    return attempt

class Time(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

attempts = {
    "write state": write("/var/lib/shopfloor/probe"),
    "write /tmp": write("/tmp/probe"),
    "write /etc/open": write("/etc/open/probe"),
    "write /opt/shopfloor": write("/opt/shopfloor/probe"),
    "write /var/tmp/open": write("/var/tmp/open/probe"),
    "write /srv/open": write("/srv/open/probe"),
    "read /home": lambda: " ".join(os.listdir("/home")) or "empty",
    "serial port": lambda: os.close(os.open("/dev/ttyS9", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)),
    "kernel messages": lambda: os.close(os.open("/dev/messages", os.O_RDONLY)),
    "raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "namespace": call("unshare", 0x10000000),
    "set the clock": call("clock_settime", 0, ctypes.byref(Time(0, 0))),
    "ask the clock": call("adjtimex", ctypes.create_string_buffer(512)),
    "writable code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
    "child process": lambda: subprocess.run([sys.executable, "-c", ""], check=True) and None,
}
with open("/var/lib/shopfloor/outcomes.json", "w") as file:
    json.dump({name: outcome(attempt) for name, attempt in attempts.items()}, file)
"""


def wait_for(condition: Callable[[], Any], what: Callable[[], str], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited for: {what()}"
        time.sleep(0.5)
    return found


def commands_of(section: str) -> list[str]:
    """What root types by a section of the manual: its first block of such lines."""
    text = MANUAL.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    block = next(one for one in re.findall(r"```console\n(.*?)```", text, re.DOTALL) if one.startswith("# "))
    return [line.removeprefix("# ").split("    ")[0] for line in block.splitlines()]


class Gateway:
    """The machine with its agent, and the server that it sends to."""

    def __init__(self, machine: Any, folder: Path) -> None:
        self.machine = machine
        self.folder = folder
        self._processes: list[subprocess.Popen[str]] = []
        self._environment = os.environ | {"SHOPFLOOR_AUTHORITY_PASSPHRASE": "only for tests, not secret"}

    def start_site(self) -> None:
        """Start the meters and the server, in the network of the machine."""
        Timebase.create(self.folder / "clock").close()
        meters = self._spawn("meters", "demo.servers", "--clock", self.folder / "clock")
        self.meter_port = meters["meter-1"]
        self.server = self._spawn(
            "server",
            *("shopfloor", "ingest", "run", "--embedded", self.folder / "site", "--enrol", "127.0.0.1:0"),
            *("--public-name", "127.0.0.1", "--server-key", self.folder / "server.key", "--json"),
        )

    def _spawn(self, name: str, module: str, *arguments: str | Path) -> dict[str, Any]:
        """Start one of our own commands; return the line of JSON that it prints when it is ready."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                self.machine.beside(sys.executable, "-m", module, *arguments),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment,
            )
        self._processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (self.folder / f"{name}.log").read_text()
        read: dict[str, Any] = json.loads(line)
        return read

    def at_server(self, *arguments: str) -> str:
        """Run ``shopfloor ingest`` as the operator of the server does."""
        command = self.machine.beside(sys.executable, "-m", "shopfloor", "ingest", *arguments)
        done = subprocess.run(
            [*command, "--embedded", self.folder / "site"],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self) -> None:
        """Do what the manual says, in /root, until the service runs."""
        state = "/var/lib/shopfloor"
        (self.machine.path("/root") / "gateway.yaml").write_text(
            GATEWAY.read_text().format(
                key_file=f"{state}/gateway.key", data_directory=f"{state}/data", port=self.meter_port
            )
        )
        drop_in = self.machine.path(f"/etc/systemd/system/{SERVICE}.service.d")
        drop_in.mkdir(parents=True)
        (drop_in / "watchdog.conf").write_text(f"[Service]\nWatchdogSec={WATCHDOG_S}s\n")
        code = self.at_server("enrol-code", "gw-01").splitlines()[1]
        for line in commands_of("Without internet: an archive") + commands_of("With systemd"):
            command = line.replace("CODE", code).replace("https://...", self.server["enrolment"])
            if " agent enrol " in command:
                self._enrol(command)
            else:
                self.machine.run("sh", "-c", f"cd /root && {command}")
        key = json.loads(self.machine.run(*AS_SERVICE, "agent", "key", CONFIG, "--json"))["key"]
        self._key = VerifyingKey.from_text(key)

    def _enrol(self, command: str) -> None:
        """Enrol as the service's user, who may not write the gateway file: root adds the lines that it is told."""
        with subprocess.Popen(
            self.machine.within("sh", "-c", command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as enrolling:
            [request] = wait_for(
                lambda: json.loads(self.at_server("enrolments", "--json"))["enrolments"], lambda: "a request"
            )
            self.at_server("approve", "1", request["fingerprint"])
            told = enrolling.communicate(timeout=60)[1]
        assert "have somebody who may write it add:\n" in told
        with self.machine.path(CONFIG).open("a") as config:
            config.write("\n" + told.split("add:\n")[1])

    def show(self, *names: str) -> dict[str, str]:
        """Properties of the service, by systemd."""
        lines = self.machine.run("systemctl", "show", SERVICE, *(f"--property={name}" for name in names)).splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def process(self) -> int:
        """The agent's process id in the machine; 0 when there is none."""
        return int(self.show("MainPID")["MainPID"])

    def status(self) -> dict[str, Any]:
        """What `shopfloor agent status` says."""
        done = subprocess.run(
            self.machine.within(*AS_SERVICE, "agent", "status", CONFIG, "--json"),
            capture_output=True,
            text=True,
            check=False,
        )
        document: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
        return document

    def log(self) -> str:
        """The end of the service's journal."""
        return str(self.machine.run("journalctl", "--no-pager", "--lines=30", f"--unit={SERVICE}"))

    def chain(self) -> RunResult:
        """What the server has committed, each signature and link verified; it begins with the first record."""
        with connect(self.server["database"]) as conn:
            stored = list(read_records(conn, "gw-01"))
        assert [record.seq for record in stored] == list(range(1, len(stored) + 1))
        run = verify_run([record.data for record in stored], self._key, gateway="gw-01")
        assert run.faults == []
        return run

    def events(self) -> list[str]:
        """The names of all events on record, in order."""
        bodies = [record.payload.body for record in self.chain().records]
        return [body.name for body in bodies if isinstance(body, Event)]

    def wait_for_more(self) -> None:
        """Wait until the server has what was read after now."""
        made = self.chain().records[-1].payload.seq
        wait_for(lambda: self.chain().records[-1].payload.seq >= made + 3, self.log)

    def stop(self) -> None:
        """Stop the service while it can still deliver, then the site."""
        self.machine.run("sh", "-c", f"systemctl stop {SERVICE} || true")
        for process in reversed(self._processes):
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture(scope="module")
def gateway(machine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The agent, running as a service; every test leaves it so."""
    gateway = Gateway(machine, tmp_path_factory.mktemp("site"))
    try:
        gateway.start_site()
        gateway.install()
        yield gateway
    finally:
        gateway.stop()


def test_records_of_the_service_are_acknowledged(gateway: Gateway) -> None:
    status = wait_for(lambda: (now := gateway.status()) and now.get("acknowledged_seq", 0) > 3 and now, gateway.log)
    assert status["state"] == "ok", status["problems"]
    assert status["clock"]["synchronised"] is not None, "the kernel could not be asked"
    assert {"start", "history"} >= set(gateway.events()) >= {"start"}


def test_systemd_knows_that_it_is_ready_and_alive(gateway: Gateway) -> None:
    properties = ("ActiveState", "SubState", "Type", "StatusText", "NRestarts", "WatchdogTimestampMonotonic")
    first = gateway.show(*properties)
    assert (first["ActiveState"], first["SubState"], first["Type"]) == ("active", "running", "notify")
    wait_for(lambda: gateway.show("StatusText")["StatusText"].startswith("ok"), gateway.log)
    wait_for(
        lambda: gateway.show(*properties)["WatchdogTimestampMonotonic"] > first["WatchdogTimestampMonotonic"],
        gateway.log,
    )
    assert gateway.show("NRestarts")["NRestarts"] == first["NRestarts"]
    assert gateway.machine.run("systemctl", "is-enabled", SERVICE).strip() == "enabled"


def test_it_is_shut_in(gateway: Gateway) -> None:
    """A probe is started in place of the agent by the very same unit, and says what it could do."""
    machine = gateway.machine
    (machine.path("/root") / "probe.py").write_text(PROBE)
    unit = "/etc/systemd/system/shopfloor-probe"
    machine.run(
        "sh",
        "-ec",
        f"""
        install -m 0644 /root/probe.py /opt/shopfloor/probe.py
        install -d -m 0777 /etc/open /var/tmp/open /srv/open /home/somebody
        mknod -m 0666 /dev/ttyS9 c 4 73
        mknod -m 0666 /dev/messages c 1 11
        sed -e 's|^ExecStart=.*|ExecStart=/opt/shopfloor/bin/python /opt/shopfloor/probe.py|' \
            -e 's|^Type=notify|Type=oneshot|' -e '/^Restart/d' -e '/^WatchdogSec/d' \
            /etc/systemd/system/{SERVICE}.service >{unit}.service
        systemctl daemon-reload
        systemctl start shopfloor-probe
        """,
    )
    outcomes = json.loads((machine.path("/var/lib/shopfloor") / "outcomes.json").read_text())
    assert outcomes.pop("serial port") in {"done", os.strerror(5), os.strerror(6)}, (
        "reached, whether it is there or not"
    )
    read_only, denied, unsupported = os.strerror(30), os.strerror(1), os.strerror(97)
    assert outcomes == {
        "write state": "done",
        "write /tmp": "done",
        "write /etc/open": read_only,
        "write /opt/shopfloor": read_only,
        "write /var/tmp/open": os.strerror(2),
        "write /srv/open": read_only,
        "read /home": os.strerror(13),
        "kernel messages": denied,
        "raw socket": unsupported,
        "namespace": denied,
        "set the clock": denied,
        "ask the clock": "done",
        "writable code": denied,
        "child process": "done",
    }
    assert "probe" not in {path.name for path in machine.path("/").glob("tmp/*")}, "its /tmp is its own"


def test_it_has_no_rights(gateway: Gateway) -> None:
    lines = gateway.machine.run("cat", f"/proc/{gateway.process}/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert {status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["Uid"].split()[0] != "0"


def test_a_killed_agent_comes_back(gateway: Gateway) -> None:
    restarts, starts = int(gateway.show("NRestarts")["NRestarts"]), gateway.events().count("start")
    gateway.machine.run("sh", "-c", f"kill -KILL {gateway.process}")
    wait_for(lambda: gateway.events().count("start") == starts + 1, gateway.log)
    assert int(gateway.show("NRestarts")["NRestarts"]) == restarts + 1
    gateway.wait_for_more()


def test_a_stopped_agent_is_killed_by_the_watchdog_and_comes_back(gateway: Gateway) -> None:
    before, starts = gateway.process, gateway.events().count("start")
    gateway.machine.run("sh", "-c", f"kill -STOP {before}")
    wait_for(lambda: gateway.events().count("start") == starts + 1, gateway.log, 60 + 2 * WATCHDOG_S)
    assert gateway.process != before
    assert "Watchdog timeout" in gateway.log()
    gateway.wait_for_more()


def test_reload_takes_in_a_changed_file_without_a_restart(gateway: Gateway) -> None:
    process, changes = gateway.process, gateway.events().count("configuration")
    config = gateway.machine.path(CONFIG)
    config.write_text(config.read_text().replace("interval: 1s", "interval: 2s"))
    gateway.machine.run("systemctl", "reload", SERVICE)
    wait_for(lambda: gateway.events().count("configuration") == changes + 1, gateway.log)
    assert gateway.process == process
    gateway.wait_for_more()


def test_a_stopped_service_has_delivered_everything(gateway: Gateway) -> None:
    gateway.machine.run("systemctl", "stop", SERVICE)
    assert gateway.show("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert gateway.events()[-1] == "stop"
    assert isinstance(gateway.chain().records[-1].payload.body, Event)
    gateway.machine.run("systemctl", "start", SERVICE)
    gateway.wait_for_more()
