"""Twenty minutes of the agent at the work of `bench.agent`: does its memory grow?

``rss_growth_mb`` is what resident memory is in the last two minutes beyond what it was in minutes four and five: the
median of each, so that one garbage collection more or less does not count.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

from agent.keyfile import ensure_key
from bench.agent import DEVICES, GATEWAY, latest_ms, modbus_connections, running_agent
from bench.modbus import modbus_devices
from bench.process import resident_mb
from bench.server import server

LIMITS = {"rss_growth_mb": 1.0, "soak_late_max_ms": 1_000.0}

MINUTES = 20
SETTLED_MINUTES = 3
WINDOW_S = 120


def measure() -> dict[str, float]:
    """Return the growth of resident memory (MiB), and the latest sample in milliseconds behind its time."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        directory = Path(folder)
        ports = stack.enter_context(modbus_devices(DEVICES))
        uplink = stack.enter_context(server(directory, {GATEWAY: ensure_key(directory / "bench.key").public}))
        with running_agent(directory, modbus_connections(ports), uplink) as (agent, _):
            seen = []
            for _ in range(MINUTES * 60):
                time.sleep(1)
                seen.append(resident_mb(agent.pid))
        first = statistics.median(seen[SETTLED_MINUTES * 60 :][:WINDOW_S])
        return {
            "rss_growth_mb": statistics.median(seen[-WINDOW_S:]) - first,
            "soak_late_max_ms": latest_ms(directory),
        }
