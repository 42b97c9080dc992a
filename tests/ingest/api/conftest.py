"""Databases with signed records, as the read API finds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ingest.authentication import Message
from ingest.transaction import AdmissionTransactions
from ingest.worker import IntervalWorker
from store.database import connect, pool
from store.gateways import add_gateway
from wire.topics import record_topic

RECEIVED_MS = 1_760_000_000_000


@pytest.fixture(scope="session")
def fill() -> Callable[..., None]:
    """Lets gateways make records, admits them and makes their intervals, the way ingestion does."""

    def admit(database_url: str, *gateways: Any, records: int) -> None:
        with connect(database_url) as conn:
            for gateway in gateways:
                add_gateway(conn, gateway.id, gateway.key.public.raw, f"name of {gateway.id}")
        with pool(database_url, 2) as connections:
            transactions = AdmissionTransactions(connections)
            for gateway in gateways:
                made = gateway.make(records)
                for first in range(0, records, 500):
                    batch = [
                        Message(record_topic(gateway.id), one.data, RECEIVED_MS) for one in made[first : first + 500]
                    ]
                    transactions.commit(batch)
            transactions.commit([Message("shopfloor/v1/gw-09/record", b"garbage", RECEIVED_MS)])
            worker = IntervalWorker(connections)
            while worker.compute_next():
                pass

    return admit
