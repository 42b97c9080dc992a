"""The steel works' pulse counters reproduce what was published about it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from demo.errors import DemoError
from demo.steel import FILE_NAME, INTERVAL_MS, PULSE_KWH, ImpulseHistory, read_history


@pytest.fixture(scope="module")
def history(steel_folder: Path) -> ImpulseHistory:
    return read_history(steel_folder)


def increments(history: ImpulseHistory, register: int) -> list[float]:
    return [round((after[register] - before[register]) * PULSE_KWH, 2) for before, after in pairwise(history.counters)]


def test_published_totals(history: ImpulseHistory) -> None:
    energy = increments(history, 0)
    assert len(energy) == 35_040
    assert round(sum(energy), 2) == 959_636.71
    assert round(sum(increments(history, 1)), 2) == 456_759.84
    assert round(sum(increments(history, 2)), 2) == 135_638.04
    peak_kw = 4 * max(energy)
    assert peak_kw == pytest.approx(628.72, abs=1e-9)
    assert 4 * sum(energy) / len(energy) / peak_kw == pytest.approx(0.1742390, abs=5e-8)
    # 2018-11-22 09:30 in Korea.
    assert history.first_ms + energy.index(max(energy)) * INTERVAL_MS == 1_542_846_600_000


def test_history_is_the_year_in_korea(history: ImpulseHistory) -> None:
    assert history.first_ms == 1_514_732_400_000
    assert history.last_ms == 1_546_268_400_000


def test_counter_stands_still_outside_and_never_falls_inside(history: ImpulseHistory) -> None:
    assert history.counters_at(0) == (0, 0, 0)
    assert history.counters_at(history.last_ms + 1) == history.counters[-1]
    shown = [history.counters_at(history.first_ms + second * 1000) for second in range(0, 7200, 61)]
    assert shown == sorted(shown)
    assert history.counters_at(history.first_ms + INTERVAL_MS) == history.counters[1]


HEAD = "date,Usage_kWh,Lagging_Current_Reactive_Power_kVarh,Leading_Current_Reactive_Power_kVarh\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD + "01/01/2018 00:15,3.18,0,0\n", "2: Usage_kWh: 3.18 is no whole number of pulses"),
        (HEAD + "01/01/2018 00:15,x,0,0\n", "2: Usage_kWh: 'x' is no number"),
        (HEAD + "2018-01-01,3.17,0,0\n", "2: '2018-01-01' is no stamp"),
        (HEAD + "01/01/2018 00:15,3.17,0,0\n01/01/2018 00:45,3.17,0,0\n", ":3: the interval that ends"),
        (HEAD, "no intervals"),
        ("date,Usage_kWh\n", "no column Lagging"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / FILE_NAME).write_text(content, encoding="utf-8")
    with pytest.raises(DemoError, match=message):
        read_history(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="cannot be read"):
        read_history(tmp_path)
