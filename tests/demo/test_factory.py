"""The simulated factory is coherent: what its meters and its PLC will show cannot contradict each other."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest

from demo.almanac import is_working_day
from demo.electrical import three_phase
from demo.errors import DemoError
from demo.factory import FIRST_DAY, RETROFIT_DAY, START_MS, Factory, LineState, day_index
from demo.truth import table, truth

BASELINE = (date(2025, 7, 1), date(2025, 9, 29))
REPORTING = (date(2025, 10, 6), date(2025, 11, 20))


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_energy_is_the_integral_of_power_across_midnight(seed: int) -> None:
    factory = Factory(seed)
    days = [factory.day(index) for index in range(5)]
    for kwh, kw in (("line_kwh", "line_kw"), ("compressor_kwh", "compressor_kw")):
        power = np.concatenate([getattr(day, kw) for day in days])
        counted = getattr(days[-1], kwh)[-1] - getattr(days[0], kwh)[0]
        assert counted == pytest.approx(power.sum() / 60.0, rel=1e-12)
        for before, after in pairwise(days):
            assert getattr(before, kwh)[-1] == getattr(after, kwh)[0]


def test_counters_never_fall_and_good_and_scrap_are_what_was_produced() -> None:
    factory = Factory(3)
    for index in range(14):
        day = factory.day(index)
        good, scrap = np.diff(day.good), np.diff(day.scrap)
        assert (good >= 0).all()
        assert (scrap >= 0).all()
        assert (good + scrap == day.produced).all()
        assert (day.produced[day.state != LineState.RUN] == 0).all()
        assert (np.diff(day.line_kwh) > 0).all()


def test_phases_carry_the_power_of_the_meter() -> None:
    factory = Factory(1)
    day = factory.day(2)
    for minute in range(0, 1440, 37):
        a, b, c = day.voltage_v[:, minute].tolist()
        share_a, share_b, share_c = day.share[:, minute].tolist()
        state = three_phase(
            float(day.line_kw[minute]),
            float(day.line_power_factor[minute]),
            (a, b, c),
            (share_a, share_b, share_c),
            float(day.frequency_hz[minute]),
        )
        carried = sum(
            volt * ampere * state.power_factor for volt, ampere in zip(state.voltage_v, state.current_a, strict=True)
        )
        assert carried / 1000.0 == pytest.approx(state.power_kw, rel=1e-12)
        assert sum(state.phase_kw) == pytest.approx(state.power_kw, rel=1e-12)
        assert state.apparent_kva**2 == pytest.approx(state.power_kw**2 + state.reactive_kvar**2, rel=1e-12)
        assert 0.5 < state.power_factor < 1.0
        assert all(207.0 < volt < 253.0 for volt in state.voltage_v)


def test_states_of_a_quarter_are_those_of_a_factory() -> None:
    factory = Factory(5)
    states = np.concatenate([factory.day(index).state for index in range(90)])
    share = np.bincount(states, minlength=5) / len(states)
    assert 0.3 < share[LineState.RUN] < 0.6
    assert 0.3 < share[LineState.STOPPED] < 0.6
    assert 0.02 < share[LineState.IDLE] < 0.15
    assert 0.01 < share[LineState.SET_UP] < 0.12
    assert 0.002 < share[LineState.DOWN] < 0.08


def test_sundays_and_holidays_are_days_off() -> None:
    factory = Factory(1)
    for offset in range(110):
        day = FIRST_DAY + timedelta(offset)
        produced = factory.day(offset).produced.sum()
        assert (produced > 0) == is_working_day(day), day
    assert not is_working_day(date(2025, 10, 1))
    assert not is_working_day(date(2025, 7, 6))


def test_power_follows_the_state_of_the_line() -> None:
    day = Factory(2).day(2)
    running, stopped = day.line_kw[day.state == LineState.RUN], day.line_kw[day.state == LineState.STOPPED]
    assert running.mean() > 1.8 * stopped.mean()
    assert (
        day.compressor_kw[day.state == LineState.RUN].mean() > day.compressor_kw[day.state == LineState.STOPPED].mean()
    )
    assert day.compressor_kw.min() > 0


def test_summer_is_warmer_than_autumn_and_afternoon_than_night() -> None:
    factory = Factory(4)
    july = np.array([factory.day(index).outdoor_temperature_c for index in range(31)])
    november = np.array([factory.day(day_index(date(2025, 11, 1)) + n).outdoor_temperature_c for n in range(20)])
    assert july.mean() > november.mean() + 8.0
    assert july[:, 15 * 60].mean() > july[:, 3 * 60].mean() + 5.0


def test_same_seed_gives_the_same_bytes_in_any_order() -> None:
    forwards, backwards = Factory(11), Factory(11)
    expected = [forwards.day(index) for index in range(20)]
    for index in (19, 3, 0, 12):
        day = backwards.day(index)
        for name in ("line_kwh", "good", "state", "outdoor_temperature_c", "voltage_v", "share"):
            assert getattr(day, name).tobytes() == getattr(expected[index], name).tobytes()
    other = Factory(12).day(3)
    assert other.line_kw.tobytes() != expected[3].line_kw.tobytes()


def test_retrofit_changes_energy_and_nothing_else() -> None:
    with_it, without = Factory(1), Factory(1, effect=0.0)
    before, after = day_index(RETROFIT_DAY) - 1, day_index(date(2025, 10, 10))
    assert with_it.day(before).line_kw.tobytes() == without.day(before).line_kw.tobytes()
    for name in ("state", "produced", "good", "scrap", "outdoor_temperature_c", "compressor_kw", "share"):
        assert getattr(with_it.day(after), name).tobytes() == getattr(without.day(after), name).tobytes()
    assert (with_it.day(after).line_kw <= without.day(after).line_kw).all()
    # What set-up, repair and cooling take is not touched.
    untouched = np.isin(with_it.day(after).state, [LineState.SET_UP, LineState.DOWN])
    assert untouched.any()
    assert np.array_equal(with_it.day(after).line_kw[untouched], without.day(after).line_kw[untouched])


def test_truth_is_the_difference_between_the_two_factories() -> None:
    known = truth(Factory(1), BASELINE, REPORTING)
    assert 0.11 < known.saving < 0.16
    assert known.actual_kwh == pytest.approx(table(Factory(1), REPORTING).energy.sum(), rel=1e-9)
    assert known.counterfactual_kwh == pytest.approx(table(Factory(1, effect=0.0), REPORTING).energy.sum(), rel=1e-9)
    assert truth(Factory(1, effect=0.0), BASELINE, REPORTING).saving == 0.0


def test_table_is_the_trajectory_in_quarters_of_an_hour() -> None:
    factory = Factory(6)
    rows = table(factory, (date(2025, 7, 1), date(2025, 7, 4)))
    assert rows.time_ms[0] == START_MS
    assert len(rows.time_ms) == len(rows.energy) == 3 * 96
    assert (np.diff(rows.time_ms) == 900_000).all()
    day = factory.day(1)
    assert rows.energy[96:192].sum() == pytest.approx(day.line_kwh[-1] - day.line_kwh[0], rel=1e-9)
    assert rows.output[96:192].sum() == day.good[-1] - day.good[0]
    assert rows.outdoor_temperature[96:192].mean() == pytest.approx(day.outdoor_temperature_c.mean(), rel=1e-12)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(DemoError, match="opens on 2025-07-01"):
        Factory(1).day_at(START_MS - 1)
    with pytest.raises(DemoError, match="effect"):
        Factory(1, effect=1.0)
    with pytest.raises(DemoError, match="seed"):
        Factory(-1)
