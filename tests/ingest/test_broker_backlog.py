"""What waits at the embedded broker is a figure, by subscription, and one that falls when it is fetched."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client.parser import text_string_to_metric_families

from ingest.broker import EmbeddedBroker
from ingest.broker_backlog import MONITOR, read_backlog
from ingest.errors import BrokerError
from ingest.metrics import metrics_router
from store.database import pool
from wire.topics import RECORD_FILTER, ack_topic, record_topic

MESSAGES, OCTETS = 40, 1_000


def _client(broker: EmbeddedBroker, name: str, *, keep: bool) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=not keep)
    client.connect("127.0.0.1", broker.mqtt_port)
    return client


def _subscribe(broker: EmbeddedBroker, name: str, topic: str) -> None:
    client = _client(broker, name, keep=True)
    client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda client, *_: client.disconnect()
    client.loop_forever()


def _publish(broker: EmbeddedBroker, topic: str, count: int) -> None:
    client = _client(broker, "publisher", keep=False)
    client.loop_start()
    for _ in range(count):
        client.publish(topic, bytes(OCTETS), qos=1).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited for: {what}"
        time.sleep(0.05)


def test_what_waits_is_told_by_subscription_and_is_less_when_it_is_fetched(broker: EmbeddedBroker) -> None:
    _subscribe(broker, "ingestion", RECORD_FILTER)
    for gateway in ("gw-01", "gw-02"):
        _subscribe(broker, gateway, ack_topic(gateway))
        _publish(broker, ack_topic(gateway), 3)
    _publish(broker, record_topic("gw-01"), MESSAGES)
    before = read_backlog(broker.monitor_url)
    waiting = before.waiting["shopfloor/v1/+/record"]
    assert waiting.pending + waiting.unconfirmed == MESSAGES
    both = before.waiting["shopfloor/v1/+/ack"]
    assert both.pending + both.unconfirmed == 6, "of all gateways in one figure"
    messages, octets = before.streams["$MQTT_msgs"]
    assert messages == MESSAGES + 6
    assert octets > messages * OCTETS
    fetching = _client(broker, "ingestion", keep=True)
    fetching.loop_start()

    def fetched() -> bool:
        now = read_backlog(broker.monitor_url).waiting["shopfloor/v1/+/record"]
        return now.pending + now.unconfirmed == 0

    _until(fetched, "everything is fetched")
    fetching.disconnect()
    fetching.loop_stop()


def test_the_monitoring_address_is_on_loopback_and_stays_over_a_restart(broker: EmbeddedBroker) -> None:
    address = broker.monitor_url
    listening = [one.laddr for one in psutil.Process(broker.pid).net_connections() if one.status == psutil.CONN_LISTEN]
    assert int(address.rpartition(":")[2]) in {one.port for one in listening}
    assert {one.ip for one in listening} == {"127.0.0.1"}
    os.kill(broker.pid, signal.SIGKILL)
    broker.stop()
    with pytest.raises(BrokerError, match="does not say what waits"):
        read_backlog(address)
    broker.start()
    assert broker.monitor_url == address
    assert read_backlog(address).waiting == {}


def test_metrics_of_a_site_have_it_and_a_broker_that_is_away_is_a_figure(
    broker: EmbeddedBroker, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _subscribe(broker, "ingestion", RECORD_FILTER)
    _publish(broker, record_topic("gw-01"), 5)
    monkeypatch.setenv(MONITOR, broker.monitor_url)
    with pool(database_url, 2) as connections:
        application = FastAPI()
        application.include_router(metrics_router(connections))
        client = TestClient(application)

        def figures() -> dict[tuple[str, str], float]:
            families = text_string_to_metric_families(client.get("/metrics").text)
            return {
                (one.name, next(iter(one.labels.values()), "")): one.value
                for family in families
                for one in family.samples
                if one.name.startswith("shopfloor_broker")
            }

        up = figures()
        broker.stop()
        down = figures()
    assert up["shopfloor_broker_up", ""] == 1
    assert up["shopfloor_broker_stream_messages", "$MQTT_msgs"] == 5
    kept = ("shopfloor_broker_pending_messages", "shopfloor_broker_unconfirmed_messages")
    assert sum(up[name, "shopfloor/v1/+/record"] for name in kept) == 5
    assert down == {("shopfloor_broker_up", ""): 0}


class _Stranger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"account_details": [{"stream_detail": [{"name": "x"}]}]}')

    def log_message(self, *_: object) -> None:
        pass


def test_something_else_on_that_port_is_not_believed() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with pytest.raises(BrokerError, match="does not say what waits"):
            read_backlog(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
