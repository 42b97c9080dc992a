"""A simulated production line with its compressor and its weather, one local day at a time.

Everything follows from one trajectory a minute: the state of the line (semi-Markov: run, idle, set-up, down;
stopped when nobody is there), the product on it, the outdoor temperature. Pieces follow from state and product,
power from state, pieces and temperature, energy from power. All values are constant within their minute, so an
energy counter is the exact integral of the power that the same meter shows.

A day is a pure function of (seed, day, what the day before left behind). No random draw looks at the retrofit, so
that the same seed with and without it is the same factory: the difference between the two is the true saving, which
no meter can show.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from demo.almanac import (
    BREAK_AFTER,
    BREAK_MINUTES,
    DAY_MS,
    FIRST_SHIFT,
    MINUTE_MS,
    MINUTES_A_DAY,
    SECOND_SHIFT,
    ZONE,
    is_working_day,
)
from demo.errors import DemoError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FIRST_DAY = date(2025, 7, 1)
START_MS = int(datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=ZONE).timestamp() * 1000)
RETROFIT_DAY = date(2025, 10, 1)
DEFAULT_EFFECT = 0.17

_KNOT_MINUTES = 15
_KNOTS = MINUTES_A_DAY // _KNOT_MINUTES
_DAYS_KEPT = 4


class LineState(IntEnum):
    """What the line does, as its PLC numbers it."""

    STOPPED = 0
    RUN = 1
    IDLE = 2
    SET_UP = 3
    DOWN = 4


@dataclass(frozen=True, slots=True)
class Product:
    """One product: pieces a minute, kWh a piece on the line as it was before the retrofit, share of scrap."""

    pieces_a_minute: float
    kwh_a_piece: float
    scrap: float


PRODUCTS = (
    Product(pieces_a_minute=5.4, kwh_a_piece=0.245, scrap=0.015),
    Product(pieces_a_minute=5.0, kwh_a_piece=0.250, scrap=0.020),
    Product(pieces_a_minute=4.5, kwh_a_piece=0.265, scrap=0.030),
)

# Electrical power of the line beside the pieces, kW: furnaces on hold and cabinets when nobody is there, drives
# turning when somebody is.
_STANDBY_KW = 30.0
_IDLE_KW = 42.0
_SET_UP_KW = 58.0
_DOWN_KW = 26.0
# Hall ventilation and cabinet cooling run around the clock and follow the outdoor temperature.
_COOLING_KW_A_KELVIN = 0.5
_COOLING_FROM_C = -16.0
_AGEING_A_YEAR = 0.008

_COMPRESSOR_LOADED_KW = 37.0
_COMPRESSOR_UNLOADED_KW = 12.5
_COMPRESSOR_CYCLE_MINUTES = 6.0
# Share of the time the compressor is loaded, by state of the line: leaks alone when it is stopped.
_AIR_DUTY = (0.18, 0.65, 0.33, 0.33, 0.24)


@dataclass(frozen=True, slots=True)
class Carry:
    """What one day leaves to the next: slow processes, the product on the line, and the counters at 00:00."""

    weather_k: float = 0.0
    condition: float = 0.0
    flicker: float = 0.0
    voltage: tuple[float, float, float] = (0.0, 0.0, 0.0)
    unbalance: tuple[float, float, float] = (0.0, 0.0, 0.0)
    workload: float = 0.0
    product: int = 0
    campaign_minutes: float = 600.0
    piece_fraction: float = 0.0
    compressor_phase: float = 0.0
    line_kwh: float = 184_213.4
    compressor_kwh: float = 51_877.25
    good: int = 1_204_417
    scrap: int = 24_883


@dataclass(frozen=True, slots=True)
class FactoryDay:
    """One local day, minute by minute.

    Arrays have 1440 values, each constant within its minute; ``voltage_v`` and ``share`` are (3, 1440), one row a
    phase, and the shares of the three phases in the power sum to 1. ``line_kwh``, ``compressor_kwh``, ``good`` and
    ``scrap`` have 1441 values: the counters at the beginning of every minute and at the end of the day.
    """

    start_ms: int
    outdoor_temperature_c: Floats
    state: Integers
    cycle_s: Floats
    produced: Integers
    good: Integers
    scrap: Integers
    line_kw: Floats
    line_kwh: Floats
    line_power_factor: Floats
    compressor_kw: Floats
    compressor_kwh: Floats
    compressor_power_factor: Floats
    voltage_v: Floats
    share: Floats
    frequency_hz: Floats


class Factory:
    """The factory of one seed.

    ``effect`` is the share by which the retrofit lowers the energy of a piece and of idling (0 = a retrofit that
    does nothing); set-up, repair and cooling are as before, so the saving of the whole line is smaller.
    """

    def __init__(self, seed: int = 1, effect: float = DEFAULT_EFFECT) -> None:
        if seed < 0:
            raise DemoError(f"seed {seed}: must be 0 or more")
        if not 0 <= effect < 1:
            raise DemoError(f"effect {effect}: must be a share, 0 <= effect < 1")
        self.seed = seed
        self.effect = effect
        self._carries = [Carry()]
        self._days: OrderedDict[int, FactoryDay] = OrderedDict()

    def day(self, index: int) -> FactoryDay:
        """The trajectory of the ``index``-th local day after 2025-07-01; any later day may be asked for, in any
        order.
        """
        if index < 0:
            raise DemoError(f"the simulated factory opens on {FIRST_DAY}: there is nothing before it")
        if index in self._days:
            self._days.move_to_end(index)
            return self._days[index]
        for missing in range(len(self._carries) - 1, index):
            _, carry = simulate_day(self.seed, missing, self._carries[missing], self.effect)
            self._carries.append(carry)
        trajectory, carry = simulate_day(self.seed, index, self._carries[index], self.effect)
        if index + 1 == len(self._carries):
            self._carries.append(carry)
        self._days[index] = trajectory
        if len(self._days) > _DAYS_KEPT:
            self._days.popitem(last=False)
        return trajectory

    def day_at(self, time_ms: int) -> FactoryDay:
        """The local day that contains an instant."""
        return self.day((time_ms - START_MS) // DAY_MS)


def day_index(day: date) -> int:
    """Number of a local day, counted from the first day of the factory."""
    return (day - FIRST_DAY).days


def simulate_day(seed: int, index: int, carry: Carry, effect: float) -> tuple[FactoryDay, Carry]:
    """Simulate one day; returns it with what it leaves behind."""
    day = FIRST_DAY + timedelta(index)
    random = np.random.default_rng((seed, index))
    temperature, weather_k = _outdoor_temperature(random, day, carry.weather_k)
    condition = 0.6 * carry.condition + random.normal(0.0, 0.8 * 0.028)
    flicker = _wander(random, carry.flicker, 0.85, 0.03)
    voltage = np.array([_wander(random, start, 0.97, 1.6) for start in carry.voltage])
    unbalance = np.array([_wander(random, start, 0.97, 0.02) for start in carry.unbalance])
    shift = _Shift(random, carry, is_working_day(day))
    produced, scrap, piece_fraction = _pieces(random, shift, carry.piece_fraction)

    remaining = 1.0 - effect if day >= RETROFIT_DAY else 1.0
    wear = np.exp(_ramp(carry.condition, condition) + _AGEING_A_YEAR * index / 365.0)
    machine = np.array([_STANDBY_KW * remaining, _IDLE_KW * remaining, _IDLE_KW * remaining, _SET_UP_KW, _DOWN_KW])[
        shift.state
    ]
    running = np.where(shift.state == LineState.RUN, shift.rate * 60.0 * shift.kwh_a_piece * remaining, 0.0)
    cooling = _COOLING_KW_A_KELVIN * np.maximum(temperature - _COOLING_FROM_C, 0.0)
    line_kw = (machine + running) * wear * np.exp(flicker) + cooling
    compressor_kw, phase = _compressor(shift.state, carry.compressor_phase)

    shares = 1.0 + unbalance - unbalance.mean(axis=0)
    trajectory = FactoryDay(
        start_ms=START_MS + index * DAY_MS,
        outdoor_temperature_c=temperature,
        state=shift.state,
        cycle_s=shift.cycle_s,
        produced=produced,
        good=_counter(carry.good, produced - scrap),
        scrap=_counter(carry.scrap, scrap),
        line_kw=line_kw,
        line_kwh=_energy(carry.line_kwh, line_kw),
        line_power_factor=0.66 + 0.24 * line_kw / (line_kw + 45.0),
        compressor_kw=compressor_kw,
        compressor_kwh=_energy(carry.compressor_kwh, compressor_kw),
        compressor_power_factor=np.where(compressor_kw > _COMPRESSOR_UNLOADED_KW * 1.5, 0.87, 0.58),
        voltage_v=231.0 + voltage - 0.012 * line_kw,
        share=shares / shares.sum(axis=0),
        frequency_hz=50.0 + 0.4 * flicker,
    )
    return trajectory, replace(
        carry,
        weather_k=weather_k,
        condition=condition,
        flicker=float(flicker[-1]),
        voltage=(float(voltage[0, -1]), float(voltage[1, -1]), float(voltage[2, -1])),
        unbalance=(float(unbalance[0, -1]), float(unbalance[1, -1]), float(unbalance[2, -1])),
        workload=shift.workload,
        product=shift.product,
        campaign_minutes=shift.campaign_minutes,
        piece_fraction=piece_fraction,
        compressor_phase=phase,
        line_kwh=float(trajectory.line_kwh[-1]),
        compressor_kwh=float(trajectory.compressor_kwh[-1]),
        good=int(trajectory.good[-1]),
        scrap=int(trajectory.scrap[-1]),
    )


class _Shift:
    """The day of the line: its state in every minute and the product on it."""

    def __init__(self, random: np.random.Generator, carry: Carry, working: bool) -> None:
        self.state: Integers = np.full(MINUTES_A_DAY, LineState.STOPPED, dtype=np.int64)
        self.rate: Floats = np.zeros(MINUTES_A_DAY)
        self.kwh_a_piece: Floats = np.zeros(MINUTES_A_DAY)
        self.scrap: Floats = np.zeros(MINUTES_A_DAY)
        self.product = carry.product
        self.cycle_s: Floats = np.full(MINUTES_A_DAY, 60.0 / PRODUCTS[carry.product].pieces_a_minute)
        self.campaign_minutes = carry.campaign_minutes
        # Orders come in waves: how much of the second shift is worked is correlated from day to day.
        self.workload = 0.5 * carry.workload + random.normal(0.0, 0.87)
        if working:
            first, last = SECOND_SHIFT
            worked = first + (last - first) * float(np.clip(0.75 + 0.45 * self.workload, 0.0, 1.0))
            self._work(random, FIRST_SHIFT[0], min(FIRST_SHIFT[1], int(worked)), set_up=int(random.integers(12, 26)))
            if worked > first + 60:
                self._work(random, first, int(worked), set_up=int(random.integers(4, 9)))

    def _work(self, random: np.random.Generator, begin: int, end: int, set_up: int) -> None:
        pause = begin + BREAK_AFTER
        minute = self._stay(LineState.SET_UP, begin, set_up, end)
        while minute < end:
            if pause <= minute:
                minute = self._stay(LineState.IDLE, minute, BREAK_MINUTES, end)
                pause = end + 1
                continue
            until_stop = random.exponential(70.0)
            until_breakdown = random.exponential(1100.0)
            run = max(1, int(min(until_stop, until_breakdown, self.campaign_minutes)))
            minute = self._run(minute, run, min(end, max(pause, minute + 1)))
            if self.campaign_minutes <= 0:
                self.product = int(random.choice(len(PRODUCTS), p=(0.35, 0.4, 0.25)))
                self.campaign_minutes = float(random.lognormal(np.log(260.0), 0.5))
                minute = self._stay(LineState.SET_UP, minute, int(random.integers(18, 45)), end)
            elif until_breakdown < until_stop:
                minute = self._stay(LineState.DOWN, minute, 5 + int(random.lognormal(np.log(30.0), 0.6)), end)
            else:
                minute = self._stay(LineState.IDLE, minute, 1 + int(random.exponential(6.0)), end)

    def _stay(self, state: LineState, minute: int, minutes: int, end: int) -> int:
        until = min(minute + minutes, end)
        self.state[minute:until] = state
        return until

    def _run(self, minute: int, minutes: int, end: int) -> int:
        until = self._stay(LineState.RUN, minute, minutes, end)
        product = PRODUCTS[self.product]
        self.rate[minute:until] = product.pieces_a_minute
        self.cycle_s[minute:] = 60.0 / product.pieces_a_minute
        self.kwh_a_piece[minute:until] = product.kwh_a_piece
        self.scrap[minute:until] = product.scrap
        self.campaign_minutes -= until - minute
        return until


def _outdoor_temperature(random: np.random.Generator, day: date, weather_k: float) -> tuple[Floats, float]:
    """Season, daily cycle with its maximum at 15:00, and AR(1) weather; degrees Celsius, and the weather at
    midnight.
    """
    after = 0.78 * weather_k + random.normal(0.0, 0.626 * 4.5)
    year_phase = 2.0 * np.pi * (day.timetuple().tm_yday + np.arange(MINUTES_A_DAY) / MINUTES_A_DAY - 201.0) / 365.25
    cycle = np.cos(2.0 * np.pi * (np.arange(MINUTES_A_DAY) - 15 * 60) / MINUTES_A_DAY)
    clear_sky = 5.5
    return 12.5 + 10.5 * np.cos(year_phase) + clear_sky * cycle + _ramp(weather_k, after), after


def _wander(random: np.random.Generator, start: float, rho: float, deviation: float) -> Floats:
    """An AR(1) path with knots every 15 minutes and straight lines between them; it begins at ``start``."""
    steps = random.normal(0.0, deviation * np.sqrt(1.0 - rho * rho), _KNOTS)
    knots = np.empty(_KNOTS + 1)
    knots[0] = start
    for n, step in enumerate(steps):
        knots[n + 1] = rho * knots[n] + step
    return np.interp(np.arange(1, MINUTES_A_DAY + 1), np.arange(_KNOTS + 1) * _KNOT_MINUTES, knots)


def _ramp(first: float, last: float) -> Floats:
    return first + (last - first) * np.arange(MINUTES_A_DAY) / MINUTES_A_DAY


def _pieces(random: np.random.Generator, shift: _Shift, fraction: float) -> tuple[Integers, Integers, float]:
    """Whole pieces of every minute, scrap among them, and the unfinished piece at midnight."""
    finished = fraction + np.concatenate(([0.0], np.cumsum(shift.rate)))
    produced = np.diff(np.floor(finished)).astype(np.int64)
    return produced, random.binomial(produced, shift.scrap), float(finished[-1] % 1.0)


def _compressor(state: Integers, phase: float) -> tuple[Floats, float]:
    """Load/unload control: loaded for the share of each cycle that leaks and consumers ask for, unloaded for the
    rest.
    """
    duty = np.array(_AIR_DUTY)[state]
    position = (phase + np.arange(MINUTES_A_DAY) / _COMPRESSOR_CYCLE_MINUTES) % 1.0
    # A minute that contains the change-over is loaded for a part of it.
    loaded = np.clip((duty - position) * _COMPRESSOR_CYCLE_MINUTES, 0.0, 1.0)
    power = _COMPRESSOR_UNLOADED_KW + (_COMPRESSOR_LOADED_KW - _COMPRESSOR_UNLOADED_KW) * loaded
    return power, (phase + MINUTES_A_DAY / _COMPRESSOR_CYCLE_MINUTES) % 1.0


def _energy(start_kwh: float, power_kw: Floats) -> Floats:
    return start_kwh + np.concatenate(([0.0], np.cumsum(power_kw) / 60.0))


def _counter(start: int, counts: Integers) -> Integers:
    return start + np.concatenate(([0], np.cumsum(counts)))


def minute_of(day: FactoryDay, time_ms: int) -> tuple[int, float]:
    """The minute of a day that contains an instant, and the share of the minute that has passed."""
    minute, within_ms = divmod(time_ms - day.start_ms, MINUTE_MS)
    return minute, within_ms / MINUTE_MS
