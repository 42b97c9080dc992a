"""One lucky seed proves nothing: over forty seeds of the factory the interval of the saving must cover the truth.

Evaluated from the simulator's table, without gateways. With a true coverage of 90 % at least 33 of 40 intervals
cover with probability 0.958 (binomial distribution).
"""

from __future__ import annotations

from pathlib import Path

import pytest

import demo
from demo.factory import DEFAULT_EFFECT, Factory
from demo.truth import QUARTER_MS, table, truth
from evidence.evaluate import evaluate
from evidence.plan import Plan, load_plan
from evidence.result import KpiResult
from evidence.table import IntervalTable
from evidence.verdict import Verdict

SEEDS = range(40)
PLAN_FILE = Path(demo.__file__).parent / "plans" / "pingluo.yaml"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(PLAN_FILE.read_text(encoding="utf-8"), PLAN_FILE)


def saving(plan: Plan, factory: Factory) -> KpiResult:
    rows = table(factory, (plan.baseline.start, plan.reporting.to))
    values = {"energy": rows.energy, "output": rows.output, "outdoor_temperature": rows.outdoor_temperature}
    evaluation = evaluate(plan, IntervalTable(rows.time_ms, QUARTER_MS, values, plan.series, plan.zone))
    return next(kpi for kpi in evaluation.kpis if kpi.id == "saving")


@pytest.mark.soak
def test_interval_covers_the_true_saving(plan: Plan) -> None:
    covered, met = 0, 0
    for seed in SEEDS:
        factory = Factory(seed, DEFAULT_EFFECT)
        known = truth(factory, (plan.baseline.start, plan.baseline.to), (plan.reporting.start, plan.reporting.to))
        result = saving(plan, factory)
        assert result.interval is not None, [reason.en for reason in result.reasons]
        low, high = result.interval
        covered += low <= -known.saving <= high
        met += result.verdict is Verdict.MET
    assert covered >= 33
    assert met >= 20


@pytest.mark.soak
def test_a_retrofit_without_effect_is_not_met(plan: Plan) -> None:
    verdicts = [saving(plan, Factory(seed, effect=0.0)).verdict for seed in SEEDS]
    assert verdicts.count(Verdict.MET) <= 2
    assert verdicts.count(Verdict.INSUFFICIENT_DATA) == 0
