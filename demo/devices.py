"""The register images of the simulated devices at one instant.

Addresses are those on the wire (0-based). Every device has one contiguous block; what the vendor's map does not
name inside it reads as zero, as on the real meters.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Protocol

from demo.electrical import ThreePhase, three_phase
from demo.factory import Factory, FactoryDay, Floats, minute_of
from demo.steel import ImpulseHistory
from wire.words import WordOrder, WordType, encode_words

HOLDING = 3
INPUT = 4


class SimulatedDevice(Protocol):
    """A Modbus device: the function code and the block it answers, its limits for one request, its words at an
    instant, and registers outside the block that never change.
    """

    name: str
    function: int
    first: int
    count: int
    maximum_registers: int
    even_addresses: bool
    settings: Mapping[int, int]

    def words(self, time_ms: int) -> list[int]:
        """All registers of the block at an instant (ms since the epoch, UTC)."""
        ...


class AcrelAdl400:
    """Acrel ADL400 (安科瑞), primary-side block 0x0800: measurements FLOAT32, energies UINT32 in 0.1 kWh, FC03, high
    word first.

    It measures behind current transformers of 300/5: currents and powers come in steps of its secondary resolution
    (0.01 A and 0.001 kW, kvar, kVA) times 60. The meter runs on one tariff: what is imported is counted in the
    flat-rate (平) register as well as in the total.
    """

    _CT_RATIO = 60

    name = "meter-1"
    function = HOLDING
    first = 0x0800
    count = 0x58
    maximum_registers = 125
    even_addresses = False
    settings: Mapping[int, int] = {0x008D: 1, 0x008E: _CT_RATIO}

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def words(self, time_ms: int) -> list[int]:
        day = self._factory.day_at(time_ms)
        minute, passed = minute_of(day, time_ms)
        state = _three_phase(day, minute, day.line_kw, day.line_power_factor)
        tenths_kwh = int(_between(day.line_kwh, minute, passed) * 10.0)
        image = _Image(self.first, self.count)
        image.floats(0x0800, 0.1, *state.voltage_v)
        image.floats(0x080C, 0.01 * self._CT_RATIO, *state.current_a)
        image.floats(0x0814, 0.001 * self._CT_RATIO, *state.phase_kw, state.power_kw)
        image.floats(0x0822, 0.001 * self._CT_RATIO, state.reactive_kvar)
        image.floats(0x082A, 0.001 * self._CT_RATIO, state.apparent_kva)
        image.floats(0x0832, 0.001, state.power_factor)
        image.floats(0x0834, 0.01, state.frequency_hz)
        image.unsigned(0x0842, tenths_kwh)
        image.unsigned(0x084C, tenths_kwh)
        image.unsigned(0x0852, tenths_kwh)
        return image.words()


class EastronSdm630:
    """Eastron SDM630-Modbus: FLOAT32 input registers (FC04), at most 30 parameters a request and no half of one."""

    name = "meter-2"
    function = INPUT
    first = 0x0000
    count = 0x0158
    maximum_registers = 60
    even_addresses = True
    settings: Mapping[int, int] = {}

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def words(self, time_ms: int) -> list[int]:
        day = self._factory.day_at(time_ms)
        minute, passed = minute_of(day, time_ms)
        state = _three_phase(day, minute, day.compressor_kw, day.compressor_power_factor)
        kwh = _between(day.compressor_kwh, minute, passed)
        image = _Image(self.first, self.count)
        image.floats(0x0000, 0.1, *state.voltage_v)
        image.floats(0x0006, 0.01, *state.current_a)
        image.floats(0x000C, 1.0, *(1000.0 * phase for phase in state.phase_kw))
        image.floats(0x0034, 1.0, 1000.0 * state.power_kw)
        image.floats(0x0038, 1.0, 1000.0 * state.apparent_kva)
        image.floats(0x003C, 1.0, 1000.0 * state.reactive_kvar)
        image.floats(0x003E, 0.001, state.power_factor)
        image.floats(0x0046, 0.01, state.frequency_hz)
        image.floats(0x0048, 0.01, kwh)
        image.floats(0x0156, 0.01, kwh)
        return image.words()


class LinePlc:
    """The PLC of the line: counters of good and scrapped pieces, state of the line, outdoor temperature, seconds a
    piece.
    """

    name = "plc-1"
    function = HOLDING
    first = 0
    count = 8
    maximum_registers = 125
    even_addresses = False
    settings: Mapping[int, int] = {}

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def words(self, time_ms: int) -> list[int]:
        day = self._factory.day_at(time_ms)
        minute, passed = minute_of(day, time_ms)
        scrap = day.scrap[minute] + int(passed * (day.scrap[minute + 1] - day.scrap[minute]))
        good = day.good[minute] + int(passed * (day.good[minute + 1] - day.good[minute]))
        return [
            *encode_words(int(good), WordType.UINT32, WordOrder.ABCD),
            *encode_words(int(scrap), WordType.UINT32, WordOrder.ABCD),
            *encode_words(int(day.state[minute]), WordType.UINT16, WordOrder.ABCD),
            *encode_words(round(10.0 * float(day.outdoor_temperature_c[minute])), WordType.INT16, WordOrder.ABCD),
            *encode_words(float(day.cycle_s[minute]), WordType.FLOAT32, WordOrder.ABCD),
        ]


class PulseMeter:
    """A meter that shows its pulse counters: active, lagging reactive, leading reactive, UINT32 each."""

    name = "meter-1"
    function = HOLDING
    first = 0
    count = 6
    maximum_registers = 125
    even_addresses = False
    settings: Mapping[int, int] = {}

    def __init__(self, history: ImpulseHistory) -> None:
        self._history = history

    def words(self, time_ms: int) -> list[int]:
        return [
            word
            for pulses in self._history.counters_at(time_ms)
            for word in encode_words(pulses, WordType.UINT32, WordOrder.ABCD)
        ]


class _Image:
    """Registers of one block under construction, high byte and high word first."""

    def __init__(self, first: int, count: int) -> None:
        self._first = first
        self._count = count
        self._bytes = bytearray(2 * count)

    def floats(self, address: int, resolution: float, *values: float) -> None:
        """Put values as FLOAT32, rounded to what the meter resolves."""
        values = tuple(round(value / resolution) * resolution for value in values)
        struct.pack_into(f">{len(values)}f", self._bytes, 2 * (address - self._first), *values)

    def unsigned(self, address: int, value: int) -> None:
        struct.pack_into(">I", self._bytes, 2 * (address - self._first), value)

    def words(self) -> list[int]:
        return list(struct.unpack(f">{self._count}H", self._bytes))


def _three_phase(day: FactoryDay, minute: int, power_kw: Floats, power_factor: Floats) -> ThreePhase:
    volt_a, volt_b, volt_c = day.voltage_v[:, minute].tolist()
    share_a, share_b, share_c = day.share[:, minute].tolist()
    return three_phase(
        float(power_kw[minute]),
        float(power_factor[minute]),
        (volt_a, volt_b, volt_c),
        (share_a, share_b, share_c),
        float(day.frequency_hz[minute]),
    )


def _between(counter: Floats, minute: int, passed: float) -> float:
    """A counter inside a minute, in which the power is constant."""
    return float(counter[minute] + passed * (counter[minute + 1] - counter[minute]))
