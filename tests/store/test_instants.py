from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import InstantRangeError
from store.instants import binary_instant, instant

FIRST_MS = -62_135_596_800_000
LAST_MS = 253_402_300_799_999


@given(st.integers(FIRST_MS, LAST_MS))
def test_an_instant_keeps_its_millisecond(time_ms: int) -> None:
    moment = instant(time_ms)
    offset = moment.utcoffset()
    assert offset is not None
    assert not offset
    assert (moment - instant(0)).total_seconds() == pytest.approx(time_ms / 1000, abs=1e-4)
    assert moment.microsecond == time_ms % 1000 * 1000


@pytest.mark.parametrize("time_ms", [FIRST_MS - 1, LAST_MS + 1, 2**63, -(2**63)])
def test_a_time_outside_the_calendar_is_refused(time_ms: int) -> None:
    for conversion in (instant, binary_instant):
        with pytest.raises(InstantRangeError, match=str(time_ms)):
            conversion(time_ms)
