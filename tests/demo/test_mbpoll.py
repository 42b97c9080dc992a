"""mbpoll of Debian reads the simulated plant: what the demonstration shows is Modbus to a master that is not ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from demo.devices import SimulatedDevice
from demo.factory import START_MS, Factory
from demo.servers import factory_devices
from demo.timebase import Timebase
from wire.words import WordOrder, WordType, decode_words

NOON_MS = START_MS + 12 * 3_600_000
Serve = Callable[[Sequence[SimulatedDevice]], dict[str, int]]
Mbpoll = Callable[..., dict[int, str]]


def test_mbpoll_reads_the_simulated_devices(serve: Serve, timebase: Timebase, mbpoll: Mbpoll) -> None:
    devices = {device.name: device for device in factory_devices(Factory(1))}
    ports = serve(list(devices.values()))
    timebase.show(NOON_MS)

    def read(name: str, kind: str, first: int, count: int) -> dict[int, str]:
        place = ("-m", "tcp", "-p", ports[name], "-a", 1, "-B", "-r", first, "-c", count, "-t", kind)
        return mbpoll(*place, "127.0.0.1")

    def words(name: str, first: int, count: int) -> tuple[int, ...]:
        start = first - devices[name].first
        return tuple(devices[name].words(NOON_MS)[start : start + count])

    def number(name: str, first: int, type_: WordType) -> float:
        value = decode_words(words(name, first, 2), type_, WordOrder.ABCD)
        assert value is not None
        return float(value)

    for name, kind, first in (("meter-1", "4:float", 0x0800), ("meter-2", "3:float", 0x0000)):
        volts = read(name, kind, first, 3)
        assert list(volts) == [first, first + 2, first + 4]
        for place, text in volts.items():
            assert float(text) == pytest.approx(number(name, place, WordType.FLOAT32), rel=1e-5)
            assert 200 < float(text) < 250
    energy = read("meter-1", "4:int", 0x084C, 1)
    assert energy == {0x084C: str(int(number("meter-1", 0x084C, WordType.UINT32)))}
    assert read("meter-1", "4", 0x008D, 2) == {0x008D: "1", 0x008E: "60"}
    registers = read("plc-1", "4", 0, 8)
    assert tuple(int(text) for text in registers.values()) == words("plc-1", 0, 8)
