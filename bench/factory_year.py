"""The records of a factory's year: 50 series of four devices, read every ten seconds, a record a minute.

The gateway file, its descriptor and the requests are the agent's; the values are those of the simulated factory, with
the last digits moving from read to read as on real meters: constants would compress, and be decoded, too well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.config import load_config
from agent.description import describe, requests_of
from agent.planner import Block
from demo.factory import START_MS, Factory, FactoryDay
from wire.chain import ChainWriter
from wire.descriptor import Descriptor, Series
from wire.event import Event
from wire.frame import Frame
from wire.keys import SigningKey
from wire.record import ClockState, Record
from wire.words import WordType

DAY_MS = 86_400_000
RECORD_MS = 60_000
READ_MS = 10_000
READS = RECORD_MS // READ_MS
READS_A_DAY = DAY_MS // READ_MS
RECORDS_A_DAY = DAY_MS // RECORD_MS
SERIES = 50

_MODELS = ("acrel-adl400", "acrel-adl400", "generic-modbus-plc", "pulse-meter")
_IDS = ("meter-1", "meter-2", "plc-1", "meter-3")
_RESOLUTION = {"voltage": 0.1, "current": 0.6, "power_factor": 0.001, "frequency": 0.01, "cycle_time": 0.1}
_POWER_RESOLUTION = 0.06
_STEPS = (-2, -1, 0, 0, 0, 1, 2)
_DTYPES = {WordType.FLOAT32: ">f4", WordType.UINT32: ">u4", WordType.UINT16: ">u2", WordType.INT16: ">i2"}

Floats = NDArray[np.float64]


class FactoryYear:
    """The gateway ``gateway`` of a simulated factory, from local midnight of its first day on."""

    def __init__(self, gateway: str, seed: int = 1) -> None:
        self._factory = Factory(seed)
        self._random = np.random.default_rng(seed)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "gateway.yaml"
            file.write_text(_gateway_file(gateway), encoding="utf-8")
            config = load_config(file)
            self.descriptor: Descriptor = describe(config)
            self._blocks: list[tuple[Block, ...]] = [requests_of(device) for _, device in config.devices()]
        polled = [
            series
            for device, blocks in zip(self.descriptor.devices, self._blocks, strict=True)
            for series in device.series
            if any(series.in_registers(block.function, block.address, block.count) for block in blocks)
        ]
        if len(polled) != SERIES:
            raise AssertionError(f"the gateway file makes {len(polled)} series, not {SERIES}")

    def chain(self, key: SigningKey, days: int) -> Iterator[Record]:
        """Yield descriptor, start and the records of ``days`` days, each signed."""
        gateway, clock = self.descriptor.gateway, ClockState(True, -340, 1800)
        writer = ChainWriter(gateway, key, boot_id=bytes(16))
        yield writer.append(self.descriptor, time_ms=START_MS - 2000, clock=clock)
        yield writer.append(Event("start"), time_ms=START_MS - 1000, clock=clock)
        for index in range(days):
            begin = START_MS + index * DAY_MS
            planes = self._planes(self._factory.day(index))
            jitter = self._random.integers(0, 40, (RECORDS_A_DAY, len(planes), READS)).cumsum(axis=2) // READS
            slow = self._random.integers(9, 31, (RECORDS_A_DAY, len(planes)))
            for number in range(RECORDS_A_DAY):
                first_ms = begin + number * RECORD_MS
                frames = tuple(
                    Frame(
                        device=device,
                        unit=self.descriptor.devices[device].unit,
                        function=block.function,
                        address=block.address,
                        count=block.count,
                        times_ms=tuple(
                            first_ms + READ_MS * read + late
                            for read, late in enumerate(jitter[number, position].tolist())
                        ),
                        status=bytes(READS),
                        words=rows[:, READS * number : READS * (number + 1)].tobytes(),
                        round_trip_ms=int(slow[number, position]),
                    )
                    for position, (device, block, rows) in enumerate(planes)
                )
                yield writer.append(frames, time_ms=first_ms + RECORD_MS, clock=clock)

    def _planes(self, day: FactoryDay) -> list[tuple[int, Block, NDArray[np.uint8]]]:
        """The registers of each request as planes of bytes over the reads of a day."""
        planes = []
        for number, device in enumerate(self.descriptor.devices):
            for block in self._blocks[number]:
                rows = np.zeros((2 * block.count, READS_A_DAY), dtype=np.uint8)
                for series in device.series:
                    if series.in_registers(block.function, block.address, block.count):
                        values = np.rint((self._values(day, number, series) - series.offset) / series.scale)
                        if series.type is WordType.FLOAT32:
                            values = self._values(day, number, series)
                        first = 2 * (series.address - block.address)
                        encoded = values.astype(_DTYPES[series.type]).view(np.uint8).reshape(READS_A_DAY, -1)
                        rows[first : first + encoded.shape[1]] = encoded.T
                planes.append((number, block, rows))
        return planes

    def _values(self, day: FactoryDay, device: int, series: Series) -> Floats:
        """The values of one series over the reads of a day, in its unit."""
        compressor = device == 1
        minute = np.arange(READS_A_DAY) // (READS_A_DAY // 1440)
        passed = np.arange(READS_A_DAY) % (READS_A_DAY // 1440) / (READS_A_DAY // 1440)
        if series.kind == "counter":
            counter = self._counter(day, device, series)
            return np.floor((counter[minute] + passed * np.diff(counter)[minute]) / series.scale) * series.scale
        if series.quantity == "line_state":
            return day.state[minute].astype(np.float64)
        if series.quantity == "temperature":
            return day.outdoor_temperature_c[minute]
        power = (day.compressor_kw if compressor else day.line_kw)[minute]
        factor = (day.compressor_power_factor if compressor else day.line_power_factor)[minute]
        phase = int(series.name[-1]) - 1 if series.name[-3:-1] == "_l" else None
        share = day.share[phase][minute] if phase is not None else np.ones(READS_A_DAY)
        volts = day.voltage_v[phase or 0][minute]
        known = {
            "active_power": power * share,
            "apparent_power": power / factor,
            "reactive_power": power * np.sqrt(1 / factor**2 - 1),
            "power_factor": factor,
            "voltage": volts,
            "current": 1000 * power * share / (volts * factor),
            "frequency": day.frequency_hz[minute],
            "cycle_time": day.cycle_s[minute],
        }
        resolution = _RESOLUTION.get(series.quantity, _POWER_RESOLUTION)
        digits = np.rint(known[series.quantity] / resolution) + self._random.choice(_STEPS, READS_A_DAY)
        if series.quantity == "power_factor":
            digits = np.minimum(digits, 1000)
        return np.maximum(digits, 0) * resolution

    def _counter(self, day: FactoryDay, device: int, series: Series) -> Floats:
        """A counter at the beginning of every minute and at the end of the day."""
        name = series.name
        if name in {"good_count", "scrap_count"}:
            return (day.good if name == "good_count" else day.scrap).astype(np.float64)
        energy = day.compressor_kwh if device == 1 else day.line_kwh
        if series.quantity.startswith("reactive"):
            return energy * (0.6 if name.endswith("lagging") else 0.01)
        if name.endswith(("_sharp", "_peak", "_valley", "_export")):
            return np.zeros(energy.size)
        return energy


def _gateway_file(gateway: str) -> str:
    connections = "".join(
        f"""
  - id: to-{name}
    protocol: modbus-tcp
    host: 127.0.0.1
    port: {15020 + number}
    devices:
      - {{id: {name}, model: {model}, unit: {number + 1}, interval: 10s, history: false{_ratios(model)}}}"""
        for number, (name, model) in enumerate(zip(_IDS, _MODELS, strict=True))
    )
    return f"""gateway: {gateway}
timezone: Asia/Shanghai
key_file: gateway.key
data_directory: data
flush: 1min
uplink: {{url: "mqtt://127.0.0.1:1883", server_key: "{SigningKey.generate().public.text}"}}
connections:{connections}
"""


def _ratios(model: str) -> str:
    return ", ct_ratio: 60, pt_ratio: 1" if model.startswith("acrel") else ""
