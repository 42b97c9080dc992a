"""What the edge node tells and when: rules of Sparkplug 3.0, tests named after their assertions where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.newest import AnswerRead, NewestReads, NodeRead, Read, RegisterRead
from agent.sparkplug_node import EdgeNode, Message, Names, commands_rebirth, death
from agent.sparkplug_payload import DataType
from wire.descriptor import AnswerPlace, Descriptor, Device, NodePlace, Series
from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_TIMEOUT
from wire.node import NodeSample, Variant
from wire.words import WordOrder, WordType, encode_words

NAMES = Names("plant-3", "gw-01")
BAD, GOOD, STALE = 0, 192, 500


def series(name: str, address: int, type_: WordType = WordType.UINT16, **further: Any) -> Series:
    meaning: dict[str, Any] = {"quantity": name, "unit": "kW", "kind": "gauge", "order": WordOrder.ABCD} | further
    return Series(name=name, function=3, address=address, type=type_, **meaning)


def device(id_: str, *all_series: Series, serial: str = "S1") -> Device:
    return Device(id_, "model", bytes(32), serial, "modbus-tcp", 1, 1.0, 1.0, True, 1000, all_series)


def descriptor(*devices: Device) -> Descriptor:
    return Descriptor("gw-01", "shopfloor-agent 1", "Asia/Shanghai", devices)


POWER = series("power", 0, scale=0.1)
COUNT = series("count", 1, kind="counter", unit="1")
METER = descriptor(device("meter", POWER, COUNT))


def read(number: int, words: list[int] | None, time_ms: int = 1_000, status: int | None = None, **further: Any) -> Read:
    count = further.pop("count", len(words or (0, 0)))
    status = (0 if words is not None else STATUS_TIMEOUT) if status is None else status
    return RegisterRead(number, 3, further.pop("address", 0), count, time_ms, status, words, **further)


@pytest.fixture
def opened(payload_type: Any) -> Callable[[list[Message]], list[tuple[str, Any]]]:
    return lambda messages: [(one.topic, payload_type.FromString(one.payload)) for one in messages]


def by_name(payload: Any) -> dict[str, Any]:
    return {metric.name: metric for metric in payload.metrics}


def properties(metric: Any) -> dict[str, Any]:
    values = zip(metric.properties.keys, metric.properties.values, strict=True)
    return {key: getattr(value, value.WhichOneof("value")) for key, value in values}


def test_payloads_ndeath_bdseq_and_nothing_else(opened: Any) -> None:
    [(topic, payload)] = opened([death(NAMES, 7, 5)])
    assert topic == "spBv1.0/plant-3/NDEATH/gw-01"
    assert not payload.HasField("seq")
    assert [(one.name, one.datatype, one.long_value) for one in payload.metrics] == [("bdSeq", DataType.INT64, 7)]


def test_topics_nbirth_metrics_and_rebirth_without_alias(opened: Any) -> None:
    """tck-id-topics-nbirth-seq-num, -bdseq-included, -rebirth-metric, ...-rebirth-name-aliases."""
    [(topic, payload)] = opened(EdgeNode(NAMES, METER).birth(9, 77))
    assert topic == "spBv1.0/plant-3/NBIRTH/gw-01"
    assert (payload.seq, payload.timestamp) == (0, 77)
    metrics = by_name(payload)
    assert metrics["bdSeq"].long_value == 9
    assert metrics["bdSeq"].datatype == DataType.INT64
    rebirth = metrics["Node Control/Rebirth"]
    assert (rebirth.datatype, rebirth.boolean_value, rebirth.HasField("alias")) == (DataType.BOOLEAN, False, False)
    assert metrics["Properties/Software"].string_value == "shopfloor-agent 1"
    assert all(one.HasField("timestamp") and one.datatype for one in payload.metrics)


def test_a_device_is_born_when_it_was_read_and_not_before(opened: Any) -> None:
    node = EdgeNode(NAMES, METER)
    assert [topic for topic, _ in opened(node.birth(0, 1))] == ["spBv1.0/plant-3/NBIRTH/gw-01"]
    assert node.changes(2) == []
    node.take([read(0, None)])
    assert node.changes(3) == [], "what was never there does not die"
    node.take([read(0, [15, 7], 4_000)])
    [(topic, payload)] = opened(node.changes(5_000))
    assert topic == "spBv1.0/plant-3/DBIRTH/gw-01/meter"
    assert payload.seq == 1
    metrics = by_name(payload)
    assert metrics["power"].double_value == 1.5
    assert metrics["power"].timestamp == 4_000
    assert (metrics["count"].datatype, metrics["count"].int_value) == (DataType.UINT16, 7)
    assert properties(metrics["power"]) == {"engUnit": "kW", "quantity": "power", "kind": "gauge", "readOnly": True}
    assert "engUnit" not in properties(metrics["count"])
    assert metrics["Properties/Serial Number"].string_value == "S1"


def test_payloads_alias_uniqueness_across_the_edge_node(opened: Any) -> None:
    node = EdgeNode(NAMES, descriptor(device("a", POWER, COUNT), device("b", POWER, COUNT)))
    node.take([read(0, [1, 2]), read(1, [1, 2])])
    births = opened(node.birth(0, 1))
    aliases = [one.alias for _, payload in births for one in payload.metrics if one.HasField("alias")]
    assert len(aliases) == len(set(aliases)) == sum(len(payload.metrics) for _, payload in births) - 1
    assert 0 not in aliases


def test_operational_behavior_data_publish_dbirth_change(opened: Any) -> None:
    """Only what has changed is told, by alias alone, without its data type."""
    node = EdgeNode(NAMES, METER)
    node.take([read(0, [15, 7])])
    alias = by_name(opened(node.birth(0, 1))[1][1])["count"].alias
    assert node.changes(2) == []
    node.take([read(0, [15, 7], 2_000)])
    assert node.changes(3) == [], "read again, the same"
    node.take([read(0, [15, 8], 3_000)])
    [(topic, payload)] = opened(node.changes(3_500))
    assert topic == "spBv1.0/plant-3/DDATA/gw-01/meter"
    assert (payload.seq, payload.timestamp) == (2, 3_500)
    [metric] = payload.metrics
    assert (metric.alias, metric.int_value, metric.timestamp) == (alias, 8, 3_000)
    assert not metric.HasField("name")
    assert not metric.HasField("datatype")
    assert not metric.HasField("properties")


def test_of_several_values_since_the_last_time_the_newest_is_told(opened: Any) -> None:
    newest = NewestReads(METER)
    node = EdgeNode(NAMES, METER)
    for time_ms, word in ((1, 1), (2, 2), (3, 3)):
        newest.note(read(0, [word, word], time_ms))
    assert len(newest) == 1
    described, reads = newest.take()
    assert described is METER
    node.take(reads)
    assert by_name(opened(node.birth(0, 9))[1][1])["count"].int_value == 3
    assert newest.take() == (METER, ())


def test_operational_behavior_data_publish_dbirth_values_null_where_there_is_none(opened: Any) -> None:
    """A value that is not available is null and BAD, one that was never read null and STALE, and GOOD is said once."""
    power = replace(POWER, invalid=(0xFFFF,))
    node = EdgeNode(NAMES, descriptor(device("meter", power, COUNT)))
    node.take([read(0, [0xFFFF], count=1)])
    metrics = by_name(opened(node.birth(0, 50))[1][1])
    assert metrics["power"].is_null
    assert metrics["power"].WhichOneof("value") is None
    assert properties(metrics["power"])["Quality"] == BAD
    assert properties(metrics["count"])["Quality"] == STALE
    assert metrics["count"].timestamp == 50
    node.take([read(0, [4], 60, count=1)])
    [(_, payload)] = opened(node.changes(61))
    assert properties(payload.metrics[0]) == {"Quality": GOOD}
    node.take([read(0, [5], 70, count=1)])
    [(_, payload)] = opened(node.changes(71))
    assert properties(payload.metrics[0]) == {}


def test_a_refused_part_of_a_device_that_lives_is_null_and_bad(opened: Any) -> None:
    node = EdgeNode(NAMES, METER)
    node.take([read(0, [1, 2])])
    node.birth(0, 1)
    node.take(
        [read(0, None, 2_000, status=2), read(0, [3], 2_001, count=1), read(0, None, 2_002, 2, address=1, count=1)]
    )
    [(topic, payload)] = opened(node.changes(3_000))
    assert "DDATA" in topic
    assert [one.is_null for one in payload.metrics] == [False, True]
    assert properties(payload.metrics[1]) == {"Quality": BAD}
    assert [one.timestamp for one in payload.metrics] == [2_001, 2_002]


@pytest.mark.parametrize("status", [STATUS_TIMEOUT, STATUS_CONNECTION, STATUS_MALFORMED, 10, 11])
def test_operational_behavior_device_ddeath(opened: Any, status: int) -> None:
    node = EdgeNode(NAMES, METER)
    node.take([read(0, [1, 2])])
    node.birth(0, 1)
    node.take([read(0, None, 2_000, status)])
    [(topic, payload)] = opened(node.changes(2_100))
    assert topic == "spBv1.0/plant-3/DDEATH/gw-01/meter"
    assert (payload.seq, payload.timestamp, len(payload.metrics)) == (2, 2_100, 0)
    node.take([read(0, None, 3_000, status)])
    assert node.changes(3_100) == []
    node.take([read(0, [1, 2], 4_000)])
    [(topic, payload)] = opened(node.changes(4_100))
    assert topic == "spBv1.0/plant-3/DBIRTH/gw-01/meter"
    assert by_name(payload)["count"].int_value == 2


def test_one_request_without_answer_is_not_the_death_of_a_device(opened: Any) -> None:
    node = EdgeNode(NAMES, METER)
    node.take([read(0, [1], count=1), read(0, [2], address=1, count=1)])
    node.birth(0, 1)
    node.take([read(0, None, 2_000, address=1, count=1)])
    [(topic, _)] = opened(node.changes(2_100))
    assert "DDATA" in topic


def test_a_device_that_refuses_everything_is_there(opened: Any) -> None:
    node = EdgeNode(NAMES, METER)
    node.take([read(0, None, status=4)])
    births = opened(node.birth(0, 1))
    assert [topic.split("/")[2] for topic, _ in births] == ["NBIRTH", "DBIRTH"]
    assert all(by_name(births[1][1])[name].is_null for name in ("power", "count"))


def test_what_is_read_once_a_day_does_not_keep_a_device_alive(opened: Any) -> None:
    node = EdgeNode(NAMES, descriptor(device("meter", POWER, COUNT, series("ct", 90, unit="1"))))
    node.take([read(0, [40], address=90, count=1, polled=False)])
    assert len(node.birth(0, 1)) == 1
    node.take([read(0, [1, 2]), read(0, [41], address=90, count=1, polled=False)])
    assert by_name(opened(node.changes(2))[0][1])["ct"].int_value == 41
    node.take([read(0, None, 3_000)])
    assert "DDEATH" in opened(node.changes(4))[0][0]


@given(st.lists(st.sampled_from(["value", "dead", "alive", "rebirth"]), min_size=1, max_size=400))
def test_payloads_sequence_num_incrementing(payload_type: Any, course: list[str]) -> None:
    """One more with each message whatever happens, 0 after 255, 0 with every birth of the node."""
    node = EdgeNode(NAMES, METER)
    node.take([read(0, [0, 0])])
    messages = node.birth(3, 0)
    for number, step in enumerate(course * 3, 1):
        if step == "rebirth":
            messages += node.birth(3, number)
            continue
        node.take([read(0, None if step == "dead" else [number % 0xFFFF, number % 7], number)])
        messages += node.changes(number)
    expected = 0
    for message in messages:
        payload = payload_type.FromString(message.payload)
        expected = 0 if "/NBIRTH/" in message.topic else (expected + 1) % 256
        assert payload.seq == expected


def test_topics_nbirth_a_rebirth_tells_everything_again(opened: Any) -> None:
    node = EdgeNode(NAMES, METER)
    node.take([read(0, [15, 7])])
    first = opened(node.birth(4, 1))
    again = opened(node.birth(4, 1))
    assert first == again
    assert node.changes(2) == []


def test_a_new_descriptor_keeps_what_is_known_of_the_same_series(opened: Any) -> None:
    old = EdgeNode(NAMES, METER)
    old.take([read(0, [15, 7], 1_000)])
    old.birth(0, 1)
    changed = descriptor(device("other", COUNT), device("meter", POWER, replace(COUNT, unit="pcs")))
    node = EdgeNode(NAMES, changed, old)
    births = opened(node.birth(0, 2_000))
    assert [topic.rsplit("/", 1)[-1] for topic, _ in births] == ["gw-01", "meter"]
    metrics = by_name(births[1][1])
    assert metrics["power"].double_value == 1.5
    assert metrics["count"].is_null, "another unit is another series"


@pytest.mark.parametrize(
    ("type_", "raw", "datatype"),
    [
        (WordType.INT16, -2, DataType.INT32),
        (WordType.UINT32, 4_000_000_000, DataType.INT64),
        (WordType.INT32, -4, DataType.INT32),
        (WordType.UINT64, 2**63, DataType.UINT64),
        (WordType.INT64, -(2**40), DataType.INT64),
        (WordType.FLOAT32, 0.5, DataType.FLOAT),
        (WordType.FLOAT64, 0.1, DataType.DOUBLE),
        (WordType.BCD16, 1234, DataType.UINT16),
        (WordType.BCD32, 99_999_999, DataType.INT32),
        (WordType.BCD64, 9_999_999_999_999_999, DataType.INT64),
    ],
)
def test_whole_numbers_stay_whole(opened: Any, type_: WordType, raw: float, datatype: DataType) -> None:
    node = EdgeNode(NAMES, descriptor(device("d", series("x", 0, type_, order=WordOrder.CDAB))))
    words = encode_words(raw, type_, WordOrder.CDAB)
    node.take([read(0, words)])
    metric = by_name(opened(node.birth(0, 1))[1][1])["x"]
    assert metric.datatype == datatype
    value = getattr(metric, metric.WhichOneof("value"))
    assert value in (raw, raw + 2**32, raw + 2**64)


def test_bits_are_true_or_false_and_texts_are_texts(opened: Any) -> None:
    both = (series("running", 0, WordType.BIT, bit=3), series("name", 1, WordType.STRING, length=2))
    node = EdgeNode(NAMES, descriptor(device("d", *both)))
    node.take([read(0, [8, 0x4142, 0x4300])])
    metrics = by_name(opened(node.birth(0, 1))[1][1])
    assert metrics["running"].boolean_value is True
    assert (metrics["name"].datatype, metrics["name"].string_value) == (DataType.STRING, "ABC")


def test_answers_of_meters_without_registers(opened: Any) -> None:
    place = AnswerPlace(b"\x11\x00", 1, 2)
    energy = replace(series("energy", 0, WordType.BCD, order=WordOrder.DCBA, scale=0.1), function=0, place=place)
    node = EdgeNode(NAMES, descriptor(device("d", energy)))
    node.take([AnswerRead(0, b"\x11\x00", 5, 0, bytes.fromhex("ff2301")), AnswerRead(0, b"\x12", 5, 1, None)])
    assert by_name(opened(node.birth(0, 1))[1][1])["energy"].double_value == pytest.approx(12.3)
    node.take([AnswerRead(0, b"\x11\x00", 6, 0, b"\xff")])
    [(_, payload)] = opened(node.changes(7))
    assert payload.metrics[0].is_null, "an answer that is too short holds no value"
    node.take([AnswerRead(0, b"\x11\x00", 8, STATUS_TIMEOUT, None)])
    assert "DDEATH" in opened(node.changes(9))[0][0]


def test_opc_ua_values_bring_their_type_along(opened: Any) -> None:
    x = replace(series("x", 0), function=0, type=WordType.VARIANT, place=NodePlace("i=1"))
    scaled = replace(x, name="y", scale=0.5)
    node = EdgeNode(NAMES, descriptor(device("plc", x, scaled)))

    def sample(value: Any, variant: Variant, status: int = 0) -> NodeRead:
        return NodeRead(0, "i=1", NodeSample(9, status, value), variant)

    node.take([sample(-3, Variant.INT32)])
    metrics = by_name(opened(node.birth(0, 1))[1][1])
    assert (metrics["x"].datatype, metrics["x"].int_value) == (DataType.INT32, 2**32 - 3)
    assert (metrics["y"].datatype, metrics["y"].double_value) == (DataType.DOUBLE, -1.5)
    assert not node.must_be_reborn
    node.take([sample(True, Variant.BOOLEAN, 0x4000_0000)])
    assert node.must_be_reborn
    metrics = by_name(opened(node.birth(0, 2))[1][1])
    assert metrics["x"].boolean_value is True
    assert properties(metrics["x"])["Quality"] == STALE, "the server itself is not certain"
    assert not node.must_be_reborn
    node.take([sample(None, Variant.NULL, 0x808A_0000)])
    assert "DDEATH" in opened(node.changes(3))[0][0]


def test_operational_behavior_data_commands_ncmd_rebirth(payload_type: Any) -> None:
    """By name and with the value true; whatever else is written is named, so that it can be refused aloud."""
    payload = payload_type()
    payload.metrics.add(name="Node Control/Rebirth", boolean_value=True)
    payload.metrics.add(name="Node Control/Reboot", boolean_value=True)
    payload.metrics.add(alias=4, int_value=1)
    assert commands_rebirth(payload.SerializeToString()) == (True, ("Node Control/Reboot", "alias 4"))
    payload = payload_type()
    payload.metrics.add(name="Node Control/Rebirth", boolean_value=False)
    assert commands_rebirth(payload.SerializeToString()) == (False, ())
