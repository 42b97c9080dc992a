"""One MQTT connection, from connect to disconnect, for asyncio.

paho-mqtt runs its network loop in a thread of its own; everything it reports is handed to the event loop. A link is
used for one connection only: a new one starts without anything that the old one had queued, so that what is sent again
is decided in one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.config import BrokerConfig
from agent.errors import BrokerUnreachableError, ProtocolVersionError, UplinkError
from agent.tls import client_context

_CONNECT_SECONDS = 10.0
_INFLIGHT = 100
_AT_LEAST_ONCE = 1
_UNSUPPORTED_VERSION = "Unsupported protocol version"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, at least once, when it loses the connection."""

    topic: str
    payload: bytes
    retain: bool


class SpokenVersion:
    """The version of MQTT that is spoken with a broker: ``current``, from what the gateway file has ``wanted``."""

    def __init__(self, wanted: Literal["auto", "5", "3.1.1"]) -> None:
        self._wanted = wanted
        self.current = "3.1.1" if wanted == "3.1.1" else "5"

    def fall_back(self) -> bool:
        """Go on with 3.1.1 after a broker has refused 5; tell whether there was anything to fall back to."""
        possible = self._wanted == "auto" and self.current == "5"
        if possible:
            self.current = "3.1.1"
        return possible


class MqttLink:
    """A connection to the broker with MQTT ``version`` 5 or 3.1.1, subscribed to ``topics`` with QoS 1.

    ``on_message`` is called in the event loop with topic and bytes of each message, ``on_lost`` once with the reason
    when the connection has ended.
    """

    def __init__(
        self,
        config: BrokerConfig,
        *,
        version: str,
        client_id: str,
        topics: Sequence[str],
        on_message: Callable[[str, bytes], None],
        on_lost: Callable[[str], None],
        will: Will,
    ) -> None:
        self._config = config
        self._topics = topics
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
        self._client.will_set(will.topic, will.payload, qos=_AT_LEAST_ONCE, retain=will.retain)
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
        """How many published messages the broker has not confirmed (PUBACK), or with QoS 0 are not on their way."""
        return len(self._unconfirmed)

    async def open(self) -> None:
        """Connect and subscribe; raise `UplinkError` when the broker cannot be reached or refuses.

        `BrokerUnreachableError` when it has received nothing, `ProtocolVersionError` when it refuses the version.
        """
        address = f"{self._config.host}:{self._config.port}"
        options: dict[str, Any] = {"clean_start": True} if self._newest else {}
        try:
            await asyncio.to_thread(
                self._client.connect, self._config.host, self._config.port, self._config.keepalive // 1000, **options
            )
        except (OSError, ValueError) as error:
            raise BrokerUnreachableError(f"broker {address}: {error}") from error
        self._client.loop_start()
        try:
            await asyncio.wait_for(self._ready, _CONNECT_SECONDS)
        except TimeoutError as error:
            raise UplinkError(f"broker {address}: no answer within {_CONNECT_SECONDS:.0f} s") from error

    def publish(self, topic: str, data: bytes, *, retain: bool = False, qos: int = _AT_LEAST_ONCE) -> None:
        """Hand over a message for the broker; raise `UplinkError` when the link is down."""
        info = self._client.publish(topic, data, qos=qos, retain=retain)
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
            client.subscribe([(topic, _AT_LEAST_ONCE) for topic in self._topics])

    def _subscribed(
        self, _client: mqtt.Client, _data: object, _mid: int, reasons: list[ReasonCode], _: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            refused = [
                f"{topic}: {reason}" for topic, reason in zip(self._topics, reasons, strict=False) if reason.is_failure
            ]
            text = f"the broker refuses the subscription to {', '.join(refused)}"
            self._post(self._refuse, UplinkError(text))
        else:
            self._post(self._accept)

    def _received(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self._post(self._on_message, message.topic, bytes(message.payload))

    def _published(
        self, _client: mqtt.Client, _data: object, mid: int, reason: ReasonCode, _: Properties | None
    ) -> None:
        if reason.is_failure:
            self._post(self._lost, f"the broker refuses a message: {reason}")
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
