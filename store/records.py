"""Signed records, byte for byte as received, by sequence number and by time; the head of each gateway's chain."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from store.database import Connection
from store.errors import DuplicateRecordError
from store.instants import binary_instant, instant
from store.partitions import ensure_partitions

NO_HASH = bytes(32)
_FETCH_ROWS = 256
_FETCH_BYTES_ROWS = 512
_NEIGHBOURING_ROWS = 4


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The last record of the contiguous, committed chain of a gateway; ``seq`` 0 and 32 zero bytes before the first."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to be stored.

    ``time_ms`` is when the gateway closed the record, ``first_sample_ms`` and ``last_sample_ms`` the earliest and the
    latest sample in it (both None when it holds none), ``received_ms`` when we got it; all UTC. ``hash`` is
    SHA-256(``data``), ``descriptor_hash`` the hash of the descriptor record in force.
    """

    gateway: str
    seq: int
    time_ms: int
    first_sample_ms: int | None
    last_sample_ms: int | None
    kind: int
    hash: bytes
    descriptor_hash: bytes
    samples: int
    data: bytes
    received_ms: int


class StoredRecord(NewRecord):
    """A record read back, byte for byte."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """What is stored of a gateway: counted rows and bytes, chain head, newest times (None without records)."""

    records: int
    samples: int
    bytes: int
    head_seq: int
    newest_time_ms: int | None
    newest_received_ms: int | None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far a gateway has come: its chain head, and the newest record's closing and receiving time (None without)."""

    head_seq: int
    newest_time_ms: int | None
    newest_received_ms: int | None


def lock_head(conn: Connection, gateway: str) -> ChainHead:
    """The chain head of an enrolled gateway, locked until the transaction ends: one writer a gateway at a time.

    Who locks several gateways in one transaction locks them in the order of their ids.

    :raises psycopg.errors.ForeignKeyViolation: the gateway is not enrolled.
    """
    select = "SELECT seq, hash FROM chain_head WHERE gateway = %s FOR UPDATE"
    row = conn.execute(select, (gateway,), binary=True).fetchone()
    if row is None:
        conn.execute(
            "INSERT INTO chain_head (gateway, seq, hash) VALUES (%s, 0, %s) ON CONFLICT DO NOTHING", (gateway, NO_HASH)
        )
        row = conn.execute(select, (gateway,), binary=True).fetchone()
    return ChainHead(0, NO_HASH) if row is None else ChainHead(row[0], row[1])


def read_head(conn: Connection, gateway: str) -> ChainHead:
    """The chain head without a lock; seq 0 when the gateway has none."""
    row = conn.execute("SELECT seq, hash FROM chain_head WHERE gateway = %s", (gateway,), binary=True).fetchone()
    return ChainHead(0, NO_HASH) if row is None else ChainHead(row[0], row[1])


def advance_head(conn: Connection, gateway: str, head: ChainHead) -> None:
    """Set the chain head; the caller holds its lock (:func:`lock_head`)."""
    conn.execute("UPDATE chain_head SET seq = %s, hash = %s WHERE gateway = %s", (head.seq, head.hash, gateway))


def insert_records(conn: Connection, records: Sequence[NewRecord]) -> None:
    """Store records, all or none. Their partitions are made when missing, whatever their date.

    :raises DuplicateRecordError: one of them is stored already; the transaction can only be rolled back.
    :raises InstantRangeError: a time outside the years 1 to 9999.
    """
    if not records:
        return
    ensure_partitions(conn, (record.time_ms for record in records), table="record")
    _widen_spans(conn, records)
    try:
        with (
            conn.cursor() as cursor,
            cursor.copy(
                "COPY record (gateway, seq, time, first_sample, last_sample, kind, hash, descriptor_hash, samples,"
                " data, received) FROM STDIN (FORMAT binary)"
            ) as copy,
        ):
            copy.set_types(["text", "int8", "int8", "int8", "int8", "int2", "bytea", "bytea", "int4", "bytea", "int8"])
            for r in records:
                copy.write_row(
                    (
                        r.gateway,
                        r.seq,
                        binary_instant(r.time_ms),
                        None if r.first_sample_ms is None else binary_instant(r.first_sample_ms),
                        None if r.last_sample_ms is None else binary_instant(r.last_sample_ms),
                        r.kind,
                        r.hash,
                        r.descriptor_hash,
                        r.samples,
                        r.data,
                        binary_instant(r.received_ms),
                    )
                )
    except psycopg.errors.UniqueViolation as error:
        raise DuplicateRecordError(
            f"a record is stored already ({error.diag.message_detail}): "
            "compare with record_hashes under lock_head before storing"
        ) from error


def count_samples(conn: Connection, gateway: str, samples: Mapping[int, int]) -> None:
    """Write how many samples records hold, by sequence number, for those admitted before that could be told."""
    conn.execute(
        "UPDATE record SET samples = counted.samples"
        " FROM unnest(%s::bigint[], %s::bigint[]) AS counted (seq, samples)"
        " WHERE record.gateway = %s AND record.seq = counted.seq",
        (list(samples), list(samples.values()), gateway),
    )


def record_hashes(conn: Connection, gateway: str, first_seq: int, last_seq: int) -> dict[int, bytes]:
    """The hashes of the stored records first_seq..last_seq (inclusive) by sequence number; missing ones left out."""
    rows = conn.execute(
        "SELECT seq, hash FROM record WHERE gateway = %s AND seq BETWEEN %s AND %s ORDER BY seq",
        (gateway, first_seq, last_seq),
        binary=True,
    )
    return dict(rows.fetchall())


def read_records(
    conn: Connection,
    gateway: str,
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    first_seq: int | None = None,
    last_seq: int | None = None,
    kind: int | None = None,
) -> Generator[StoredRecord, None, None]:
    """The records of a gateway in the order of their sequence numbers, through a cursor on the server.

    ``from_ms`` and ``to_ms`` (half-open, UTC) select the records that have samples in between, or that were closed in
    between when they hold no samples; ``first_seq`` and ``last_seq`` are inclusive. All conditions given must hold.
    Who does not read to the end closes the generator, which closes the cursor.
    """
    condition, parameters = _range(gateway, from_ms, to_ms)
    if first_seq is not None:
        condition += sql.SQL(" AND seq >= %(first_seq)s")
        parameters["first_seq"] = first_seq
    if last_seq is not None:
        condition += sql.SQL(" AND seq <= %(last_seq)s")
        parameters["last_seq"] = last_seq
    if kind is not None:
        # As a constant: with a parameter no plan for all values could use the index of one kind.
        condition += sql.SQL(" AND kind = {}").format(sql.Literal(kind))
    # Outside a transaction block a cursor on the server must be held, inside it must not: held ones are copied out.
    with conn.cursor("records", withhold=conn.autocommit) as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.execute(_SELECT_RECORD + condition + sql.SQL(" ORDER BY seq, time"), parameters, binary=True)
        for row in cursor:
            yield StoredRecord(*row)


def record_bytes(
    conn: Connection, gateway: str, first_seq: int, last_seq: int
) -> Generator[tuple[int, bytes, int], None, None]:
    """Number, bytes and time of receipt (ms UTC) of the records first_seq..last_seq (inclusive) in their order.

    For those who go through millions of records, through a cursor on the server. Who does not read to the end closes
    the generator, which closes the cursor.
    """
    with conn.cursor("record_bytes", withhold=conn.autocommit) as cursor:
        cursor.itersize = _FETCH_BYTES_ROWS
        cursor.execute(
            "SELECT seq, data, epoch_ms(received) FROM record WHERE gateway = %s AND seq BETWEEN %s AND %s"
            " ORDER BY seq, time",
            (gateway, first_seq, last_seq),
            binary=True,
        )
        while rows := cursor.fetchmany(_FETCH_BYTES_ROWS):
            yield from rows


def statement_records(conn: Connection, gateway: str, first_seq: int, last_seq: int) -> list[StoredRecord]:
    """The descriptors and events among the records first_seq..last_seq (inclusive) in their order. By index."""
    found: list[StoredRecord] = []
    for kind in (1, 2):
        # As a constant: only so the index of one kind is used.
        rows = conn.execute(
            _SELECT_RECORD + sql.SQL("gateway = %s AND kind = {} AND seq BETWEEN %s AND %s").format(sql.Literal(kind)),
            (gateway, first_seq, last_seq),
            binary=True,
        )
        found += [StoredRecord(*row) for row in rows]
    return sorted(found, key=lambda one: (one.seq, one.time_ms))


def records_beyond(
    conn: Connection, gateway: str, range_ms: tuple[int, int], first_seq: int, last_seq: int
) -> list[StoredRecord]:
    """Those of the records first_seq..last_seq (inclusive) that :func:`read_records` does not find in a range."""
    condition, parameters = _range(gateway, *range_ms)
    rows = conn.execute(
        _SELECT_RECORD
        + sql.SQL("gateway = %(gateway)s AND seq BETWEEN %(first_seq)s AND %(last_seq)s AND NOT (")
        + condition
        + sql.SQL(") ORDER BY seq, time"),
        parameters | {"first_seq": first_seq, "last_seq": last_seq},
        binary=True,
    )
    return [StoredRecord(*row) for row in rows]


def named_descriptors(conn: Connection, gateway: str, first_seq: int, last_seq: int) -> dict[bytes, int]:
    """How many of the records first_seq..last_seq (inclusive) name which descriptor, as the columns say."""
    rows = conn.execute(
        "SELECT descriptor_hash, count(*) FROM record WHERE gateway = %s AND seq BETWEEN %s AND %s GROUP BY 1",
        (gateway, first_seq, last_seq),
        binary=True,
    )
    return dict(rows.fetchall())


def records_before(conn: Connection, gateway: str, seq: int) -> Generator[StoredRecord, None, None]:
    """The records of a gateway with a lower sequence number, the highest first, through a cursor on the server."""
    with conn.cursor("records_before", withhold=conn.autocommit) as cursor:
        cursor.itersize = _NEIGHBOURING_ROWS
        cursor.execute(
            _SELECT_RECORD + sql.SQL("gateway = %s AND seq < %s ORDER BY seq DESC, time DESC"),
            (gateway, seq),
            binary=True,
        )
        for row in cursor:
            yield StoredRecord(*row)


def descriptor_record(conn: Connection, gateway: str, hash: bytes) -> StoredRecord | None:
    """The descriptor record (kind 1) with this hash, or None."""
    row = conn.execute(
        _SELECT_RECORD + sql.SQL("gateway = %(gateway)s AND kind = 1 AND hash = %(hash)s"),
        {"gateway": gateway, "hash": hash},
        binary=True,
    ).fetchone()
    return None if row is None else StoredRecord(*row)


def sequence_range(conn: Connection, gateway: str, from_ms: int, to_ms: int) -> tuple[int, int] | None:
    """The lowest and the highest sequence number of the records of a range (as in :func:`read_records`), or None."""
    condition, parameters = _range(gateway, from_ms, to_ms)
    row = conn.execute(sql.SQL("SELECT min(seq), max(seq) FROM record WHERE ") + condition, parameters).fetchone()
    return None if row is None or row[0] is None else (int(row[0]), int(row[1]))


def newest_statement(conn: Connection, gateway: str) -> int:
    """The number of the newest descriptor or event of a gateway; 0 without any. By index."""
    row = conn.execute(
        """
        SELECT greatest(
            (SELECT max(seq) FROM record WHERE gateway = %(gateway)s AND kind = 1),
            (SELECT seq FROM record WHERE gateway = %(gateway)s AND kind = 2 ORDER BY seq DESC LIMIT 1))
        """,
        {"gateway": gateway},
    ).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def record_count(conn: Connection, gateway: str) -> int:
    """How many records of a gateway are stored, counted row by row."""
    row = conn.execute("SELECT count(*) FROM record WHERE gateway = %s", (gateway,)).fetchone()
    return 0 if row is None else int(row[0])


def replace_record(conn: Connection, stored: StoredRecord, record: NewRecord) -> None:
    """Put a row whose columns are right in the place of one whose columns are not; the caller holds the head's lock."""
    conn.execute(
        "DELETE FROM record WHERE gateway = %s AND seq = %s AND time = %s",
        (stored.gateway, stored.seq, instant(stored.time_ms)),
    )
    insert_records(conn, [record])


def newest_descriptor(conn: Connection, gateway: str) -> StoredRecord | None:
    """The descriptor record (kind 1) of a gateway with the highest number, or None."""
    row = conn.execute(
        _SELECT_RECORD + sql.SQL("gateway = %s AND kind = 1 ORDER BY seq DESC LIMIT 1"), (gateway,), binary=True
    ).fetchone()
    return None if row is None else StoredRecord(*row)


def next_samples_ms(conn: Connection, gateway: str, from_ms: int) -> int | None:
    """A time at or after ``from_ms`` before which a gateway has no sample, and None when it has none from there on."""
    condition, parameters = _range(gateway, from_ms, None)
    row = conn.execute(
        sql.SQL("SELECT epoch_ms(first_sample) FROM record WHERE ")
        + condition
        + sql.SQL(" AND first_sample IS NOT NULL ORDER BY coalesce(first_sample, time) LIMIT 1"),
        parameters,
        binary=True,
    ).fetchone()
    return None if row is None else max(int(row[0]), from_ms)


def count_records(conn: Connection, gateway: str, from_ms: int, to_ms: int) -> tuple[int, int]:
    """How many records :func:`read_records` finds in a range, and how many samples were counted in them."""
    condition, parameters = _range(gateway, from_ms, to_ms)
    row = conn.execute(
        sql.SQL("SELECT count(*), coalesce(sum(samples), 0)::bigint FROM record WHERE ") + condition,
        parameters,
        binary=True,
    ).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def content_digest(conn: Connection, gateway: str, from_ms: int, to_ms: int) -> bytes:
    """SHA-256 over number (int64, big-endian) and SHA-256 of the stored bytes of each record of a range, by number.

    The range is that of :func:`read_records`. Computed from the bytes themselves, not from the stored hashes: it
    changes when any byte of any record changes, and when a record is kept under another number.
    """
    condition, parameters = _range(gateway, from_ms, to_ms)
    row = conn.execute(
        sql.SQL(
            "SELECT sha256(coalesce("
            "string_agg(int8send(seq) || sha256(data), ''::bytea ORDER BY seq, time), ''::bytea))"
            " FROM record WHERE "
        )
        + condition,
        parameters,
        binary=True,
    ).fetchone()
    return b"" if row is None else bytes(row[0])


def counts(conn: Connection) -> dict[str, RecordCounts]:
    """What is stored, by gateway, counted row by row; for a page that is looked at often there is :func:`freshness`."""
    rows = conn.execute(
        """
        SELECT gateway.id, coalesce(stored.records, 0), coalesce(stored.samples, 0), coalesce(stored.bytes, 0),
               coalesce(chain_head.seq, 0), epoch_ms(stored.newest), epoch_ms(stored.received)
        FROM gateway
        LEFT JOIN chain_head ON chain_head.gateway = gateway.id
        LEFT JOIN (
            SELECT gateway, count(*) AS records, sum(samples)::bigint AS samples,
                   sum(octet_length(data))::bigint AS bytes, max(time) AS newest, max(received) AS received
            FROM record GROUP BY gateway
        ) AS stored ON stored.gateway = gateway.id
        ORDER BY gateway.id
        """,
        binary=True,
    )
    return {id: RecordCounts(*row) for id, *row in rows}


def freshness(conn: Connection) -> dict[str, Freshness]:
    """How far each enrolled gateway has come; cheap, by index."""
    rows = conn.execute(
        """
        SELECT gateway.id, coalesce(chain_head.seq, 0), epoch_ms(newest.time), epoch_ms(newest.received)
        FROM gateway
        LEFT JOIN chain_head ON chain_head.gateway = gateway.id
        LEFT JOIN LATERAL (
            SELECT time, received FROM record WHERE record.gateway = gateway.id ORDER BY seq DESC LIMIT 1
        ) AS newest ON true
        ORDER BY gateway.id
        """,
        binary=True,
    )
    return {id: Freshness(*row) for id, *row in rows}


_SELECT_RECORD = sql.SQL(
    """
    SELECT gateway, seq, epoch_ms(time), epoch_ms(first_sample), epoch_ms(last_sample), kind, hash, descriptor_hash,
           samples, data, epoch_ms(received)
    FROM record WHERE """
)


def _range(gateway: str, from_ms: int | None, to_ms: int | None) -> tuple[sql.Composed, dict[str, object]]:
    """The condition of a range. The expressions are those of the index ``record_begin``.

    A record that overlaps the range cannot begin earlier than the longest record of the gateway before it, which bounds
    the index scan on both sides.
    """
    condition = sql.Composed([sql.SQL("gateway = %(gateway)s")])
    parameters: dict[str, object] = {"gateway": gateway}
    if from_ms is not None:
        condition += sql.SQL(
            """
            AND coalesce(last_sample, time) >= %(from)s AND coalesce(first_sample, time) >= %(from)s -
                coalesce((SELECT longest_ms FROM record_span WHERE gateway = %(gateway)s), 0) * interval '1 ms'"""
        )
        parameters["from"] = instant(from_ms)
    if to_ms is not None:
        condition += sql.SQL(" AND coalesce(first_sample, time) < %(to)s")
        parameters["to"] = instant(to_ms)
    return condition, parameters


def _widen_spans(conn: Connection, records: Sequence[NewRecord]) -> None:
    longest: dict[str, int] = {}
    for record in records:
        if record.first_sample_ms is not None and record.last_sample_ms is not None:
            span = record.last_sample_ms - record.first_sample_ms
            longest[record.gateway] = max(longest.get(record.gateway, 0), span)
    rows = conn.execute(
        "SELECT gateway, longest_ms FROM record_span WHERE gateway = ANY(%s)", (list(longest),), binary=True
    )
    known: dict[str, int] = dict(rows.fetchall())
    for gateway in sorted(longest):
        if longest[gateway] > known.get(gateway, 0):
            conn.execute(
                """
                INSERT INTO record_span AS span (gateway, longest_ms) VALUES (%s, %s)
                ON CONFLICT (gateway) DO UPDATE SET longest_ms = greatest(span.longest_ms, excluded.longest_ms)
                """,
                (gateway, longest[gateway]),
            )
