"""Energy figures with and without recorded events: what is taken out, how sure it is, what hangs on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evidence.evaluate import evaluate
from evidence.events.evaluation import tables_of_figures
from evidence.plan import Plan, load_plan
from evidence.result import Evaluation, EventVariant, KpiResult
from evidence.saving_kpi import SavingKpi
from evidence.table import IntervalTable
from evidence.verdict import Verdict

Days = dict[str, NDArray[np.float64]]
OUTAGE, PRESS = (20, 26), (111, 121)
"""Positions of days: six in the baseline, ten in the reporting period."""


def event(name: str, **fields: Any) -> str:
    """One record of a plan, as YAML."""
    known = {
        "id": name,
        "what": f"what happened at {name}",
        "series": "energy",
        "factor": "machines in use",
        "recorded_by": "Wang",
        "recorded": "2025-10-30",
        **fields,
    }
    return "  - {" + ", ".join(f"{key.rstrip('_')}: {value}" for key, value in known.items()) + "}\n"


def outage(treatment: str, **fields: Any) -> str:
    return event("outage", from_="2025-07-21", to="2025-07-27", treatment=treatment, **fields)


def press(treatment: str, **fields: Any) -> str:
    return event("press", from_="2025-10-20", to="2025-10-30", treatment=treatment, **fields)


STATED = {"standard_uncertainty": 100, "basis": "rated power times hours"}


@pytest.fixture
def planned(retrofit_text: str) -> Callable[..., Plan]:
    def make(*records: str, more: str = "") -> Plan:
        return load_plan(retrofit_text + more + ("non_routine_events:\n" + "".join(records) if records else ""), "plan")

    return make


@pytest.fixture
def evaluated(
    planned: Callable[..., Plan], factory_days: Callable[..., Days], daily_table: Callable[..., IntervalTable]
) -> Callable[..., Evaluation]:
    """Evaluate a factory that saves a tenth, with a shift of energy a day within ``OUTAGE`` and ``PRESS``."""

    def make(*records: str, seed: int = 3, outage: float = 0.0, press: float = 0.0, effect: float = -0.1) -> Evaluation:
        values = factory_days(seed, effect=effect)
        values["energy"][slice(*OUTAGE)] += outage
        values["energy"][slice(*PRESS)] += press
        plan = planned(*records)
        return evaluate(plan, daily_table(plan, values))

    return make


def saving(evaluation: Evaluation) -> KpiResult:
    return next(kpi for kpi in evaluation.kpis if kpi.kind == "adjusted_saving")


def variants(evaluation: Evaluation, kpi: str = "saving") -> dict[str, EventVariant]:
    figure = next(one for one in evaluation.events.figures if one.kpi == kpi)
    return {f"{one.events} {one.event or ''}".strip(): one for one in figure.variants}


def known(value: float | None) -> float:
    assert value is not None
    return value


def codes(result: KpiResult) -> set[str]:
    return {reason.code for reason in result.reasons}


def test_without_events_the_figures_are_those_of_the_kpis_alone(
    evaluated: Callable[..., Evaluation], retrofit: Plan, factory_days: Any, daily_table: Any
) -> None:
    evaluation = evaluated()
    table = daily_table(retrofit, factory_days(3, effect=-0.1))
    for kpi, result in zip(retrofit.kpis, evaluation.kpis, strict=True):
        alone = kpi.evaluate(retrofit, table)
        assert (result.change, result.interval, result.reasons) == (alone.change, alone.interval, alone.reasons)
        assert result.model == alone.model
    assert evaluation.events.figures == ()
    assert evaluation.events.recorded == ()


def test_a_stated_quantity_leaves_the_sum_of_its_period(evaluated: Callable[..., Evaluation]) -> None:
    found = evaluated(press("adjust", energy=1500, **STATED), press=150.0)
    bare = evaluated(press=150.0)
    shown = variants(found)
    assert list(shown) == ["all", "none"]
    assert shown["none"].change == saving(bare).change
    assert shown["all"].reporting == pytest.approx(known(saving(bare).reporting) - 1500)
    assert shown["all"].baseline == pytest.approx(saving(bare).baseline)
    assert saving(found).change == shown["all"].change


def test_its_uncertainty_is_in_the_interval(evaluated: Callable[..., Evaluation]) -> None:
    sure = saving(evaluated(press("adjust", energy=1500, standard_uncertainty=0, basis="sub-meter"), press=150.0))
    unsure = saving(evaluated(press("adjust", energy=1500, standard_uncertainty=400, basis="a guess"), press=150.0))
    assert sure.interval is not None
    assert unsure.interval is not None
    t, adjusted = sure.model.t, known(sure.baseline)  # type: ignore[attr-defined]
    half, wider = (interval[1] - interval[0] for interval in (sure.interval, unsure.interval))
    assert wider / 2 == pytest.approx(np.hypot(half / 2, t * 400 / adjusted))
    assert unsure.model.half_width == pytest.approx(wider / 2 * adjusted)  # type: ignore[attr-defined]
    assert "event_uncertainty" in codes(unsure)
    assert "event_uncertainty" not in codes(sure)


def test_an_uncertain_quantity_of_the_baseline_counts_by_what_the_model_makes_of_it(
    evaluated: Callable[..., Evaluation],
) -> None:
    """A kilowatt-hour of the baseline moves the saving by the share of the baseline days in the reporting days."""
    low, high = (
        saving(evaluated(outage("adjust", energy=energy, standard_uncertainty=0, basis="stated"), outage=-200.0))
        for energy in (-1200, -1100)
    )
    unsure = saving(evaluated(outage("adjust", energy=-1200, standard_uncertainty=100, basis="stated"), outage=-200.0))
    assert low.interval is not None
    assert unsure.interval is not None
    effect = known(high.change) - known(low.change)
    half, wider = ((interval[1] - interval[0]) / 2 for interval in (low.interval, unsure.interval))
    assert wider == pytest.approx(np.hypot(half, low.model.t * effect))  # type: ignore[attr-defined]


def test_left_out_days_are_named_and_lower_the_coverage(evaluated: Callable[..., Evaluation]) -> None:
    result = saving(evaluated(outage("exclude"), outage=-300.0))
    assert result.coverage.baseline == pytest.approx(84 / 90)
    excluded = result.model.days.baseline.excluded
    assert {day.reason for day in excluded} == {"non_routine_event"}
    assert [day.day for day in excluded][:2] == [date(2025, 7, 21), date(2025, 7, 22)]
    assert result.interval is not None


def test_more_than_a_tenth_of_a_period_cannot_be_left_out(evaluated: Callable[..., Evaluation]) -> None:
    found = evaluated(press("exclude"))
    assert saving(found).verdict is Verdict.INSUFFICIENT_DATA
    assert "low_coverage_reporting" in codes(saving(found))
    assert variants(found)["none"].verdict is not Verdict.INSUFFICIENT_DATA
    assert "verdict_depends_on_events" in codes(saving(found))


def test_the_model_quantifies_an_event_in_either_period(evaluated: Callable[..., Evaluation]) -> None:
    found = evaluated(outage("model"), press("model"), outage=-200.0, press=150.0)
    quiet = evaluated()
    for record, true in zip(found.events.recorded, (-1200.0, 1500.0), strict=True):
        (quantity,) = record.taken_out
        assert abs(quantity.energy - true) < 3 * quantity.standard_uncertainty
        assert record.estimated == record.taken_out
    assert saving(found).change == pytest.approx(saving(quiet).change, abs=0.01)


def test_the_model_leaves_the_retrofit_where_it_is(evaluated: Callable[..., Evaluation]) -> None:
    """What the event added is what lies above the other reporting days, whatever was saved on all of them."""
    small, large = (evaluated(press("model"), press=150.0, effect=effect) for effect in (0.0, -0.2))
    amounts = [one.events.recorded[0].taken_out[0].energy for one in (small, large)]
    assert amounts[0] == pytest.approx(amounts[1], abs=100)


def test_a_stated_quantity_is_shown_beside_what_the_residuals_say(evaluated: Callable[..., Evaluation]) -> None:
    (record,) = evaluated(press("adjust", energy=1500, **STATED), press=150.0).events.recorded
    (estimate,) = record.estimated
    assert estimate.days == 10
    assert abs(estimate.energy - 1500) < 3 * estimate.standard_uncertainty
    assert record.taken_out[0].energy == pytest.approx(1500)
    assert record.taken_out[0].days is None


def test_each_event_is_also_left_in_alone(evaluated: Callable[..., Evaluation]) -> None:
    shown = variants(evaluated(outage("model"), press("adjust", energy=1500, **STATED), outage=-200.0, press=150.0))
    assert list(shown) == ["all", "without outage", "without press", "none"]
    assert shown["without press"].reporting == shown["none"].reporting
    assert shown["without press"].baseline == shown["all"].baseline
    assert shown["without outage"].baseline == shown["none"].baseline


def test_a_verdict_that_hangs_on_an_event_says_so(evaluated: Callable[..., Evaluation]) -> None:
    found = evaluated(press("adjust", energy=2500, **STATED), press=250.0, effect=-0.15)
    (reason,) = [one for one in saving(found).reasons if one.code == "verdict_depends_on_events"]
    assert "all taken out: met; none taken out:" in reason.en
    assert "全部扣除：达成；均不扣除：" in reason.zh
    figure = next(one for one in found.events.figures if one.kpi == "saving")
    assert figure.verdict_depends


def test_an_event_of_two_days_is_not_quantified_by_the_model(evaluated: Callable[..., Evaluation]) -> None:
    short = event("short", from_="2025-10-20", to="2025-10-22", treatment="model")
    result = saving(evaluated(short))
    assert result.verdict is Verdict.INSUFFICIENT_DATA
    assert result.interval is None
    assert result.reasons[0].code == "event_not_quantified_short"
    assert result.reasons[0].level == "blocking"


def test_an_event_that_fills_the_reporting_period_is_not_told_from_the_retrofit(
    evaluated: Callable[..., Evaluation],
) -> None:
    whole = event("whole", from_="2025-10-06", to="2025-11-15", treatment="model")
    assert "event_not_quantified_whole" in codes(saving(evaluated(whole)))


def test_who_records_after_the_result_is_known_is_named(evaluated: Callable[..., Evaluation]) -> None:
    late = evaluated(press("adjust", energy=100, **STATED, recorded="2025-11-20"))
    (record,) = late.events.recorded
    assert record.recorded_after_reporting
    assert "event_recorded_late_press" in codes(saving(late))
    in_time = evaluated(press("adjust", energy=100, **STATED, recorded="2025-11-19"))
    assert "event_recorded_late_press" not in codes(saving(in_time))


def test_candidates_are_of_the_measurement_and_name_the_record_that_explains_them(
    evaluated: Callable[..., Evaluation],
) -> None:
    found = evaluated(outage("model"), outage=-300.0)
    baseline, reporting = found.events.searches
    (candidate,) = baseline.candidates
    assert candidate.recorded == ("outage",)
    assert abs((candidate.first - date(2025, 7, 21)).days) <= 1
    assert reporting.candidates == ()
    unexplained = saving(evaluated(outage=-300.0))
    (reason,) = [one for one in unexplained.reasons if one.code == "event_candidates_baseline"]
    assert "1 of them without a recorded event" in reason.en
    assert unexplained.change != saving(found).change, "a candidate alone changes no figure"


def test_other_figures_keep_what_was_measured(
    planned: Callable[..., Plan], factory_days: Any, daily_table: Any
) -> None:
    more = "  - {id: continuity, kind: data_continuity, of: [energy]}\n"
    plan = planned(press("exclude"), more=more)
    table = daily_table(plan, factory_days(3))
    tables = tables_of_figures(plan, table)
    assert tables["continuity"] is table
    assert np.isnan(tables["saving"].values["energy"]).sum() == 10
    assert evaluate(plan, table).totals == evaluate(planned(), table).totals


def test_a_sub_meter_states_the_quantity(factory_days: Any, daily_table: Any, retrofit_text: str) -> None:
    text = retrofit_text.replace("  output:", "  trial: {quantity: active_energy_import, unit: MWh}\n  output:")
    fields = {"sub_meter": "trial", "standard_uncertainty": 20, "basis": "sub-meter of class 1"}
    plan = load_plan(text + "non_routine_events:\n" + press("adjust", **fields), "plan")
    values = factory_days(3, effect=-0.1)
    values["trial"] = np.where((np.arange(142) >= PRESS[0]) & (np.arange(142) < PRESS[1]), 0.15, 0.0)
    (record,) = evaluate(plan, daily_table(plan, values)).events.recorded
    assert record.taken_out[0].energy == pytest.approx(1500)


def test_what_is_taken_out_of_quarter_hours_is_not_rounded_away(retrofit_text: str) -> None:
    text = retrofit_text.replace("from: [gw-01/meter-1/active_energy_import]}", "resolution: 1}")
    plan = load_plan(text + "non_routine_events:\n" + press("adjust", energy=48, **STATED), "plan")
    first_ms, end_ms = plan.span_ms
    times = np.arange(first_ms, end_ms, 900_000, dtype=np.int64)
    values = {name: np.full(len(times), 10.0) for name in plan.series}
    table = IntervalTable(times, 900_000, values, plan.series, plan.zone)
    taken = table.stated("energy").sum() - tables_of_figures(plan, table)["saving"].stated("energy").sum()
    assert taken == pytest.approx(48)


def test_the_same_inputs_give_the_same_bytes(evaluated: Callable[..., Evaluation]) -> None:
    one, two = (evaluated(outage("model"), press("model"), outage=-200.0, press=150.0) for _ in range(2))
    assert one.to_json() == two.to_json()


@pytest.mark.soak
@pytest.mark.parametrize("rho", [0.0, 0.4, 0.7])
def test_intervals_with_a_modelled_event_cover_the_truth(
    planned: Any, factory_days: Any, daily_table: Any, rho: float
) -> None:
    """The true change is known; the 90 % interval with both events taken out by the model holds it as often."""
    plan = planned(outage("model"), press("model"))
    kpi = next(one for one in plan.kpis if isinstance(one, SavingKpi))
    plan = plan.model_copy(update={"kpis": (kpi.without_doubt(),)})
    covered = determined = 0
    draws = 600
    for seed in range(draws):
        values = factory_days(10_000 + seed, rho=rho)
        clean = 400 + 0.4 * values["output"] + 6 * values["outdoor_temperature"]
        values["energy"][97:] -= 0.1 * clean[97:]
        values["energy"][slice(*OUTAGE)] -= 200.0
        values["energy"][slice(*PRESS)] += 150.0
        result = evaluate(plan, daily_table(plan, values)).kpis[0]
        if result.interval is not None:
            determined += 1
            covered += result.interval[0] <= -0.1 <= result.interval[1]
    assert determined / draws > 0.9
    assert covered / determined == pytest.approx(0.9, abs=0.04)
