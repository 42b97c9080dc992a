"""Screens one by one: what each finds, what it leaves alone, and what it says when it cannot look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evidence.errors import PlanError
from evidence.lattice import learn_lattice, learn_resolution
from evidence.plan import Plan, load_plan
from evidence.result import ScreenResult
from evidence.screen import Subject, subject_of, subject_of_rows
from evidence.screens import SCREENS, replay_exact, screen
from evidence.signed_facts import Arrivals, Change, RegisterReadings, SignedFacts
from evidence.stored import StoredReading
from evidence.table import IntervalTable, midnight_ms
from wire.descriptor import Series
from wire.words import WordOrder, WordType

QUARTER_MS = 900_000
DAYS = 84
ROWS = 96 * DAYS
HALF = ROWS // 2
HEADER = """\
plan: 1
project: screened
enterprise: e
boundary: b
baseline:  {{from: 2025-07-07, to: 2025-08-18}}
reporting: {{from: 2025-08-18, to: 2025-09-29}}
series:
  energy: {{quantity: active_energy_import, unit: {energy}, from: [gw/m/energy]{more}}}
  power: {{quantity: active_power, unit: {power}, from: [gw/m/power]}}
  power_l1: {{quantity: active_power, unit: kW, from: [gw/m/power_l1]}}
  power_l2: {{quantity: active_power, unit: kW, from: [gw/m/power_l2]}}
  power_l3: {{quantity: active_power, unit: kW, from: [gw/m/power_l3]}}
  reactive: {{quantity: reactive_power, unit: kvar, from: [gw/m/reactive]}}
  power_factor: {{quantity: power_factor, unit: "1", from: [gw/m/power_factor]}}
  line: {{quantity: active_energy_import, unit: kWh}}
  rest: {{quantity: active_energy_import, unit: kWh}}
kpis:
  - {{id: intensity, kind: energy_intensity, energy: energy}}
"""
Values = dict[str, NDArray[np.float64]]


def make_plan(energy: str = "kWh", power: str = "kW", more: str = ", parts: [line, rest], losses: 0.0") -> Plan:
    return load_plan(HEADER.format(energy=energy, power=power, more=more), "screened.yaml")


PLAN = make_plan()


def make_values(seed: int = 1) -> Values:
    """Twelve weeks of a plant: a working day, noise that is its own, a meter that counts in steps of 0.3 kWh."""
    random = np.random.default_rng(seed)
    hour = np.arange(ROWS) % 96 / 4
    day = np.arange(ROWS) // 96
    working = (hour >= 6) & (hour < 22) & (day % 7 != 6)
    kw = np.where(working, 260.0, 30.0) * np.exp(0.25 * random.standard_normal(ROWS))
    ends = np.concatenate(([0.0], np.cumsum(kw / 4)))
    energy = np.diff(np.floor(ends / 0.3)) * 0.3
    shares = 1 / 3 + 0.02 * random.standard_normal((3, ROWS))
    shares /= shares.sum(axis=0)
    reactive = kw * (0.4 + 0.2 * random.random(ROWS))
    line = energy * (0.6 + 0.05 * random.random(ROWS))
    return {
        "energy": np.round(energy, 2),
        "power": kw,
        **{f"power_l{phase + 1}": kw * shares[phase] for phase in range(3)},
        "reactive": reactive,
        "power_factor": kw / np.hypot(kw, reactive),
        "line": line,
        "rest": energy - line,
    }


TIMES = midnight_ms(PLAN.baseline.start, PLAN.zone) + QUARTER_MS * np.arange(ROWS, dtype=np.int64)
GENUINE = make_values()


def subject(values: Values | None = None, plan: Plan = PLAN, signed: SignedFacts | None = None) -> Subject:
    table = IntervalTable(TIMES, QUARTER_MS, values or GENUINE, plan.series, plan.zone)
    return subject_of(plan, table, signed)


def result(name: str, whole: Subject) -> ScreenResult:
    return next(one.result(whole) for one in SCREENS if one.name == name)


def states(results: tuple[ScreenResult, ...]) -> dict[str, str]:
    return {one.name: one.state for one in results}


def altered(**changes: Callable[[NDArray[np.float64]], Any]) -> Values:
    """The genuine values with the second half of some series changed."""
    values = {name: column.copy() for name, column in GENUINE.items()}
    for name, change in changes.items():
        values[name][HALF:] = change(values[name][HALF:])
    return values


def test_a_genuine_plant_is_clear_and_what_lacks_input_is_not_checked() -> None:
    found = screen(subject())
    assert states(found) == {
        one.name: "not_checked" if one.name in {"clock", "configuration_changes", "frozen_readings"} else "clear"
        for one in SCREENS
    }
    for one in found:
        assert one.finding.en
        assert one.finding.zh
        assert (one.state == "not_checked") == (one.statement.en == "NOT CHECKED")


def test_every_screen_says_what_it_means_and_never_accuses() -> None:
    whole = altered(energy=lambda half: 0.9 * half)
    for one in (*screen(subject()), *screen(subject(whole))):
        for wording in (one.title, one.meaning, one.limits, one.finding, one.statement):
            for word in ("fraud", "forg", "fake", "造假", "作假", "舞弊"):
                assert word not in wording.en.lower() + wording.zh
        if one.state == "anomaly":
            assert (one.statement.en, one.statement.zh) == ("anomaly, needs checking on site", "异常，需现场核实")


PLANTED: dict[str, tuple[Values, set[str]]] = {
    "energy_of_nine_tenths": (
        altered(energy=lambda half: np.round(0.9 * half, 2)),
        {"register_against_power", "meter_constant", "gate_against_parts"},
    ),
    "power_of_nine_tenths": (
        altered(power=lambda half: 0.9 * half),
        {"register_against_power", "phase_sums", "power_factor_identity"},
    ),
    "a_phase_that_is_off": (altered(power_l2=lambda half: 0.0 * half), {"phase_sums"}),
    "reactive_halved": (altered(reactive=lambda half: 0.5 * half), {"power_factor_identity"}),
    "a_sub_meter_that_counts_double": (altered(line=lambda half: 2.0 * half), {"gate_against_parts"}),
    "a_sub_meter_that_counts_less": (altered(rest=lambda half: 0.5 * half), {"gate_against_parts"}),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_is_found_where_it_begins(case: str) -> None:
    values, expected = PLANTED[case]
    whole = subject(values)
    assert {name for name, state in states(screen(whole)).items() if state == "anomaly"} == expected
    for name in expected:
        found = result(name, whole)
        first = min(place.start_ms for place in found.places)
        assert first == TIMES[HALF], name
        assert max(place.end_ms for place in found.places) == TIMES[-1] + QUARTER_MS


def test_parts_without_losses_need_not_be_everything() -> None:
    plan = make_plan(more=", parts: [line]")
    assert result("gate_against_parts", subject(plan=plan)).state == "clear"
    less = result("gate_against_parts", subject(altered(line=lambda half: 0.5 * half), plan))
    assert less.state == "clear"
    assert result("gate_against_parts", subject(altered(line=lambda half: 2 * half), plan)).state == "anomaly"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (", parts: [lines]", "no series 'lines' in this plan; did you mean 'line'?"),
        (", parts: [energy]", "a series is no part of itself"),
        (", parts: [power]", "'power' is active_power, and no part of active_energy_import"),
        (", losses: 0.02", "losses are between a whole and its parts; name the 'parts'"),
    ],
)
def test_parts_that_cannot_be_are_refused(more: str, message: str) -> None:
    with pytest.raises(PlanError, match=message.replace("?", r"\?")):
        make_plan(more=more)


def test_a_declared_maximum_bounds_increments() -> None:
    values = {name: column.copy() for name, column in GENUINE.items()}
    values["energy"][100] = 301.0
    assert result("impossible_increments", subject(values)).state == "clear"
    found = result("impossible_increments", subject(values, make_plan(more=", maximum_rate: 1200")))
    assert [(place.start_ms, place.figures) for place in found.places] == [
        (int(TIMES[100]), {"value": 301.0, "bound": 300.0})
    ]


def test_a_declared_constant_is_the_lattice() -> None:
    found = result("meter_constant", subject(plan=make_plan(more=", meter_constant: 0.6")))
    assert found.state == "anomaly"
    assert found.figures["energy.constant"] == 0.6


def test_gaps_at_the_hours_of_high_load_stand_out_and_others_do_not() -> None:
    starts = HALF + 96 * np.arange(36)
    for hour, state in ((10, "anomaly"), (2, "clear")):
        values = {name: column.copy() for name, column in GENUINE.items()}
        for start in starts.tolist():
            values["energy"][start + 4 * hour : start + 4 * hour + 4] = np.nan
        assert result("gaps_at_convenient_times", subject(values)).state == state
    scattered = {name: column.copy() for name, column in GENUINE.items()}
    random = np.random.default_rng(3)
    scattered["energy"][HALF + random.integers(0, HALF, 40)] = np.nan
    assert result("gaps_at_convenient_times", subject(scattered)).state == "clear"


def test_a_resting_load_is_no_replay_and_no_stuck_channel() -> None:
    """Every night the same two values in turn, every weekend zero: it repeats by nature."""
    values = {name: column.copy() for name, column in GENUINE.items()}
    hour = np.arange(ROWS) % 96 / 4
    night = (hour < 6) | (hour >= 22)
    for column in values.values():
        column[night] = np.where(np.arange(ROWS) % 2, 1.5, 1.2)[night]
        column[np.arange(ROWS) // 96 % 7 == 6] = 0.0
    whole = subject(values)
    assert result("replay_exact", whole).state == "clear"
    assert result("stuck", whole).state == "clear"


@pytest.mark.parametrize("constant", [0.036, 0.05, 0.3, 1.2, 12.0])
def test_a_constant_is_learned_from_stated_values(constant: float) -> None:
    counts = np.random.default_rng(5).poisson(180, 5000)
    values = np.round(counts * constant, 2)
    resolution = learn_resolution(values)
    assert resolution is not None
    found = learn_lattice(values, resolution)
    assert found is not None
    assert found.constant == pytest.approx(constant, rel=1e-9)


def test_values_without_steps_have_no_constant() -> None:
    values = np.round(np.random.default_rng(5).gamma(2, 40, 5000), 2)
    assert learn_lattice(values, 0.01) is None


def arrivals(delay_s: Callable[[NDArray[np.int64]], Any]) -> SignedFacts:
    closed = TIMES[: 96 * 20]
    delay = delay_s(np.arange(closed.size))
    return SignedFacts(arrivals=(Arrivals("gw", closed, closed + np.asarray(1000 * delay, dtype=np.int64)),))


@pytest.mark.parametrize(
    ("delay_s", "state"),
    [
        (lambda row: 2.0 + 0.0 * row, "clear"),
        (lambda row: 2.0 + 86_400.0 * 5 * (row < 480), "clear"),  # kept on the gateway for five days, then delivered
        (lambda row: np.where(row < 960, 2.0, -900.0), "anomaly"),  # the clock was put a quarter of an hour ahead
        (lambda row: 1800.0 + 20.0 * np.sin(row), "anomaly"),  # half an hour behind, for weeks
        (lambda row: 1800.0 * 30 - 25.0 * row, "clear"),  # a backlog that gets shorter
    ],
)
def test_a_clock_is_told_from_a_backlog(delay_s: Callable[[NDArray[np.int64]], Any], state: str) -> None:
    assert result("clock", subject(signed=arrivals(delay_s))).state == state


def test_a_changed_ratio_between_the_periods_is_named() -> None:
    change = Change("gw/m", int(TIMES[HALF]), "CT ratio", "60", "40")
    early = replace(change, time_ms=int(TIMES[0]) - 1)
    found = result("configuration_changes", subject(signed=SignedFacts(changes=(change, early))))
    assert found.state == "anomaly"
    assert found.finding.en == "1 change(s): gw/m CT ratio: 60 → 40."
    assert result("configuration_changes", subject(signed=SignedFacts(changes=(early,)))).state == "clear"


def frozen(*readings: tuple[int, float]) -> tuple[StoredReading, ...]:
    series = (
        Series("daily_time", "frozen_time", "YYMMDDhhmm", "state", 3, 0, WordType.UINT32, WordOrder.ABCD),
        Series("daily_energy", "energy", "kWh", "gauge", 3, 2, WordType.UINT32, WordOrder.ABCD, 0.01),
    )
    return tuple(
        StoredReading("gw", "m", "daily", entry, int(TIMES[-1]), series, reading, ())
        for entry, reading in enumerate(readings, start=1)
    )


@pytest.mark.parametrize(("taken_away", "state"), [(0.0, "clear"), (25.0, "anomaly")])
def test_a_frozen_reading_lies_between_ours(taken_away: float, state: str) -> None:
    ends = np.concatenate(([1000.0], 1000.0 + np.cumsum(GENUINE["energy"])))
    first, last = ends[:-1] + 0.01, ends[1:] - 0.01
    first[96 * 10 :] -= taken_away
    last[96 * 10 :] -= taken_away
    registers = {"gw/m/energy": RegisterReadings(TIMES, TIMES + QUARTER_MS, first, last)}
    days = [(PLAN.baseline.start + timedelta(days=day), float(ends[96 * day])) for day in (2, 9, 20)]
    stored = frozen(*((int(f"{day:%y%m%d}0000"), round(value, 2)) for day, value in days))
    found = result("frozen_readings", subject(signed=SignedFacts(stored=stored, registers=registers)))
    assert found.state == state
    if taken_away:
        assert [place.start_ms for place in found.places] == [int(TIMES[96 * 20])]
        assert found.places[0].figures["frozen"] > found.places[0].figures["ours_after"]
    assert found.figures["gw/m/energy.compared"] == 3.0


@settings(max_examples=6, deadline=None)
@given(case=st.sampled_from(sorted(PLANTED)), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_and_of_series_does_not_matter(case: str, seed: int) -> None:
    whole = subject(PLANTED[case][0])
    random = np.random.default_rng(seed)
    rows = random.permutation(ROWS)
    shuffled = [replace(channel, values=channel.values[rows]) for channel in whole.channels]
    order = random.permutation(len(shuffled)).tolist()
    again = subject_of_rows(PLAN, TIMES[rows], QUARTER_MS, [shuffled[index] for index in order])
    assert screen(again) == screen(whole)


UNITS = {"Wh": 1000.0, "kWh": 1.0, "MWh": 0.001}
POWERS = {"W": 1000.0, "kW": 1.0, "MW": 0.001}


@settings(max_examples=6, deadline=None)
@given(
    case=st.sampled_from(sorted(PLANTED)), energy=st.sampled_from(sorted(UNITS)), power=st.sampled_from(sorted(POWERS))
)
def test_the_unit_of_a_series_does_not_matter(case: str, energy: str, power: str) -> None:
    values = dict(PLANTED[case][0])
    before = screen(subject(values))
    values["energy"] = values["energy"] * UNITS[energy]
    values["power"] = values["power"] * POWERS[power]
    after = screen(subject(values, make_plan(energy, power)))
    assert states(after) == states(before)
    for one, other in zip(before, after, strict=True):
        assert [(p.series, p.start_ms, p.end_ms) for p in one.places] == [
            (p.series, p.start_ms, p.end_ms) for p in other.places
        ]
        for place, same in zip(one.places, other.places, strict=True):
            assert same.figures == pytest.approx(place.figures, rel=1e-6, abs=1e-6)
        assert other.figures == pytest.approx(one.figures, rel=1e-6, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_odd_tables_are_results_never_exceptions(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 200))
    step = data.draw(st.sampled_from([900_000, 3_600_000, 86_400_000]))
    kind = data.draw(st.sampled_from(["missing", "zero", "constant", "random", "holes"]))
    random = np.random.default_rng(size)
    columns = {
        "missing": np.full(size, np.nan),
        "zero": np.zeros(size),
        "constant": np.full(size, 3.0),
        "random": random.random(size),
        "holes": np.where(random.random(size) < 0.5, np.nan, random.random(size)),
    }
    times = TIMES[0] + step * np.arange(size, dtype=np.int64)
    table = IntervalTable(times, step, dict.fromkeys(PLAN.series, columns[kind]), PLAN.series, PLAN.zone)
    found = screen(subject_of(PLAN, table, SignedFacts()))
    assert [one.name for one in found] == [one.name for one in SCREENS]


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "UTC"])
def test_rows_stand_where_the_local_clock_says_also_on_days_when_it_is_changed(zone: str) -> None:
    times = TIMES[0] + QUARTER_MS * np.arange(400 * 96, dtype=np.int64)
    whole = Subject(times, QUARTER_MS, ZoneInfo(zone), (), (0, 0), (0, 0))
    local = [datetime.fromtimestamp(one // 1000, whole.zone) for one in times.tolist()]
    assert whole.rows_of_day.tolist() == [moment.hour * 4 + moment.minute // 15 for moment in local]
    numbers = [moment.date().toordinal() for moment in local]
    assert np.unique(whole.days - numbers).size == 1
    assert Subject(times[:0], QUARTER_MS, whole.zone, (), (0, 0), (0, 0)).days.size == 0


def test_rows_that_only_their_values_tell_apart_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a multiplier of zero the quick key of all rows is the same."""
    week = 7 * 96
    replayed = altered(energy=lambda values: np.concatenate((GENUINE["energy"][:week], values[week:])))
    by_key = [result("replay_exact", subject(values)) for values in (GENUINE, replayed)]
    assert [one.state for one in by_key] == ["clear", "anomaly"]
    monkeypatch.setattr(replay_exact, "_MULTIPLIER", np.uint64(0))
    assert [result("replay_exact", subject(values)) for values in (GENUINE, replayed)] == by_key
