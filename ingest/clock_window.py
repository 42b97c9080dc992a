"""Which times are believed: a clock that is wild must not spoil tables that are laid out by time.

A record is taken into custody whatever its clock says. But where it says a time that cannot be, it is filed under the
time at which it arrived, and samples at such times are in no interval and are no latest value: one gateway with an
empty battery would otherwise make partitions for the year 2099, and a longest record of decades that every look at its
records has to reach back by. The bytes say what they say: who reads the record finds all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from evidence.intervals import MARGIN_MS
from wire.record import AnyFrame, Payload

DAY_MS = 86_400_000

AHEAD_MS = DAY_MS
"""How far the clock of a gateway may be ahead of ours: more than a wrong time zone makes."""

BEHIND_MS = 3_660 * DAY_MS
"""How old a record may be when it arrives: ten years, which is more than any spool or archive file holds."""


@dataclass(frozen=True, slots=True)
class ClockWindow:
    """The times (ms UTC, both included) that are believed of a record that arrived at one moment."""

    first_ms: int
    last_ms: int

    @classmethod
    def at(cls, received_ms: int) -> Self:
        """The window of what arrived at ``received_ms``, by the clock of the server."""
        return cls(received_ms - BEHIND_MS, received_ms + AHEAD_MS)

    def holds(self, time_ms: int) -> bool:
        """Whether ``time_ms`` is believed."""
        return self.first_ms <= time_ms <= self.last_ms

    def holds_all(self, payload: Payload) -> bool:
        """Whether every time in a record is believed."""
        return self.holds(payload.time_ms) and all(self._holds_frame(frame) for frame in payload.frames)

    def sample_span(self, frames: Iterable[AnyFrame]) -> tuple[int | None, int | None]:
        """Return the earliest and the latest of the sample times that are believed; None twice when none is."""
        times = [time_ms for frame in frames for time_ms in self._ends(frame)]
        return (min(times), max(times)) if times else (None, None)

    def filed_ms(self, payload: Payload, received_ms: int) -> int:
        """Return the time under which a record is filed: when it was closed, or when it arrived."""
        return payload.time_ms if self.holds(payload.time_ms) else received_ms

    def newest_read(self, frames: Iterable[AnyFrame]) -> list[AnyFrame]:
        """Return the frames whose newest sample is at a time that is believed."""
        return [frame for frame in frames if self.holds(frame.times_ms[-1])]

    def sampled_days(self, frame: AnyFrame) -> set[int]:
        """Return the starts of the UTC days whose intervals the samples of ``frame`` can change."""
        ends = self._ends(frame)
        if not ends:
            return set()
        if ends[-1] - ends[0] <= DAY_MS:
            return set(utc_days(ends[0] - MARGIN_MS, ends[-1] + MARGIN_MS))
        # A clock that was set while the frame was filled: what lies in between holds nothing.
        believed = filter(self.holds, frame.times_ms)
        return {day for time_ms in believed for day in utc_days(time_ms - MARGIN_MS, time_ms + MARGIN_MS)}

    def _holds_frame(self, frame: AnyFrame) -> bool:
        # The times of a frame never fall.
        return self.first_ms <= frame.times_ms[0] and frame.times_ms[-1] <= self.last_ms

    def _ends(self, frame: AnyFrame) -> Sequence[int]:
        """Return the first and the last of the times of a frame that are believed; nothing when none is."""
        if self._holds_frame(frame):
            return frame.times_ms[0], frame.times_ms[-1]
        believed = list(filter(self.holds, frame.times_ms))
        return (believed[0], believed[-1]) if believed else ()


def utc_days(first_ms: int, last_ms: int) -> range:
    """Return the starts, in milliseconds, of the UTC days that [``first_ms``, ``last_ms``] touches."""
    return range(first_ms // DAY_MS * DAY_MS, last_ms + 1, DAY_MS)
