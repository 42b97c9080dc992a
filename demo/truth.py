"""What only the simulator knows: the factory's true saving, and its data as a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from demo.almanac import DAY_MS
from demo.factory import START_MS, Factory, FactoryDay, Floats, Integers, day_index

_QUARTERS_A_DAY = 96
QUARTER_MS = DAY_MS // _QUARTERS_A_DAY


@dataclass(frozen=True, slots=True)
class Truth:
    """True effect of the retrofit on the line meter.

    ``saving`` = 1 - actual / counterfactual energy of the reporting period, where the counterfactual is the same
    factory with the same random draws and no retrofit; ``intensity_change`` = kWh a good piece, reporting over
    baseline, - 1; energies in kWh.
    """

    saving: float
    intensity_change: float
    actual_kwh: float
    counterfactual_kwh: float


@dataclass(frozen=True, slots=True)
class FactoryTable:
    """15-minute intervals of the factory: start of each (ms since the epoch, UTC), and the interval's energy of the
    line in kWh, good pieces, and mean outdoor temperature in degrees Celsius.
    """

    time_ms: Integers
    energy: Floats
    output: Floats
    outdoor_temperature: Floats


Period = tuple[date, date]


def truth(factory: Factory, baseline: Period, reporting: Period) -> Truth:
    """True saving and intensity change between two half-open periods of local days."""
    without = Factory(factory.seed, effect=0.0)
    actual = _energy(factory, reporting)
    counterfactual = _energy(without, reporting)
    before = _energy(factory, baseline) / _good(factory, baseline)
    after = actual / _good(factory, reporting)
    return Truth(1.0 - actual / counterfactual, after / before - 1.0, actual, counterfactual)


def table(factory: Factory, period: Period) -> FactoryTable:
    """The factory's data of a half-open period of local days, without any meter in between."""
    days = _days(factory, period)
    first = START_MS + day_index(period[0]) * DAY_MS
    return FactoryTable(
        time_ms=first + np.arange(len(days) * _QUARTERS_A_DAY, dtype=np.int64) * QUARTER_MS,
        energy=np.concatenate([np.diff(day.line_kwh[::15]) for day in days]),
        output=np.concatenate([np.diff(day.good[::15]) for day in days]).astype(np.float64),
        outdoor_temperature=np.concatenate([day.outdoor_temperature_c.reshape(-1, 15).mean(axis=1) for day in days]),
    )


def _days(factory: Factory, period: Period) -> list[FactoryDay]:
    return [factory.day(index) for index in range(day_index(period[0]), day_index(period[1]))]


def _energy(factory: Factory, period: Period) -> float:
    days = _days(factory, period)
    return float(days[-1].line_kwh[-1] - days[0].line_kwh[0])


def _good(factory: Factory, period: Period) -> float:
    days = _days(factory, period)
    return float(days[-1].good[-1] - days[0].good[0])
