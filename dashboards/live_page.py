"""The live page: how far each gateway has come, and the latest value of each series."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Lock
from typing import Any

from dashboards.figures import duration, iso_time, unit_text, zone_text
from dashboards.language import Catalogue
from evidence.figures import NO_VALUE, number
from store.database import Pool, transaction
from store.gateways import gateways, successors
from store.incidents import open_incidents
from store.latest import read_latest
from store.quarantine import quarantine_count
from store.records import RecordCounts, counts, freshness
from wire.keys import VerifyingKey

LATE_AFTER_MS = 60_000
SILENT_AFTER_MS = 600_000
COUNTS_KEPT_MS = 5_000
"""Counting is proportional to what is stored; all readers of the page share one count for this long."""

_DIMENSIONLESS = "1"
_COUNTED = frozenset({_DIMENSIONLESS, "piece"})


def gateway_state(lag_ms: int | None) -> str:
    """`online`, `late` or `silent` by the time since the newest record was received; `never` without any."""
    if lag_ms is None:
        return "never"
    if lag_ms <= LATE_AFTER_MS:
        return "online"
    return "late" if lag_ms <= SILENT_AFTER_MS else "silent"


class LiveBoard:
    """Reads the live state from the database; safe to share between threads."""

    def __init__(self, connections: Pool, timezone: str) -> None:
        self._connections = connections
        self._timezone = timezone
        self._lock = Lock()
        self._counted_at_ms = 0
        self._counts: dict[str, RecordCounts] = {}

    def read(self, now_ms: int | None = None) -> dict[str, Any]:
        """The state at `now_ms` (by default now) as the JSON of `/live.json`; times are ISO 8601 in the board's zone.

        Raises `store.errors.DatabaseUnreachableError`.
        """
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        with transaction(self._connections) as connection:
            counted = self._count(connection, now_ms)
            fresh = freshness(connection)
            board = []
            followed = successors(connection)
            for gateway in gateways(connection):
                key = next(reversed(followed.get(gateway.id, {}).values()), gateway.public_key)
                state, count = fresh.get(gateway.id), counted.get(gateway.id)
                received_ms = None if state is None else state.newest_received_ms
                lag_ms = None if received_ms is None else max(now_ms - received_ms, 0)
                board.append(
                    {
                        "id": gateway.id,
                        "name": gateway.name,
                        "fingerprint": VerifyingKey.from_bytes(key).fingerprint,
                        "added": iso_time(gateway.added_ms, self._timezone),
                        "state": gateway_state(lag_ms),
                        "lag_ms": lag_ms,
                        "received": None if received_ms is None else iso_time(received_ms, self._timezone),
                        "head_seq": 0 if state is None else state.head_seq,
                        "records": 0 if count is None else count.records,
                        "samples": 0 if count is None else count.samples,
                        "incidents": open_incidents(connection, gateway.id),
                    }
                )
            values = [
                {
                    "series": value.series,
                    "value": value.value,
                    "unit": value.unit,
                    "time": iso_time(value.time_ms, self._timezone),
                    "status": value.status,
                }
                for value in read_latest(connection)
            ]
            return {
                "now": iso_time(now_ms, self._timezone),
                "timezone": self._timezone,
                "zone": zone_text(self._timezone, now_ms),
                "gateways": board,
                "values": values,
                "quarantined": quarantine_count(connection),
                "incidents": open_incidents(connection),
            }

    def _count(self, connection: Any, now_ms: int) -> dict[str, RecordCounts]:
        with self._lock:
            if now_ms - self._counted_at_ms >= COUNTS_KEPT_MS or now_ms < self._counted_at_ms:
                self._counts = counts(connection)
                self._counted_at_ms = now_ms
            return self._counts


def live_view(board: Mapping[str, Any], text: Catalogue) -> dict[str, Any]:
    """What `live.html` writes of `LiveBoard.read`."""
    return {
        "now": _clock_text(board["now"]),
        "zone": board["zone"],
        "gateways": [gateway_view(gateway, text) for gateway in board["gateways"]],
        "latest": [
            {
                "series": value["series"],
                "value": _value_text(value, text),
                "time": _clock_text(value["time"]),
                "good": value["status"] == 0,
                "status": f"0x{value['status']:02X}",
            }
            for value in board["values"]
        ],
        "quarantined": number(board["quarantined"], 0),
        "incidents": number(board["incidents"], 0),
        "rule": text("state.rule", late=LATE_AFTER_MS // 1000, silent=SILENT_AFTER_MS // 60_000),
    }


def gateway_view(gateway: Mapping[str, Any], text: Catalogue) -> dict[str, Any]:
    """One gateway of `LiveBoard.read`, written."""
    return {
        **{key: gateway[key] for key in ("id", "name", "state", "fingerprint")},
        "added": _clock_text(gateway["added"]),
        "lag": duration(gateway["lag_ms"], text),
        "head": f"#{gateway['head_seq']}",
        "records": number(gateway["records"], 0),
        "samples": number(gateway["samples"], 0),
        "incidents": number(gateway["incidents"], 0),
    }


def _value_text(value: Mapping[str, Any], text: Catalogue) -> str:
    amount, unit = value["value"], value["unit"]
    if amount is None:
        return NO_VALUE
    # What is counted, and codes of states, have no digits after the point to show.
    digits = 0 if unit in _COUNTED and float(amount).is_integer() else 2
    return f"{number(amount, digits)} {'' if unit == _DIMENSIONLESS else unit_text(unit, text)}".strip()


def _clock_text(iso: str) -> str:
    return iso[:19].replace("T", " ")
