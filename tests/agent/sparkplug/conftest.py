"""Sparkplug as others see it: the payload in Google's Protocol Buffers, and a host application on paho."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

_LABELS = {"optional": 1, "repeated": 3, "value": 1}
_TYPES = {"double": 1, "float": 2, "uint64": 4, "bool": 8, "string": 9, "message": 11, "bytes": 12, "uint32": 13}
_SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}


@pytest.fixture(scope="session")
def payload_fields() -> list[tuple[str, int, str, str, str]]:
    """Message, number, label, type and name of every field of a payload."""
    found = []
    for line in (Path(__file__).parent / "sparkplug_b.fields").read_text().splitlines():
        if not line.startswith("#"):
            message, number, label, kind, name = line.split()
            found.append((message, int(number), label, kind, name))
    return found


@pytest.fixture(scope="session")
def payload_type(payload_fields: list[tuple[str, int, str, str, str]]) -> Any:
    """The class of payloads as Google's Protocol Buffers make it."""
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="test", syntax="proto2")
    messages: dict[str, Any] = {}
    for message, number, label, kind, name in payload_fields:
        if message not in messages:
            messages[message] = file.message_type.add(name=message)
        field = messages[message].field.add(name=name, number=number, label=_LABELS[label])
        field.type = _TYPES.get(kind, _TYPES["message"])
        if kind not in _TYPES:
            field.type_name = f".test.{kind}"
        if label == "value":
            if not messages[message].oneof_decl:
                messages[message].oneof_decl.add(name="value")
            field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Payload"))


def value_of(metric: Any, datatype: int) -> Any:
    """The value of a metric, signed where its type is."""
    if metric.is_null:
        return None
    value = getattr(metric, metric.WhichOneof("value"))
    bits = _SIGNED.get(datatype)
    return value - (1 << bits) if bits and value >> bits - 1 else value


@dataclass
class Heard:
    """One message as the host got it; ``values`` by the name of the metric, aliases resolved by the births before."""

    verb: str
    device: str | None
    payload: Any
    qos: int
    retain: bool
    values: dict[str, Any]
    quality: dict[str, int]

    @property
    def number(self) -> int:
        """The session's number."""
        return int(self.values["bdSeq"])


class Host:
    """A host application in small: hears everything of one edge node, says whether it is there, sends commands."""

    def __init__(self, port: int, payload_type: Any, *, group: str, node: str, version: MQTTProtocolVersion) -> None:
        self.heard: list[Heard] = []
        self.port = port
        self._payload_type = payload_type
        self._group, self._node = group, node
        self._names: dict[int, tuple[str, int]] = {}
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="scada", protocol=version)
        self._client.on_connect = lambda client, *_: client.subscribe(f"spBv1.0/{group}/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._take(message)
        self._client.reconnect_delay_set(1, 1)

    def start(self) -> None:
        self._client.connect("127.0.0.1", self.port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, host: str, *, online: bool, time_ms: int | None = None) -> None:
        """Publish a STATE message."""
        document = {"online": online, "timestamp": time.time_ns() // 1_000_000 if time_ms is None else time_ms}
        self.publish(f"spBv1.0/STATE/{host}", json.dumps(document).encode(), qos=1, retain=True)

    def command(self, verb: str, name: str, value: bool | int, device: str | None = None) -> None:
        """Publish a command that writes one metric."""
        payload = self._payload_type(timestamp=time.time_ns() // 1_000_000)
        metric = payload.metrics.add(name=name, datatype=11 if isinstance(value, bool) else 3)
        setattr(metric, "boolean_value" if isinstance(value, bool) else "int_value", value)
        parts = ["spBv1.0", self._group, verb, self._node, *([device] if device else [])]
        self.publish("/".join(parts), payload.SerializeToString())

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(5)

    def of(self, *verbs: str) -> list[Heard]:
        """The messages of these kinds."""
        return [one for one in self.heard if one.verb in verbs]

    def verbs(self) -> list[tuple[str, str | None]]:
        return [(one.verb, one.device) for one in self.heard]

    def newest(self, device: str) -> dict[str, Any]:
        """The newest value of every metric of a device."""
        known: dict[str, Any] = {}
        for one in self.heard:
            if one.device == device:
                known |= one.values
        return known

    def _take(self, message: mqtt.MQTTMessage) -> None:
        _, _, verb, _, *rest = message.topic.split("/")
        if verb in ("NCMD", "DCMD"):
            return
        payload = self._payload_type.FromString(bytes(message.payload))
        values, quality = {}, {}
        for metric in payload.metrics:
            if metric.HasField("name"):
                name, datatype = metric.name, metric.datatype
                if metric.HasField("alias"):
                    self._names[metric.alias] = (name, datatype)
            else:
                name, datatype = self._names[metric.alias]
            values[name] = value_of(metric, datatype)
            told = dict(zip(metric.properties.keys, metric.properties.values, strict=True))
            if "Quality" in told:
                assert told["Quality"].type == 3
                quality[name] = told["Quality"].int_value
        device = rest[0] if rest else None
        self.heard.append(Heard(verb, device, payload, message.qos, message.retain, values, quality))


@pytest.fixture
def sparkplug_host(payload_type: Any) -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def start(port: int, *, node: str = "gw-01", version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311) -> Host:
        host = Host(port, payload_type, group="plant-3", node=node, version=version)
        host.start()
        hosts.append(host)
        return host

    yield start
    for host in hosts:
        host.stop()


@dataclass(frozen=True)
class AnyBroker:
    """A broker, the version of MQTT that hosts speak with it, and how many CONNECTs a session takes at first.

    ``keeps_qos``: a message arrives with the lower QoS of publisher and subscription, as MQTT has it.
    """

    server: Any
    version: MQTTProtocolVersion
    connects: int
    keeps_qos: bool


@pytest.fixture(params=["nats-server", "mosquitto", "rumqttd"])
def any_broker(request: pytest.FixtureRequest) -> AnyBroker:
    """Each of three brokers: one speaks MQTT 3.1.1 alone and refuses 5, one speaks both, one speaks 5 alone."""
    fixture = {"nats-server": "broker", "mosquitto": "mosquitto", "rumqttd": "broker_of_version_5"}[request.param]
    version = MQTTProtocolVersion.MQTTv5 if request.param == "rumqttd" else MQTTProtocolVersion.MQTTv311
    return AnyBroker(
        request.getfixturevalue(fixture),
        version,
        connects=2 if fixture == "broker" else 1,
        keeps_qos=fixture != "broker_of_version_5",
    )
