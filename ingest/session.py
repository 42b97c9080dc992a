"""One MQTT connection that takes records in and gives acknowledgements out; it ends when the connection does."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum
from typing import Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.address import BrokerAddress
from ingest.authentication import Message
from ingest.errors import BrokerError, BrokerRefusalError
from ingest.inbox import Inbox
from ingest.transaction import now_ms
from wire.topics import RECORD_FILTER

KEEPALIVE_SECONDS = 30
CONNECT_SECONDS = 10.0
SESSION_EXPIRY_SECONDS = 7 * 86_400
"""How long a broker keeps our subscription and its messages while we are away (MQTT 5, 3.1.2.11.2)."""

RECEIVE_MAXIMUM = 1000
"""Messages that a broker may have under way to us, unacknowledged (MQTT 5, 3.1.2.11.3): its side of back-pressure."""

MAXIMUM_PACKET_BYTES = 1024 * 1024
"""The largest packet that we let a broker send (MQTT 5, 3.1.2.11.4); four times what a record may have."""

MAXIMUM_ACKNOWLEDGEMENTS_QUEUED = 10_000
"""Acknowledgements that may wait for the network; those beyond are left out, agents ask again by sending again."""

_PUT_SECONDS = 1.0
_QOS = 1


class MqttVersion(Enum):
    """The protocol spoken; ``AUTOMATIC`` tries 5 and falls back to 3.1.1 (which is all that NATS speaks)."""

    AUTOMATIC = "auto"
    V5 = "5"
    V311 = "3.1.1"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message, the session that brought it, and the packet identifier under which that session acknowledges it."""

    message: Message
    session: Session
    packet_id: int

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return len(self.message.data)


class Session:
    """One connection with a persistent session, QoS 1 and acknowledgement by hand.

    Messages go into ``inbox``. A packet identifier is valid on the connection that brought it, so a session is never
    reconnected: after a loss a new one is made, the broker delivers again what was not acknowledged, and what the lost
    session still holds is void.
    """

    def __init__(self, address: BrokerAddress, client_id: str, version: MqttVersion, inbox: Inbox[Delivery]) -> None:
        self._address = address
        self._inbox = inbox
        self._held: set[int] = set()
        self._ready = threading.Event()
        self._closed = threading.Event()
        self._refusal = ""
        self._is_v5 = version is MqttVersion.V5
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if self._is_v5 else False,
            protocol=MQTTv5 if self._is_v5 else MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._client.connect_timeout = CONNECT_SECONDS
        self._client.max_queued_messages_set(MAXIMUM_ACKNOWLEDGEMENTS_QUEUED)
        if address.username is not None:
            self._client.username_pw_set(address.username, address.password)
        if address.tls:
            self._client.tls_set()
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    @property
    def alive(self) -> bool:
        """Whether the connection is up and subscribed."""
        return self._ready.is_set() and not self._closed.is_set()

    @property
    def closed(self) -> bool:
        """Whether the connection is lost: acknowledging on it is void."""
        return self._closed.is_set()

    def open(self) -> None:
        """Connect and subscribe; raise `BrokerError` for no answer and `BrokerRefusalError` for a no."""
        try:
            if self._is_v5:
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                properties.SessionExpiryInterval = SESSION_EXPIRY_SECONDS
                properties.ReceiveMaximum = RECEIVE_MAXIMUM
                properties.MaximumPacketSize = MAXIMUM_PACKET_BYTES
                self._client.connect(
                    self._address.host,
                    self._address.port,
                    KEEPALIVE_SECONDS,
                    clean_start=False,
                    properties=properties,
                )
            else:
                self._client.connect(self._address.host, self._address.port, KEEPALIVE_SECONDS)
        except OSError as error:
            raise BrokerError(f"no MQTT broker answers at {self._address}: {error}") from error
        self._client.loop_start()
        if not self._ready.wait(CONNECT_SECONDS) or self._closed.is_set():
            self.close()
            reason = self._refusal or "it did not answer in time, or it closed the connection"
            raise BrokerRefusalError(f"the broker at {self._address} does not let us subscribe: {reason}")

    def close(self) -> None:
        """End the connection; what is not acknowledged will be delivered to the next session."""
        self._closed.set()
        self._client.disconnect()
        self._client.loop_stop()

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait until the connection is lost or closed; tell whether it is."""
        return self._closed.wait(timeout_s)

    def acknowledge(self, packet_id: int) -> None:
        """Tell the broker that a message is done with; void when the connection is lost."""
        self._held.discard(packet_id)
        if not self.closed:
            self._client.ack(packet_id, _QOS)

    def publish(self, topic: str, data: bytes) -> bool:
        """Publish with QoS 1; tell whether the message was taken for sending."""
        return self.alive and self._client.publish(topic, data, qos=_QOS).rc == MQTT_ERR_SUCCESS

    def _on_connect(
        self, client: Client, _userdata: Any, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._fail(str(reason))
        else:
            client.subscribe(RECORD_FILTER, qos=_QOS)

    def _on_subscribe(
        self, _client: Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._fail(f"subscription to {RECORD_FILTER}: {reasons[0]}")
        else:
            self._ready.set()

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: Any,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._fail(str(reason))

    def _fail(self, reason: str) -> None:
        self._refusal = self._refusal or reason
        self._closed.set()
        self._ready.set()

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if message.dup and message.mid in self._held:
            # Delivered again because the database is slow: it waits in the inbox already.
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            # No topic of ours, whatever it is: it goes to quarantine like any other.
            topic = ""
        self._held.add(message.mid)
        delivery = Delivery(Message(topic, bytes(message.payload), now_ms()), self, message.mid)
        while not self._inbox.put(delivery, _PUT_SECONDS):
            if self._closed.is_set():
                return
