"""What a meter froze by itself: when each entry was frozen, and the amounts between entries that follow each other."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from evidence.errors import TableError
from evidence.meter_history import frozen_ms, history_spans
from evidence.plan import SeriesPlan
from evidence.stored import StoredReading
from wire.descriptor import Series
from wire.words import WordOrder, WordType

ZONE = ZoneInfo("Asia/Shanghai")
READ_MS = round(datetime(2025, 7, 10, 0, 20, tzinfo=ZONE).timestamp() * 1000)
ENERGY = SeriesPlan(quantity="active_energy_import", unit="kWh")
SOURCE = "gw-01/meter-1/daily_energy"


def series(name: str, quantity: str, unit: str) -> Series:
    return Series(name, quantity, unit, "gauge", 3, 0, WordType.UINT32, WordOrder.ABCD)


def reading(entry: int, values: dict[tuple[str, str, str], float | None]) -> StoredReading:
    described = tuple(series(*one) for one in values)
    return StoredReading("gw-01", "meter-1", "daily", entry, READ_MS, described, tuple(values.values()), ())


def local(time_ms: int | None) -> str | None:
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, ZONE).strftime("%Y-%m-%d %H:%M")


COUNT = ("daily_energy", "active_energy_import", "kWh")
FROZEN = ("daily_time", "frozen_time", "YYMMDDhhmm")
MONTH, HOUR = ("daily_year_month", "year_month", "1"), ("daily_day_hour", "day_hour", "1")


@pytest.mark.parametrize(
    ("entry", "period", "extra", "frozen"),
    [
        (1, "day", {}, "2025-07-10 00:00"),
        (11, "day", {}, "2025-06-30 00:00"),
        (1, "month", {}, "2025-07-01 00:00"),
        (8, "month", {}, "2024-12-01 00:00"),
        (5, "day", {FROZEN: 2507080000.0}, "2025-07-08 00:00"),
        (5, "day", {MONTH: float(0x1907), HOUR: float(0x0100)}, "2025-07-01 00:00"),
        (5, "day", {MONTH: float(0x1807), HOUR: float(0x1F00)}, "2024-07-31 00:00"),
        (5, "day", {FROZEN: None}, None),
        (5, "day", {FROZEN: 0.0}, None),
        (5, "day", {MONTH: float(0x1913), HOUR: float(0x0100)}, None),
    ],
)
def test_when_an_entry_was_frozen(
    entry: int, period: str, extra: dict[tuple[str, str, str], float | None], frozen: str | None
) -> None:
    assert local(frozen_ms(reading(entry, {COUNT: 1.0, **extra}), period, ZONE)) == frozen


def test_amounts_are_differences_of_entries_that_follow_each_other() -> None:
    counts = {1: 1050.0, 2: 1040.5, 3: 1030.0, 5: 1010.0, 6: 1012.0, 7: None, 8: 990.0}
    spans = history_spans([reading(n, {COUNT: value}) for n, value in counts.items()], SOURCE, "day", ENERGY, ZONE)
    found = [
        (local(start), local(end), value)
        for start, end, value in zip(spans.start_ms, spans.end_ms, spans.values, strict=True)
    ]
    # Entry 4 is missing, 7 is empty, and from 6 to 5 the register fell: three gaps.
    assert found == [
        ("2025-07-08 00:00", "2025-07-09 00:00", 10.5),
        ("2025-07-09 00:00", "2025-07-10 00:00", 9.5),
    ]


def test_months_of_any_length_are_amounts() -> None:
    counts = {1: 4000.0, 2: 3000.0, 3: 1900.0, 5: 0.0}
    spans = history_spans([reading(n, {COUNT: value}) for n, value in counts.items()], SOURCE, "month", ENERGY, ZONE)
    assert [local(int(start)) for start in spans.start_ms] == ["2025-05-01 00:00", "2025-06-01 00:00"]
    assert spans.values.tolist() == [1100.0, 1000.0]


def test_a_history_without_the_series_or_in_another_unit_is_refused() -> None:
    with pytest.raises(TableError, match="has no 'daily_output'; it has daily_energy"):
        history_spans([reading(1, {COUNT: 1.0})], "gw-01/meter-1/daily_output", "day", ENERGY, ZONE)
    in_mwh = SeriesPlan(quantity="active_energy_import", unit="MWh")
    with pytest.raises(TableError, match="is active_energy_import in kWh, the plan says active_energy_import in MWh"):
        history_spans([reading(1, {COUNT: 1.0})], SOURCE, "day", in_mwh, ZONE)
