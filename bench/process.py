"""What a process has taken so far, as the operating system counts it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def processor_seconds(pid: int) -> float:
    """Seconds of processor time of ``pid``, in user and system mode: its CPU-time clock (clock_getcpuclockid(3)), finer
    than the ticks of ``/proc``."""
    return time.clock_gettime(~pid << 3 | 2)


def resident_mb(pid: int) -> float:
    """Resident memory of ``pid`` in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def family(pid: int) -> list[int]:
    """The process ``pid`` and all processes that it and its children have started and that run now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def reaped_seconds(pid: int) -> float:
    """Seconds of processor time of the children of ``pid`` that have ended and were waited for, in user and system mode
    (proc(5), cutime and cstime)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
