"""How the gateway is: one document for the health topic, for ``shopfloor agent status`` and for the service manager."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.clock import Clock
from agent.config import GatewayConfig
from agent.description import software
from agent.devices import Answering, DeviceStates, status_text

RECENT_ERRORS = 10
_FAILING_NAMED = 50
"""The document on the health topic names this many failing devices at most, so that it stays small."""

OK, DEGRADED, STOPPED, OFFLINE = "ok", "degraded", "stopped", "offline"


class RecentErrors(logging.Handler):
    """Keeps the last warnings and errors of the agent. What is said again takes the place of what was said before."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        super().__init__(logging.WARNING)
        self._now_ms = now_ms
        self._entries: deque[dict[str, Any]] = deque(maxlen=RECENT_ERRORS)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        text = record.getMessage()
        known = next((entry for entry in self._entries if entry["text"] == text), None)
        if known is not None:
            self._entries.remove(known)
        times = 1 if known is None else known["times"] + 1
        self._entries.append(
            {"time_ms": self._now_ms(), "level": record.levelname.lower(), "text": text, "times": times}
        )

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The messages, oldest first: when it was last said, level, text, how often it was said."""
        return list(self._entries)


@dataclass(frozen=True, slots=True)
class Chain:
    """Where the chain stands: its end, what the server has, and what the spool takes up in bytes."""

    last_seq: int
    acknowledged_seq: int
    descriptor: bytes
    spool_bytes: int


@dataclass
class Health:
    """What the parts of a running agent have to say about themselves.

    ``configuration_fault`` is why a new gateway file was not taken over; ``uplink_faults`` why there is no connection
    to a broker and ``acknowledged`` what its server has, both by uplink; ``waiting_bytes`` what the disk did not take;
    ``sparkplug`` how the enterprise lane is, which is nobody's business but the enterprise's.
    """

    config: GatewayConfig
    clock: Clock
    devices: DeviceStates
    errors: RecentErrors
    started_ms: int
    configuration_fault: str | None = None
    uplink_faults: Mapping[str, str] = field(default_factory=dict)
    acknowledged: Mapping[str, int] = field(default_factory=dict)
    waiting_bytes: int = 0
    drift_ppm: float | None = None
    sparkplug: Mapping[str, Any] | None = None
    stopped: bool = False
    version: str = field(default_factory=software)
    _published: tuple[Any, ...] = field(default=(), repr=False)

    def document(self, chain: Chain) -> dict[str, Any]:
        """Return the document of the health topic."""
        answering = [self.devices.of(index).answering for index, _ in enumerate(self.config.devices())]
        failing = self._failing()
        problems = self._problems()
        clock = self.clock.state()
        return {
            "gateway": self.config.gateway,
            "state": self._state(problems),
            "problems": problems,
            "time_ms": self.clock.now_ms(),
            "started_ms": self.started_ms,
            "version": self.version,
            "descriptor": chain.descriptor.hex(),
            "devices": {
                "ok": answering.count(Answering.OK),
                "waiting": answering.count(Answering.WAITING),
                "failing": len(failing),
                "failing_ids": failing[:_FAILING_NAMED],
            },
            "spool": {
                "bytes": chain.spool_bytes,
                "budget": self.config.spool_bytes,
                "unsent_records": chain.last_seq - chain.acknowledged_seq,
                "waiting_bytes": self.waiting_bytes,
            },
            "last_seq": chain.last_seq,
            "acknowledged_seq": chain.acknowledged_seq,
            "uplinks": {
                name: {"acknowledged_seq": seq, "fault": self.uplink_faults.get(name)}
                for name, seq in self.acknowledged.items()
            },
            "clock": {
                "synchronised": clock.synchronised,
                "offset_us": clock.offset_us,
                "error_us": clock.error_us,
                "drift_ppm": self.drift_ppm,
            },
            "errors": self.errors.entries,
        }

    def status(self, chain: Chain) -> dict[str, Any]:
        """Return the document of ``shopfloor agent status``: that of the health topic, every device, the enterprise
        lane and the process.

        ``lag_ms`` is how long ago a device was last read well.
        """
        now_ms = self.clock.now_ms()
        devices = []
        for index, (connection, device) in enumerate(self.config.devices()):
            state = self.devices.of(index)
            devices.append(
                {
                    "id": device.id,
                    "connection": connection.id,
                    "state": state.answering,
                    "interval_ms": device.interval,
                    "lag_ms": None if state.good_ms is None else max(0, now_ms - state.good_ms),
                    "last_fault_ms": state.fault_ms,
                    "last_fault": None if state.fault is None else status_text(state.fault),
                    "unsupported": list(state.unsupported),
                }
            )
        return {
            **self.document(chain),
            "device_list": devices,
            "sparkplug": self.sparkplug,
            "process": {"pid": os.getpid(), "resident_bytes": _resident_bytes()},
        }

    def changed(self, descriptor: bytes) -> bool:
        """Tell whether what matters in the document, with ``descriptor`` in force, is new since the last call that said
        so. Cheap: the document is not made for it."""
        problems = self._problems()
        matters = (self._state(problems), problems, descriptor, self.clock.state().synchronised)
        news, self._published = matters != self._published, matters
        return news

    def _failing(self) -> list[str]:
        devices = enumerate(self.config.devices())
        return [one.id for index, (_, one) in devices if self.devices.of(index).answering is Answering.FAILING]

    def _state(self, problems: Sequence[str]) -> str:
        return STOPPED if self.stopped else DEGRADED if problems else OK

    def _problems(self) -> list[str]:
        found = []
        if failing := self._failing():
            more = f" and {len(failing) - _FAILING_NAMED} more" if len(failing) > _FAILING_NAMED else ""
            found.append(f"does not answer: {', '.join(failing[:_FAILING_NAMED])}{more}")
        if self.configuration_fault is not None:
            found.append(f"the changed configuration is not in force: {self.configuration_fault}")
        found += [f"no uplink {name}: {fault}" for name, fault in self.uplink_faults.items()]
        if self.waiting_bytes:
            found.append("the disk does not take records; reads wait in memory")
        return found


def offline(gateway: str) -> dict[str, Any]:
    """Return the document that the broker publishes when it loses the gateway."""
    return {"gateway": gateway, "state": OFFLINE}


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
