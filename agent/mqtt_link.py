"""One MQTT connection, from connect to disconnect, for asyncio.

paho-mqtt runs its network loop in a thread of its own; everything it reports is handed to the event loop. A link is
used for one connection only: a new one starts without anything that the old one had queued, so that what is sent again
is decided in one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.config import UplinkConfig
from agent.errors import ProtocolVersionError, UplinkError
from agent.tls import client_context

_CONNECT_SECONDS = 10.0
_INFLIGHT = 100
_AT_LEAST_ONCE = 1
_UNSUPPORTED_VERSION = "Unsupported protocol version"


class MqttLink:
    """A connection to the broker with MQTT ``version`` 5 or 3.1.1, subscribed to one topic.

    ``will`` is topic and content of the retained message that the broker publishes when it loses the connection.
    ``on_message`` is called in the event loop with each message's bytes, ``on_lost`` once with the reason when the
    connection has ended.
    """

    def __init__(
        self,
        config: UplinkConfig,
        *,
        version: str,
        client_id: str,
        topic: str,
        on_message: Callable[[bytes], None],
        on_lost: Callable[[str], None],
        will: tuple[str, bytes],
    ) -> None:
        self._config = config
        self._topic = topic
        self._on_message = on_message
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._unconfirmed: set[int] = set()
        self._newest = newest = version == "5"
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if newest else True,
            protocol=MQTTProtocolVersion.MQTTv5 if newest else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = _CONNECT_SECONDS
        self._client.max_inflight_messages_set(_INFLIGHT)
        self._client.will_set(*will, qos=_AT_LEAST_ONCE, retain=True)
        if config.username is not None:
            self._client.username_pw_set(config.username, config.password)
        if config.tls:
            self._client.tls_set_context(client_context(config))
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._received
        self._client.on_publish = self._published
        self._client.on_disconnect = self._disconnected

    @property
    def unconfirmed(self) -> int:
        """How many published messages the broker has not confirmed (PUBACK)."""
        return len(self._unconfirmed)

    async def open(self) -> None:
        """Connect and subscribe; raise `UplinkError` when the broker cannot be reached or refuses.

        `ProtocolVersionError` when it refuses the version of MQTT.
        """
        address = f"{self._config.host}:{self._config.port}"
        options: dict[str, Any] = {"clean_start": True} if self._newest else {}
        try:
            await asyncio.to_thread(
                self._client.connect, self._config.host, self._config.port, self._config.keepalive // 1000, **options
            )
        except (OSError, ValueError) as error:
            raise UplinkError(f"broker {address}: {error}") from error
        self._client.loop_start()
        try:
            await asyncio.wait_for(self._ready, _CONNECT_SECONDS)
        except TimeoutError as error:
            raise UplinkError(f"broker {address}: no answer within {_CONNECT_SECONDS:.0f} s") from error

    def publish(self, topic: str, data: bytes, *, retain: bool = False) -> None:
        """Hand over a message for the broker, at least once; raise `UplinkError` when the link is down."""
        info = self._client.publish(topic, data, qos=_AT_LEAST_ONCE, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise UplinkError(f"cannot publish: {mqtt.error_string(info.rc)}")
        self._unconfirmed.add(info.mid)

    async def close(self) -> None:
        """Disconnect and end the thread."""
        self._ready.cancel()
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def _post(self, function: Callable[..., None], *arguments: object) -> None:
        """Call ``function`` in the event loop; after the loop has ended there is nobody to tell."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _connected(
        self, client: mqtt.Client, _data: object, _flags: mqtt.ConnectFlags, reason: ReasonCode, _: Properties | None
    ) -> None:
        if reason.is_failure:
            refusal = ProtocolVersionError if reason == _UNSUPPORTED_VERSION else UplinkError
            self._post(self._refuse, refusal(f"the broker refuses the connection: {reason}"))
        else:
            client.subscribe(self._topic, qos=_AT_LEAST_ONCE)

    def _subscribed(
        self, _client: mqtt.Client, _data: object, _mid: int, reasons: list[ReasonCode], _: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            text = f"the broker refuses the subscription to {self._topic}: {reasons[0]}"
            self._post(self._refuse, UplinkError(text))
        else:
            self._post(self._accept)

    def _received(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self._post(self._on_message, bytes(message.payload))

    def _published(
        self, _client: mqtt.Client, _data: object, mid: int, reason: ReasonCode, _: Properties | None
    ) -> None:
        if reason.is_failure:
            self._post(self._lost, f"the broker refuses a record: {reason}")
        else:
            self._post(self._unconfirmed.discard, mid)

    def _disconnected(
        self,
        _client: mqtt.Client,
        _data: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _: Properties | None,
    ) -> None:
        self._post(self._lost, f"the connection to the broker ended: {reason}")

    def _accept(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _refuse(self, error: UplinkError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)

    def _lost(self, text: str) -> None:
        self._refuse(UplinkError(text))
        self._on_lost(text)
