"""What the meters of a plan told beside the plan's series: power, phases, reactive energy, power factor. Only the
screens look at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from evidence.intervals import COMPLETE_COVERAGE, QUARTER_HOUR_MS, SeriesIntervals
from evidence.plan import Plan
from evidence.quantities import QUANTITIES, Aggregation
from evidence.screen import BASE_UNITS, Channel
from evidence.signed_facts import RegisterReadings, SignedFacts
from evidence.table import FloatArray, IntervalTable
from store.database import Connection
from store.intervals import IntervalValues, read_interval_values

COMPARED = frozenset({
    *("reactive_energy_import", "reactive_energy_export"),
    *("active_power", "reactive_power", "power_factor"),
})  # fmt: skip
"""Quantities that a screen compares with the plan's active energy, or with each other. Not further active energies:
among a meter's are its tariffs."""


def sibling_channels(connection: Connection, plan: Plan, table: IntervalTable, signed: SignedFacts) -> list[Channel]:
    """The other series of the meters whose active energy is in the plan, on the times of its table."""
    own = {source for series in plan.series.values() for source in series.sources}
    meters = {
        source.rsplit("/", 1)[0]
        for series in plan.series.values()
        if series.definition.active_energy
        for source in series.sources
    }
    wanted = {
        name: series
        for name, series in signed.series.items()
        if name not in own and series.quantity in COMPARED and name.rsplit("/", 1)[0] in meters
    }
    if not wanted or not table.time_ms.size:
        return []
    from_ms, to_ms = int(table.time_ms[0]), int(table.time_ms[-1]) + table.step_ms
    quantities = {name: QUANTITIES[wanted[name].quantity] for name in sorted(wanted)}
    columns: dict[str, Literal["mean", "increase"]] = {
        name: "increase" if quantity.aggregation is Aggregation.INCREMENT else "mean"
        for name, quantity in quantities.items()
    }
    stored = read_interval_values(connection, columns, from_ms, to_ms, COMPLETE_COVERAGE)
    return [
        Channel(
            name=name,
            quantity=quantities[name],
            values=_on_grid(table, values) * BASE_UNITS.get(wanted[name].unit, 1.0),
            meter=name.rsplit("/", 1)[0],
            source=name,
        )
        for name, values in stored.items()
    ]


def _on_grid(table: IntervalTable, known: IntervalValues) -> FloatArray:
    row = np.minimum(np.searchsorted(table.time_ms, known.time_ms), table.time_ms.size - 1)
    usable = table.time_ms[row] == known.time_ms
    column = np.full(table.time_ms.size, np.nan)
    column[row[usable]] = known.values[usable]
    return column


def register_readings(intervals: Mapping[str, SeriesIntervals]) -> dict[str, RegisterReadings]:
    """First and last reading of each interval of the plan's counters, by full series id."""
    found = {}
    for name, kept in intervals.items():
        read = np.isfinite(kept.increase) & np.isfinite(kept.first) & np.isfinite(kept.last)
        if read.any():
            found[name] = RegisterReadings(
                start_ms=kept.time_ms[read],
                end_ms=kept.time_ms[read] + QUARTER_HOUR_MS,
                first=kept.first[read],
                last=kept.last[read],
            )
    return found
