"""``shopfloor agent replace-meter``: what a person reads off two meters joins their counters to the last digit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.clock import SystemClock
from agent.config import load_config
from agent.description import describe
from agent.export import export_records
from agent.key_rotation import open_journal
from agent.keyfile import ensure_key
from agent.meter_replacement import STATED_WITHIN_MS
from evidence.counters import HORIZON_MS, AnomalyKind
from evidence.intervals import IntervalSet, build_intervals
from shopfloor.main import main
from wire.descriptor import Descriptor, Series
from wire.record import STATUS_OK, FrameBuilder, open_record
from wire.record_file import read_records
from wire.words import encode_words

FILE = """\
gateway: gw-01
key_file: gw-01.key
data_directory: data
connections:
  - id: c
    protocol: modbus-tcp
    host: 127.0.0.1
    devices: [{id: m, model: pulse-meter, serial_number: %s, interval: 1min}]
"""
MINUTE_MS = 60_000
QUARTER_MS = 15 * MINUTE_MS
NOW_MS = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    """A gateway file with its key, and nothing in the chain."""
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE % "OLD-1", encoding="utf-8")
    ensure_key(load_config(path).key_file)
    return path


def counter(descriptor: Descriptor) -> Series:
    return next(series for series in descriptor.devices[0].series if series.kind == "counter")


@pytest.fixture
def read(gateway: Path) -> Callable[[int, list[float]], None]:
    """Sign a reading a minute of the first counter, the last one ``until`` minutes from now."""

    def write(until: int, values: list[float]) -> None:
        config = load_config(gateway)
        descriptor = describe(config)
        series = counter(descriptor)
        journal = open_journal(config, SystemClock())
        if journal.descriptor() is None:
            journal.append(descriptor)
        builder = FrameBuilder(0, descriptor.devices[0].unit, series.function, series.address, series.words)
        for position, value in enumerate(values):
            raw = round(value / series.scale)
            words = encode_words(raw, series.type, series.order)
            builder.add(NOW_MS + (until - len(values) + 1 + position) * MINUTE_MS, STATUS_OK, words, 5)
        journal.append((builder.build(),), samples=len(values))
        journal.close()

    return write


def intervals(gateway: Path, target: Path) -> IntervalSet:
    """The quarter hours around now, from the exported records."""
    export_records(load_config(gateway).data_directory, target, None, None)
    with target.open("rb") as file:
        records = [open_record(data, None) for data in read_records(file)]
    descriptors = {
        record.hash: record.payload.body for record in records if isinstance(record.payload.body, Descriptor)
    }
    first = NOW_MS // QUARTER_MS * QUARTER_MS - 4 * QUARTER_MS
    return build_intervals([record.payload for record in records], descriptors, first, first + 8 * QUARTER_MS)


def exchange(gateway: Path, *options: str) -> int:
    gateway.write_text(FILE % "NEW-2", encoding="utf-8")
    return main(["agent", "replace-meter", str(gateway), "m", "--operator", "王工", *options])


def test_energy_goes_on_across_the_exchange(
    gateway: Path, read: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = counter(describe(load_config(gateway)))
    step = 10 * series.scale
    read(-1, [1000 * step + minute * step for minute in range(20)])
    told = f"{series.name}={1020 * step}:{5 * step}"
    assert exchange(gateway, "--reading", told, "--json") == 0
    assert json.loads(capsys.readouterr().out)["records"] == [3, 6]
    read(20, [5 * step + minute * step for minute in range(1, 21)])
    made = intervals(gateway, tmp_path / "joined.records")
    (name,) = [one for one in made.columns if one.endswith(series.name)]
    increase = made.columns[name].increase
    # 20 readings before, the exchange one step after the last of them, 20 steps behind it.
    assert float(np.nansum(increase)) == pytest.approx((19 + 1 + 20) * step)
    assert AnomalyKind.REPLACEMENT in {anomaly.kind for anomaly in made.anomalies}
    assert made.skipped == []


def test_without_the_readings_it_is_a_gap(gateway: Path, read: Callable[..., None], tmp_path: Path) -> None:
    series = counter(describe(load_config(gateway)))
    step = 10 * series.scale
    read(-1, [1000 * step + minute * step for minute in range(20)])
    gateway.write_text(FILE % "NEW-2", encoding="utf-8")
    journal = open_journal(load_config(gateway), SystemClock())
    journal.append(describe(load_config(gateway)))
    journal.close()
    read(20, [5 * step + minute * step for minute in range(1, 21)])
    made = intervals(gateway, tmp_path / "gap.records")
    (name,) = [one for one in made.columns if one.endswith(series.name)]
    increase = made.columns[name].increase
    assert float(np.nansum(increase)) == pytest.approx((19 + 19) * step)
    assert AnomalyKind.METER_CHANGED in {anomaly.kind for anomaly in made.anomalies}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--reading", "active_enrgy=1:0"), "has no counter 'active_enrgy'"),
        (("--reading", "1:0"), "write SERIES=FINAL:FIRST"),
        (("--reading", "SERIES=-1:0"), "a counter shows no -1"),
        (("--reading", "SERIES=1:0", "--reading", "SERIES=2:0"), "stand twice"),
        (("--reading", "SERIES=1:0", "--at", "2020-01-01T10:00"), "within an hour"),
        (("--reading", "SERIES=1:0", "--at", "yesterday"), "is no date and time"),
    ],
    ids=["another series", "no series", "a negative reading", "twice", "too late", "no time"],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    gateway: Path,
    read: Callable[..., None],
    options: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    series = counter(describe(load_config(gateway)))
    read(-1, [1.0, 2.0])
    assert exchange(gateway, *(option.replace("SERIES", series.name) for option in options)) == 2
    assert said in capsys.readouterr().err
    journal = open_journal(load_config(gateway), SystemClock())
    assert journal.state.seq == 2
    journal.close()


def test_a_device_that_the_gateway_file_does_not_have(gateway: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["agent", "replace-meter", str(gateway), "meter", "--operator", "王工", "--reading", "a=1:0"]
    assert main(arguments) == 2
    assert "no device 'meter'" in capsys.readouterr().err


def test_the_hour_is_that_of_the_evidence() -> None:
    assert STATED_WITHIN_MS == HORIZON_MS
