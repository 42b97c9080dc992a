"""Interval tables from CSV and from series: times, steps, holes, and mistakes named by line and column."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from evidence.errors import TableError
from evidence.plan import Plan, load_plan
from evidence.table import DAY_MS, read_csv, table_from_sources

TABLES = Path(__file__).parent / "tables"
EXPECTED: dict[str, str] = yaml.safe_load((TABLES / "expected_problems.yaml").read_text(encoding="utf-8"))
HOUR_MS = 3_600_000


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.fixture(scope="module")
def berlin() -> Plan:
    return load_plan(
        "plan: 1\nproject: p\nenterprise: e\nboundary: b\ntimezone: Europe/Berlin\n"
        "baseline: {from: 2025-01-01, to: 2025-06-01}\nreporting: {from: 2025-06-01, to: 2025-12-01}\n"
        "series: {energy: {quantity: active_energy_import, unit: kWh}}\n"
        "kpis: [{id: saving, kind: adjusted_saving, energy: energy}]\n",
        "berlin.yaml",
    )


def test_daily_rows_with_holes_a_byte_order_mark_and_dos_line_ends(retrofit: Plan) -> None:
    table = read_csv((TABLES / "daily_with_holes.csv").read_bytes().decode("utf-8"), retrofit)
    assert table.step_ms == DAY_MS
    assert table.time_ms.tolist() == [
        milliseconds(f"{day}T00:00:00+08:00") for day in ("2025-07-01", "2025-07-02", "2025-07-04")
    ]
    np.testing.assert_array_equal(table.values["energy"], [1200.5, np.nan, 1100])
    np.testing.assert_array_equal(table.values["outdoor_temperature"], [21.5, 22, np.nan])


@pytest.mark.parametrize("name", sorted(path.name for path in (TABLES / "invalid").glob("*.csv")))
def test_a_wrong_table_is_refused_with_line_and_column(name: str, retrofit: Plan) -> None:
    with pytest.raises(TableError) as caught:
        read_csv((TABLES / "invalid" / name).read_text(encoding="utf-8"), retrofit, source=name)
    assert EXPECTED[name] in str(caught.value)
    assert str(caught.value).startswith(f"{name}:")
    assert caught.value.exit_code == 2


def test_every_expected_problem_has_its_table() -> None:
    assert sorted(EXPECTED) == sorted(path.name for path in (TABLES / "invalid").glob("*.csv"))


def test_a_table_wrong_in_every_row_is_not_listed_to_its_end(berlin: Plan) -> None:
    rows = "".join(f"2025-01-{day:02d},x\n" for day in range(1, 32))
    with pytest.raises(TableError) as caught:
        read_csv("time,energy\n" + rows, berlin)
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "... and 11 more problems"


@pytest.mark.parametrize(("minutes", "rows"), [(15, 96), (60, 24), (1, 1440), (480, 3)])
def test_the_step_is_inferred(minutes: int, rows: int, berlin: Plan) -> None:
    text = "time,energy\n" + "".join(
        f"2025-01-07T{position * minutes // 60:02d}:{position * minutes % 60:02d},1\n" for position in range(rows)
    )
    assert read_csv(text, berlin).step_ms == minutes * 60_000


def test_a_missing_row_is_a_hole_not_an_irregular_step(berlin: Plan) -> None:
    text = "time,energy\n" + "".join(f"2025-01-07 {hour:02d}:00,1\n" for hour in range(24) if hour not in (3, 4))
    table = read_csv(text, berlin)
    assert table.step_ms == HOUR_MS
    assert len(table.time_ms) == 22


def test_an_hour_that_occurs_twice_is_read_in_order(berlin: Plan) -> None:
    hours = ["00", "01", "02", "02", "03", "04"]
    text = "time,energy\n" + "".join(f"2025-10-26 {hour}:00,1\n" for hour in hours)
    starts = read_csv(text, berlin).time_ms
    assert starts[0] == milliseconds("2025-10-26T00:00:00+02:00")
    assert np.diff(starts).tolist() == [HOUR_MS] * 5


def test_an_hour_that_does_not_exist_is_refused(berlin: Plan) -> None:
    with pytest.raises(TableError, match=r"line:3: column 'time': 2025-03-30 02:00 does not exist in Europe/Berlin"):
        read_csv("time,energy\n2025-03-30 01:00,1\n2025-03-30 02:00,1\n2025-03-30 03:00,1\n", berlin, source="line")


def test_days_keep_their_length_when_clocks_change(berlin: Plan) -> None:
    text = "time,energy\n" + "".join(f"2025-03-{day},1\n" for day in (28, 29, 30, 31))
    table = read_csv(text, berlin)
    assert table.step_ms == DAY_MS
    assert (table.durations_ms() // HOUR_MS).tolist() == [24, 24, 23, 24]


def test_a_stated_zone_wins_over_the_plan(berlin: Plan) -> None:
    table = read_csv("time,energy\n2025-01-07T00:00Z,1\n2025-01-07T01:00Z,1\n", berlin)
    assert table.time_ms[0] == round(datetime(2025, 1, 7, tzinfo=UTC).timestamp() * 1000)


def test_several_meters_are_added_and_several_sensors_averaged(retrofit_text: str) -> None:
    text = retrofit_text.replace("[gw-01/meter-1/active_energy_import]", "[a, b]").replace(
        "[gw-01/plc-1/outdoor_temperature]", "[x, y]"
    )
    plan = load_plan(text, "plan.yaml")
    sources: dict[str, list[float | None]] = {
        "a": [1.0, 2.0, None],
        "b": [10.0, None, 30.0],
        "x": [20.0, 22.0, 24.0],
        "y": [22.0, 22.0, None],
        "gw-01/plc-1/good_count": [5.0, 5.0, 5.0],
    }
    table = table_from_sources(plan, [0, 900_000, 1_800_000], 900_000, sources)
    np.testing.assert_array_equal(table.values["energy"], [11.0, np.nan, np.nan])
    np.testing.assert_array_equal(table.values["outdoor_temperature"], [21.0, 22.0, np.nan])


def test_a_source_without_intervals_is_named(retrofit: Plan) -> None:
    with pytest.raises(
        TableError, match="series 'output' needs gw-01/plc-1/good_count, of which there are no intervals"
    ):
        table_from_sources(retrofit, [0], 900_000, {"gw-01/meter-1/active_energy_import": [1.0]})
