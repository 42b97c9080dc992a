"""Verdict sentences: they state number, interval, confidence and target, and never claim more than the verdict."""

from __future__ import annotations

from typing import Any

import pytest

from dashboards.language import LANGUAGES, catalogue
from dashboards.sentences import VERDICTS, direction, range_text, standing, verdict_sentence

BLOCKING = {
    "code": "no_production_variable",
    "level": "blocking",
    "en": "No production variable.",
    "zh": "没有产量变量。",
}
FINDING = {"code": "interval_below_target", "level": "finding", "en": "Finding.", "zh": "比较。"}


def kpi(**changes: Any) -> dict[str, Any]:
    result = {
        "kind": "adjusted_saving",
        "change": -0.1148,
        "interval": [-0.1233, -0.1061],
        "confidence": 0.9,
        "target": -0.08,
        "verdict": "met",
        "reasons": [FINDING],
    }
    return {**result, **changes}


def test_met_names_number_interval_confidence_and_target_in_chinese() -> None:
    sentence = verdict_sentence(kpi(), catalogue("zh"), proven=True)
    assert sentence.replace("\u202f", "") == (
        "与调整后基准能耗相比，能耗下降 11.5%（90% 置信区间：下降 10.6% 至 12.3%），达到“下降 8.0%”的目标。"
    )


def test_met_in_english() -> None:
    sentence = verdict_sentence(kpi(), catalogue("en"), proven=True)
    assert sentence.replace("\u202f", "") == (
        "Energy against the adjusted baseline: a decrease of 11.5% (90% confidence interval: "
        "a decrease of 10.6% to 12.3%); "
        "the target, a decrease of 8.0%, is met."
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_verdict_has_its_own_sentence(language: str) -> None:
    sentences = {verdict_sentence(kpi(verdict=verdict), catalogue(language), proven=True) for verdict in VERDICTS}
    assert len(sentences) == len(VERDICTS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verdict", ["met", "not_met", "not_distinguishable"])
def test_without_proof_the_sentence_is_the_same_whatever_the_verdict(language: str, verdict: str) -> None:
    text = catalogue(language)
    unproven = verdict_sentence(kpi(verdict=verdict), text, proven=False)
    assert unproven == verdict_sentence(kpi(verdict="met"), text, proven=False)
    assert standing(kpi(verdict=verdict), proven=False) == "not_proven"
    assert ("不下结论" if language == "zh" else "no conclusion") in unproven


def test_insufficient_data_gives_the_blocking_reason_and_no_interval() -> None:
    result = kpi(verdict="insufficient_data", interval=None, reasons=[FINDING, BLOCKING])
    sentence = verdict_sentence(result, catalogue("zh"), proven=True)
    assert "数据不足" in sentence
    assert BLOCKING["zh"] in sentence
    assert FINDING["zh"] not in sentence
    assert "置信区间" not in sentence
    assert "下降 11.5" in sentence


def test_insufficient_data_without_a_value_names_no_number() -> None:
    result = kpi(verdict="insufficient_data", interval=None, change=None, reasons=[BLOCKING])
    sentence = verdict_sentence(result, catalogue("en"), proven=True)
    assert not any(letter.isdigit() for letter in sentence)


def test_a_bound_just_short_of_the_target_is_not_written_like_the_target() -> None:
    result = kpi(verdict="not_distinguishable", interval=[-0.1233, -0.07996])
    sentence = verdict_sentence(result, catalogue("zh"), proven=True).replace("\u202f", "")
    assert "7.996%" in sentence
    assert "“下降 8.000%”" in sentence


def test_an_interval_without_a_target_claims_nothing() -> None:
    result = kpi(target=None)
    assert standing(result, proven=True) == "no_target"
    assert "未设目标" in verdict_sentence(result, catalogue("zh"), proven=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [(-0.031, "下降 3.1\u202f%"), (0.02, "上升 2.0\u202f%"), (0.0001, "基本不变"), (-0.0, "基本不变")],
)
def test_direction(change: float, words: str) -> None:
    assert direction(change, catalogue("zh"), 1) == words


def test_the_confidence_is_not_rounded_away() -> None:
    assert "97.5\u202f%" in verdict_sentence(kpi(confidence=0.975), catalogue("zh"), proven=True)


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
    assert range_text(interval, catalogue("zh"), 1).replace("\u202f", "") == words
