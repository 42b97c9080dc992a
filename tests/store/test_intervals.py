from __future__ import annotations

import math
from dataclasses import astuple, fields, replace
from typing import Literal

import numpy as np
import pytest

from store.database import Connection, connect
from store.errors import RowsOutsideRangeError
from store.intervals import (
    IntervalColumns,
    IntervalRow,
    interval_extent,
    read_interval_arrays,
    read_interval_values,
    read_intervals,
    replace_intervals,
)
from store.series import series_names

STEP = 900_000
DAY = 86_400_000
MIDNIGHT = 1_759_276_800_000  # 2025-10-01T00:00:00Z
ENERGY = "gw-01/meter-1/active_energy_import"
STATE = "gw-01/plc-1/line_state"


def energy(i: int, increase: float | None = 1.5) -> IntervalRow:
    return IntervalRow(
        ENERGY, MIDNIGHT + i * STEP, 10.0 + i, 11.0 + i, 10.0 + i, 11.0 + i, 94.5, 9, 10.5 + i, increase, 0.75
    )


def state(i: int) -> IntervalRow:
    return IntervalRow(
        STATE, MIDNIGHT + i * STEP, 1.0, 0.0, 0.0, 1.0, 4.0, 5, 0.4, None, 1.0, {"运行": 600_000, "0": 300_000}
    )


def read_rows(conn: Connection, series: str, from_ms: int = MIDNIGHT, to_ms: int = MIDNIGHT + DAY) -> list[IntervalRow]:
    columns = read_intervals(conn, [series], from_ms, to_ms)[series]
    fields = (getattr(columns, name) for name in IntervalRow.__slots__ if name != "series")
    return [IntervalRow(series, *values) for values in zip(*fields, strict=True)]


def test_intervals_come_back_as_they_were_in_the_order_of_time(conn: Connection) -> None:
    rows = [energy(2, None), energy(0), energy(1), state(0)]
    replace_intervals(conn, "gw-01", MIDNIGHT, MIDNIGHT + DAY, rows)
    assert read_rows(conn, ENERGY) == [energy(0), energy(1), energy(2, None)]
    assert read_rows(conn, STATE) == [state(0)]
    assert read_rows(conn, ENERGY, MIDNIGHT + STEP, MIDNIGHT + 2 * STEP) == [energy(1)]


def test_a_series_without_intervals_has_empty_columns(conn: Connection) -> None:
    columns = read_intervals(conn, ["gw-01/meter-9/power"], MIDNIGHT, MIDNIGHT + DAY)
    assert columns["gw-01/meter-9/power"].time_ms == []
    assert interval_extent(conn, "gw-01/meter-9/power") is None


def test_missing_values_stay_missing_and_nan_stays_nan(conn: Connection) -> None:
    row = replace(energy(0), first=None, last=math.nan, minimum=None, maximum=None, sum=None, mean=None, count=0)
    replace_intervals(conn, "gw-01", MIDNIGHT, MIDNIGHT + DAY, [row])
    (found,) = read_rows(conn, ENERGY)
    assert found.first is None
    assert found.last is not None
    assert math.isnan(found.last)
    assert astuple(replace(found, last=0.0)) == astuple(replace(row, last=0.0))


def test_replacing_twice_is_replacing_once(conn: Connection) -> None:
    for _ in range(2):
        replace_intervals(conn, "gw-01", MIDNIGHT, MIDNIGHT + DAY, [energy(i) for i in range(96)])
    assert len(read_rows(conn, ENERGY)) == 96


def test_replacing_removes_what_is_no_longer_there_and_nothing_else(conn: Connection) -> None:
    foreign = replace(energy(0), series="gw-02/meter-1/active_energy_import")
    replace_intervals(conn, "gw-02", MIDNIGHT, MIDNIGHT + DAY, [foreign])
    replace_intervals(conn, "gw-01", MIDNIGHT, MIDNIGHT + 2 * DAY, [energy(0), energy(1), energy(96)])
    replace_intervals(conn, "gw-01", MIDNIGHT, MIDNIGHT + DAY, [energy(1)])
    assert read_rows(conn, ENERGY, MIDNIGHT, MIDNIGHT + 2 * DAY) == [energy(1), energy(96)]
    assert read_rows(conn, foreign.series) == [foreign]
    assert interval_extent(conn, ENERGY) == (MIDNIGHT + STEP, MIDNIGHT + DAY)


@pytest.mark.parametrize(
    "row",
    [energy(-1), energy(96), replace(energy(0), series="gw-010/meter-1/power")],
    ids=["before the range", "at the end of the range", "of another gateway"],
)
def test_a_row_outside_the_replaced_range_is_refused(conn: Connection, row: IntervalRow) -> None:
    replace_intervals(conn, "gw-01", MIDNIGHT, MIDNIGHT + DAY, [energy(0)])
    with pytest.raises(RowsOutsideRangeError, match=row.series):
        replace_intervals(conn, "gw-01", MIDNIGHT, MIDNIGHT + DAY, [energy(5), row])
    assert read_rows(conn, ENERGY) == [energy(0)]


def test_intervals_of_many_months_are_stored(conn: Connection) -> None:
    rows = [replace(energy(0), time_ms=MIDNIGHT + month * 31 * DAY) for month in range(30)]
    replace_intervals(conn, "gw-01", MIDNIGHT, MIDNIGHT + 31 * 31 * DAY, rows)
    assert len(read_rows(conn, ENERGY, MIDNIGHT, MIDNIGHT + 31 * 31 * DAY)) == 30


def test_series_get_one_number_each_whoever_names_them_first(database_url: str) -> None:
    with connect(database_url) as one, connect(database_url) as two:
        replace_intervals(one, "gw-01", MIDNIGHT, MIDNIGHT + DAY, [energy(0)])
        one.commit()
        replace_intervals(two, "gw-01", MIDNIGHT, MIDNIGHT + DAY, [energy(0), state(0)])
        assert series_names(two) == [ENERGY, STATE]
        assert series_names(two, "gw-02") == []


def test_arrays_hold_what_lists_hold(conn: Connection) -> None:
    rows = [energy(1, None), energy(0), state(0), state(1)]
    replace_intervals(conn, "gw-01", MIDNIGHT, MIDNIGHT + DAY, rows)
    names = [ENERGY, STATE, "gw-01/meter-9/power"]
    lists = read_intervals(conn, names, MIDNIGHT, MIDNIGHT + DAY)
    arrays = read_interval_arrays(conn, names, MIDNIGHT, MIDNIGHT + DAY)
    assert list(arrays) == names
    for name, columns in lists.items():
        for column in fields(IntervalColumns):
            found, expected = getattr(arrays[name], column.name), getattr(columns, column.name)
            if column.name == "states":
                assert found == expected
            else:
                assert found.dtype == (np.int64 if column.name in {"time_ms", "count"} else np.float64)
                assert [None if math.isnan(value) else value for value in found.tolist()] == expected
    assert any(states is not None for states in arrays[STATE].states)
    assert read_interval_arrays(conn, [ENERGY], MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)[ENERGY].time_ms.size == 0


def test_values_of_intervals_that_are_known_well_enough(conn: Connection) -> None:
    rows = [energy(2), replace(energy(1), coverage=0.5), energy(0), state(0), energy(3, None)]
    replace_intervals(conn, "gw-01", MIDNIGHT, MIDNIGHT + DAY, rows)
    wanted: dict[str, Literal["mean", "increase"]] = {ENERGY: "increase", STATE: "mean", "gw-01/meter-9/power": "mean"}
    values = read_interval_values(conn, wanted, MIDNIGHT, MIDNIGHT + DAY, 0.75)
    assert list(values) == [ENERGY, STATE], "those that have any"
    assert values[ENERGY].time_ms.tolist() == [MIDNIGHT + position * STEP for position in (0, 2, 3)]
    assert np.array_equal(values[ENERGY].values, [1.5, 1.5, np.nan], equal_nan=True)
    assert values[STATE].values.tolist() == [0.4]
