"""The files that start the agent on real systems."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "shopfloor-agent.service"
OPENWRT = DEPLOY / "openwrt" / "shopfloor-agent.init"
MAXIMUM_EXPOSURE = 2.5
"""Of 10: what `systemd-analyze security` calls OK; a service without any hardening has 9.6."""

systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def settings() -> list[tuple[str, str]]:
    lines = [line for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


@systemd
def test_systemd_finds_no_mistake_in_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/shopfloor/bin/shopfloor", sys.executable)
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / UNIT.name], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0


@systemd
def test_the_service_is_shut_in() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", UNIT], capture_output=True, text=True, check=False
    )
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert match is not None, done.stderr
    assert float(match.group(1)) <= MAXIMUM_EXPOSURE


def test_the_clock_can_be_asked_although_it_cannot_be_set() -> None:
    """ProtectClock= refuses adjtimex even for reading; then no record would say whether its time can be believed."""
    unit = settings()
    assert ("CapabilityBoundingSet", "") in unit
    assert ("SystemCallFilter", "adjtimex clock_adjtime clock_adjtime64") in unit
    assert not any(name == "ProtectClock" for name, _ in unit)


def test_what_the_unit_starts_is_a_command_there_is() -> None:
    command = dict(settings())["ExecStart"].split()
    assert command[0] == "/opt/shopfloor/bin/shopfloor"
    done = subprocess.run(
        [sys.executable, "-m", "shopfloor", *command[1:-1], "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    in_openwrt = re.search(r'procd_set_param command "\$PROGRAM" (.*) "\$CONFIG"', OPENWRT.read_text())
    assert in_openwrt is not None
    assert in_openwrt.group(1).split() == command[1:-1]


@pytest.fixture(scope="module", params=["sh", "busybox"])
def shell(request: pytest.FixtureRequest) -> list[str]:
    """A plain shell: this machine's, and that of routers."""
    if request.param == "sh":
        return ["/bin/sh"]
    busybox = shutil.which("busybox")
    if busybox is None:
        missing = "busybox is not installed; install Debian's package busybox"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return [str(busybox), "ash"]


@pytest.mark.parametrize("script", [OPENWRT, DEPLOY / "install.sh"], ids=lambda path: path.name)
def test_the_scripts_are_plain_shell(script: Path, shell: list[str]) -> None:
    done = subprocess.run([*shell, "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_procd_starts_reloads_and_respawns(tmp_path: Path, shell: list[str]) -> None:
    """The functions are called as rc.common does, with procd's own replaced by ones that say what they were told."""
    stand_in = tmp_path / "rc.common"
    stand_in.write_text(
        "for name in open_instance set_param close_instance send_signal add_reload_trigger; do\n"
        '    eval "procd_$name() { echo $name \\"\\$*\\"; }"\ndone\n'
        f". {OPENWRT}\nstart_service\nservice_triggers\nreload_service\n"
    )
    done = subprocess.run([*shell, stand_in], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0].strip() == "open_instance"
    assert "set_param respawn 3600 5 0" in told
    assert "set_param reload_signal HUP" in told
    assert "add_reload_trigger shopfloor" in told
    assert told[-1] == "send_signal shopfloor-agent * HUP"


def test_what_is_set_is_known_to_procd() -> None:
    """Parameters by OpenWrt's procd.sh, which passes over others in silence."""
    known = {
        *("command", "netdev", "file", "respawn", "watch", "watchdog", "env", "data", "limits", "error"),
        *("nice", "term_timeout", "reload_signal", "pidfile", "user", "group", "seccomp", "capabilities", "facility"),
        *("extroot", "overlaydir", "tmpoverlaysize", "vrf", "stdout", "stderr", "no_new_privs"),
    }
    set_here = re.findall(r"procd_set_param (\w+)", OPENWRT.read_text())
    assert len(set_here) == len(set(set_here)) >= 8
    assert set(set_here) <= known


def test_the_unit_has_each_single_setting_once() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNIT)
    repeatable = {"DeviceAllow", "SystemCallFilter", "After"}
    names = [name for name, _ in settings() if name not in repeatable]
    assert sorted(set(names)) == sorted(names)
    assert parser["Service"]["Type"] == "notify"
