"""The embedded broker: it listens, keeps what it acknowledged, comes back where it was, and dies with its owner."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.broker import EmbeddedBroker
from ingest.errors import BrokerError

_OWNER = """
import sys, time
from pathlib import Path
from ingest.broker import EmbeddedBroker
with EmbeddedBroker(Path(sys.argv[1])) as broker:
    print(broker.pid, flush=True)
    time.sleep(600)
"""


def _client(broker: EmbeddedBroker, name: str) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
    client.connect("127.0.0.1", broker.mqtt_port)
    return client


def test_acknowledged_messages_survive_kill_9_of_the_broker(broker: EmbeddedBroker) -> None:
    subscriber = _client(broker, "keeper")
    subscriber.on_connect = lambda client, *_: client.subscribe("kept/#", qos=1)
    subscriber.on_subscribe = lambda client, *_: client.disconnect()
    subscriber.loop_forever()
    publisher = _client(broker, "publisher")
    publisher.loop_start()
    for number in range(200):
        publisher.publish("kept/x", str(number), qos=1).wait_for_publish(20)
    port = broker.mqtt_port
    os.kill(broker.pid, signal.SIGKILL)
    publisher.disconnect()
    publisher.loop_stop()
    broker.stop()
    broker.start()
    assert broker.mqtt_port == port
    received: list[int] = []
    subscriber = _client(broker, "keeper")
    subscriber.on_message = lambda _client, _userdata, message: received.append(int(message.payload))
    subscriber.loop_start()
    deadline = time.monotonic() + 30
    while len(set(received)) < 200 and time.monotonic() < deadline:
        time.sleep(0.02)
    subscriber.disconnect()
    subscriber.loop_stop()
    assert sorted(set(received)) == list(range(200))


def test_broker_dies_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert owner.stdout
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(20)
    assert not psutil.pid_exists(pid)


def test_port_that_is_taken_is_said_with_the_log_of_the_server(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match="address already in use") as error:
            EmbeddedBroker(tmp_path, mqtt_port=port).start()
    assert error.value.exit_code == 3


def test_broker_that_does_not_run_has_no_address(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path)
    with pytest.raises(BrokerError, match="not been started"):
        _ = broker.url
    with pytest.raises(BrokerError, match="does not run"):
        _ = broker.pid
