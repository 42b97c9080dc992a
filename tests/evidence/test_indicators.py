"""The ten lights and the early warning: thresholds at their edges, grey where something is missing."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evidence.indicators.snapshot import Asset, Snapshot, Trend, TrendPoint
from evidence.indicators.ten import Light, early_warning, indicators
from evidence.indicators.thresholds import Thresholds
from evidence.indicators.trend import extrapolate
from evidence.programmes import programme, programme_names
from wire.document import parse_document
from wire.errors import DocumentError

TODAY = date(2026, 7, 1)
LIMITS = programme("pingluo-2025").indicators


def judged(**known: Any) -> dict[str, Light]:
    return {one.name: one.light for one in indicators(Snapshot(today=TODAY, **known), LIMITS)}


def weeks(changes: list[float], *, target: float = -0.1, higher_is_better: bool = False) -> Trend:
    points = tuple(
        TrendPoint(day=TODAY - timedelta(weeks=len(changes) - 1 - n), change=change) for n, change in enumerate(changes)
    )
    return Trend(kpi="saving", target=target, higher_is_better=higher_is_better, points=points)


def test_of_an_empty_snapshot_everything_is_not_known_with_a_reason() -> None:
    found = indicators(Snapshot(today=TODAY), LIMITS)
    assert len(found) == 10
    assert {one.light for one in found} == {Light.GREY}
    assert all(one.reason.en.startswith("Not known: ") and one.reason.zh.startswith("未知：") for one in found)
    assert early_warning(Snapshot(today=TODAY), LIMITS).light is Light.GREY


@pytest.mark.parametrize(
    ("name", "key", "value", "light"),
    [
        ("data_continuity", "data_continuity", 0.95, Light.GREEN),
        ("data_continuity", "data_continuity", 0.9499, Light.YELLOW),
        ("data_continuity", "data_continuity", 0.8, Light.YELLOW),
        ("data_continuity", "data_continuity", 0.7999, Light.RED),
        ("chain", "chain", "pass", Light.GREEN),
        ("chain", "chain", "fail", Light.RED),
        ("clock", "clock_s", 5, Light.GREEN),
        ("clock", "clock_s", 5.1, Light.YELLOW),
        ("clock", "clock_s", 61, Light.RED),
        ("baseline_coverage", "baseline_coverage", 0.9, Light.GREEN),
        ("baseline_coverage", "baseline_coverage", 0.85, Light.YELLOW),
        ("baseline_coverage", "baseline_coverage", 0.5, Light.RED),
        ("connection_rate", "connection_rate", 0.6, Light.GREEN),
        ("connection_rate", "connection_rate", 0.4, Light.YELLOW),
        ("connection_rate", "connection_rate", 0.39, Light.RED),
        ("open_incidents", "open_incidents", 0, Light.GREEN),
        ("open_incidents", "open_incidents", 5, Light.YELLOW),
        ("open_incidents", "open_incidents", 6, Light.RED),
    ],
)
def test_thresholds_hold_at_their_edges(name: str, key: str, value: object, light: Light) -> None:
    lights = judged(**{key: value})
    assert lights.pop(name) is light
    assert set(lights.values()) == {Light.GREY}


@pytest.mark.parametrize(("days", "light"), [(7, Light.GREEN), (1, Light.YELLOW), (0, Light.RED), (-3, Light.RED)])
def test_a_plan_is_registered_before_its_reporting_period(days: int, light: Light) -> None:
    assert judged(registered=TODAY - timedelta(days=days), reporting_start=TODAY)["registered"] is light


@pytest.mark.parametrize(("days", "light"), [(30, Light.GREEN), (29, Light.YELLOW), (0, Light.YELLOW), (-1, Light.RED)])
def test_the_reporting_period_ends_before_acceptance_does(days: int, light: Light) -> None:
    end = TODAY + timedelta(days=90)
    assert judged(reporting_end=end, acceptance_end=end + timedelta(days=days))["schedule"] is light


def test_acceptance_that_is_over_is_red_however_early_the_reporting_ended() -> None:
    over = Snapshot(today=TODAY, reporting_end=TODAY - timedelta(days=100), acceptance_end=TODAY)
    assert {one.name: one.light for one in indicators(over, LIMITS)}["schedule"] is Light.RED
    assert early_warning(over, LIMITS).light is Light.RED


@pytest.mark.parametrize(
    ("change", "higher", "target", "light"),
    [
        (-0.1, False, -0.1, Light.GREEN),
        (-0.05, False, -0.1, Light.YELLOW),
        (0.01, False, -0.1, Light.RED),
        (0.12, True, 0.1, Light.GREEN),
        (0.02, True, 0.1, Light.YELLOW),
        (-0.02, True, 0.1, Light.RED),
    ],
)
def test_the_trend_is_compared_in_the_direction_of_the_target(
    change: float, higher: bool, target: float, light: Light
) -> None:
    assert judged(trend=weeks([change], target=target, higher_is_better=higher))["trend"] is light


def test_a_gateway_that_is_not_enrolled_silent_or_never_heard_is_not_delivered_and_named() -> None:
    assets = (
        Asset(gateway="gw-01", enrolled=True, silent_hours=24),
        Asset(gateway="gw-02", enrolled=True, silent_hours=24.1),
        Asset(gateway="gw-03", enrolled=True),
        Asset(gateway="gw-04", enrolled=False, silent_hours=1),
    )
    found = {one.name: one for one in indicators(Snapshot(today=TODAY, assets=assets), LIMITS)}["assets"]
    assert found.light is Light.RED
    assert "1 of 4 subsidised gateways" in found.reason.en
    assert "not: gw-02, gw-03, gw-04" in found.reason.en
    assert judged(assets=assets[:1])["assets"] is Light.GREEN


def test_an_extrapolation_is_that_of_scipy_with_its_prediction_interval() -> None:
    changes = [-0.02, -0.031, -0.038, -0.052, -0.058]
    trend = weeks(changes)
    ahead = extrapolate(trend, TODAY + timedelta(weeks=3), 0.9)
    assert ahead is not None
    x = np.arange(5.0)
    line = stats.linregress(x, changes)
    assert ahead.value == pytest.approx(line.intercept + 7 * line.slope, abs=1e-12)
    assert ahead.per_week == pytest.approx(line.slope, abs=1e-12)
    # The width again from the covariance of the design matrix, which is another way to it.
    design = np.column_stack([np.ones(5), x])
    residual = np.asarray(changes) - design @ np.array([line.intercept, line.slope])
    point = np.array([1.0, 7.0])
    variance = float(residual @ residual / 3 * (1 + point @ np.linalg.inv(design.T @ design) @ point))
    half = float(stats.t.ppf(0.95, 3)) * variance**0.5
    assert (ahead.high - ahead.low) / 2 == pytest.approx(half, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "light", "word"),
    [
        ([-0.10, -0.11, -0.12, -0.13], Light.GREEN, "reaches the target"),
        ([-0.010, -0.011, -0.010, -0.011, -0.010], Light.RED, "misses the target"),
        ([-0.02, -0.09, -0.03, -0.10], Light.YELLOW, "may miss the target"),
        ([-0.2, -0.2, -0.2], Light.GREY, "3 weeks of data, 4 are needed"),
    ],
)
def test_the_early_warning_tells_who_will_miss_the_target(changes: list[float], light: Light, word: str) -> None:
    end = TODAY + timedelta(weeks=4)
    snapshot = Snapshot(today=TODAY, reporting_end=end, acceptance_end=end, trend=weeks(changes))
    warning = early_warning(snapshot, LIMITS)
    assert warning.light is light
    assert word in warning.reason.en


def test_a_rise_is_warned_about_like_a_fall_seen_in_a_mirror() -> None:
    end = TODAY + timedelta(weeks=4)
    for changes in ([-0.10, -0.11, -0.12, -0.13], [-0.01, -0.011, -0.01, -0.011], [-0.02, -0.09, -0.03, -0.10]):
        fall = Snapshot(today=TODAY, acceptance_end=end, trend=weeks(changes))
        mirrored = weeks([-change for change in changes], target=0.1, higher_is_better=True)
        rise = Snapshot(today=TODAY, acceptance_end=end, trend=mirrored)
        assert early_warning(fall, LIMITS).light is early_warning(rise, LIMITS).light


def test_every_state_has_a_shape_and_a_word_of_its_own() -> None:
    assert len({light.symbol for light in Light}) == len(Light)
    assert len({light.word.zh for light in Light}) == len({light.word.en for light in Light}) == len(Light)


@pytest.mark.parametrize("name", programme_names())
def test_each_programme_says_who_set_its_thresholds(name: str) -> None:
    assert "the sources state no thresholds" in programme(name).indicators.basis.en


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("today: 2026-07-01\nclocks: 3\n", "s.yaml:2: clocks: unknown key"),
        ("today: 2026-07-01\ndata_continuity: 1.2\n", "s.yaml:2: data_continuity:"),
        ("clock_s: 3\n", "today: is missing"),
    ],
)
def test_a_snapshot_that_cannot_be_read_says_where(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_document(Snapshot, text, "s.yaml")
    assert message in str(caught.value)


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    data = LIMITS.model_dump()
    for key in ("data_continuity", "clock_s"):
        turned = data | {key: {"green": data[key]["yellow"], "yellow": data[key]["green"]}}
        with pytest.raises(ValueError, match="is better here"):
            Thresholds.model_validate(turned)
