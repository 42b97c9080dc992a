"""Listings in pages: each page goes on behind the last row of the one before it (keyset), however long the table is.

``among`` restricts a listing to these gateways, None to nothing. A page that is shorter than its limit is the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from store.database import Connection
from store.instants import instant


@dataclass(frozen=True, slots=True)
class GatewayState:
    """An enrolled gateway and how far its chain has come; times in ms, UTC, None without records.

    ``public_key`` is the one that was enrolled; ``revoked_ms`` is None while the gateway is trusted.
    """

    id: str
    name: str
    public_key: bytes
    added_ms: int
    head_seq: int
    newest_time_ms: int | None
    newest_received_ms: int | None
    revoked_ms: int | None


@dataclass(frozen=True, slots=True)
class SeriesState:
    """A known series, full id ``gateway/device/name``, with its latest value (in ``unit``); all None without one."""

    id: str
    gateway: str
    time_ms: int | None
    value: float | None
    unit: str | None
    status: int | None


@dataclass(frozen=True, slots=True)
class IncidentEntry:
    """An incident without the bytes that were taken into custody; ``bytes`` is their number, None when none were.

    ``closed_ms`` is since when it is closed, None while it is open.
    """

    id: int
    gateway: str
    kind: str
    seq: int | None
    detail: dict[str, Any]
    bytes: int | None
    at_ms: int
    closed_ms: int | None


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """A stored record without its bytes; ``bytes`` is their number, times are ms, UTC."""

    seq: int
    kind: int
    time_ms: int
    first_sample_ms: int | None
    last_sample_ms: int | None
    received_ms: int
    hash: bytes
    descriptor_hash: bytes
    samples: int
    bytes: int


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """What was refused for one reason: messages and their bytes, when the first and the latest came (ms, UTC)."""

    reason: str
    messages: int
    bytes: int
    first_received_ms: int
    latest_received_ms: int


def list_gateways(conn: Connection, after: str, limit: int, among: Sequence[str] | None) -> list[GatewayState]:
    """Gateways by id, those behind ``after`` ("" for the beginning)."""
    rows = conn.execute(
        """
        SELECT gateway.id, gateway.name,
               coalesce((SELECT public_key FROM gateway_key WHERE gateway_key.gateway = gateway.id
                         ORDER BY first_seq DESC LIMIT 1), gateway.public_key),
               epoch_ms(gateway.added), coalesce(chain_head.seq, 0),
               epoch_ms(newest.time), epoch_ms(newest.received), epoch_ms(gateway.revoked)
        FROM gateway
        LEFT JOIN chain_head ON chain_head.gateway = gateway.id
        LEFT JOIN LATERAL (
            SELECT time, received FROM record WHERE record.gateway = gateway.id ORDER BY seq DESC LIMIT 1
        ) AS newest ON true
        WHERE gateway.id > %(after)s AND (%(among)s::text[] IS NULL OR gateway.id = ANY(%(among)s))
        ORDER BY gateway.id LIMIT %(limit)s
        """,
        {"after": after, "limit": limit, "among": None if among is None else list(among)},
        binary=True,
    )
    return [GatewayState(*row) for row in rows]


def list_series(conn: Connection, after: str, limit: int, among: Sequence[str] | None) -> list[SeriesState]:
    """Series by id, those behind ``after`` ("" for the beginning)."""
    rows = conn.execute(
        """
        SELECT series.name, series.gateway, epoch_ms(latest.time), latest.value, latest.unit, latest.status
        FROM series LEFT JOIN latest ON latest.series = series.id
        WHERE series.name > %(after)s AND (%(among)s::text[] IS NULL OR series.gateway = ANY(%(among)s))
        ORDER BY series.name LIMIT %(limit)s
        """,
        {"after": after, "limit": limit, "among": None if among is None else list(among)},
        binary=True,
    )
    return [SeriesState(*row) for row in rows]


def page_of_incidents(
    conn: Connection,
    *,
    before: int | None,
    limit: int,
    among: Sequence[str] | None,
    kind: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    closed: bool | None = None,
) -> list[IncidentEntry]:
    """Incidents that were raised in [from_ms, to_ms), the newest first, those before the id ``before``.

    ``closed`` says whether the open or the closed ones; None: both.
    """
    rows = conn.execute(
        """
        SELECT id, gateway, kind, seq, detail, octet_length(data), epoch_ms(at), epoch_ms(closed) FROM incident
        WHERE (%(before)s::bigint IS NULL OR id < %(before)s)
          AND (%(among)s::text[] IS NULL OR gateway = ANY(%(among)s))
          AND (%(kind)s::text IS NULL OR kind = %(kind)s)
          AND (%(from)s::timestamptz IS NULL OR at >= %(from)s) AND (%(to)s::timestamptz IS NULL OR at < %(to)s)
          AND (%(closed)s::boolean IS NULL OR (closed IS NOT NULL) = %(closed)s)
        ORDER BY id DESC LIMIT %(limit)s
        """,
        {
            "before": before,
            "limit": limit,
            "among": None if among is None else list(among),
            "kind": kind,
            "closed": closed,
            "from": None if from_ms is None else instant(from_ms),
            "to": None if to_ms is None else instant(to_ms),
        },
        binary=True,
    )
    return [IncidentEntry(*row) for row in rows]


def incident_bytes(conn: Connection, id: int) -> tuple[str, bytes | None] | None:
    """The gateway of an incident and the bytes that were taken into custody, if any; None without such an incident."""
    row = conn.execute("SELECT gateway, data FROM incident WHERE id = %s", (id,), binary=True).fetchone()
    return None if row is None else (row[0], row[1])


def page_of_records(
    conn: Connection, gateway: str, *, after: int, limit: int, from_ms: int | None = None, to_ms: int | None = None
) -> list[RecordEntry]:
    """Records of a gateway by number, those behind ``after``, closed in [from_ms, to_ms)."""
    rows = conn.execute(
        """
        SELECT seq, kind, epoch_ms(time), epoch_ms(first_sample), epoch_ms(last_sample), epoch_ms(received), hash,
               descriptor_hash, samples, octet_length(data)
        FROM record
        WHERE gateway = %(gateway)s AND seq > %(after)s
          AND (%(from)s::timestamptz IS NULL OR time >= %(from)s) AND (%(to)s::timestamptz IS NULL OR time < %(to)s)
        ORDER BY seq LIMIT %(limit)s
        """,
        {
            "gateway": gateway,
            "after": after,
            "limit": limit,
            "from": None if from_ms is None else instant(from_ms),
            "to": None if to_ms is None else instant(to_ms),
        },
        binary=True,
    )
    return [RecordEntry(*row) for row in rows]


def quarantine_summary(conn: Connection) -> list[QuarantineEntry]:
    """What was refused, by reason."""
    rows = conn.execute(
        """
        SELECT reason, count(*), coalesce(sum(octet_length(data)), 0)::bigint, epoch_ms(min(received)),
               epoch_ms(max(received))
        FROM quarantine GROUP BY reason ORDER BY reason
        """,
        binary=True,
    )
    return [QuarantineEntry(*row) for row in rows]
