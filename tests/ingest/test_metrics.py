"""``/metrics`` as Prometheus reads it: every figure is there, named and typed, and counts what happened."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from ingest.authentication import Message
from ingest.broker import EmbeddedBroker
from ingest.http import StatusServer
from ingest.meter import IngestMeter
from ingest.metrics import metrics_router
from ingest.service import IngestService
from ingest.transaction import Committed, Tally, now_ms
from store.database import connect, pool, transaction
from store.dirty import mark_dirty
from store.gateways import add_gateway
from store.incidents import add_incident
from store.records import NewRecord, insert_records
from wire.keys import SigningKey
from wire.topics import record_topic

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]
DAY_MS = 86_400_000


def _parsed(text: str) -> tuple[Figures, dict[str, str]]:
    """The figures by name and labels, and the types by name of the family."""
    families = list(text_string_to_metric_families(text))
    figures = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    return figures, {family.name: family.type for family in families}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}"
        time.sleep(0.05)


def test_a_running_ingestion_tells_what_it_did(
    database_url: str, broker: EmbeddedBroker, gateway: Any, new_publisher: Callable[..., Any]
) -> None:
    server, port = SigningKey.generate(), _free_port()
    with connect(database_url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
        add_gateway(conn, "gw-silent", SigningKey.generate().public.raw)
    with IngestService(database_url, broker.url, server, settle_ms=0) as service, StatusServer(service, port):
        publisher = new_publisher(broker.url, gateway, server.public)
        publisher.send(*gateway.make(40))
        publisher.publish(record_topic("gw-01"), b"garbage")
        publisher.wait_until_acknowledged(40)
        _wait_for(lambda: service.stats().quarantined == 1, "the garbage to be in quarantine")
        _wait_for(lambda: service.stats().days_computed > 0, "the day to be computed")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.headers["content-type"].startswith("text/plain")
            figures, types = _parsed(answer.read().decode())
    assert figures["shopfloor_ingest_records_total", (("outcome", "stored"),)] == 40
    assert figures["shopfloor_ingest_records_total", (("outcome", "quarantined"),)] == 1
    assert figures["shopfloor_ingest_samples_total", ()] == 38 * 20
    assert figures["shopfloor_days_computed_total", ()] >= 1
    for name in ("verify", "commit", "delay"):
        assert types[f"shopfloor_ingest_{name}_seconds"] == "histogram"
        batches = figures["shopfloor_ingest_batches_total", ()]
        assert figures[f"shopfloor_ingest_{name}_seconds_count", ()] == batches
        assert figures[f"shopfloor_ingest_{name}_seconds_sum", ()] > 0
    assert figures["shopfloor_ingest_connected", ()] == 1
    assert figures["shopfloor_ingest_waiting_messages", ()] == 0
    assert figures["shopfloor_database_up", ()] == 1
    assert figures["shopfloor_gateways", ()] == 2
    assert figures["shopfloor_gateways_silent", ()] == 1
    assert figures["shopfloor_gateway_silence_seconds", (("gateway", "gw-01"),)] >= 0
    assert sum(value for (name, _), value in figures.items() if name == "shopfloor_quarantined_messages") == 1


def test_the_database_side_counts_what_waits_and_what_was_odd(database_url: str) -> None:
    with pool(database_url, 2) as connections:
        with transaction(connections) as conn:
            add_gateway(conn, "gw-01", SigningKey.generate().public.raw)
            mark_dirty(conn, "gw-01", [0, DAY_MS])
            conn.execute("UPDATE dirty_mark SET marked = marked - interval '1 h'")
            for kind in ("fork", "fork", "hole"):
                add_incident(conn, "gw-01", kind, 1, {}, None, now_ms())
            old_ms = now_ms() - 3_600_000
            insert_records(conn, [NewRecord("gw-01", 1, old_ms, None, None, 0, bytes(32), bytes(32), 0, b"", old_ms)])
        application = FastAPI()
        application.include_router(metrics_router(connections))
        figures, _ = _parsed(TestClient(application).get("/metrics").text)
    assert figures["shopfloor_dirty_days", ()] == 2
    assert figures["shopfloor_oldest_dirty_day_seconds", ()] >= 3600
    assert figures["shopfloor_incidents", (("kind", "fork"),)] == 2
    assert figures["shopfloor_incidents", (("kind", "hole"),)] == 1
    assert figures["shopfloor_gateways_silent", ()] == 1
    assert figures["shopfloor_gateway_silence_seconds", (("gateway", "gw-01"),)] >= 3600


def test_a_database_that_is_away_is_a_figure_too(database_url: str) -> None:
    with pool(database_url, 2) as connections:
        application = FastAPI()
        application.include_router(metrics_router(connections))
        connections.close()
        figures, _ = _parsed(TestClient(application).get("/metrics").text)
    assert figures == {("shopfloor_database_up", ()): 0}


_PROCESS = """
from ingest.meter import IngestMeter
from ingest.transaction import Committed, Tally
from ingest.authentication import Message
meter = IngestMeter()
meter.committed([Message("", b"", 1000)], Committed(Tally(stored=20), verify_s=0.5), 3000)
meter.look(waiting=7, connected=True)
"""


def test_the_figures_of_several_processes_are_added_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for _ in range(2):
        subprocess.run([sys.executable, "-c", _PROCESS], check=True)
    with pool(database_url, 2) as connections:
        application = FastAPI()
        application.include_router(metrics_router(connections))
        figures, _ = _parsed(TestClient(application).get("/metrics").text)
    assert figures["shopfloor_ingest_records_total", (("outcome", "stored"),)] == 40
    assert figures["shopfloor_ingest_verify_seconds_sum", ()] == 1.0
    assert figures["shopfloor_ingest_delay_seconds_sum", ()] == 4.0
    assert figures["shopfloor_gateways", ()] == 0


def test_the_delay_is_that_of_the_record_that_waited_longest() -> None:
    meter = IngestMeter()
    messages = [Message("", b"", 1_000), Message("", b"", 4_000)]
    meter.committed(messages, Committed(Tally(stored=2)), 5_000)
    assert meter.registry.get_sample_value("shopfloor_ingest_delay_seconds_sum") == 4.0
