"""Meters that are exchanged or set otherwise: joined, corrected, confirmed, or a figure without a verdict."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evidence.evaluate import evaluate, figures_table
from evidence.plan import Plan, load_plan
from evidence.result import Evaluation, MeasurementEvent
from evidence.signed_facts import Change, SignedFacts
from evidence.table import IntervalTable
from evidence.verdict import Verdict

METER = "gw-01/meter-1"
WHEN = int(datetime(2025, 8, 20, 4, tzinfo=UTC).timestamp()) * 1000
RATIO = Change(METER, WHEN, "CT ratio", "40", "60")
RECORD = """
measurement_changes:
  - id: ct
    what: current transformers exchanged
    device: gw-01/meter-1
    at: '2025-08-20 11:00'
    recorded_by: Wang
    recorded: 2025-08-20
"""
AS_MEASURED = RECORD + "    treatment: as_measured\n"
SCALE = RECORD + "    treatment: scale\n    since: 2025-07-01\n    multiply_by: 1.5\n    series: [energy]\n"

Days = dict[str, NDArray[np.float64]]
Judge = Callable[..., Evaluation]


@pytest.fixture
def judged(retrofit_text: str, factory_days: Any, daily_table: Any) -> Judge:
    def make(*changes: Change, more: str = "", spoil: Callable[[Days], None] | None = None) -> Evaluation:
        plan = load_plan(retrofit_text + more, "plan")
        values = factory_days(2, effect=-0.25)
        if spoil is not None:
            spoil(values)
        return evaluate(plan, daily_table(plan, values), SignedFacts(changes=changes))

    return make


def verdicts(evaluation: Evaluation) -> set[Verdict]:
    return {kpi.verdict for kpi in evaluation.kpis}


def only(evaluation: Evaluation) -> MeasurementEvent:
    (found,) = evaluation.events.measurement
    return found


def test_nothing_changed_and_the_verdict_stands(judged: Judge) -> None:
    assert verdicts(judged()) == {Verdict.MET}


@pytest.mark.parametrize(
    "change",
    [
        RATIO,
        Change(METER, WHEN, "ratio_changed", "", "setting ct_ratio, before 40.0, after 60.0"),
        Change(METER, WHEN, "primary", "False", "True"),
        Change(METER, WHEN, "series active_energy_import", "3/0 UINT32 ABCD x 0.01", "3/0 UINT32 ABCD x 0.1"),
    ],
    ids=["ratio of the gateway file", "ratio in the meter", "side of the transformers", "scale of the series"],
)
def test_a_measure_that_changed_without_a_record_leaves_no_verdict(judged: Judge, change: Change) -> None:
    found = judged(change)
    assert verdicts(found) == {Verdict.INSUFFICIENT_DATA}
    assert only(found).effect == "uncorrected"
    for kpi in found.kpis:
        assert kpi.interval is None
        assert kpi.reasons[0].code == "measurement_changed"
        assert "2025-08-20" in kpi.reasons[0].en
        assert "互感器" not in kpi.reasons[0].en


@pytest.mark.parametrize(
    "change",
    [
        Change("gw-01/meter-2", WHEN, "CT ratio", "40", "60"),
        Change("gw-01/plc-1", WHEN, "CT ratio", "40", "60"),
        Change(METER, WHEN, "series voltage_l1", "3/2 x 0.1", "3/2 x 0.2"),
        Change(METER, WHEN, "model", "a", "b"),
        Change(METER, WHEN, "ratio_mismatch", "", "setting ct_ratio, meter 40.0, configured 60.0"),
    ],
    ids=["another meter", "no electrical series", "another series", "a name", "a mismatch from the start on"],
)
def test_what_changes_no_value_of_a_figure_is_only_noted(judged: Judge, change: Change) -> None:
    found = judged(change)
    assert verdicts(found) == {Verdict.MET}
    assert only(found).effect == "noted"


@pytest.mark.parametrize("time_ms", [WHEN - 200 * 86_400_000, WHEN + 200 * 86_400_000])
def test_what_happened_outside_of_the_plan_does_not_matter(judged: Judge, time_ms: int) -> None:
    found = judged(Change(METER, time_ms, "CT ratio", "40", "60"))
    assert found.events.measurement == ()
    assert verdicts(found) == {Verdict.MET}


def test_a_person_may_record_that_both_sides_are_right(judged: Judge) -> None:
    found = judged(RATIO, more=AS_MEASURED)
    assert verdicts(found) == {Verdict.MET}
    assert (only(found).effect, only(found).record, only(found).recorded_by) == ("confirmed", "ct", "Wang")


def test_a_record_of_another_day_answers_nothing(judged: Judge) -> None:
    found = judged(RATIO, more=AS_MEASURED.replace("2025-08-20 11:00", "2025-08-15 11:00"))
    assert verdicts(found) == {Verdict.INSUFFICIENT_DATA}
    assert {event.effect for event in found.events.measurement} == {"uncorrected", "confirmed"}


def test_a_recorded_factor_corrects_the_stretch(judged: Judge) -> None:
    def too_low(values: Days) -> None:
        values["energy"][:50] /= 1.5

    wrong, corrected, right = (
        judged(RATIO, spoil=too_low),
        judged(RATIO, more=SCALE.replace(" 11:00", ""), spoil=too_low),
        judged(),
    )
    assert verdicts(wrong) == {Verdict.INSUFFICIENT_DATA}
    assert only(corrected).effect == "corrected"
    for one, other in zip(corrected.kpis, right.kpis, strict=True):
        assert one.change == pytest.approx(other.change)
        assert one.verdict is other.verdict
    assert corrected.totals["energy"].sum == pytest.approx(right.totals["energy"].sum)


def test_screens_still_see_what_was_measured(retrofit_text: str, factory_days: Any, daily_table: Any) -> None:
    plan = load_plan(retrofit_text + SCALE, "plan")
    table: IntervalTable = daily_table(plan, factory_days(2))
    scaled = figures_table(plan, table)
    assert np.allclose(scaled.values["energy"][:50], 1.5 * table.values["energy"][:50])
    assert np.array_equal(scaled.values["energy"][51:], table.values["energy"][51:])
    assert np.isnan(scaled.values["energy"][50]), "the day of the change is in two measures"


def test_a_meter_joined_by_its_readings_keeps_the_verdict(judged: Judge) -> None:
    readings = "series active_energy_import, final_reading 5000.0, first_reading 0.0"
    found = judged(Change(METER, WHEN, "serial number", "A", "B"), Change(METER, WHEN, "meter_replaced", "", readings))
    assert verdicts(found) == {Verdict.MET}
    assert {event.effect for event in found.events.measurement} == {"joined"}


def test_a_meter_without_readings_is_a_gap_and_no_energy(judged: Judge) -> None:
    def unknown(values: Days) -> None:
        values["energy"][50] = np.nan

    found = judged(Change(METER, WHEN, "meter_replaced", "", "serial_before A, serial_after B"), spoil=unknown)
    assert only(found).effect == "gap"
    assert verdicts(found) == {Verdict.MET}
    assert found.kpis[0].coverage.baseline == pytest.approx(89 / 90)


def test_a_record_without_a_signed_change_is_shown_too(judged: Judge) -> None:
    event = only(judged(more=AS_MEASURED))
    assert (event.setting, event.effect) == ("current transformers exchanged", "confirmed")


def test_a_demand_has_no_verdict_across_a_ratio_either(every_kpi: Plan, workshop: IntervalTable) -> None:
    text_series = every_kpi.series["energy"].model_copy(update={"sources": (f"{METER}/active_energy_import",)})
    plan = every_kpi.model_copy(update={"series": {**every_kpi.series, "energy": text_series}})
    when = int(workshop.time_ms[100])
    found = evaluate(plan, workshop, SignedFacts(changes=(Change(METER, when, "CT ratio", "40", "60"),)))
    without = {kpi.kind for kpi in found.kpis if any(reason.code == "measurement_changed" for reason in kpi.reasons)}
    assert {"peak_demand", "load_factor", "energy_intensity", "adjusted_saving", "normalised_saving"} <= without
    assert not {"data_continuity", "connection_rate", "oee", "mtbf"} & without
