"""The commissioning record: what the devices of a gateway answered when it was put to work, signed into its chain.

It stands behind the descriptor that it speaks of, before the first reads of a new chain: one event ``commissioned`` a
device, with what was checked and who answers for it. The whole report, with every value and number, is a file in the
data directory, and the events carry its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.clock import Clock, SystemClock
from agent.config import GatewayConfig
from agent.description import describe
from agent.errors import SpoolError
from agent.key_rotation import open_journal
from agent.plausibility import Check, Outcome
from agent.readout import DeviceReadout
from agent.recorder import changes
from wire.descriptor import Descriptor
from wire.event import Event
from wire.limits import MAXIMUM_TEXT_BYTES


@dataclass(frozen=True, slots=True)
class Result:
    """What was read of one device, and what its checks say."""

    device: DeviceReadout
    checks: list[Check]

    def count(self, outcome: Outcome) -> int:
        """Return how many checks ended with ``outcome``."""
        return sum(check.outcome is outcome for check in self.checks)

    def names(self, outcome: Outcome) -> str:
        """Return the names of the checks that ended with ``outcome``, as long as a text in a record may be."""
        said = ", ".join(check.name for check in self.checks if check.outcome is outcome)
        if len(said.encode()) <= MAXIMUM_TEXT_BYTES:
            return said
        return said.encode()[: MAXIMUM_TEXT_BYTES - 3].decode(errors="ignore") + "..."


@dataclass(frozen=True, slots=True)
class Commissioned:
    """What `Commissioning.sign` wrote: the records ``first_seq`` to ``last_seq``, and the report they name."""

    first_seq: int
    last_seq: int
    report: Path
    digest: bytes


def report(config: GatewayConfig, results: Sequence[Result]) -> dict[str, Any]:
    """Return everything that was read and checked, for a JSON file."""
    return {
        "gateway": config.gateway,
        "devices": [
            {
                "id": result.device.config.id,
                "model": result.device.config.model,
                "template": result.device.described.template_hash.hex(),
                "serial_number": result.device.config.serial_number,
                "connection": result.device.connection,
                "unit": result.device.config.unit,
                "meter": result.device.config.address,
                "round_trip_ms": result.device.round_trip_ms,
                "faults": result.device.faults,
                "values": {
                    name: {"time_ms": read.time_ms, "raw": read.raw, "value": read.value, "unit": read.unit}
                    for name, read in result.device.values.items()
                },
                "checks": [
                    {"name": check.name, "outcome": str(check.outcome), "text": check.text} for check in result.checks
                ],
            }
            for result in results
        ],
    }


class Commissioning:
    """Holds the gateway's spool while its devices are read: no agent reads them meanwhile, and none can be running.

    A context manager. Raises `SpoolError` when an agent runs on the spool, `ConfigurationError` when there is no key.
    """

    def __init__(self, config: GatewayConfig, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = SystemClock() if clock is None else clock
        self._journal = open_journal(config, self._clock)

    def __enter__(self) -> Commissioning:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    def sign(self, results: Sequence[Result], operator: str, accepted: str = "") -> Commissioned:
        """Write the report, and append the descriptor, where it is not in force yet, and the events.

        ``accepted`` is the reason for which failed checks are taken as they are. Raises `SpoolError` when the disk
        fails.
        """
        time_ms = self._clock.now_ms()
        document = {"operator": operator, "time_ms": time_ms, "accepted": accepted} | report(self._config, results)
        text = json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True).encode()
        digest = hashlib.sha256(text).digest()
        path = self._config.data_directory / f"commissioned-{time_ms}.json"
        try:
            path.write_bytes(text)
        except OSError as error:
            raise SpoolError(f"{path}: cannot be written: {error}") from error
        descriptor = describe(self._config)
        first_seq = self._journal.state.seq + 1
        bodies: list[Descriptor | Event] = [*changes(self._journal.descriptor(), descriptor)]
        bodies.extend(_event(result, operator, time_ms, digest, accepted) for result in results)
        for body in bodies:
            self._journal.append(body)
        return Commissioned(first_seq, self._journal.state.seq, path, digest)


def _event(result: Result, operator: str, time_ms: int, digest: bytes, accepted: str) -> Event:
    device = result.device.config
    detail: dict[str, int | float | str | bytes] = {
        "operator": operator,
        "device": device.id,
        "model": device.model,
        "serial_number": device.serial_number,
        "time_ms": time_ms,
        "passed": result.count(Outcome.PASS),
        "failed": result.count(Outcome.FAIL),
        "not_checked": result.count(Outcome.NOT_CHECKED),
        "checks_failed": result.names(Outcome.FAIL),
        "checks_not_made": result.names(Outcome.NOT_CHECKED),
        "report": digest,
    }
    if accepted:
        detail["accepted"] = accepted
    return Event("commissioned", detail)
