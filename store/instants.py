"""Instants at the edge of the database: the code speaks ms since the Unix epoch (UTC), the tables timestamptz."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from store.errors import InstantRangeError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
POSTGRES_EPOCH_MS = 946_684_800_000  # 2000-01-01T00:00:00Z
_FIRST_MS = -62_135_596_800_000  # 0001-01-01T00:00:00Z
_LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


def instant(time_ms: int) -> datetime:
    """The instant of an integer of milliseconds, as a parameter of a statement.

    :raises InstantRangeError: outside the years 1 to 9999.
    """
    _check(time_ms)
    return _EPOCH + timedelta(milliseconds=time_ms)


def binary_instant(time_ms: int) -> int:
    """The instant as binary COPY takes a timestamptz: microseconds since 2000-01-01 UTC (int64, timestamptz_recv).

    :raises InstantRangeError: outside the years 1 to 9999.
    """
    _check(time_ms)
    return (time_ms - POSTGRES_EPOCH_MS) * 1000


def _check(time_ms: int) -> None:
    if not _FIRST_MS <= time_ms <= _LAST_MS:
        raise InstantRangeError(
            f"{time_ms} ms since 1970 is no time in the years 1 to 9999: look at the clock of the device it comes from"
        )
