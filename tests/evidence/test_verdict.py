"""The one rule of the four verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.verdict import Verdict, decide

changes = st.floats(-0.9, 0.9)


@pytest.mark.parametrize(
    ("interval", "target", "verdict"),
    [
        ((-0.12, -0.09), -0.08, Verdict.MET),
        ((-0.12, -0.08), -0.08, Verdict.MET),
        ((-0.12, -0.07), -0.08, Verdict.NOT_DISTINGUISHABLE),
        ((-0.08, -0.02), -0.08, Verdict.NOT_DISTINGUISHABLE),
        ((-0.07, -0.02), -0.08, Verdict.NOT_MET),
        ((-0.07, -0.02), None, Verdict.MET),
        ((-0.02, 0.02), None, Verdict.NOT_DISTINGUISHABLE),
        ((0.01, 0.02), None, Verdict.NOT_MET),
        (None, -0.08, Verdict.INSUFFICIENT_DATA),
        (None, None, Verdict.INSUFFICIENT_DATA),
    ],
)
def test_an_interval_against_a_target(
    interval: tuple[float, float] | None, target: float | None, verdict: Verdict
) -> None:
    assert decide(interval, target) is verdict


@given(first=changes, second=changes, target=changes, wider=st.floats(0, 0.5))
def test_a_wider_interval_never_turns_no_into_yes(first: float, second: float, target: float, wider: float) -> None:
    low, high = sorted((first, second))
    narrow = decide((low, high), target)
    wide = decide((low - wider, high + wider), target)
    assert wide in (narrow, Verdict.NOT_DISTINGUISHABLE)
