"""Samples of single series out of records: all reads, good or not, each with its record."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evidence.columns import decode_frame
from evidence.readings import SkippedRecord
from evidence.samples import collect_samples
from wire.chain import ChainWriter
from wire.descriptor import Descriptor, Device, NodePlace, Series
from wire.frame import Frame, FrameBuilder, NodeFrame, NodeFrameBuilder, NodeSample, Variant
from wire.keys import SigningKey
from wire.node import OPC_BAD
from wire.record import STATUS_OK, STATUS_TIMEOUT, Payload
from wire.words import WordOrder, WordType

START_MS = 1_760_000_000_000
POWER = Series("power", "active_power", "kW", "gauge", 3, 2, WordType.INT16, WordOrder.ABCD, scale=0.5)
VOLTAGE = Series("voltage", "voltage", "V", "gauge", 3, 0, WordType.UINT16, WordOrder.ABCD)
SPEED = Series(
    "speed", "speed", "1/min", "gauge", 0, 0, WordType.VARIANT, WordOrder.ABCD, place=NodePlace("ns=2;s=Speed")
)
KEY = SigningKey.generate()


def device(id_: str, *series: Series) -> Device:
    return Device(id_, "model", bytes(32), "S1", "modbus-tcp", 1, 1.0, 1.0, True, 1000, series)


DESCRIPTOR = Descriptor("gw-01", "test", "Asia/Shanghai", (device("meter-1", VOLTAGE, POWER), device("plc-1", SPEED)))


def registers(begin_ms: int, powers: list[int | None]) -> Frame:
    builder = FrameBuilder(0, 1, 3, 0, 3)
    for index, power in enumerate(powers):
        status = STATUS_TIMEOUT if power is None else STATUS_OK
        builder.add(begin_ms + index, status, None if power is None else [230, 0, power], 5)
    return builder.build()


def node(begin_ms: int) -> NodeFrame:
    builder = NodeFrameBuilder(1, "ns=2;s=Speed")
    builder.add(NodeSample(begin_ms, 0, 1.5, None, None), Variant.DOUBLE)
    builder.add(NodeSample(begin_ms + 1, OPC_BAD, None, None, None), Variant.NULL)
    return builder.build()


def payloads(*bodies: tuple[Frame | NodeFrame, ...]) -> tuple[list[Payload], bytes]:
    chain = ChainWriter("gw-01", KEY)
    descriptor = chain.append(DESCRIPTOR, time_ms=START_MS)
    return [chain.append(body, time_ms=START_MS).payload for body in bodies], descriptor.hash


powers = st.lists(st.one_of(st.none(), st.integers(0, 0x7FFF)), min_size=1, max_size=6)


@given(st.lists(powers, min_size=1, max_size=5))
def test_samples_are_those_of_the_frames_one_by_one(reads: list[list[int | None]]) -> None:
    frames = [registers(START_MS + 100 * index, values) for index, values in enumerate(reads)]
    made, digest = payloads(*((frame,) for frame in frames))
    skipped: list[SkippedRecord] = []
    (found,) = collect_samples(made, {digest: DESCRIPTOR}.get, ["gw-01/meter-1/power"], skipped)
    decoded = [decode_frame(frame, POWER) for frame in frames]
    np.testing.assert_array_equal(found.time_ms, np.concatenate([times for times, _ in decoded]))
    np.testing.assert_array_equal(found.values, np.concatenate([values for _, values in decoded]))
    assert found.status.tolist() == [status for frame in frames for status in frame.status]
    assert found.seq.tolist() == [2 + index for index, values in enumerate(reads) for _ in values]
    assert (found.unit, skipped) == ("kW", [])


def test_only_the_series_asked_for_are_decoded() -> None:
    made, digest = payloads((registers(START_MS, [7, None]), node(START_MS)))
    found = collect_samples(made, {digest: DESCRIPTOR}.get, ["gw-01/plc-1/speed", "gw-01/meter-1/voltage"], [])
    assert [one.series for one in found] == ["gw-01/meter-1/voltage", "gw-01/plc-1/speed"]
    speed = found[1]
    assert speed.values.tolist()[0] == 1.5
    assert np.isnan(speed.values[1])
    assert speed.status.tolist() == [0, OPC_BAD]
    assert collect_samples(made, {digest: DESCRIPTOR}.get, ["gw-02/meter-1/voltage"], []) == []


def test_records_without_known_descriptor_are_named() -> None:
    made, _ = payloads((registers(START_MS, [7]),), (registers(START_MS + 10, [8]),))
    skipped: list[SkippedRecord] = []
    assert collect_samples(made, lambda _: None, ["gw-01/meter-1/power"], skipped) == []
    assert [one.seq for one in skipped] == [2, 3]
    assert "descriptor" in skipped[0].reason
