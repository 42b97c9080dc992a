"""Explanations: every verdict, every reason and every kind of KPI in words; both languages say the same numbers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evidence
from evidence.evaluate import evaluate
from evidence.explanation.document import Explanation, KpiExplanation, Section, Standing
from evidence.explanation.explain import explain
from evidence.explanation.paragraph import main_doubt
from evidence.explanation.phrases import phrases
from evidence.kpi_description import Better
from evidence.plan import Plan, load_plan
from evidence.result import Evaluation, KpiResult, Reason, VariableRange, Wording
from evidence.table import IntervalTable
from evidence.verdict import Verdict

NUMBER = re.compile(r"(?<![A-Za-z\d])\d[\d,]*(?:\.\d+)?")
"""Not the 2 of CO2."""
PROOFS = (True, False, None)
PAGE_OF_A_SAVING = [
    *("question", "answer", "boundary", "data", "model", "uncertainty", "placebo", "detectable", "specifications"),
    *("events", "screens", "doubts", "limits", "on_site", "formula"),
]


def numbers(text: str) -> Counter[str]:
    return Counter(number.rstrip(",") for number in NUMBER.findall(text))


def wordings(value: Any) -> Iterator[Wording]:
    """Every wording in an explanation."""
    if isinstance(value, Wording):
        yield value
    elif isinstance(value, (Explanation, KpiExplanation, Section)):
        for name in type(value).model_fields:
            yield from wordings(getattr(value, name))
    elif isinstance(value, tuple):
        for one in value:
            yield from wordings(one)


def words(explanation: Explanation | KpiExplanation, language: str) -> str:
    return "\n".join(str(getattr(one, language)) for one in wordings(explanation))


@pytest.fixture(scope="module")
def saving(retrofit: Plan, daily_table: Any, factory_days: Any) -> Evaluation:
    return evaluate(retrofit, daily_table(retrofit, factory_days(4, -0.2)))


@pytest.fixture(scope="module")
def everything(every_kpi: Plan, workshop: IntervalTable) -> Evaluation:
    return evaluate(every_kpi, workshop)


def without_days(plan: Plan) -> Evaluation:
    """No data at all."""
    times = np.array([], dtype=np.int64)
    table = IntervalTable(times, 86_400_000, {name: np.array([]) for name in plan.series}, plan.series, plan.zone)
    return evaluate(plan, table)


@pytest.mark.parametrize("proven", PROOFS)
def test_both_languages_say_the_same_numbers(
    proven: bool | None, retrofit: Plan, saving: Evaluation, every_kpi: Plan, everything: Evaluation
) -> None:
    for plan, evaluation in ((retrofit, saving), (every_kpi, everything), (retrofit, without_days(retrofit))):
        found = list(wordings(explain(plan, evaluation, proven=proven)))
        assert len(found) > 50
        for one in found:
            assert numbers(one.en) == numbers(one.zh), one
            assert one.en.strip(), one
            assert one.zh.strip(), one


def test_both_languages_of_a_phrase_take_the_same_facts() -> None:
    def facts(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    for key, phrase in phrases().items():
        assert facts(phrase.en) == facts(phrase.zh), key


def test_the_page_of_a_saving_answers_every_question(retrofit: Plan, saving: Evaluation) -> None:
    told = explain(retrofit, saving, proven=True).kpis[1]
    assert [section.name for section in told.page] == PAGE_OF_A_SAVING
    text = words(told, "en")
    model: Any = saving.kpis[1].model
    for said in ("90 of 90 baseline days", "98.6\u202f%", f"{model.placebo.windows} windows of 45 days"):
        assert said in text
    assert "sum of E - sum of E^" in text
    assert "IPMVP" in text
    assert "gw-01/meter-1" in text
    assert retrofit.hash in text


def test_the_days_farthest_from_the_model_are_named(retrofit: Plan, saving: Evaluation) -> None:
    model: Any = saving.kpis[1].model
    days = [one for one in model.daily if one.period == "reporting"]
    farthest = max(days, key=lambda one: abs(one.residual))
    on_site = next(one for one in explain(retrofit, saving, proven=True).kpis[1].page if one.name == "on_site")
    assert on_site.statements[0].zh.startswith(f"{farthest.day}：实测 {farthest.measured:,.0f}")


CASES = {
    Standing.MET: {"verdict": Verdict.MET},
    Standing.NOT_MET: {"verdict": Verdict.NOT_MET},
    Standing.NOT_DISTINGUISHABLE: {"verdict": Verdict.NOT_DISTINGUISHABLE},
    Standing.INSUFFICIENT_DATA: {"verdict": Verdict.INSUFFICIENT_DATA, "interval": None},
    Standing.NO_TARGET: {"target": None},
}


def told_with(plan: Plan, evaluation: Evaluation, proven: bool | None, **changes: Any) -> KpiExplanation:
    """The explanation of the last KPI with changes to its result."""
    changed = evaluation.model_copy(update={"kpis": (evaluation.kpis[-1].model_copy(update=changes),)})
    (told,) = explain(plan.model_copy(update={"kpis": plan.kpis[-1:]}), changed, proven=proven).kpis
    return told


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_standing_reads_differently(retrofit: Plan, saving: Evaluation, language: str) -> None:
    told = {where: told_with(retrofit, saving, True, **changes) for where, changes in CASES.items()}
    told[Standing.NOT_PROVEN] = told_with(retrofit, saving, False)
    assert set(told) == set(Standing)
    for where, one in told.items():
        assert one.standing is where
        assert getattr(one.standing_name, language) in {getattr(phrases()[f"standing.{where.value}"], language)}
    for part in ("sentence", "paragraph"):
        assert len({getattr(getattr(one, part), language) for one in told.values()}) == len(Standing)


def test_what_is_not_proven_reads_the_same_whatever_the_verdict(retrofit: Plan, saving: Evaluation) -> None:
    verdicts = [Verdict.MET, Verdict.NOT_MET, Verdict.NOT_DISTINGUISHABLE]
    told = [told_with(retrofit, saving, False, verdict=verdict) for verdict in verdicts]
    assert told[0] == told[1] == told[2]
    assert "即使" not in words(told[0], "zh")
    whole = explain(retrofit, saving, proven=False)
    assert "不下结论" in whole.sentence.zh
    assert "不下结论" in whole.paragraph.zh


def test_a_table_is_not_taken_for_records(retrofit: Plan, saving: Evaluation) -> None:
    whole = explain(retrofit, saving, proven=None)
    assert whole.kpis[1].standing is Standing.MET
    assert "Nobody has checked here" in words(whole, "en")
    assert "name plate" not in words(whole, "en")


def test_the_project_counts_its_figures(every_kpi: Plan, everything: Evaluation) -> None:
    whole = explain(every_kpi, everything, proven=True)
    counted = Counter(kpi.standing for kpi in whole.kpis)
    for where, count in counted.items():
        assert f"{count} 项{phrases()[f'standing.{where.value}'].zh}" in whole.sentence.zh
    assert sum(counted.values()) == len(every_kpi.kpis)


def test_the_project_names_days_that_nothing_on_record_explains(
    retrofit: Plan, daily_table: Any, factory_days: Any
) -> None:
    values = factory_days(4, -0.2)
    values["energy"][30:50] += 400
    evaluation = evaluate(retrofit, daily_table(retrofit, values))
    found = {(one.first, one.end) for search in evaluation.events.searches for one in search.candidates}
    page = {section.name: section for section in explain(retrofit, evaluation, proven=True).page}
    nobody, *asked = [one.en for one in page["events"].statements]
    assert nobody == "Nobody has recorded a non-routine event."
    assert "2025-07-31 to 2025-08-19: ask what was different on these days; nothing is recorded." in asked
    assert len(asked) == len(found)


# --- every reason that the engine can give ---

NAMES = st.sampled_from(["output", "outdoor_temperature", "kWh", "piece"])
FRACTIONS = st.floats(-0.9, 0.9, allow_nan=False).map(lambda value: round(value, 6))
COUNTS = st.integers(1, 400)
RANGES = st.builds(
    VariableRange,
    name=NAMES,
    unit=NAMES,
    **dict.fromkeys(["baseline_low", "baseline_high", "baseline_mean", "baseline_deviation"], FRACTIONS),
    **dict.fromkeys(["reporting_low", "reporting_high", "reporting_mean"], FRACTIONS),
)
CAUSES = st.just(Wording(en="the cause.", zh="原因。"))
for kind, strategy in (
    (str, NAMES),
    (float, FRACTIONS),
    (int, COUNTS),
    (date, st.dates(date(2025, 1, 1), date(2026, 12, 31))),
    (VariableRange, RANGES),
    (Wording, CAUSES),
):
    st.register_type_strategy(kind, strategy)


def reason_makers() -> Iterator[tuple[str, Callable[..., Reason]]]:
    """Every function of the engine that makes a reason."""
    for module in pkgutil.walk_packages(evidence.__path__, "evidence."):
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            own = inspect.isfunction(value) and value.__module__ == module.name
            if own and inspect.signature(value).return_annotation == "Reason":
                yield f"{module.name}.{name}", value


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type; three of a sequence, as a reason that lists things has some."""
    if get_origin(hint) is Sequence:
        return st.lists(st.from_type(get_args(hint)[0]), min_size=3, max_size=3)
    return st.from_type(hint)


MAKERS = dict(reason_makers())
HELPERS = ("._blocking", "._warning", ".main_doubt")
"""They take the words of a reason, and make none."""


def test_the_reasons_are_found() -> None:
    assert len(MAKERS) > 35
    assert "evidence.reasons.finding" in MAKERS


@pytest.mark.parametrize("name", sorted(name for name in MAKERS if not name.endswith(HELPERS)))
def test_every_reason_is_explained_with_the_same_numbers(name: str, retrofit: Plan, saving: Evaluation) -> None:
    maker = MAKERS[name]
    hints = {key: hint for key, hint in get_type_hints(maker).items() if key != "return"}

    @settings(max_examples=5, deadline=None, derandomize=True, database=None)
    @given(st.builds(maker, **{key: values_of(hint) for key, hint in hints.items()}))
    def explained(reason: Reason) -> None:
        assert numbers(reason.en) == numbers(reason.zh), reason
        changes: dict[str, Any] = {"reasons": (reason,)}
        if reason.level == "blocking":
            changes |= {"verdict": Verdict.INSUFFICIENT_DATA, "interval": None}
        told = told_with(retrofit, saving, True, **changes)
        for language in ("en", "zh"):
            said = getattr(reason, language)
            if reason.level == "blocking":
                assert said in getattr(told.sentence, language)
                assert said in getattr(told.paragraph, language)
            if reason.level == "warning":
                assert said in getattr(told.paragraph, language)
            page = [getattr(one, language) for section in told.page for one in section.statements]
            held = sum(said == one for one in page)
            assert held == (reason.level != "finding" or section_of_its_own(reason)) - (reason.code == "cannot_tell")

    explained()


def section_of_its_own(reason: Reason) -> bool:
    return reason.code.startswith(("placebo", "minimum_detectable", "specifications", "no_specification"))


def test_the_doubt_that_counts_most_comes_first() -> None:
    def doubt(code: str) -> Reason:
        return Reason(code=code, level="warning", en=code, zh=code)

    always, new, weak = doubt("cannot_tell"), doubt("something_new"), doubt("weak_variable_x")
    placebo = doubt("placebo_above_nominal")
    assert main_doubt([always, weak, new, placebo]) == placebo
    assert main_doubt([always, weak, new]) == new
    assert main_doubt([always, weak]) == weak
    assert main_doubt([always]) == always
    assert main_doubt([]) is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_question_asks_for_what_the_plan_wants(every_kpi: Plan, everything: Evaluation, language: str) -> None:
    for kpi, result, told in zip(
        every_kpi.kpis, everything.kpis, explain(every_kpi, everything, proven=True).kpis, strict=True
    ):
        asked = getattr(told.page[0].statements[0], language)
        assert getattr(kpi.description.name, language) in asked
        rises = kpi.description.better is Better.HIGHER
        if result.target is not None:
            assert {"en": "risen" if rises else "fallen", "zh": "上升" if rises else "下降"}[language] in asked


def test_a_plan_that_allows_a_deterioration_is_asked_so(
    retrofit_text: str, daily_table: Any, factory_days: Any
) -> None:
    plan = load_plan(retrofit_text.replace("change: -0.08", "change: 0"), "plan.yaml")
    told = explain(plan, evaluate(plan, daily_table(plan, factory_days(4, -0.2))), proven=True).kpis[0]
    assert "no worse" in told.page[0].statements[0].en


def test_what_was_explained_is_the_result(retrofit: Plan, saving: Evaluation) -> None:
    one: KpiResult = saving.kpis[1]
    told = explain(retrofit, saving, proven=True)
    assert (told.project, told.plan_hash) == (saving.project, saving.plan_hash)
    assert [kpi.id for kpi in told.kpis] == [kpi.id for kpi in saving.kpis]
    assert one.change is not None
    assert f"{-100 * one.change:.1f}" in told.kpis[1].sentence.en
