"""What a Sparkplug edge node tells: births, deaths and changes of the devices of a gateway. Pure, no I/O.

The gateway is the edge node, each of its devices a Sparkplug device, each series a metric. Rules are named as in the
Sparkplug specification 3.0 (``tck-id-...``). Values are told when they have changed, by report by exception.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from agent.newest import AnswerRead, NodeRead, Read, RegisterRead
from agent.sparkplug_payload import (
    QUALITY,
    DataType,
    Metric,
    Property,
    Quality,
    SparkplugValue,
    decode_commands,
    encode_payload,
)
from wire.descriptor import AnswerPlace, Descriptor, Device, Series
from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT
from wire.node import OPC_BAD, OPC_UNCERTAIN, Variant
from wire.values import value_in_answer, value_in_words, value_of_node
from wire.words import WordType, decode_text

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
BIRTH_DEATH_NUMBER = "bdSeq"
NUMBERS = 256
"""Sequence numbers run from 0 to 255 and begin again, those of messages as those of sessions."""

_SILENT = frozenset({STATUS_TIMEOUT, STATUS_CONNECTION, STATUS_MALFORMED, 10, 11})
"""What is no word of the device itself; 10 and 11 are a Modbus gateway's, whose device is out of reach."""

_WHOLE = {
    WordType.INT16: DataType.INT32,
    WordType.UINT16: DataType.UINT16,
    WordType.INT32: DataType.INT32,
    WordType.UINT32: DataType.INT64,
    WordType.INT64: DataType.INT64,
    WordType.UINT64: DataType.UINT64,
    WordType.FLOAT32: DataType.FLOAT,
    WordType.FLOAT64: DataType.DOUBLE,
    WordType.BCD16: DataType.UINT16,
    WordType.BCD32: DataType.INT32,
    WordType.BCD64: DataType.INT64,
    WordType.BCD: DataType.INT64,
    WordType.SIGNED_BCD: DataType.INT64,
    WordType.BIT: DataType.BOOLEAN,
}
"""Of values that are neither scaled nor shifted: the smallest type of `DataType` that holds them."""

_OF_VARIANT = {
    Variant.BOOLEAN: DataType.BOOLEAN,
    Variant.SBYTE: DataType.INT32,
    Variant.BYTE: DataType.UINT8,
    Variant.INT16: DataType.INT32,
    Variant.UINT16: DataType.UINT16,
    Variant.INT32: DataType.INT32,
    Variant.UINT32: DataType.INT64,
    Variant.INT64: DataType.INT64,
    Variant.UINT64: DataType.UINT64,
    Variant.FLOAT: DataType.FLOAT,
    Variant.DOUBLE: DataType.DOUBLE,
    Variant.STRING: DataType.STRING,
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the edge node, to be published in its turn: QoS 0, not retained."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Names:
    """How the edge node is called: the parts of its topics."""

    group: str
    node: str

    def topic(self, verb: str, device: str | None = None) -> str:
        """Return the topic of a message of the kind ``verb``, such as NBIRTH (tck-id-topic-structure)."""
        parts = (NAMESPACE, self.group, verb, self.node)
        return "/".join(parts if device is None else (*parts, device))


def state_topic(host: str) -> str:
    """Return the topic on which the host application ``host`` says whether it is there."""
    return f"{NAMESPACE}/STATE/{host}"


def death(names: Names, number: int, now_ms: int) -> Message:
    """Return the death certificate of the session ``number``, to be left with the broker as the will.

    It has its number and nothing else (tck-id-topics-ndeath-payload, tck-id-topics-ndeath-seq).
    """
    metric = Metric(DataType.INT64, number, now_ms, name=BIRTH_DEATH_NUMBER)
    return Message(names.topic("NDEATH"), encode_payload([metric], time_ms=now_ms, seq=None))


def commands_rebirth(payload: bytes) -> tuple[bool, tuple[str, ...]]:
    """Return whether a node command asks for a rebirth, and the names or aliases of everything else that it writes.

    Raises `SparkplugPayloadError` when ``payload`` is none.
    """
    commands = decode_commands(payload)
    asked = any(one.name == REBIRTH and one.value is True for one in commands)
    return asked, tuple(one.name or f"alias {one.alias}" for one in commands if one.name != REBIRTH)


@dataclass(slots=True)
class _Tag:
    """One series as a metric, what is known of it, and what the host was told last."""

    series: Series
    alias: int
    datatype: DataType
    time_ms: int | None = None
    value: SparkplugValue | None = None
    quality: Quality = Quality.STALE
    answered: bool = False
    told: tuple[SparkplugValue | None, Quality] | None = None

    def note(self, value: SparkplugValue | None, time_ms: int) -> None:
        self.value, self.time_ms = value, time_ms
        self.quality = Quality.BAD if value is None else Quality.GOOD

    def metric(self, now_ms: int, *, birth: bool) -> Metric:
        """Return the metric as it is now, and note that it was told.

        The quality is told when it is not good, and once when it is again: a host may have kept what it was told.
        """
        before, self.told = self.told, (self.value, self.quality)
        properties = list(_explained(self.series)) if birth else []
        good_before = birth or before is None or before[1] is Quality.GOOD
        if self.quality is not Quality.GOOD or not good_before:
            properties.append(Property(QUALITY, DataType.INT32, int(self.quality)))
        return Metric(
            self.datatype,
            self.value,
            now_ms if self.time_ms is None else self.time_ms,
            name=self.series.name if birth else None,
            alias=self.alias,
            properties=tuple(properties),
        )


@dataclass(slots=True)
class _Device:
    """``alive`` is ``None`` until it was read; ``born`` says that the host was told of it and of no death since."""

    device: Device
    tags: dict[str, _Tag]
    facts: tuple[tuple[str, str, int], ...]
    alive: bool | None = None
    born: bool = False
    newest_silent: bool = True
    heeded: dict[tuple[object, ...], tuple[_Tag, ...]] = field(default_factory=dict)

    def settle(self) -> None:
        """Judge by the newest reads whether the device can be reached.

        It can when one of its series was read well; failing that, when the last word was its own, even a refusal.
        """
        self.alive = any(tag.answered for tag in self.tags.values()) or not self.newest_silent


class EdgeNode:
    """The edge node of one ``descriptor``: takes reads, gives the messages that are due.

    With ``previous`` what was known of series that are the same goes over. Used by one thread at a time.
    """

    def __init__(self, names: Names, descriptor: Descriptor, previous: EdgeNode | None = None) -> None:
        self._names = names
        self.descriptor = descriptor
        self._next = 0
        self._retyped = False
        aliases = itertools.count(1)
        self._facts = tuple((name, text, next(aliases)) for name, text in _facts_of_node(descriptor))
        self._number_alias = next(aliases)
        self._devices = [
            _Device(
                device,
                {one.name: _Tag(one, next(aliases), _datatype(one)) for one in device.series},
                tuple((name, text, next(aliases)) for name, text in _facts_of_device(device)),
            )
            for device in descriptor.devices
        ]
        if previous is not None:
            self._inherit(previous)

    def _inherit(self, previous: EdgeNode) -> None:
        known = {one.device.id: one for one in previous._devices}
        for one in self._devices:
            before = known.get(one.device.id)
            if before is None:
                continue
            for name, tag in one.tags.items():
                old = before.tags.get(name)
                if old is not None and old.series == tag.series and old.time_ms is not None:
                    tag.datatype, tag.time_ms, tag.value = old.datatype, old.time_ms, old.value
                    tag.quality, tag.answered = old.quality, old.answered
                    one.alive = before.alive

    @property
    def must_be_reborn(self) -> bool:
        """Whether what the births said is not right any more: an OPC UA node brings values of another type."""
        return self._retyped

    def take(self, reads: Iterable[Read]) -> None:
        """Take ``reads``, in their order."""
        touched: dict[int, _Device] = {}
        for read in reads:
            device = touched[read.device] = self._devices[read.device]
            if isinstance(read, RegisterRead):
                _take_registers(device, read)
            elif isinstance(read, AnswerRead):
                _take_answer(device, read)
            else:
                self._retyped |= _take_node(device, read)
        for device in touched.values():
            device.settle()

    def birth(self, number: int, now_ms: int) -> list[Message]:
        """Return the birth certificates of the node and of every device that is there.

        The sequence begins again with them (tck-id-payloads-sequence-num-zero-nbirth); ``number`` is that of the
        session's will (tck-id-topics-nbirth-bdseq-matching).
        """
        self._next = 0
        self._retyped = False
        metrics = [
            Metric(DataType.INT64, number, now_ms, name=BIRTH_DEATH_NUMBER, alias=self._number_alias),
            # Without alias, so that whoever knows nothing can ask (tck-id-...-data-commands-rebirth-name-aliases).
            Metric(DataType.BOOLEAN, value=False, time_ms=now_ms, name=REBIRTH),
            *_fact_metrics(self._facts, now_ms),
        ]
        messages = [self._message("NBIRTH", None, metrics, now_ms)]
        for device in self._devices:
            device.born = False
            if device.alive:
                messages.append(self._device_birth(device, now_ms))
        return messages

    def changes(self, now_ms: int) -> list[Message]:
        """Return what has changed since the last call: deaths, births and values of devices."""
        return list(self._changes(now_ms))

    def _changes(self, now_ms: int) -> Iterator[Message]:
        for device in self._devices:
            if device.born and not device.alive:
                device.born = False
                yield self._message("DDEATH", device.device.id, [], now_ms)
            elif device.alive and not device.born:
                yield self._device_birth(device, now_ms)
            elif device.born:
                changed = [tag for tag in device.tags.values() if tag.told != (tag.value, tag.quality)]
                if changed:
                    metrics = _in_order(tag.metric(now_ms, birth=False) for tag in changed)
                    yield self._message("DDATA", device.device.id, metrics, now_ms)

    def _device_birth(self, device: _Device, now_ms: int) -> Message:
        device.born = True
        tags = [tag.metric(now_ms, birth=True) for tag in device.tags.values()]
        metrics = _in_order([*tags, *_fact_metrics(device.facts, now_ms)])
        return self._message("DBIRTH", device.device.id, metrics, now_ms)

    def _message(self, verb: str, device: str | None, metrics: Sequence[Metric], now_ms: int) -> Message:
        seq, self._next = self._next, (self._next + 1) % NUMBERS
        return Message(self._names.topic(verb, device), encode_payload(metrics, time_ms=now_ms, seq=seq))


def _take_registers(device: _Device, read: RegisterRead) -> None:
    key = (read.function, read.address, read.count)
    tags = device.heeded.get(key)
    if tags is None:
        tags = tuple(tag for tag in device.tags.values() if tag.series.in_registers(*key))
        device.heeded[key] = tags
    for tag in tags:
        words = read.words if read.status == STATUS_OK else None
        tag.note(None if words is None else _value_in_registers(tag.series, words, read.address), read.time_ms)
        tag.answered = read.polled and words is not None
    if read.polled:
        device.newest_silent = read.status in _SILENT


def _take_answer(device: _Device, read: AnswerRead) -> None:
    for tag in device.tags.values():
        place = tag.series.place
        if not isinstance(place, AnswerPlace) or place.request != read.request:
            continue
        data = read.data if read.status == STATUS_OK else None
        whole = data is not None and tag.series.in_answer(read.request, len(data))
        tag.note(_plain(tag.series, value_in_answer(tag.series, data)) if data and whole else None, read.time_ms)
        tag.answered = read.polled and data is not None
    if read.polled:
        device.newest_silent = read.status in _SILENT


def _take_node(device: _Device, read: NodeRead) -> bool:
    """Take the value of a node; tell whether it is of another type than it was told to be."""
    retyped = False
    sample = read.sample
    for tag in device.tags.values():
        if not tag.series.in_node(read.node):
            continue
        datatype = _datatype_of_node(tag.series, read.variant)
        if datatype is not None and datatype is not tag.datatype:
            retyped |= tag.told is not None
            tag.datatype = datatype
        text = sample.value if isinstance(sample.value, str) else None
        tag.note(value_of_node(tag.series, sample.value) if text is None else text, sample.time_ms)
        if tag.value is not None and sample.status >= OPC_UNCERTAIN:
            tag.quality = Quality.STALE
        tag.answered = sample.status < OPC_BAD
    device.newest_silent = sample.status >= OPC_BAD
    return retyped


def _value_in_registers(series: Series, words: Sequence[int], address: int) -> SparkplugValue | None:
    if series.type is WordType.STRING:
        first = series.address - address
        return decode_text(words[first : first + series.words], series.order)
    return _plain(series, value_in_words(series, words, address))


def _plain(series: Series, value: float | int | None) -> SparkplugValue | None:
    """Return ``value`` in the form of its data type: whole numbers stay whole, everything scaled is a fraction."""
    return bool(value) if value is not None and _datatype(series) is DataType.BOOLEAN else value


def _datatype(series: Series) -> DataType:
    """Return the data type of a series; of an OPC UA node until it has brought a value: `DataType.DOUBLE`."""
    if series.type is WordType.STRING:
        return DataType.STRING
    return _WHOLE.get(series.type, DataType.DOUBLE) if _unchanged(series) else DataType.DOUBLE


def _datatype_of_node(series: Series, variant: Variant) -> DataType | None:
    if variant is Variant.STRING or _unchanged(series):
        return _OF_VARIANT.get(variant)
    return None if variant is Variant.NULL else DataType.DOUBLE


def _unchanged(series: Series) -> bool:
    return series.scale == 1.0 and series.offset == 0.0


def _explained(series: Series) -> Iterator[Property]:
    """Yield what a definition says of a series, under the names that host applications show."""
    if series.unit not in ("", "1"):
        yield Property("engUnit", DataType.STRING, series.unit)
    yield Property("quantity", DataType.STRING, series.quantity)
    yield Property("kind", DataType.STRING, series.kind)
    yield Property("readOnly", DataType.BOOLEAN, value=True)


def _facts_of_node(descriptor: Descriptor) -> Iterator[tuple[str, str]]:
    yield "Properties/Gateway", descriptor.gateway
    yield "Properties/Software", descriptor.software
    yield "Properties/Time Zone", descriptor.timezone


def _facts_of_device(device: Device) -> Iterator[tuple[str, str]]:
    yield "Properties/Hardware Model", device.model
    yield "Properties/Protocol", device.protocol
    if device.serial_number:
        yield "Properties/Serial Number", device.serial_number


def _fact_metrics(facts: Iterable[tuple[str, str, int]], now_ms: int) -> Iterator[Metric]:
    for name, text, alias in facts:
        yield Metric(DataType.STRING, text, now_ms, name=name, alias=alias)


def _in_order(metrics: Iterable[Metric]) -> list[Metric]:
    """Return ``metrics`` in the order of their times (tck-id-operational-behavior-data-publish-dbirth-order)."""
    return sorted(metrics, key=lambda metric: metric.time_ms)
