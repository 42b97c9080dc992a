"""How numbers, units and times are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.figures import duration, iso_time, local_time, quantity, unit_text, zone_text
from dashboards.language import catalogue
from evidence.figures import MOST_PERCENT_DIGITS, NO_VALUE, digits_of, number, percent, percent_digits

ZONE = "Asia/Shanghai"
MIDNIGHT_MS = 1_751_299_200_000  # 2025-07-01T00:00:00+08:00


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1234567.8, "1,234,568"),
        (0.84123, "0.8412"),
        (-12.345, "−12.34"),
        (0.0, "0.0000"),
        (None, NO_VALUE),
        (math.nan, NO_VALUE),
    ],
)
def test_number(value: float | None, written: str) -> None:
    assert number(value) == written


def test_a_missing_value_is_never_zero() -> None:
    assert percent(None) == NO_VALUE
    assert quantity(None, "kWh", catalogue("zh")) == NO_VALUE


def test_negative_zero_has_no_sign() -> None:
    assert percent(-0.0001, 1, signed=True) == "0.0\u202f%"


@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_what_differs_from_the_target_is_written_differently(value: float, target: float) -> None:
    digits = percent_digits((value,), target)
    if abs(value - target) > 2 * 10.0 ** (-MOST_PERCENT_DIGITS - 2):
        assert percent(value, digits) != percent(target, digits)


@given(st.floats(-0.9, 0.9), st.integers(-9999, 9999))
def test_a_target_is_written_in_full(value: float, target: int) -> None:
    digits = percent_digits((value,), target / 100_000)
    assert float(percent(target / 100_000, digits)[:-2].replace("\u2212", "-")) == pytest.approx(target / 1000)


@pytest.mark.parametrize(
    ("uncertainty", "digits"),
    [(0.119, 2), (0.367, 1), (0.827, 1), (0.96, 1), (0.0354, 3), (0.0355, 2), (1200.0, -2), (980.0, -2), (6.0, 0)],
)
def test_the_uncertainty_decides_the_digits(uncertainty: float, digits: int) -> None:
    """The first two are the examples of the Particle Data Group: 0.827 ± 0.119 and 0.827 ± 0.367."""
    assert digits_of(uncertainty) == digits


def test_digits_before_the_point() -> None:
    assert number(103_245.3, -2) == "103,200"


def test_units_are_written_in_the_language() -> None:
    assert unit_text("kWh/piece", catalogue("zh")) == "kWh/件"
    assert unit_text("kWh/piece", catalogue("en")) == "kWh/piece"


def test_times_carry_the_offset_of_the_plan() -> None:
    assert iso_time(MIDNIGHT_MS, ZONE) == "2025-07-01T00:00:00+08:00"
    assert iso_time(MIDNIGHT_MS + 7, ZONE) == "2025-07-01T00:00:00.007+08:00"
    assert local_time(MIDNIGHT_MS, ZONE) == "2025-07-01 00:00:00"
    assert local_time(None, ZONE) == NO_VALUE
    assert zone_text(ZONE, MIDNIGHT_MS) == "Asia/Shanghai (UTC+08:00)"


@pytest.mark.parametrize(
    ("milliseconds", "written"),
    [
        (0, "刚刚"),
        (59_000, "59 秒前"),
        (150_000, "2 分钟前"),
        (3 * 3_600_000, "3 小时前"),
        (86_400_000 * 5, "5 天前"),
        (None, NO_VALUE),
    ],
)
def test_duration(milliseconds: int | None, written: str) -> None:
    assert duration(milliseconds, catalogue("zh")) == written
