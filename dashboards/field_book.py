"""What the chains of a project's gateways say beside their samples: commissioning, declared losses, stored readings.

Made from the signed records at every call, never stored; a record whose signature does not hold is only counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dashboards.dossier import Dossier
from dashboards.figures import iso_time
from dashboards.stored_rounds import BEFORE_MS, readings_of_round, verified
from evidence.field_record import FieldRecord, StoredRound, field_record
from evidence.stored import StoredReading
from store.database import Connection
from store.records import read_records
from wire.record import Kind

STORED_COLUMNS = ("gateway", "device", "history", "entry", "read", "series", "value", "unit")

_STATE = "state"


@dataclass(frozen=True)
class FieldBook:
    """The facts by gateway, and the readings of the first round of each stored history.

    ``unverified`` counts the records that the enrolled key does not verify. Times in the JSON are ISO 8601 in the
    plan's zone; ``from_ms`` to ``to_ms`` (UTC, half-open) is the time in which records were looked at.
    """

    project: str
    timezone: str
    from_ms: int
    to_ms: int
    facts: Mapping[str, FieldRecord]
    readings: Mapping[tuple[str, int], Sequence[StoredReading]]
    unverified: int
    sources: frozenset[str]

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values, each with its gateway and the number of the record that it stands in."""
        return self._json

    def stored_rows(self) -> Iterator[tuple[object, ...]]:
        """Yield every stored value, as `STORED_COLUMNS` name it; ``read`` is when the gateway read it."""
        for (gateway, _), readings in self.readings.items():
            for one in readings:
                read = iso_time(one.read_ms, self.timezone)
                for series, value in zip(one.series, one.values, strict=True):
                    yield gateway, one.device, one.history, one.entry, read, series.name, value, series.unit

    @cached_property
    def _json(self) -> dict[str, Any]:
        commissioned = {f"{gateway}/{device}" for gateway, facts in self.facts.items() for device in facts.devices}
        return {
            "project": self.project,
            "timezone": self.timezone,
            "from": iso_time(self.from_ms, self.timezone),
            "to": iso_time(self.to_ms, self.timezone),
            "unverified_records": self.unverified,
            "commissioned": [
                one for gateway, facts in self.facts.items() for one in self._commissioned(gateway, facts)
            ],
            "not_commissioned": sorted(self.sources - commissioned),
            "lost_samples": {gateway: facts.lost_samples for gateway, facts in self.facts.items()},
            "losses": [one for gateway, facts in self.facts.items() for one in self._losses(gateway, facts)],
            "stored": [self._stored(gateway, one) for gateway, facts in self.facts.items() for one in facts.stored],
        }

    def _commissioned(self, gateway: str, facts: FieldRecord) -> Iterator[dict[str, Any]]:
        for one in facts.commissioned:
            yield {
                "gateway": gateway,
                "record": one.seq,
                "time": iso_time(one.time_ms, self.timezone),
                "device": one.device,
                "model": one.model,
                "serial_number": one.serial_number,
                "operator": one.operator,
                "checks": {"passed": one.passed, "failed": one.failed, "not_checked": one.not_checked},
                "checks_failed": one.checks_failed,
                "accepted": one.accepted,
                "report_sha256": one.report.hex(),
            }

    def _losses(self, gateway: str, facts: FieldRecord) -> Iterator[dict[str, Any]]:
        for one in facts.losses:
            records = one.kind == "gap"
            span = [one.first, one.last] if records else [iso_time(ms, self.timezone) for ms in (one.first, one.last)]
            yield {
                "gateway": gateway,
                "record": one.seq,
                "time": iso_time(one.time_ms, self.timezone),
                "kind": one.kind,
                "lost_records" if records else "lost_time": span,
                "samples": one.samples,
                "reason": one.reason,
            }

    def _stored(self, gateway: str, told: StoredRound) -> dict[str, Any]:
        readings = self.readings[gateway, told.seq]
        return {
            "gateway": gateway,
            "record": told.seq,
            "read": iso_time(told.time_ms, self.timezone),
            "device": told.device,
            "name": told.name,
            "period": told.period,
            "entries": told.entries,
            "good": told.good,
            "found": len(readings),
            "series": list(_ends(readings)),
        }


def load_field_book(connection: Connection, dossier: Dossier) -> FieldBook:
    """Return what the gateways of ``dossier`` say, from the records that are stored now."""
    plan = dossier.plan
    first_ms, to_ms = plan.span_ms
    from_ms = first_ms - BEFORE_MS
    facts: dict[str, FieldRecord] = {}
    readings: dict[tuple[str, int], Sequence[StoredReading]] = {}
    unverified = 0
    for gateway, key in dossier.keys.items():
        stored = list(read_records(connection, gateway, from_ms=from_ms, to_ms=to_ms, kind=int(Kind.EVENT)))
        events = list(verified(stored, key))
        unverified += len(stored) - len(events)
        facts[gateway] = field_record(events)
        for told in facts[gateway].stored:
            readings[gateway, told.seq] = readings_of_round(connection, gateway, key, told)
    sources = {source.rsplit("/", 1)[0] for series in plan.series.values() for source in series.sources}
    return FieldBook(plan.project, plan.timezone, from_ms, to_ms, facts, readings, unverified, frozenset(sources))


def _ends(readings: Sequence[StoredReading]) -> Iterator[dict[str, Any]]:
    """The newest and the oldest value of each measured series, with the entries they stand in."""
    for place, series in enumerate(readings[0].series if readings else ()):
        known = [(one.entry, one.values[place]) for one in readings if one.values[place] is not None]
        if series.kind == _STATE or not known:
            continue
        (newest, new), (oldest, old) = min(known), max(known)
        yield {
            "name": series.name,
            "quantity": series.quantity,
            "unit": series.unit,
            "newest": {"entry": newest, "value": new},
            "oldest": {"entry": oldest, "value": old},
        }
