"""Efficiency after ISO 22400-2: the published example, the identities of the standard, and what is flagged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from evidence.errors import PlanError
from evidence.event_rates import mean_time_change_interval
from evidence.plan import Plan, load_plan
from evidence.result import KpiResult
from evidence.table import IntervalTable
from evidence.verdict import Verdict
from shopfloor.main import main

PLANS = Path(__file__).parent / "plans"
PUBLISHED = {"a": 0.888095238, "e": 0.861081323, "q": 0.978049920, "oee": 0.747936508}


def test_the_published_example_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """480 min, breaks 2 x 15 + 30, down 47, 60 pieces/min, 19,271 pieces, 423 rejects (Vorne)."""
    table = tmp_path / "shifts.csv"
    table.write_text(
        "time,shift,breaks,down,pieces,rejects\n2026-01-05,480,60,47,19271,423\n2026-01-06,480,60,40,19800,400\n"
    )
    assert main(["evidence", "evaluate", str(PLANS / "oee_vorne.yaml"), "--data", str(table), "--json", "-"]) == 0
    for kpi in json.loads(capsys.readouterr().out)["kpis"]:
        assert kpi["baseline"] == pytest.approx(PUBLISHED[kpi["id"]], abs=1e-9)
        assert kpi["verdict"] == "insufficient_data"


KINDS = {
    "availability": "production_time: apt, planned_busy_time: pbt",
    "allocation_efficiency": "busy_time: aubt, planned_busy_time: pbt",
    "utilisation_efficiency": "production_time: apt, busy_time: aubt",
    "effectiveness": "planned_run_time: {value: 0.5, unit: min}, produced: pq, production_time: apt",
    "quality_ratio": "good: gq, produced: pq",
    "oee": "planned_run_time: {value: 0.5, unit: min}, good: gq, planned_busy_time: pbt",
    "nee": "planned_run_time: {value: 0.5, unit: min}, good: gq, processing_time: aust + apt, production_time: apt, "
    "planned_busy_time: pbt",
}
IDENTITIES = load_plan(
    """plan: 1
project: identities
enterprise: e
boundary: b
baseline: {from: 2026-01-05, to: 2026-02-02}
reporting: {from: 2026-02-02, to: 2026-03-02}
series:
  pbt: {quantity: planned_busy_time, unit: min}
  aubt: {quantity: busy_time, unit: h}
  aust: {quantity: setup_time, unit: s}
  apt: {quantity: production_time, unit: min}
  pq: {quantity: produced_count, unit: piece}
  gq: {quantity: good_count, unit: piece}
kpis:
"""
    + "".join(f"  - {{id: {kind}, kind: {kind}, {fields}}}\n" for kind, fields in KINDS.items()),
    "identities.yaml",
)
MINUTES = st.floats(1.0, 600.0)
SHIFT = st.tuples(MINUTES, MINUTES, MINUTES, st.floats(0.0, 300.0), st.integers(1, 5000), st.floats(0.01, 1.0))


def evaluated(plan: Plan, table: IntervalTable) -> dict[str, KpiResult]:
    return {kpi.kind: kpi.evaluate(plan, table) for kpi in plan.kpis}


@settings(deadline=None, max_examples=50)
@given(shifts=st.lists(SHIFT, min_size=1, max_size=28))
def test_the_identities_of_the_standard_hold_for_any_shifts(
    daily_table: Callable[..., IntervalTable], shifts: list[tuple[float, ...]]
) -> None:
    repeated = np.array([shifts[day % len(shifts)] for day in range(56)])
    planned, busy, production, setup, produced, share = repeated.T
    days = {
        "pbt": planned,
        "aubt": busy / 60,
        "aust": setup * 60,
        "apt": production,
        "pq": produced,
        "gq": np.floor(produced * share),
    }
    of = {kind: result.baseline for kind, result in evaluated(IDENTITIES, daily_table(IDENTITIES, days)).items()}
    assert all(value is not None for value in of.values())
    exact: dict[str, float] = {kind: float(value or 0.0) for kind, value in of.items()}
    assert exact["availability"] == pytest.approx(
        exact["allocation_efficiency"] * exact["utilisation_efficiency"], rel=1e-12
    )
    product = exact["availability"] * exact["effectiveness"] * exact["quality_ratio"]
    assert exact["oee"] == pytest.approx(product, rel=1e-12)
    first = slice(0, 28)
    assert exact["oee"] == pytest.approx(0.5 * days["gq"][first].sum() / planned[first].sum(), rel=1e-12)
    assert exact["nee"] >= exact["oee"] * (1 - 1e-12)
    processing = (setup + production)[first].sum() / planned[first].sum()
    assert exact["nee"] == pytest.approx(processing * exact["effectiveness"] * exact["quality_ratio"], rel=1e-9)


def workdays(seed: int, faster: float = 1.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    production = random.uniform(250, 400, 56)
    produced = np.round(1.8 * production * np.where(np.arange(56) < 28, 1.0, faster))
    return {
        "pbt": np.full(56, 420.0),
        "aubt": (production + 20) / 60,
        "aust": np.full(56, 1200.0),
        "apt": production,
        "pq": produced,
        "gq": produced - np.round(random.uniform(0, 0.04, 56) * produced),
    }


def test_effectiveness_above_all_is_flagged_and_not_clipped(daily_table: Callable[..., IntervalTable]) -> None:
    result = evaluated(IDENTITIES, daily_table(IDENTITIES, workdays(1, faster=1.3)))["effectiveness"]
    assert result.reporting is not None
    assert result.reporting > 1.1
    told = {reason.code: reason for reason in result.reasons}
    assert "above_one_reporting" in told
    assert "above_one_baseline" not in told
    assert "planned run time" in told["above_one_reporting"].en
    assert result.verdict is Verdict.MET


def test_a_product_of_ratios_gets_the_interval_of_its_days(daily_table: Callable[..., IntervalTable]) -> None:
    """With the same processing share every day, NEE is OEE times a constant, and so are the ends of its interval."""
    days = workdays(2, faster=1.1)
    days["aust"] = days["apt"] * 60 * 0.25
    results = evaluated(IDENTITIES, daily_table(IDENTITIES, days))
    nee, oee = results["nee"], results["oee"]
    assert nee.baseline == pytest.approx(1.25 * float(oee.baseline or 0))
    assert nee.interval == pytest.approx(oee.interval, rel=1e-6)


def test_a_sum_of_series_must_be_of_one_dimension(every_kpi_text: str) -> None:
    wrong = [
        ("shift - breaks}\n  - {id: allocation", "shift - plates}\n  - {id: allocation", "not a duration"),
        ("good: plates - rejects, produced", "good: plates - plates, produced", "'plates' stands twice"),
        ("good: plates - rejects, produced", "good: plates-rejects, produced", "is no sum of series"),
        ("good: plates - rejects, produced", "good: plates - reject, produced", "did you mean 'rejects'"),
        ("rejects: {quantity: scrap_count, unit: piece}", "rejects: {quantity: scrap_count, unit: box}", "box, piece"),
    ]
    for stated, changed, problem in wrong:
        assert stated in every_kpi_text
        with pytest.raises(Exception, match=problem) as caught:
            load_plan(every_kpi_text.replace(stated, changed), "plan.yaml")
        assert caught.value.exit_code == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(("before", "after"), [((1000.0, 10), (1000.0, 5)), ((800.0, 3), (1200.0, 9))])
def test_the_interval_of_a_mean_time_is_the_exact_one_of_a_binomial(
    before: tuple[float, int], after: tuple[float, int]
) -> None:
    found = mean_time_change_interval(before, after, 0.9)
    exact = binomtest(after[1], before[1] + after[1]).proportion_ci(0.9, "exact")
    exposure = after[0] / before[0]
    ends = sorted(exposure * (1 - p) / p - 1 for p in (exact.low, exact.high))
    assert found == pytest.approx(tuple(ends))


def test_a_mean_time_without_failures_has_no_interval() -> None:
    assert mean_time_change_interval((1000.0, 4), (1000.0, 0), 0.9) is None


def test_a_saving_is_no_target_of_a_quality_ratio() -> None:
    with pytest.raises(PlanError, match="turn the sign"):
        load_plan(
            "plan: 1\nproject: p\nenterprise: e\nboundary: b\nbaseline: {from: 2026-01-05, to: 2026-02-02}\n"
            "reporting: {from: 2026-02-02, to: 2026-03-02}\nseries:\n  gq: {quantity: good_count, unit: piece}\n"
            "  pq: {quantity: produced_count, unit: piece}\n"
            "kpis: [{id: q, kind: quality_ratio, good: gq, produced: pq, target: {saving: 0.1}}]\n",
            "plan.yaml",
        )


def test_an_interval_beyond_all_numbers_is_none(daily_table: Callable[..., IntervalTable]) -> None:
    """One good day among days that made next to nothing: the days determine no change."""
    days = workdays(4)
    days["gq"] = np.where(np.arange(56) == 30, 5000.0, 1e-9)
    result = evaluated(IDENTITIES, daily_table(IDENTITIES, days))["oee"]
    assert (result.interval, result.verdict) == (None, Verdict.INSUFFICIENT_DATA)
    assert "interval_undetermined" in [reason.code for reason in result.reasons]
