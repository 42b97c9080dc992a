"""The project page shows, beside a saving, how far it can be trusted."""

from __future__ import annotations

from typing import Any

import pytest

from dashboards.language import catalogue
from dashboards.project_page import model_view
from evidence.models import MODELS

DAYS = {"baseline": {"used": 90, "excluded": []}, "reporting": {"used": 45, "excluded": []}}
PLACEBO = {
    "state": "determined",
    "false_positive_rate": 0.125,
    "excluding_zero": 3,
    "windows": 24,
    "window_days": 45,
    "claiming_saving": 2,
    "nominal": 0.1,
}
MODEL: dict[str, Any] = {
    "kind": "linear",
    "p": 2,
    "days": DAYS,
    "placebo": PLACEBO,
    "detectable": {"excludes_zero": 0.041, "with_power": 0.062, "power": 0.8},
    "alternative_intervals": [
        {"method": "exact_ar1", "interval": [-0.12, -0.08]},
        {"method": "block_bootstrap", "interval": None},
    ],
    "specification_curve": {
        "specifications": [
            {"model": model, "window": "last_two_thirds", "change": -0.1, "interval": [-0.12, -0.08]}
            for model in MODELS
        ]
    },
}


def facts(language: str, model: dict[str, Any] = MODEL) -> dict[str, str]:
    kpi = {"id": "saving", "kind": "adjusted_saving", "model": model}
    return dict(model_view(kpi, catalogue(language), "Asia/Shanghai")["facts"])


def test_the_false_positive_rate_stands_on_the_page() -> None:
    shown = facts("en")["Placebo test on the baseline (false-positive rate)"]
    assert shown.startswith("12.5")
    assert "3 of 24 windows of 45 days" in shown
    assert "误报率" in "".join(facts("zh"))


def test_a_test_that_was_not_possible_is_said_not_left_out() -> None:
    shown = facts("en", {**MODEL, "placebo": {"state": "not_determinable"}})
    assert "not determinable" in shown["Placebo test on the baseline (false-positive rate)"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_model_of_the_curve_has_a_name_of_its_own(language: str) -> None:
    told = catalogue(language)
    labels = [
        told("model.specification", kind=told(f"model.kinds.{model}"), window=told("model.windows.last_two_thirds"))
        for model in MODELS
    ]
    kpi = {"id": "saving", "kind": "adjusted_saving", "model": MODEL}
    shown = model_view(kpi, told, "Asia/Shanghai")["specifications"]
    assert set(labels) <= {label for label, _ in shown}
    assert len(set(labels)) == len(MODELS)


def test_an_interval_that_is_not_determined_is_left_out() -> None:
    shown = facts("en")
    assert "Interval, exact AR(1) variance" in shown
    assert "Interval, block bootstrap" not in shown
