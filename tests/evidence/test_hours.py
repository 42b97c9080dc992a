"""Savings by models of hours: hours made of finer intervals, sums by day, and intervals that are wide enough."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from scipy import stats
from scipy.signal import lfilter

from evidence.baseline_model import Conditions
from evidence.block_bootstrap import resampled_sums
from evidence.comparison import BeforeAndAfter, Comparison, avoided_energy
from evidence.evaluate import evaluate
from evidence.hourly_uncertainty import hourly_sum_uncertainty
from evidence.hours import HOUR_MS, period_hours
from evidence.models import MODELS
from evidence.placebo import MOST_WINDOWS_OF_HOURS
from evidence.plan import Plan, load_plan
from evidence.schema import closed_result_schema
from evidence.table import IntervalTable, day_start_ms
from evidence.uncertainty import SEED
from evidence.verdict import Verdict

PLAN = """\
plan: 1
project: hours
enterprise: a workshop
boundary: main meter
baseline:  {from: 2025-03-03, to: 2025-06-02}
reporting: {from: 2025-06-02, to: 2025-07-07}
day_start: '08:00'
series:
  energy: {quantity: active_energy_import, unit: kWh}
  output: {quantity: good_count, unit: piece}
  outdoor: {quantity: temperature, unit: degC}
kpis:
  - {id: saving, kind: adjusted_saving, granularity: hour, energy: energy, variables: [output, outdoor]}
"""
DAYS = 126
HOURS = 24 * DAYS
Values = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(PLAN, "plan.yaml")


def dependent(random: np.random.Generator, rho: float, size: int) -> np.ndarray:
    settled = lfilter([1.0], [1.0, -rho], random.normal(size=size + 300))[300:]
    return np.asarray(settled * np.sqrt(1 - rho**2))


def workshop(effect: float = -0.1, noise: float = 3.0, seed: int = 1) -> Values:
    """Hours from 2025-03-03 08:00 on: a day shift on six days, warmer days cost more; ``effect`` after 91 days."""
    random = np.random.default_rng(seed)
    hour = np.arange(HOURS)
    day, clock = hour // 24, (hour + 8) % 24
    works = (clock >= 8) & (clock < 18) & (day % 7 < 6)
    output = np.round(100 * works * random.uniform(0.8, 1.2, HOURS))
    outdoor = 15 + day / 12 + 5 * np.sin(2 * np.pi * (clock - 9) / 24) + dependent(random, 0.9, HOURS)
    energy = 40 + 0.6 * output + 0.5 * outdoor + noise * dependent(random, 0.7, HOURS)
    return {"energy": np.where(day >= 91, 1 + effect, 1.0) * energy, "output": output, "outdoor": outdoor}


def table(plan: Plan, values: Values, per_hour: int = 1) -> IntervalTable:
    """The hours, each cut into ``per_hour`` equal parts."""
    start = day_start_ms(plan.baseline.start, plan.day_start, plan.zone)
    step = HOUR_MS // per_hour
    cut = {name: np.repeat(column, per_hour) for name, column in values.items()}
    for name in ("energy", "output"):
        cut[name] = cut[name] / per_hour
    times = start + step * np.arange(HOURS * per_hour, dtype=np.int64)
    return IntervalTable(times, step, cut, plan.series, plan.zone, plan.day_start)


def saving(plan: Plan, values: Values, per_hour: int = 1) -> Any:
    return evaluate(plan, table(plan, values, per_hour)).kpis[0]


def test_hours_without_noise_give_the_model_back(plan: Plan) -> None:
    values = workshop(noise=0.0)
    found = saving(plan, values)
    assert [one.value for one in found.model.coefficients] == pytest.approx([40, 0.6, 0.5], rel=1e-9)
    assert [one.unit for one in found.model.coefficients] == ["kWh/h", "kWh/piece", "kWh/h/degC"]
    assert (found.model.granularity, found.model.n, found.model.m) == ("hour", 91 * 24, 35 * 24)
    assert found.change == pytest.approx(-0.1)


def test_the_result_has_sums_by_day(plan: Plan) -> None:
    values = workshop()
    model = saving(plan, values).model
    assert [day.period for day in model.daily] == ["baseline"] * 91 + ["reporting"] * 35
    assert model.daily[0].day == date(2025, 3, 3)
    by_day = values["energy"].reshape(DAYS, 24).sum(axis=1)
    assert [day.measured for day in model.daily] == pytest.approx(by_day.tolist())
    assert sum(day.residual for day in model.daily[91:]) == pytest.approx(-model.saving)


def test_quarter_hours_make_the_same_hours(plan: Plan) -> None:
    values = workshop()
    one, same = saving(plan, values), saving(plan, values, per_hour=4)
    assert same.change == pytest.approx(one.change, rel=1e-9)
    assert same.interval == pytest.approx(one.interval, rel=1e-9)


def test_an_hour_counts_from_nine_tenths_of_its_intervals_on(plan: Plan) -> None:
    quarters = table(plan, workshop(), per_hour=4)
    quarters.values["energy"][41] = np.nan
    hours = period_hours(quarters, plan.baseline, ["energy", "output"])
    assert len(hours.hours) == 91 * 24 - 1
    assert (hours.ordinals[0], hours.hours[0]) == (date(2025, 3, 3).toordinal(), 8)
    # Ten hours after the first, 18:00, is the one that is gone; after midnight it is still the same production day.
    assert hours.hours[8:12].tolist() == [16, 17, 19, 20]
    assert (hours.ordinals[16], hours.hours[16]) == (date(2025, 3, 3).toordinal(), 1)


def test_hours_of_a_zone_with_summer_time_are_local_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    plan = load_plan(PLAN.replace("day_start: '08:00'", "timezone: Europe/Berlin"), "plan.yaml")
    start = day_start_ms(plan.baseline.start, plan.day_start, zone)
    times = start + HOUR_MS * np.arange(91 * 24, dtype=np.int64)
    values = {name: np.ones(len(times)) for name in plan.series}
    hours = period_hours(IntervalTable(times, HOUR_MS, values, plan.series, zone), plan.baseline, ["energy"])
    assert set(hours.hours.tolist()) == set(range(24))
    summer = hours.ordinals == date(2025, 3, 30).toordinal()
    assert hours.hours[summer].tolist() == [0, 1, *range(3, 24)]
    local = [datetime.fromtimestamp(time / 1000, zone) for time in times.tolist()]
    # The day that is an hour short moves the end: the last of these hours is no longer in the period.
    assert hours.hours.tolist() == [moment.hour for moment in local[:-1]]


def test_a_month_that_lacks_hours_gives_no_verdict(plan: Plan) -> None:
    values = workshop()
    # Two hours a day on 25 days of April: each day keeps nine tenths of its hours, the month does too...
    april = (np.arange(HOURS) // 24 >= 29) & (np.arange(HOURS) // 24 < 59)
    values["energy"][april & (np.arange(HOURS) % 24 < 2)] = np.nan
    assert saving(plan, values).interval is not None
    # ... until two whole days are gone as well.
    values["energy"][24 * 40 : 24 * 42] = np.nan
    found = saving(plan, values)
    assert [reason.code for reason in found.reasons if reason.level == "blocking"] == ["too_few_hours_baseline_2025-04"]
    line = next(one for one in found.model.sufficiency if one.of == "baseline 2025-04")
    assert (line.threshold, line.passed, line.source) == (0.9, False, "CalTRACK 2.0")
    assert line.value == pytest.approx(1 - (30 * 2 + 2 * 22) / 720, abs=0.005)


def test_days_are_not_enough_for_a_model_of_hours(retrofit_text: str, daily_table: Any, factory_days: Any) -> None:
    plan = load_plan(retrofit_text.replace("model: linear,", "model: linear, granularity: hour,"), "plan.yaml")
    found: Any = evaluate(plan, daily_table(plan, factory_days(1, -0.3))).kpis[1]
    assert "needs_hours" in [reason.code for reason in found.reasons if reason.level == "blocking"]
    assert found.interval is None


def test_a_week_of_hours_is_told_apart_and_the_temperature_with_it() -> None:
    text = PLAN.replace(
        "variables: [output, outdoor]", "variables: [output, outdoor], model: time_of_week_and_temperature"
    )
    found = saving(load_plan(text, "plan.yaml"), workshop())
    names = [one.name for one in found.model.coefficients]
    assert {"monday 08:00", "sunday 23:00"} <= set(names)
    assert found.model.p == len(names) > 168
    assert found.change == pytest.approx(-0.1, abs=0.02)
    assert found.interval[0] < -0.1 < found.interval[1]
    assert found.verdict is Verdict.MET


def comparison(values: Values, model: str = "linear") -> Comparison:
    hour = np.arange(HOURS)
    conditions = Conditions(739_000 + hour // 24, {"output": values["output"]}, hours=hour % 24)
    before = hour // 24 < 91
    data = BeforeAndAfter(
        conditions.only(before), values["energy"][before], conditions.only(~before), values["energy"][~before]
    )
    found = avoided_energy(MODELS[model], data, 0.9)
    assert found is not None
    return found


def test_the_interval_is_that_of_weeks_of_residuals() -> None:
    """Against the definition: whole days of residuals in blocks of seven, through the model's coefficients."""
    values = workshop(seed=4)
    found = comparison(values)
    fit, uncertainty = found.learnt.fit, found.uncertainty
    column = np.column_stack([np.ones(35 * 24), values["output"][91 * 24 :]]).sum(axis=0)
    scale = (1 - 2 / 91) * (1 - 7 / 91)
    generator = np.random.PCG64(SEED)
    residuals = fit.residuals / np.sqrt(scale)
    errors = resampled_sums(residuals, fit.design @ fit.inverse @ column, generator, 24)
    errors = errors - resampled_sums(residuals, np.ones(35 * 24), generator, 24)
    rho = uncertainty.rho_debiased or 0.0
    seen = 1 - 2 * rho * (1 - rho**7) / (7 * (1 - rho**2))
    widened = stats.t.ppf(0.95, min(uncertainty.n_effective - 2, 1.5 * 91 / 7 - 1)) / stats.norm.ppf(0.95)
    assert uncertainty.half_width == pytest.approx(widened * np.sort(np.abs(errors))[3599] / seen**0.5, rel=1e-9)
    daily = fit.residuals.reshape(91, 24).sum(axis=1)
    assert uncertainty.rho == pytest.approx(daily[1:] @ daily[:-1] / (daily @ daily))


def test_the_interval_of_least_squares_on_hours_is_never_the_one_shown(plan: Plan) -> None:
    found = saving(plan, workshop())
    model = found.model
    assert [one.method for one in model.alternative_intervals] == ["fit_on_days"]
    by_day = model.alternative_intervals[0]
    assert by_day.half_width == pytest.approx(model.half_width, rel=0.5)
    ordinary = stats.norm.ppf(0.95) * model.cv_rmse * np.sqrt(35 * 24 * (1 + 35 / 91)) * found.baseline / (35 * 24)
    assert model.half_width > 1.5 * ordinary


def test_results_of_hours_are_of_the_published_form(plan: Plan) -> None:
    document = evaluate(plan, table(plan, workshop())).to_json()
    problems = [error.message for error in Draft202012Validator(closed_result_schema()).iter_errors(document)]
    assert problems == []


def test_placebo_windows_of_hours_are_fewer(plan: Plan) -> None:
    placebo = saving(plan, workshop()).model.placebo
    assert placebo.state == "determined"
    assert 0 < placebo.windows <= MOST_WINDOWS_OF_HOURS


def test_too_few_days_determine_no_interval() -> None:
    hour = np.arange(13 * 24)
    conditions = Conditions(739_000 + hour // 24, {}, hours=hour % 24)
    learnt = MODELS["mean"].learn(conditions, np.random.default_rng(1).normal(100, 5, len(hour)))
    assert learnt is not None
    found = hourly_sum_uncertainty(learnt, conditions, np.ones((24, 1)), conditions.only(hour < 24), confidence=0.9)
    assert found.half_width is None


@pytest.mark.soak
@pytest.mark.parametrize(
    ("days", "rho"), [((90, 45), (0.0, 0.7)), ((90, 45), (0.6, 0.9)), ((120, 60), (0.6, 0.9)), ((365, 180), (0.6, 0.9))]
)
def test_coverage_with_noise_of_days_and_of_hours(days: tuple[int, int], rho: tuple[float, float]) -> None:
    """Noise that lasts for days and noise that lasts for hours; 90 % intervals cover 87 to 93 %."""
    random = np.random.default_rng(7)
    n, count = days[0], sum(days)
    draws = 1500 if n < 300 else 600
    hour = np.arange(24 * count)
    day, clock = hour // 24, hour % 24
    works = np.where((clock >= 8) & (clock < 18) & (day % 7 < 5), 1.0, 0.2)
    inside = ordinary = 0
    for _ in range(draws):
        output = 100 * works * (1 + 0.1 * dependent(random, 0.5, count)[day])
        noise = 5 * dependent(random, rho[0], count)[day] + 8 * dependent(random, rho[1], 24 * count)
        energy = 50 + 0.8 * output + noise
        conditions = Conditions(739_000 + day, {"output": output}, hours=clock)
        before = day < n
        data = BeforeAndAfter(conditions.only(before), energy[before], conditions.only(~before), energy[~before])
        found = avoided_energy(MODELS["linear"], data, 0.9)
        assert found is not None
        assert found.uncertainty.half_width is not None
        inside += abs(found.saving) <= found.uncertainty.half_width
        fit, column = found.learnt.fit, found.learnt.design(data.after).sum(axis=0)
        taken_for_independent = fit.variance * (float(column @ fit.inverse @ column) + 24 * (count - n))
        ordinary += abs(found.saving) <= stats.norm.ppf(0.95) * taken_for_independent**0.5
    assert inside / draws == pytest.approx(0.9, abs=0.03)
    assert ordinary / draws < 0.45, "what least squares says of hours is no interval"
