"""What a service manager is told: ready, alive, reloading, stopping (the protocol of sd_notify(3)).

systemd starts dependants when the agent says READY and restarts it when it no longer says WATCHDOG. Without a service
manager that listens, nothing is said.
"""

from __future__ import annotations

import logging
import os
import socket
import time

log = logging.getLogger(__name__)


def notify(*assignments: str) -> bool:
    """Send ``assignments`` such as ``READY=1`` in one datagram; tell whether somebody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(assignments).encode(), name)
    except OSError as error:
        log.debug("the service manager does not listen: %s", error)
        return False
    return True


def reloading() -> None:
    """Say that the configuration is being read again; READY says that it is done."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}")


def watchdog_seconds() -> float | None:
    """Return how often to say that the agent is alive: half of what the service manager waits; ``None`` when it does
    not, or watches another process."""
    try:
        timeout_us = int(os.environ.get("WATCHDOG_USEC", ""))
        watched = int(os.environ.get("WATCHDOG_PID") or os.getpid())
    except ValueError:
        return None
    return timeout_us / 2_000_000 if timeout_us > 0 and watched == os.getpid() else None
