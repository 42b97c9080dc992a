"""The first round of each history that meters kept, out of the stored records of a gateway: verified, then read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from evidence.field_record import StoredRound, field_record
from evidence.stored import ROUND_MS, StoredReading, stored_readings
from evidence.table import DAY_MS
from store.database import Connection
from store.records import StoredRecord, descriptor_record, read_records
from wire.errors import RecordError
from wire.keys import VerifyingKey
from wire.record import Kind, Record, open_record

BEFORE_MS = 400 * DAY_MS
"""Records from this long before the baseline period on are looked at: gateways are commissioned before it begins."""

_WINDOWS_MS = (3_600_000, ROUND_MS)
"""A round of stored readings takes minutes, on a slow bus hours: it is looked for in one hour first."""


def verified(stored: Iterable[StoredRecord], key: VerifyingKey) -> Iterator[Record]:
    """The records that ``key`` verifies; others are passed over."""
    for one in stored:
        try:
            yield open_record(one.data, key)
        except RecordError:
            continue


def readings_of_round(
    connection: Connection, gateway: str, key: VerifyingKey, told: StoredRound
) -> Sequence[StoredReading]:
    """The readings of one round, out of the records that stand before its event."""
    descriptor = descriptor_record(connection, gateway, told.descriptor)
    found: list[StoredReading] = []
    for window_ms in _WINDOWS_MS if descriptor is not None else ():
        from_ms, to_ms = told.time_ms - window_ms, told.time_ms + DAY_MS
        within = read_records(connection, gateway, from_ms=from_ms, to_ms=to_ms, last_seq=told.seq)
        records = verified((one for one in (descriptor, *within) if one is not None), key)
        found = [one for one in stored_readings(records) if (one.device, one.history) == (told.device, told.name)]
        if len(found) >= told.good:
            break
    return found


def first_rounds(
    connection: Connection, gateway: str, key: VerifyingKey, span_ms: tuple[int, int]
) -> list[tuple[StoredRound, Sequence[StoredReading]]]:
    """The first round of each history of each device, with its readings; ``span_ms`` is that of the plan (UTC)."""
    from_ms, to_ms = span_ms
    events = read_records(connection, gateway, from_ms=from_ms - BEFORE_MS, to_ms=to_ms, kind=int(Kind.EVENT))
    facts = field_record(verified(events, key))
    return [(told, readings_of_round(connection, gateway, key, told)) for told in facts.stored]
