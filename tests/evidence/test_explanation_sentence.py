"""Verdict sentences: they state number, interval, confidence and target, and never claim more than the verdict."""

from __future__ import annotations

from typing import Any

import pytest

from evidence.explanation.changes import change_digits, direction, range_text, value_text
from evidence.explanation.document import Standing, standing
from evidence.explanation.phrases import LANGUAGES
from evidence.explanation.sentence import verdict_sentence
from evidence.kpis.adjusted_saving import AdjustedSaving
from evidence.result import Coverage, DayUse, KpiModel, KpiResult, PeriodUse, Reason
from evidence.verdict import Verdict

BLOCKING = Reason(code="no_production_variable", level="blocking", en="No production variable.", zh="没有产量变量。")
FINDING = Reason(code="interval_reaches_target", level="finding", en="Finding.", zh="比较。")
ALL_DAYS = PeriodUse(days=60, used=60, excluded=())


def kpi(**changes: Any) -> KpiResult:
    result = {
        "id": "saving",
        "kind": "adjusted_saving",
        "unit": "kWh",
        "baseline": 1000.0,
        "reporting": 885.2,
        "change": -0.1148,
        "interval": (-0.1233, -0.1061),
        "confidence": 0.9,
        "target": -0.08,
        "verdict": "met",
        "reasons": (FINDING,),
        "coverage": Coverage(baseline=1.0, reporting=1.0),
        "model": KpiModel(kind="linear", days=DayUse(baseline=ALL_DAYS, reporting=ALL_DAYS)),
    }
    return KpiResult(**{**result, **changes})


def sentence(language: str, *, proven: bool = True, **changes: Any) -> str:
    said = verdict_sentence(kpi(**changes), AdjustedSaving.description, proven=proven)
    return str(getattr(said, language)).replace("\u202f", "")


def test_met_names_number_interval_confidence_and_target_in_chinese() -> None:
    assert sentence("zh") == (
        "与调整后基准能耗相比，能耗下降 11.5%（90% 置信区间：下降 10.6% 至 12.3%），达到“下降 8.0%”的目标。"
    )


def test_met_in_english() -> None:
    assert sentence("en") == (
        "Energy against the adjusted baseline: a decrease of 11.5% (90% confidence interval: "
        "a decrease of 10.6% to 12.3%); "
        "the target, a decrease of 8.0%, is met."
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_verdict_has_its_own_sentence(language: str) -> None:
    assert len({sentence(language, verdict=verdict) for verdict in Verdict}) == len(Verdict)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verdict", [Verdict.MET, Verdict.NOT_MET, Verdict.NOT_DISTINGUISHABLE])
def test_without_proof_the_sentence_is_the_same_whatever_the_verdict(language: str, verdict: Verdict) -> None:
    unproven = sentence(language, proven=False, verdict=verdict)
    assert unproven == sentence(language, proven=False)
    assert standing(kpi(verdict=verdict), proven=False) is Standing.NOT_PROVEN
    assert ("不下结论" if language == "zh" else "no conclusion") in unproven


def test_insufficient_data_gives_the_blocking_reason_and_no_interval() -> None:
    said = sentence("zh", verdict="insufficient_data", interval=None, reasons=(FINDING, BLOCKING))
    assert "数据不足" in said
    assert BLOCKING.zh in said
    assert FINDING.zh not in said
    assert "置信区间" not in said
    assert "下降 11.5" in said


def test_insufficient_data_without_a_value_names_no_number() -> None:
    said = sentence("en", verdict="insufficient_data", interval=None, change=None, reasons=(BLOCKING,))
    assert not any(letter.isdigit() for letter in said)


def test_a_bound_just_short_of_the_target_is_not_written_like_the_target() -> None:
    said = sentence("zh", verdict="not_distinguishable", interval=(-0.1233, -0.07996))
    assert "7.996%" in said
    assert "“下降 8.000%”" in said


def test_an_interval_without_a_target_claims_nothing() -> None:
    assert standing(kpi(target=None), proven=True) is Standing.NO_TARGET
    assert "未设目标" in sentence("zh", target=None)


@pytest.mark.parametrize(
    ("change", "words"),
    [(-0.031, "下降 3.1\u202f%"), (0.02, "上升 2.0\u202f%"), (0.0001, "基本不变"), (-0.0, "基本不变")],
)
def test_direction(change: float, words: str) -> None:
    assert direction(change, 1).zh == words


def test_the_confidence_is_not_rounded_away() -> None:
    assert "97.5%" in sentence("zh", confidence=0.975)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((-0.139, -0.096), "下降 9.6% 至 13.9%"),
        ((-0.02, 0.01), "下降 2.0% 至上升 1.0%"),
        ((0.01, 0.02), "上升 1.0% 至 2.0%"),
        ((-0.02, 0.0), "下降 0.0% 至 2.0%"),
    ],
)
def test_an_interval_is_read_aloud_without_signs(interval: tuple[float, float], words: str) -> None:
    assert range_text(interval, 1).zh.replace("\u202f", "") == words


@pytest.mark.parametrize(
    ("interval", "digits"),
    [((-0.2, -0.03), 0), ((-0.1233, -0.1061), 1), ((-0.1158, -0.1138), 2), ((-0.11481, -0.11479), 4)],
)
def test_the_width_of_the_interval_decides_the_digits(interval: tuple[float, float], digits: int) -> None:
    assert change_digits(kpi(interval=interval)) == digits


def test_a_target_with_decimals_is_never_rounded() -> None:
    assert "“下降 8.5%”" in sentence("zh", target=-0.085, interval=(-0.2, -0.09))


def test_values_end_where_their_uncertainty_ends() -> None:
    assert value_text(103_245.3, "kWh", 1234.0).zh == "103,200\u202fkWh"
    assert value_text(0.73218, "kWh/piece", 0.004).zh == "0.732\u202fkWh/件"
    assert value_text(0.416, "1").en == "41.6\u202f%"
    assert value_text(None, "kWh", 3.0).en == "—"
