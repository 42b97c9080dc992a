"""``shopfloor rebuild --check``: every record verified, every interval computed again and compared, on one core."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from bench.process import resident_mb
from bench.records import SAMPLES, chain
from ingest.authentication import Message
from ingest.rebuild import check
from ingest.transaction import AdmissionTransactions
from ingest.worker import IntervalWorker
from store.database import connect, pool, transaction
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.migrations import migrate
from wire.keys import SigningKey
from wire.topics import record_topic

GATEWAY = "bench-00"
RECORDS = 4_000
BATCH_RECORDS = 500
ROUNDS = 3


def measure() -> dict[str, float]:
    """Return samples and records a second of our own CPU time (best of three), and by how much memory grows."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
        with connect(postgres.url) as conn:
            migrate(conn)
        with pool(postgres.url, 3) as connections:
            key = SigningKey.generate()
            with transaction(connections) as conn:
                add_gateway(conn, GATEWAY, key.public.raw)
            transactions = AdmissionTransactions(connections)
            messages: list[Message] = []
            for record in chain(GATEWAY, key, RECORDS):
                messages.append(Message(record_topic(GATEWAY), record.data, record.payload.time_ms))
                if len(messages) == BATCH_RECORDS:
                    transactions.commit(messages)
                    messages = []
            transactions.commit(messages)
            worker = IntervalWorker(connections)
            while worker.compute_next():
                pass
            before_mb, seconds = resident_mb(os.getpid()), []
            for _ in range(ROUNDS):
                began = time.process_time()
                report = check(connections)
                seconds.append(time.process_time() - began)
                if not report.equal or report.pending_days:
                    raise RuntimeError(f"tables differ from records: {report.differences[:3]}")
            grown_mb = resident_mb(os.getpid()) - before_mb
    return {
        "samples_per_s": RECORDS * SAMPLES / min(seconds),
        "records_per_s": RECORDS / min(seconds),
        "rss_growth_mb": grown_mb,
    }
