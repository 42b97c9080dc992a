from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evidence.counters import CounterRules, GapReason, Replacement, segment_counter

CASES = sorted((Path(__file__).parent / "counters").glob("*.yaml"))
MINUTE_MS = 60_000


def load(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return case


def test_case_files_are_found() -> None:
    assert len(CASES) >= 25


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = load(path)
    readings = np.array([np.nan if value is None else value for value in case["readings"]], dtype=np.float64)
    times = case.get("times_s", range(0, 300 * readings.size, 300))
    rules = CounterRules(gap_limit_ms=900_000, **{"resolution": 0.01, **case.get("rules", {})})
    replacements = [Replacement(1000 * one["at_s"], one["final"], one["first"]) for one in case.get("replacements", [])]

    segments = segment_counter(1000 * np.array(times, dtype=np.int64), readings, rules, replacements)

    found = [
        GapReason(reason).name.lower() if reason else pytest.approx(increment, abs=1e-9)
        for reason, increment in zip(segments.reason.tolist(), segments.increment.tolist(), strict=True)
    ]
    assert case["increments"] == found
    assert [[a.time_ms // 1000, a.kind.value, a.before, a.after] for a in segments.anomalies] == case["anomalies"]
    assert segments.total == pytest.approx(sum(x for x in case["increments"] if not isinstance(x, str)))


rising = st.lists(st.integers(0, 20), min_size=2, max_size=60)
rules = CounterRules(gap_limit_ms=5 * MINUTE_MS, resolution=1.0)


def minutes(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64) * MINUTE_MS


@given(rising, st.integers(0, 10**9))
def test_a_counter_that_only_rises_loses_nothing(steps: list[int], base: int) -> None:
    values = base + np.cumsum(steps).astype(np.float64)
    segments = segment_counter(minutes(values.size), values, rules)
    assert segments.total == values[-1] - values[0]
    assert segments.covered_ms == (values.size - 1) * MINUTE_MS
    assert not segments.anomalies


@given(rising, st.integers(1000, 10**6), st.data())
def test_one_odd_reading_changes_no_total(steps: list[int], base: int, data: st.DataObject) -> None:
    values = base + np.cumsum([*steps, 1, 1]).astype(np.float64)
    at = data.draw(st.integers(1, values.size - 2))
    odd = values.copy()
    odd[at] = data.draw(st.one_of(st.just(0.0), st.integers(10**8, 10**9).map(float)))
    segments = segment_counter(minutes(values.size), odd, rules)
    assert segments.total == values[-1] - values[0]
    assert [anomaly.kind for anomaly in segments.anomalies] == ["glitch"]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=80), st.one_of(st.none(), st.integers(60, 10**6)))
def test_whatever_is_read_no_increment_is_negative_or_above_the_bound(readings: list[int], rate: int | None) -> None:
    bounded = CounterRules(gap_limit_ms=5 * MINUTE_MS, maximum_rate=rate, modulus=2**20, resolution=1.0)
    values = np.array(readings, dtype=np.float64)
    segments = segment_counter(minutes(values.size), values, bounded)
    known = segments.increment[segments.reason == GapReason.NONE]
    durations = (segments.end_ms - segments.start_ms)[segments.reason == GapReason.NONE]
    assert (known >= 0).all()
    assert (known <= bounded.bound(durations)).all()
    assert np.isnan(segments.increment[segments.reason != GapReason.NONE]).all()
    assert (segments.end_ms[:-1] == segments.start_ms[1:]).all()
    assert (durations <= bounded.gap_limit_ms).all()


@given(rising, st.data())
def test_a_reading_taken_out_changes_no_total(steps: list[int], data: st.DataObject) -> None:
    values = np.cumsum([*steps, 3, 3]).astype(np.float64)
    at = data.draw(st.integers(1, values.size - 2))
    missing = values.copy()
    missing[at] = np.nan
    total = segment_counter(minutes(values.size), missing, rules).total
    assert total == segment_counter(minutes(values.size), values, rules).total


def test_decisions_do_not_depend_on_readings_further_away_than_the_horizon() -> None:
    """Three hours of margin are enough: a day alone gives what the day gives within a month."""
    generator = np.random.default_rng(20250701)
    values = np.cumsum(generator.integers(0, 30, 3000)).astype(np.float64)
    odd = generator.choice(3000, 60, replace=False)
    values[odd] = np.where(generator.random(60) < 0.5, 0.0, 10**7)
    values[2000:] -= values[2000]
    times = np.arange(3000, dtype=np.int64) * 5 * MINUTE_MS
    wide = CounterRules(gap_limit_ms=15 * MINUTE_MS, resolution=1.0)
    whole = segment_counter(times, values, wide)
    for start in range(300, 2600, 288):
        first, last = start * 5 * MINUTE_MS, (start + 288) * 5 * MINUTE_MS
        window = (times >= first - 180 * MINUTE_MS) & (times <= last + 180 * MINUTE_MS)
        alone = segment_counter(times[window], values[window], wide)
        inside = [(s.end_ms > first) & (s.start_ms < last) for s in (whole, alone)]
        for field in ("start_ms", "end_ms", "increment", "reason"):
            ours, theirs = (getattr(s, field)[i] for s, i in zip((whole, alone), inside, strict=True))
            np.testing.assert_array_equal(ours, theirs)


def test_times_that_do_not_increase_are_refused() -> None:
    with pytest.raises(ValueError, match="must increase"):
        segment_counter(np.array([0, 0], dtype=np.int64), np.array([1.0, 2.0]), rules)
