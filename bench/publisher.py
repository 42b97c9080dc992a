"""An MQTT 3.1.1 publisher that costs next to nothing: packets are encoded beforehand, answers are hardly looked at.

It stands for many gateways, whose own work is done on other machines. What a library does for each message in Python
would be a third of everything that is measured here.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence
from itertools import cycle

from wire.keys import VerifyingKey
from wire.receipt import open_acknowledgement
from wire.topics import ack_topic, record_topic

_CONNECT, _PUBLISH_QOS1, _SUBSCRIBE, _PUBACK = 0x10, 0x32, 0x82, 0x40
_QOS = 0x06
_KEEPALIVE_S = 60
_SEND_BYTES = 65_536


class Publisher:
    """One connection that publishes records of many gateways with QoS 1 and reads the server's acknowledgements.

    :param window: messages that the broker may have unconfirmed, as MQTT clients have it (3.1.1, 4.4).
    """

    def __init__(self, port: int, gateways: Sequence[str], server: VerifyingKey, *, window: int = 400) -> None:
        self.acknowledged = dict.fromkeys(gateways, 0)
        self._published = dict.fromkeys(gateways, 0)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._server = server
        self._window = window
        self._received = bytearray()
        self._outgoing = bytearray()
        self._confirmed = 0
        self._newest: dict[str, bytes] = {}
        self._packet_ids = cycle(range(1, 0xFFFF))
        self._topics = {ack_topic(gateway).encode(): gateway for gateway in gateways}
        hello = _text(b"MQTT") + bytes([4, 2]) + struct.pack(">H", _KEEPALIVE_S) + _text(b"bench")
        filters = b"".join(_text(topic) + b"\x01" for topic in self._topics)
        self._socket.sendall(_packet(_CONNECT, hello) + _packet(_SUBSCRIBE, b"\xff\xff" + filters))
        self._socket.setblocking(False)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def encode(self, order: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """Return the packets that publish records, which are those after all that were encoded before."""
        topics = {gateway: _text(record_topic(gateway).encode()) for gateway in self._published}
        for gateway, _ in order:
            self._published[gateway] += 1
        return [
            _packet(_PUBLISH_QOS1, topics[gateway] + struct.pack(">H", packet_id) + data)
            for (gateway, data), packet_id in zip(order, self._packet_ids, strict=False)
        ]

    def publish(self, packets: Sequence[bytes], deadline_s: float, *, unacknowledged: int | None = None) -> None:
        """Publish ``packets``; return when the broker has confirmed them all.

        At most ``unacknowledged`` records are ahead of the server's acknowledgements. Raises `TimeoutError` when it
        takes longer than ``deadline_s`` seconds.
        """
        deadline = time.monotonic() + deadline_s
        sent, confirmed_before, acknowledged_before = 0, self._confirmed, sum(self.acknowledged.values())
        while (confirmed := self._confirmed - confirmed_before) < len(packets):
            room = self._window - (sent - confirmed)
            if unacknowledged is not None:
                acknowledged = sum(self.acknowledged.values()) - acknowledged_before
                room = min(room, unacknowledged - (sent - acknowledged))
            while room > 0 and sent < len(packets) and len(self._outgoing) < _SEND_BYTES:
                self._outgoing += packets[sent]
                sent, room = sent + 1, room - 1
            self._exchange(deadline)

    def wait_until_acknowledged(self, deadline_s: float) -> None:
        """Return when the server has acknowledged all that was encoded; raise `TimeoutError` when that takes longer."""
        deadline = time.monotonic() + deadline_s
        while self.acknowledged != self._published:
            self._exchange(deadline)

    def _exchange(self, deadline: float) -> None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"confirmed: {self._confirmed}, acknowledged: {self.acknowledged}")
        readable, writable, _ = select.select([self._socket], [self._socket] if self._outgoing else [], [], left_s)
        if writable:
            del self._outgoing[: self._socket.send(self._outgoing)]
        if readable:
            self._read()

    def _read(self) -> None:
        received = self._socket.recv(_SEND_BYTES)
        if not received:
            raise ConnectionError("the broker closed the connection")
        self._received += received
        position = 0
        while (packet := _next_packet(self._received, position)) is not None:
            kind, start, position = packet
            if kind == _PUBACK:
                self._confirmed += 1
            elif kind & 0xF0 == _PUBLISH_QOS1 & 0xF0:
                self._take(bytes(self._received[start:position]), confirm=kind & _QOS != 0)
        del self._received[:position]
        # Only the newest word of each gateway is verified: it says all that those before it said.
        for gateway, word in self._newest.items():
            self.acknowledged[gateway] = max(self.acknowledged[gateway], open_acknowledgement(word, self._server).seq)
        self._newest.clear()

    def _take(self, body: bytes, *, confirm: bool) -> None:
        (length,) = struct.unpack_from(">H", body)
        gateway = self._topics[body[2 : 2 + length]]
        if confirm:
            self._outgoing += _packet(_PUBACK, body[2 + length : 4 + length])
        self._newest[gateway] = body[4 + length if confirm else 2 + length :]


def _text(octets: bytes) -> bytes:
    return struct.pack(">H", len(octets)) + octets


def _packet(kind: int, body: bytes) -> bytes:
    remaining, length = bytearray(), len(body)
    while True:
        length, digit = divmod(length, 128)
        remaining.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([kind]) + remaining + body


def _next_packet(received: bytearray, position: int) -> tuple[int, int, int] | None:
    """Kind, start of the body and end of the packet at ``position``; None when it is not all there."""
    length, shift = 0, 0
    for start in range(position + 1, min(position + 5, len(received))):
        length |= (received[start] & 0x7F) << shift
        shift += 7
        if received[start] < 0x80:
            end = start + 1 + length
            return (received[position], start + 1, end) if end <= len(received) else None
    return None
