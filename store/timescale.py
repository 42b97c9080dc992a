"""What TimescaleDB offers beyond hypertables, where its community edition runs: compression, and jobs of its scheduler.

Intervals are compressed, records are not: their bytes are compressed and signed by the gateway one by one, so that
compressing them once more gains nothing and takes them apart from what is read with them. Records are never removed by
a policy of the server, which drops whole chunks and knows nothing of evidence: a job of the server's scheduler puts the
removal that spares evidence into our own queue (procedure ``queue_retention``).

The edition that Debian packages (licence ``apache``) has the same functions, and each refuses with
``feature_not_supported``.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql
from psycopg.types.json import Jsonb

from store.database import Connection
from store.errors import NotOfferedError

COMMUNITY = "timescale"
"""The licence, a setting of the server, under which the community edition works."""

_LIMIT = "timescaledb.max_tuples_decompressed_per_dml_transaction"

CHANGE_COMPRESSED = sql.SQL(
    "CASE WHEN current_setting({limit}, true) IS NOT NULL THEN set_config({limit}, '0', true) END"
).format(limit=sql.Literal(_LIMIT))
"""An expression that lets this transaction change any number of compressed rows; null where no server can hold such."""


@dataclass(frozen=True, slots=True)
class ServerOffer:
    """TimescaleDB as it is loaded in a database: ``version`` and ``licence``, both None where it is not."""

    version: str | None
    licence: str | None

    @property
    def community(self) -> bool:
        """Whether compression and jobs are there."""
        return self.licence == COMMUNITY

    @property
    def text(self) -> str:
        """What is there, in words."""
        if self.version is None:
            return "no TimescaleDB"
        return f"TimescaleDB {self.version} under the licence '{self.licence}'"


@dataclass(frozen=True, slots=True)
class ServerPolicies:
    """What the server's scheduler does for us; days are None where it does not. ``failing`` are the names of jobs whose
    last run failed.

    Of the chunks of intervals ``compressed`` are compressed, from ``before_bytes`` to ``after_bytes``.
    """

    compress_after_days: int | None
    keep_days: int | None
    chunks: int
    compressed: int
    before_bytes: int
    after_bytes: int
    failing: tuple[str, ...]


def server_offer(conn: Connection) -> ServerOffer:
    """What this database offers."""
    row = conn.execute(
        "SELECT extversion, current_setting('timescaledb.license', true) FROM pg_extension"
        " WHERE extname = 'timescaledb'"
    ).fetchone()
    return ServerOffer(None, None) if row is None else ServerOffer(*row)


def require_community(conn: Connection) -> None:
    """Make sure that the server has what the functions below ask for.

    :raises NotOfferedError: it has not.
    """
    offer = server_offer(conn)
    if not offer.community:
        raise NotOfferedError(
            f"the database server has {offer.text}: compression and jobs need the community edition of TimescaleDB "
            f"(packages of its makers, not Debian's; with timescaledb.license = '{COMMUNITY}' in postgresql.conf). "
            "Without it intervals stay as they are, and 'shopfloor ingest run --keep-days N' removes old records"
        )


def read_policies(conn: Connection) -> ServerPolicies:
    """What the scheduler of a server with TimescaleDB, of whatever edition, does for us now."""
    jobs = conn.execute(
        """
        SELECT proc_name, extract(day FROM (config ->> 'compress_after')::interval)::integer,
               (config ->> 'keep_days')::integer, coalesce(last_run_status = 'Failed', false)
        FROM timescaledb_information.jobs AS job
        LEFT JOIN timescaledb_information.job_stats AS run USING (job_id)
        WHERE proc_name = 'queue_retention'
           OR (proc_name = 'policy_compression' AND job.hypertable_name = 'interval')
        ORDER BY job_id
        """
    ).fetchall()
    sizes = conn.execute(
        "SELECT total_chunks, number_compressed_chunks, before_compression_total_bytes, after_compression_total_bytes"
        " FROM hypertable_compression_stats('interval')"
    ).fetchone()
    chunks, compressed, before_bytes, after_bytes = (int(one or 0) for one in sizes or (0, 0, 0, 0))
    return ServerPolicies(
        next((after for name, after, _, _ in jobs if name == "policy_compression"), None),
        next((keep for name, _, keep, _ in jobs if name == "queue_retention"), None),
        chunks,
        compressed,
        before_bytes,
        after_bytes,
        tuple(name for name, _, _, failed in jobs if failed),
    )


def schedule_compression(conn: Connection, after_days: int) -> None:
    """Have chunks of intervals compressed when all in them is older than ``after_days``; nothing may be scheduled yet.

    What is written into a compressed chunk later (late records, a rebuild) stands beside it until the next run.
    """
    conn.execute(
        "SELECT add_compression_policy('interval', compress_after => make_interval(days => %s))", (after_days,)
    )


def enable_compression(conn: Connection) -> None:
    """Say how intervals are compressed: series by series, in the order of time; as they are read and written."""
    row = conn.execute(
        "SELECT compression_enabled FROM timescaledb_information.hypertables WHERE hypertable_name = 'interval'"
    ).fetchone()
    if row != (True,):
        conn.execute(
            "ALTER TABLE interval SET (timescaledb.compress, timescaledb.compress_segmentby = 'series',"
            " timescaledb.compress_orderby = 'time')"
        )


def unschedule_compression(conn: Connection) -> None:
    """Compress no more chunks; those that are compressed stay so, and are read and written as before."""
    conn.execute("SELECT remove_compression_policy('interval', if_exists => true)")


def schedule_retention(conn: Connection, keep_days: int) -> None:
    """Have records older than ``keep_days`` removed every night, evidence spared; nothing may be scheduled yet.

    The scheduler queues the job, and one of the running ingestion processes does it.
    """
    conn.execute(
        """
        SELECT add_job('queue_retention'::regproc, schedule_interval => INTERVAL '1 day', config => %s,
                       initial_start => date_trunc('day', now(), 'UTC') + INTERVAL '1 day 19 h 17 min')
        """,
        (Jsonb({"keep_days": keep_days}),),
    )


def unschedule_retention(conn: Connection) -> None:
    """Have the server ask for no more removals."""
    conn.execute("SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'queue_retention'")
