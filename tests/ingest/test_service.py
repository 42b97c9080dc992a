"""Ingestion with a real broker and a real database, in one process."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from ingest.authentication import Message
from ingest.broker import EmbeddedBroker
from ingest.clock_window import DAY_MS
from ingest.errors import HttpServerError
from ingest.http import StatusServer
from ingest.service import IngestService
from ingest.session import MqttVersion
from ingest.transaction import AdmissionTransactions
from ingest.worker import IntervalWorker
from store.database import connect, pool
from store.dirty import dirty_count, mark_dirty
from store.gateways import add_gateway
from store.incidents import list_incidents
from store.intervals import read_intervals
from store.latest import read_latest
from store.quarantine import list_quarantine
from store.records import counts, read_head, read_records
from wire.chain import verify_run
from wire.keys import SigningKey
from wire.limits import MAXIMUM_RECORD_BYTES
from wire.record import Record
from wire.topics import record_topic

START_MS = 1_760_000_000_000
SERVER = SigningKey.generate()


def _trust(database_url: str, *gateways: Any) -> None:
    with connect(database_url) as conn:
        for gateway in gateways:
            add_gateway(conn, gateway.id, gateway.key.public.raw)


def _arrived(records: Iterable[Record]) -> list[Message]:
    """The records of any gateways as their broker delivers them, just when they were closed."""
    return [Message(record_topic(one.payload.gateway), one.data, one.payload.time_ms) for one in records]


def _assert_stored_once_and_intact(database_url: str, gateway: Any) -> None:
    with connect(database_url) as conn:
        stored = list(read_records(conn, gateway.id))
        head = read_head(conn, gateway.id)
    assert [record.data for record in stored] == [record.data for record in gateway.records]
    run = verify_run([record.data for record in stored], gateway.key.public, gateway=gateway.id)
    assert run.faults == []
    assert (head.seq, head.hash) == (run.seq, run.hash)


def _wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}"
        time.sleep(0.05)


def test_records_go_from_broker_to_database_and_are_acknowledged(
    database_url: str, broker: EmbeddedBroker, gateway: Any, new_publisher: Callable[..., Any]
) -> None:
    _trust(database_url, gateway)
    with IngestService(database_url, broker.url, SERVER) as service:
        publisher = new_publisher(broker.url, gateway, SERVER.public)
        publisher.send(*gateway.make(300))
        publisher.wait_until_acknowledged(300)
        stats = service.stats()
    _assert_stored_once_and_intact(database_url, gateway)
    assert (stats.stored, stats.quarantined, stats.incidents) == (300, 0, 0)
    assert stats.samples == 298 * 20
    assert publisher.acknowledgements[-1].hash == gateway.records[-1].hash


def test_lost_records_are_sent_again_and_fill_their_hole(
    database_url: str, broker: EmbeddedBroker, gateway: Any, new_publisher: Callable[..., Any]
) -> None:
    _trust(database_url, gateway)
    made = gateway.make(60)
    with IngestService(database_url, broker.url, SERVER):
        publisher = new_publisher(broker.url, gateway, SERVER.public)
        publisher.send(*made[:10], *made[20:40], *made[30:50], *made[55:])
        publisher.wait_until_acknowledged(60)
    _assert_stored_once_and_intact(database_url, gateway)


def test_what_is_not_authentic_goes_to_quarantine_and_disturbs_nothing(
    database_url: str, broker: EmbeddedBroker, new_gateway: Callable[..., Any], new_publisher: Callable[..., Any]
) -> None:
    good, stranger = new_gateway("gw-01"), new_gateway("gw-99")
    forger = new_gateway("gw-01")
    _trust(database_url, good)
    made = good.make(20)
    flipped = made[4].data[:-1] + bytes([made[4].data[-1] ^ 1])
    bad = {
        "bad-signature": (record_topic("gw-01"), flipped),
        "wrong-key": (record_topic("gw-01"), forger.make(1)[0].data),
        "unknown-gateway": (record_topic("gw-99"), stranger.make(1)[0].data),
        "foreign-gateway": (record_topic("gw-02"), made[0].data),
        "oversized": (record_topic("gw-01"), bytes(MAXIMUM_RECORD_BYTES + 1)),
        "not-a-record": (record_topic("gw-01"), b"garbage"),
        "truncated": (record_topic("gw-01"), b""),
    }
    with IngestService(database_url, broker.url, SERVER) as service:
        _wait_for(lambda: service.stats().connected, "the consumer to be subscribed")
        publisher = new_publisher(broker.url, good, SERVER.public)
        publisher.send(*made[:10])
        for topic, data in [*bad.values(), *bad.values()]:
            publisher.publish(topic, data)
        publisher.send(*made[10:])
        publisher.wait_until_acknowledged(20)
        _wait_for(lambda: service.stats().quarantined == len(bad), "everything bad to be in quarantine")
    with connect(database_url) as conn:
        refused = {one.reason: (one.topic, one.data) for one in list_quarantine(conn)}
        told = [(one.kind, one.gateway) for one in list_incidents(conn)]
        assert sorted(told) == [("foreign-gateway", ""), ("unknown-key", ""), ("unknown-key", "gw-01")]
        assert counts(conn).keys() == {"gw-01"}
    assert refused == bad
    _assert_stored_once_and_intact(database_url, good)


def test_gateway_that_is_registered_late_is_admitted_when_it_sends_again(
    database_url: str, broker: EmbeddedBroker, gateway: Any, new_publisher: Callable[..., Any]
) -> None:
    made = gateway.make(5)
    with IngestService(database_url, broker.url, SERVER) as service:
        _wait_for(lambda: service.stats().connected, "the consumer to be subscribed")
        publisher = new_publisher(broker.url, gateway, SERVER.public)
        publisher.send(*made)
        _wait_for(lambda: service.stats().quarantined == 5, "the stranger's records to be refused")
        assert publisher.acknowledgements == []
        _trust(database_url, gateway)
        publisher.wait_until_acknowledged(5)
    _assert_stored_once_and_intact(database_url, gateway)


def test_fork_is_kept_with_its_incident(
    database_url: str, broker: EmbeddedBroker, new_gateway: Callable[..., Any], new_publisher: Callable[..., Any]
) -> None:
    gateway = new_gateway("gw-01")
    _trust(database_url, gateway)
    twin = new_gateway("gw-01", gateway.key)
    with IngestService(database_url, broker.url, SERVER) as service:
        publisher = new_publisher(broker.url, gateway, SERVER.public)
        publisher.send(*gateway.make(4))
        publisher.wait_until_acknowledged(4)
        twin.time_ms += 1
        fork = twin.make(1)[0]
        publisher.publish(record_topic("gw-01"), fork.data)
        publisher.publish(record_topic("gw-01"), fork.data)
        _wait_for(lambda: service.stats().duplicates == 1, "the fork to be seen twice")
    with connect(database_url) as conn:
        incidents = [(one.kind, one.seq, one.data) for one in list_incidents(conn)]
    assert incidents == [("fork", 1, fork.data)]
    _assert_stored_once_and_intact(database_url, gateway)


@pytest.mark.parametrize("versions", [("5", "5"), ("5", "3.1.1"), ("3.1.1", "5"), ("3.1.1", "3.1.1")], ids="-".join)
def test_both_mqtt_versions_on_both_sides(
    database_url: str,
    mqtt5_broker: Any,
    gateway: Any,
    new_publisher: Callable[..., Any],
    versions: tuple[str, str],
) -> None:
    """From a publisher with the first version to a consumer with the second."""
    publisher_version, consumer_version = versions
    _trust(database_url, gateway)
    urls = {"5": mqtt5_broker.url, "3.1.1": mqtt5_broker.url_of_311}
    protocols = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
    with IngestService(
        database_url, urls[consumer_version], SERVER, mqtt_version=MqttVersion(consumer_version)
    ) as service:
        _wait_for(lambda: service.stats().connected, "the consumer to be subscribed")
        publisher = new_publisher(urls[publisher_version], gateway, SERVER.public, protocols[publisher_version])
        publisher.send(*gateway.make(50))
        publisher.wait_until_acknowledged(50)
    _assert_stored_once_and_intact(database_url, gateway)


def test_latest_values_and_intervals_come_from_the_records(
    database_url: str, broker: EmbeddedBroker, gateway: Any, new_publisher: Callable[..., Any]
) -> None:
    _trust(database_url, gateway)
    with IngestService(database_url, broker.url, SERVER, settle_ms=0) as service:
        publisher = new_publisher(broker.url, gateway, SERVER.public)
        publisher.send(*gateway.make(2 + 360))
        publisher.wait_until_acknowledged(362)
        with connect(database_url, autocommit=True) as conn:
            _wait_for(lambda: service.stats().days_computed > 0 and dirty_count(conn) == 0, "the intervals")
    with connect(database_url) as conn:
        latest = {one.series: (one.time_ms, one.value, one.unit, one.status) for one in read_latest(conn)}
        day_ms = START_MS // DAY_MS * DAY_MS
        series = "gw-01/meter-1/energy"
        intervals = read_intervals(conn, [series], day_ms, day_ms + DAY_MS)[series]
    newest_ms = gateway.time_ms - 1000
    assert latest == {
        "gw-01/meter-1/energy": (newest_ms, pytest.approx((newest_ms - START_MS) / 1000 * 0.01), "kWh", 0),
        "gw-01/meter-1/power": (newest_ms, pytest.approx(5.009), "kW", 0),
    }
    assert sum(intervals.count) == 3600
    assert sum(increase or 0.0 for increase in intervals.increase) == pytest.approx(3599 * 0.01)


def test_intervals_do_not_depend_on_the_order_of_arrival(database_url: str, new_gateway: Callable[..., Any]) -> None:
    """Late data, and the same day twice: the table ends up as if everything had come at once."""
    tables = []
    with pool(database_url, 2) as connections:
        worker = IntervalWorker(connections)
        for id_, shuffled in (("gw-01", False), ("gw-02", True)):
            gateway = new_gateway(id_)
            _trust(database_url, gateway)
            made = gateway.make(200)
            transactions = AdmissionTransactions(connections)
            halves = [made[:2] + made[100:], made[2:100]] if shuffled else [made]
            for half in halves:
                transactions.commit(_arrived(half))
                while worker.compute_next():
                    pass
            with connect(database_url) as conn:
                day_ms = START_MS // DAY_MS * DAY_MS
                mark_dirty(conn, id_, [day_ms])
                conn.commit()
                assert worker.compute_next()
                names = [f"{id_}/meter-1/energy", f"{id_}/meter-1/power"]
                tables.append(list(read_intervals(conn, names, day_ms, day_ms + DAY_MS).values()))
    assert tables[0] == tables[1]
    assert sum(tables[0][0].count) == 1980


def test_samples_of_records_that_came_before_their_descriptor_are_counted_later(
    database_url: str, gateway: Any
) -> None:
    _trust(database_url, gateway)
    with pool(database_url, 2) as connections, connect(database_url, autocommit=True) as conn:
        made, worker = gateway.make(12), IntervalWorker(connections)
        for batch in (made[2:], made[:2]):
            AdmissionTransactions(connections).commit(_arrived(batch))
            before = counts(conn)["gw-01"].samples
            while worker.compute_next():
                pass
        assert (before, counts(conn)["gw-01"].samples) == (0, 10 * 20)


def test_history_at_high_speed_is_not_computed_for_every_record(database_url: str, gateway: Any) -> None:
    """While records of a day keep coming, it rests; then each day that they touch is computed once."""
    _trust(database_url, gateway)
    with pool(database_url, 2) as connections:
        transactions, worker = AdmissionTransactions(connections), IntervalWorker(connections)
        for record in gateway.make(50):
            transactions.commit(_arrived([record]))
            assert not worker.compute_next(settle_ms=60_000)
        computed = 0
        while worker.compute_next():
            computed += 1
    assert computed == 1


def test_record_that_was_changed_in_the_database_is_named_and_the_rest_is_computed(
    database_url: str, gateway: Any
) -> None:
    _trust(database_url, gateway)
    with pool(database_url, 2) as connections, connect(database_url, autocommit=True) as conn:
        made = gateway.make(30)
        AdmissionTransactions(connections).commit(_arrived(made))
        conn.execute("UPDATE record SET data = set_byte(data, 200, get_byte(data, 200) # 1) WHERE seq = 10")
        worker = IntervalWorker(connections)
        assert worker.compute_next()
        assert [(one.kind, one.seq) for one in list_incidents(conn)] == [("unreadable-record", 10)]
        day_ms, series = START_MS // DAY_MS * DAY_MS, "gw-01/meter-1/power"
        assert sum(read_intervals(conn, [series], day_ms, day_ms + DAY_MS)[series].count) == 270


def test_http_tells_whether_records_can_be_admitted(database_url: str, broker: EmbeddedBroker, gateway: Any) -> None:
    _trust(database_url, gateway)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with IngestService(database_url, broker.url, SERVER) as service, StatusServer(service, port):
        _wait_for(lambda: service.stats().connected, "the consumer to be subscribed")
        assert _get(port, "/healthz") == (200, {"status": "ok"})
        assert _get(port, "/readyz") == (200, {"broker": True, "database": True})
        assert _get(port, "/api/ingest/status")[1]["stored"] == 0
        broker.stop()
        _wait_for(lambda: not service.stats().connected, "the loss of the broker to be noticed")
        assert _get(port, "/readyz") == (503, {"broker": False, "database": True})
        with pytest.raises(HttpServerError, match=str(port)):
            StatusServer(service, port).__enter__()


def _get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_record_that_the_database_refuses_goes_to_quarantine_and_does_not_hold_up_the_others(
    database_url: str, broker: EmbeddedBroker, gateway: Any, new_publisher: Callable[..., Any]
) -> None:
    _trust(database_url, gateway)
    with connect(database_url, autocommit=True) as conn:
        conn.execute("ALTER TABLE record ADD CONSTRAINT refused CHECK (seq <> 6)")
        with IngestService(database_url, broker.url, SERVER) as service:
            _wait_for(lambda: service.stats().connected, "the consumer to be subscribed")
            publisher = new_publisher(broker.url, gateway, SERVER.public)
            publisher.send(*gateway.make(20))
            _wait_for(lambda: service.stats().stored == 19, "the others to be stored")
            _wait_for(lambda: service.stats().quarantined == 1, "the refusal")
            assert publisher.acknowledged == 5
            assert [(one.reason, one.data) for one in list_quarantine(conn)] == [
                ("not-storable", gateway.records[5].data)
            ]
            conn.execute("ALTER TABLE record DROP CONSTRAINT refused")
            publisher.wait_until_acknowledged(20)
    _assert_stored_once_and_intact(database_url, gateway)
