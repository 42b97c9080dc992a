"""Acknowledgements come before intervals, but not for ever."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ingest import worker as worker_module
from ingest.authentication import Message
from ingest.transaction import AdmissionTransactions
from ingest.worker import IntervalWorker
from store.database import Pool, connect, pool, transaction
from store.dirty import dirty_count
from store.gateways import add_gateway
from wire.topics import record_topic


def fill(database_url: str, connections: Pool, gateway: Any) -> None:
    with connect(database_url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    messages = [Message(record_topic(gateway.id), one.data, one.payload.time_ms) for one in gateway.make(5)]
    AdmissionTransactions(connections).commit(messages)


def waiting(connections: Pool) -> int:
    with transaction(connections) as conn:
        return dirty_count(conn)


def wait_until_computed(worker: IntervalWorker) -> None:
    deadline = time.monotonic() + 30
    while not worker.days_computed:
        assert time.monotonic() < deadline, "no day was computed"
        time.sleep(0.01)


def test_days_wait_while_admission_is_busy(database_url: str, gateway: Any) -> None:
    asked = [0]
    busy = [True]

    def admission_is_busy() -> bool:
        asked[0] += 1
        return busy[0]

    with pool(database_url, 3) as connections:
        fill(database_url, connections, gateway)
        worker = IntervalWorker(connections, settle_ms=0, admission_is_busy=admission_is_busy)
        worker.start()
        try:
            while asked[0] < 3:
                time.sleep(0.01)
            assert (worker.days_computed, waiting(connections)) == (0, 1)
            busy[0] = False
            wait_until_computed(worker)
        finally:
            worker.stop()
        assert waiting(connections) == 0


def test_days_do_not_wait_for_ever(database_url: str, gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "PATIENCE_SECONDS", 0.0)
    with pool(database_url, 3) as connections:
        fill(database_url, connections, gateway)
        worker = IntervalWorker(connections, settle_ms=0, admission_is_busy=lambda: True)
        worker.start()
        try:
            wait_until_computed(worker)
        finally:
            worker.stop()
