"""MQTT connections that take records in and give acknowledgements out; each ends when the connection does."""

from __future__ import annotations

import logging
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
from ingest.delivery import Delivery, Session
from ingest.errors import BrokerError, BrokerRefusalError
from ingest.inbox import Inbox
from ingest.transaction import now_ms
from wire.topics import RECORD_FILTER

KEEPALIVE_SECONDS = 30
CONNECT_SECONDS = 10.0
SESSION_EXPIRY_SECONDS = 7 * 86_400
"""How long a broker keeps our subscription and its messages while we are away (MQTT 5, 3.1.2.11.2)."""

RECEIVE_MAXIMUM = 2500
"""Messages that a broker may have under way to us, unacknowledged (MQTT 5, 3.1.2.11.3): its side of back-pressure."""

MAXIMUM_PACKET_BYTES = 1024 * 1024
"""The largest packet that we let a broker send (MQTT 5, 3.1.2.11.4); four times what a record may have."""

MAXIMUM_ACKNOWLEDGEMENTS_QUEUED = 10_000
"""Acknowledgements that may wait for the network; those beyond are left out, agents ask again by sending again."""

_PUT_SECONDS = 1.0
_QOS = 1

_log = logging.getLogger(__name__)


class MqttVersion(Enum):
    """The protocol spoken; ``AUTOMATIC`` tries 5 and falls back to 3.1.1 (which is all that NATS speaks)."""

    AUTOMATIC = "auto"
    V5 = "5"
    V311 = "3.1.1"


@dataclass(frozen=True, slots=True)
class MqttDelivery:
    """A message, the session that brought it, and the packet identifier under which that session acknowledges it."""

    message: Message
    session: MqttSession
    packet_id: int

    @property
    def void(self) -> bool:
        """Whether the session is lost."""
        return self.session.closed

    def acknowledge(self) -> None:
        """Tell the broker; void when the connection is lost."""
        self.session.acknowledge(self.packet_id)

    def release(self) -> None:
        """Take the message when the broker delivers it again."""
        self.session.release(self.packet_id)

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return len(self.message.data)


class MqttSession:
    """One connection with a persistent session, QoS 1 and acknowledgement by hand.

    Messages go into ``inbox``. A packet identifier is valid on the connection that brought it, so a session is never
    reconnected: after a loss a new one is made, the broker delivers again what was not acknowledged, and what the lost
    session still holds is void.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        version: MqttVersion,
        inbox: Inbox[Delivery],
        share: str | None = None,
    ) -> None:
        self._address = address
        self._share = share
        self._filter = RECORD_FILTER if share is None else f"$share/{share}/{RECORD_FILTER}"
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
            self._client.tls_set_context(address.context())
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    @property
    def alive(self) -> bool:
        """Whether the connection is up and subscribed."""
        return self._ready.is_set() and not self._closed.is_set()

    @property
    def backlog(self) -> None:
        """An MQTT broker does not say."""
        return

    @property
    def closed(self) -> bool:
        """Whether the connection is lost: acknowledging on it is void."""
        return self._closed.is_set()

    def open(self) -> None:
        """Connect and subscribe; raise `BrokerError` for no answer and `BrokerRefusalError` for a no."""
        try:
            if self._is_v5:
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                # A worker that has left must not go on getting its share, which nobody else would see.
                properties.SessionExpiryInterval = SESSION_EXPIRY_SECONDS if self._share is None else 0
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

    def release(self, packet_id: int) -> None:
        """Forget that a message is here: a broker that delivers it again on this connection brings it anew."""
        self._held.discard(packet_id)

    def publish(self, topic: str, data: bytes) -> bool:
        """Publish with QoS 1; tell whether the message was taken for sending."""
        return self.alive and self._client.publish(topic, data, qos=_QOS).rc == MQTT_ERR_SUCCESS

    def _on_connect(
        self, client: Client, _userdata: Any, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._fail(str(reason))
        else:
            client.subscribe(self._filter, qos=_QOS)

    def _on_subscribe(
        self, _client: Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._fail(f"subscription to {self._filter}: {reasons[0]}")
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
        delivery = MqttDelivery(Message(topic, bytes(message.payload), now_ms()), self, message.mid)
        while not self._inbox.put(delivery, _PUT_SECONDS):
            if self._closed.is_set():
                return


class MqttSessions:
    """Opens sessions with one broker, in the version of the protocol that it speaks.

    :param client_id: names the persistent session; two processes must not share one.
    :param share: name of a group of workers among which the broker shares the records out (MQTT 5, 4.8.2); None for a
        worker that gets all of them. The session of such a worker ends with its connection: what was under way to it
        comes again from the gateways, which send until they are acknowledged.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        version: MqttVersion = MqttVersion.AUTOMATIC,
        *,
        share: str | None = None,
    ) -> None:
        self._address = address
        self._client_id = client_id
        self._share = share
        self._falls_back = version is MqttVersion.AUTOMATIC and share is None
        self._version = MqttVersion.V5 if version is MqttVersion.AUTOMATIC else version

    def open(self, inbox: Inbox[Delivery]) -> Session:
        """Connect and subscribe; raise `BrokerError` for no answer and `BrokerRefusalError` for a no."""
        try:
            return self._open(inbox)
        except BrokerRefusalError as error:
            if not self._falls_back:
                raise
            if self._version is MqttVersion.V311:
                self._version = MqttVersion.V5
                raise
            _log.info("%s; trying MQTT 3.1.1", error)
            self._version = MqttVersion.V311
            return self._open(inbox)

    def _open(self, inbox: Inbox[Delivery]) -> MqttSession:
        session = MqttSession(self._address, self._client_id, self._version, inbox, self._share)
        session.open()
        _log.info("subscribed at %s with MQTT %s", self._address, self._version.value)
        return session
