"""Removing records whose time is over, and the account of what was removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from store.database import Connection
from store.instants import instant

_CONDITION = sql.SQL(
    """
    record.gateway = %(gateway)s AND kind = ANY(%(kinds)s) AND coalesce(last_sample, time) < %(before)s
    AND seq <= coalesce((SELECT seq FROM chain_head WHERE chain_head.gateway = %(gateway)s), 0)
    AND NOT EXISTS (
        SELECT FROM unnest(%(kept_first)s::bigint[], %(kept_last)s::bigint[]) AS kept (first, last)
        WHERE record.seq BETWEEN kept.first AND kept.last)
    """
)


@dataclass(frozen=True, slots=True)
class Removable:
    """Which records of a gateway may go: of these ``kinds``, without a sample at or after ``before_ms`` (UTC), up to
    the head of the chain, and not in ``kept``, ranges of sequence numbers with both ends included."""

    gateway: str
    before_ms: int
    kinds: tuple[int, ...]
    kept: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Removal:
    """How much goes or went: records, samples and bytes, from number ``first_seq`` to ``last_seq`` (None: nothing)."""

    records: int
    samples: int
    bytes: int
    first_seq: int | None
    last_seq: int | None


@dataclass(frozen=True, slots=True)
class RemovedRun:
    """Records that are gone, without a hole between them; ``before`` and ``hash`` tie the chain together over them.

    Their samples were taken from ``first_sample_ms`` to ``last_sample_ms``, both included (UTC).
    """

    gateway: str
    first_seq: int
    last_seq: int
    before: bytes
    hash: bytes
    first_sample_ms: int
    last_sample_ms: int
    samples: int
    bytes: int
    policy: str
    removed_ms: int


def count_removable(conn: Connection, what: Removable) -> Removal:
    """How much would go."""
    row = conn.execute(
        sql.SQL(
            "SELECT count(*), coalesce(sum(samples), 0)::bigint, coalesce(sum(octet_length(data)), 0)::bigint,"
            " min(seq), max(seq) FROM record WHERE "
        )
        + _CONDITION,
        _parameters(what),
    ).fetchone()
    return Removal(0, 0, 0, None, None) if row is None else Removal(*row)


def remove_records(conn: Connection, what: Removable, first_seq: int, last_seq: int, policy: str) -> int:
    """Remove those with numbers ``first_seq`` to ``last_seq`` (inclusive) and put them on account; their number.

    Who removes one gateway's records in pieces goes from the lowest number to the highest.
    """
    row = conn.execute(
        sql.SQL("WITH gone AS (DELETE FROM record WHERE seq BETWEEN %(first)s AND %(last)s AND ")
        + _CONDITION
        + sql.SQL("""
            RETURNING seq, hash, samples, octet_length(data) AS bytes,
                      coalesce(first_sample, time) AS begins, coalesce(last_sample, time) AS ends
        ), numbered AS (
            SELECT *, seq - row_number() OVER (ORDER BY seq) AS run FROM gone
        ), runs AS (
            SELECT min(seq) AS first_seq, max(seq) AS last_seq, (array_agg(hash ORDER BY seq DESC))[1] AS hash,
                   min(begins) AS begins, max(ends) AS ends, sum(samples) AS samples, sum(bytes) AS bytes
            FROM numbered GROUP BY run
        ), noted AS (
            INSERT INTO removed_run (gateway, first_seq, last_seq, before, hash, first_sample, last_sample, samples,
                                     bytes, policy)
            SELECT %(gateway)s, first_seq, last_seq,
                   coalesce(
                       (SELECT hash FROM record WHERE gateway = %(gateway)s AND seq = runs.first_seq - 1 LIMIT 1),
                       (SELECT hash FROM removed_run WHERE gateway = %(gateway)s AND last_seq = runs.first_seq - 1),
                       decode(repeat('00', 32), 'hex')),
                   hash, begins, ends, samples, bytes, %(policy)s
            FROM runs
        )
        SELECT count(*) FROM gone
        """),
        {**_parameters(what), "first": first_seq, "last": last_seq, "policy": policy},
    ).fetchone()
    return 0 if row is None else int(row[0])


def removed_runs(conn: Connection, gateway: str | None = None) -> list[RemovedRun]:
    """What was removed of all gateways or of one, by gateway and number."""
    rows = conn.execute(
        """
        SELECT gateway, first_seq, last_seq, before, hash, epoch_ms(first_sample), epoch_ms(last_sample), samples,
               bytes, policy, epoch_ms(removed)
        FROM removed_run WHERE %(gateway)s::text IS NULL OR gateway = %(gateway)s ORDER BY gateway, first_seq
        """,
        {"gateway": gateway},
        binary=True,
    )
    return [RemovedRun(*row) for row in rows]


def is_removed(conn: Connection, gateway: str, from_ms: int, to_ms: int) -> bool:
    """Whether records of a gateway with samples in [from_ms, to_ms) were removed."""
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM removed_run WHERE gateway = %s AND last_sample >= %s AND first_sample < %s)",
        (gateway, instant(from_ms), instant(to_ms)),
    ).fetchone()
    return row is not None and bool(row[0])


def longest_samples_ms(conn: Connection, gateway: str) -> int:
    """The longest stretch of samples in one stored record of a gateway, looked up row by row; 0 without any."""
    row = conn.execute(
        "SELECT coalesce(max(epoch_ms(last_sample) - epoch_ms(first_sample)), 0) FROM record WHERE gateway = %s",
        (gateway,),
    ).fetchone()
    return 0 if row is None else int(row[0])


def drop_empty_pieces(conn: Connection, before_ms: int) -> int:
    """Drop the partitions or chunks of records that end at or before ``before_ms`` and hold nothing; their number.

    Waits at most seconds for readers of them, because whoever comes later waits behind it.

    :raises psycopg.errors.LockNotAvailable: somebody reads for longer; the next call finds the same pieces.
    """
    with conn.transaction():
        conn.execute("SET LOCAL lock_timeout = '3s'")
        row = conn.execute("SELECT drop_empty_pieces('record', %s)", (instant(before_ms),)).fetchone()
    return 0 if row is None else int(row[0])


def _parameters(what: Removable) -> dict[str, object]:
    kept: Sequence[tuple[int, int]] = what.kept
    return {
        "gateway": what.gateway,
        "kinds": list(what.kinds),
        "before": instant(what.before_ms),
        "kept_first": [first for first, _ in kept],
        "kept_last": [last for _, last in kept],
    }
