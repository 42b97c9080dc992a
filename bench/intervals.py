"""The interval worker on one core: a gateway-day from stored records to stored intervals, with the database beside it.

Two kinds of days: values read once a second, which shows what a sample costs, and read every ten seconds, where most of
the time is spent on records. Processor time is measured, that of the database included, because other work on the
machine hardly changes it: on a free core it is the time on the clock.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.process import family, processor_seconds
from bench.records import RECORD_MS, START_MS, chain
from ingest.authentication import Message
from ingest.transaction import AdmissionTransactions
from ingest.worker import IntervalWorker
from store.database import Pool, connect, pool, transaction
from store.dirty import mark_dirty
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.intervals import interval_extent
from store.migrations import migrate
from wire.keys import SigningKey
from wire.topics import record_topic

DAY_MS = 86_400_000
RECORDS_A_DAY = DAY_MS // RECORD_MS
FIRST_DAY_MS = START_MS // DAY_MS * DAY_MS + DAY_MS
GATEWAYS = 500
SERIES_OF_A_GATEWAY = 50
TIMES = 3
_BATCH = 500


def measure() -> dict[str, float]:
    """Return samples/s of a day read every second, and seconds for a day of 500 gateways with 50 series at 10 s."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as postgres:
        with connect(postgres.url) as conn:
            migrate(conn)
        with pool(postgres.url, 2) as connections:
            second_s, samples = _compute_day(connections, postgres.pid, "every-second", series=25, reads=60)
            ten_s, _ = _compute_day(connections, postgres.pid, "ten-seconds", series=SERIES_OF_A_GATEWAY, reads=6)
    return {"samples_per_s": samples / second_s, "day_of_500_gateways_s": GATEWAYS * ten_s}


def _compute_day(connections: Pool, server: int, gateway: str, *, series: int, reads: int) -> tuple[float, int]:
    """Seconds of processor time that one day of a gateway takes, the best of some, and the samples in it."""
    key = SigningKey.generate()
    with transaction(connections) as conn:
        add_gateway(conn, gateway, key.public.raw)
    # From the evening before to the morning after: a day is computed from the records around it, too.
    made = chain(gateway, key, 2 * RECORDS_A_DAY, series=series, reads=reads)
    messages = [Message(record_topic(gateway), record.data, record.payload.time_ms) for record in made]
    admission, worker = AdmissionTransactions(connections), IntervalWorker(connections)
    for start in range(0, len(messages), _BATCH):
        admission.commit(messages[start : start + _BATCH])
    while worker.compute_next():
        pass
    spent = []
    for _ in range(TIMES):
        with transaction(connections) as conn:
            mark_dirty(conn, gateway, [FIRST_DAY_MS])
        before = _processor_seconds(server)
        if not worker.compute_next():
            raise AssertionError("the marked day was not computed")
        spent.append(_processor_seconds(server) - before)
    with transaction(connections) as conn:
        extent = interval_extent(conn, f"{gateway}/meter-1/active_energy_import")
    if extent is None or not extent[0] <= FIRST_DAY_MS < FIRST_DAY_MS + DAY_MS <= extent[1]:
        raise AssertionError(f"the day is not one of complete records: intervals from {extent}")
    return min(spent), series * reads * RECORDS_A_DAY


def _processor_seconds(server: int) -> float:
    return time.process_time() + sum(map(processor_seconds, family(server)))
