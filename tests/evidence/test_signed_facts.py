"""What signed records say beside values: arrivals, changed settings, stored readings; told from real signed bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from evidence.signed_facts import Change, ReceivedRecord, SignedFacts, TellingRecords, gateway_facts
from wire.chain import ChainWriter
from wire.descriptor import Descriptor, Device, Series
from wire.event import Event
from wire.frame import STATUS_OK, FrameBuilder
from wire.keys import SigningKey
from wire.record import Body, Record
from wire.words import WordOrder, WordType

NOW = 1_751_299_200_000
HOUR_MS = 3_600_000
ENERGY = Series("energy", "active_energy_import", "kWh", "counter", 3, 1, WordType.UINT16, WordOrder.ABCD, 0.5)
FROZEN = Series("daily_energy", "active_energy_import", "kWh", "gauge", 3, 101, WordType.UINT16, WordOrder.ABCD, 0.5)
METER = Device("m", "x", bytes(32), "SN-1", "modbus-tcp", 1, 60.0, 1.0, False, 1000, (ENERGY, FROZEN))
OTHER = replace(METER, id="other")
HISTORY: dict[str, int | float | str | bytes] = {
    "device": "m", "name": "daily", "period": "day", "function": 3, "address": 100, "stride": 4, "registers": 3,
    "entries": 2, "good": 2, "time_ms": NOW,
}  # fmt: skip


def descriptor(*devices: Device) -> Descriptor:
    return Descriptor("gw", "test", "Asia/Shanghai", devices)


def frame(address: int, *words: int) -> tuple[Body, ...]:
    builder = FrameBuilder(0, 1, 3, address, 3)
    builder.add(NOW, STATUS_OK, words, 1)
    return (builder.build(),)  # type: ignore[return-value]


def chain(*bodies: Body, every_ms: int = HOUR_MS) -> list[Record]:
    writer = ChainWriter("gw", SigningKey.generate())
    return [writer.append(body, time_ms=NOW + every_ms * number) for number, body in enumerate(bodies)]


def facts(records: list[Record], delay_ms: int = 2000, earlier: int = 0) -> SignedFacts:
    received = [ReceivedRecord(one.data, one.payload.time_ms + delay_ms) for one in records[earlier:]]
    run = records[earlier:]

    def before(seq: int) -> Iterator[bytes]:
        return (one.data for one in reversed(run) if one.seq < seq)

    seen = TellingRecords()
    for one in received:
        seen.see(one.data, one.received_ms)
    found = gateway_facts("gw", seen.records, [one.data for one in records[:earlier]], ["gw/m"], before)
    whole = gateway_facts("gw", received, [one.data for one in records[:earlier]], ["gw/m"], before)
    assert found.changes == whole.changes
    assert found.stored == whole.stored
    assert np.array_equal(found.arrivals[0].closed_ms, whole.arrivals[0].closed_ms)
    return found


def test_a_record_is_closed_when_its_signed_bytes_say_so() -> None:
    records = chain(descriptor(METER), *[frame(0, 1, 2, 3)] * 5)
    (arrived,) = facts(records).arrivals
    assert arrived.gateway == "gw"
    assert np.array_equal(arrived.received_ms - arrived.closed_ms, np.full(6, 2000))


def test_of_the_records_of_an_hour_the_first_is_looked_at() -> None:
    records = chain(descriptor(METER), *[frame(0, 1, 2, 3)] * 119, every_ms=60_000)
    (arrived,) = facts(records).arrivals
    assert arrived.closed_ms.tolist() == [NOW, NOW + HOUR_MS]


@pytest.mark.parametrize(
    ("changed", "setting", "before", "after"),
    [
        ({"ct_ratio": 40.0}, "CT ratio", "60", "40"),
        ({"serial_number": "SN-2"}, "serial number", "SN-1", "SN-2"),
        (
            {"series": (replace(ENERGY, scale=0.45), FROZEN)},
            "series energy",
            "3/1 UINT16 ABCD x 0.5 + 0 kWh",
            "3/1 UINT16 ABCD x 0.45 + 0 kWh",
        ),
    ],
)
def test_a_changed_setting_is_told_with_both_values(
    changed: dict[str, object], setting: str, before: str, after: str
) -> None:
    new = replace(METER, **changed)  # type: ignore[arg-type]
    records = chain(descriptor(METER, OTHER), frame(0, 1, 2, 3), descriptor(new, replace(OTHER, ct_ratio=1.0)))
    expected = (Change("gw/m", NOW + 2 * HOUR_MS, setting, before, after),)
    assert facts(records).changes == expected
    assert facts(records, earlier=1).changes == expected


@pytest.mark.parametrize("changed", [{"interval_ms": 5000}, {"series": (ENERGY,)}])
def test_another_poll_interval_and_another_choice_of_series_are_no_change(changed: dict[str, object]) -> None:
    records = chain(descriptor(METER), descriptor(replace(METER, **changed)), descriptor(METER))  # type: ignore[arg-type]
    assert facts(records).changes == ()


def test_an_event_of_the_meter_is_told_and_others_are_not() -> None:
    detail: dict[str, int | float | str | bytes] = {"device": "m", "time_ms": NOW + 5, "read": 40.0}
    records = chain(
        descriptor(METER), Event("ratio_changed", detail), Event("ratio_changed", {**detail, "device": "other"})
    )
    assert facts(records).changes == (Change("gw/m", NOW + 5, "ratio_changed", "", "read 40.0"),)


def test_the_newest_round_of_stored_readings_is_read() -> None:
    old = (frame(100, 1, 2, 3), frame(104, 4, 5, 6), Event("history", HISTORY))
    new = (frame(100, 7, 20, 9), frame(104, 1, 30, 3), Event("history", HISTORY))
    stored = facts(chain(descriptor(METER), *old, *new, every_ms=1000)).stored
    assert [(one.entry, one.values) for one in stored] == [(1, (10.0,)), (2, (15.0,))]


def test_a_record_that_cannot_be_read_is_passed_over() -> None:
    records = chain(descriptor(METER), frame(0, 1, 2, 3))
    broken = [ReceivedRecord(b"\x00" * 40, NOW), *(ReceivedRecord(one.data, NOW + HOUR_MS) for one in records)]
    assert set(gateway_facts("gw", broken, [], ["gw/m"], lambda _: []).series) == {"gw/m/energy", "gw/m/daily_energy"}
