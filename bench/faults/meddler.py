"""Somebody at the broker who sends records again, in another order, and with bits turned."""

from __future__ import annotations

import random
import threading
from collections import deque

from paho.mqtt.client import Client, MQTTMessage, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from wire.topics import RECORD_FILTER

_KEPT = 400
_AT_ONCE = 20


class Meddler:
    """Listens to all records at the broker and misuses them on demand; reconnects when the broker comes back."""

    def __init__(self, port: int, seed: int) -> None:
        self._source = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._kept: deque[tuple[str, bytes]] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._client = Client(CallbackAPIVersion.VERSION2, "meddler", protocol=MQTTv311)
        self._client.on_connect = lambda client, *_: client.subscribe(RECORD_FILTER, qos=1)
        self._client.on_message = self._keep
        self._client.reconnect_delay_set(1, 2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def duplicate(self) -> None:
        """Send some records twice more each."""
        self._send([one for one in self._some() for _ in range(2)])

    def reorder(self) -> None:
        """Send records of some time ago again, newest first."""
        self._send(self._some()[::-1])

    def corrupt(self) -> None:
        """Send records with a bit turned, cut short, and with bytes behind their end."""
        spoilt = []
        for topic, data in self._some():
            place = self._source.randrange(len(data))
            turned = data[:place] + bytes([data[place] ^ (1 << self._source.randrange(8))]) + data[place + 1 :]
            spoilt.append((topic, self._source.choice((turned, data[:place], data + b"\x00", b""))))
        self._send(spoilt)

    def stop(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _some(self) -> list[tuple[str, bytes]]:
        with self._lock:
            return self._source.sample(list(self._kept), min(_AT_ONCE, len(self._kept)))

    def _send(self, messages: list[tuple[str, bytes]]) -> None:
        for topic, data in messages:
            self._client.publish(topic, data, qos=1)

    def _keep(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        # What it has cut down to nothing comes back to it, too.
        if message.payload:
            with self._lock:
                self._kept.append((message.topic, bytes(message.payload)))
