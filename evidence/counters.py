"""Counter rules: which part of a counter's movement is consumption, and which is not known.

Between two consecutive good readings lies a *segment*. It carries an increment, or it is a gap with a reason. A gap is
never energy and never zero: its increment is NaN, and only its length is known.

A drop is one of

* **glitch**: one or more readings leave the level and come back to it; the odd readings are discarded, the energy
  between the readings around them is kept;
* **rollover**: the modulus is known, the reading before lies near it and the wrapped increment is within the bound;
* **reset**: everything else; a gap, and the reading after it is the new base.

A meter change is bridged only by a signed statement of both readings. An increment above what the circuit can deliver
(``maximum_rate``) that does not come back is a gap. Without ``maximum_rate`` nothing that stays is ever discarded: the
rate learned from the neighbourhood only tells apart readings that leave again.

Every decision looks at no more than ``HORIZON_MS`` to either side, so that a day computed alone (with a margin) and the
same day computed as part of a year give the same numbers, bit for bit.

The rules are this project's own; each decision that is not an ordinary increase is reported as an `Anomaly`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt

MS_PER_HOUR = 3_600_000

HORIZON_MS = MS_PER_HOUR
"""No decision about a reading looks further than this to either side."""

REGISTER_REFRESH_MS = 15_000
"""Meters renew their registers in steps of up to this long, so that increments arrive late and in lumps."""

NEIGHBOURS = 8
"""Segments to either side from which the usual rate is learned."""

USUAL_FACTOR = 10.0
"""A movement up to this many times the usual rate is ordinary; only beyond it can a reading be told to be odd."""

RETURN_FRACTION = 0.05
"""A reading that comes back to within this fraction of its excursion has come back, whatever the usual rate is."""

AMBIGUOUS_COUNTS = 3.0
"""A counter that falls to nothing from this many counts or fewer may as well have been reset: no glitch is told."""

ISOLATED_READINGS = 3
"""Readings in a row that fit neither the level before nor the level after are discarded up to this number."""

SEARCHED_READINGS = 512
"""Readings looked at to either side of a drop, at most: bounds the work on a signal that is no counter at all."""

ROLLOVER_FRACTION = 0.05
"""Without a known maximum rate a rollover's wrapped increment must stay below this fraction of the modulus."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class GapReason(IntEnum):
    """Why a segment has no increment."""

    NONE = 0
    TOO_FAR_APART = 1
    RESET = 2
    IMPOSSIBLE_INCREMENT = 3
    METER_CHANGED = 4


class AnomalyKind(StrEnum):
    """What was seen in a counter beside an ordinary increase."""

    GLITCH = "glitch"
    ROLLOVER = "rollover"
    RESET = "reset"
    REPLACEMENT = "replacement"
    IMPOSSIBLE_INCREMENT = "impossible_increment"
    METER_CHANGED = "meter_changed"


@dataclass(frozen=True)
class Anomaly:
    """One oddity: at ``time_ms`` the counter went from ``before`` to ``after``.

    ``series`` is the full series id where it is known and empty otherwise; the readings are in the unit of the array
    they were found in (raw counts in this module, the series' unit in an interval set).
    """

    time_ms: int
    kind: AnomalyKind
    before: float
    after: float
    series: str = ""


@dataclass(frozen=True)
class Replacement:
    """A meter change that was signed with both readings: the old meter's last and the new meter's first."""

    time_ms: int
    final_reading: float
    first_reading: float


@dataclass(frozen=True)
class CounterRules:
    """What is known about one counter.

    ``modulus`` is the value at which it wraps to zero, ``maximum_rate`` the most it can move in one hour,
    ``resolution`` its smallest step (0 where unknown), all in the unit of the readings. Readings further apart than
    ``gap_limit_ms`` are not connected.
    """

    gap_limit_ms: int
    modulus: float | None = None
    maximum_rate: float | None = None
    resolution: float = 0.0

    def bound(self, duration_ms: IntArray | int) -> FloatArray:
        """The largest increment that is possible within ``duration_ms`` (infinite where no maximum rate is known)."""
        duration = np.asarray(duration_ms, dtype=np.float64)
        if self.maximum_rate is None:
            return np.full(duration.shape, np.inf)
        return np.asarray(self.maximum_rate / MS_PER_HOUR * (duration + REGISTER_REFRESH_MS) + self.resolution)


@dataclass(frozen=True)
class Segments:
    """Segments between consecutive good readings, in order of time; arrays of equal length.

    ``increment`` is NaN exactly where ``reason`` is not ``GapReason.NONE``. Neighbouring segments share their end and
    start. ``kept_ms`` holds the times of all readings that were not discarded, also of a lone one without segments.
    """

    start_ms: IntArray
    end_ms: IntArray
    increment: FloatArray
    reason: npt.NDArray[np.uint8]
    kept_ms: IntArray
    anomalies: tuple[Anomaly, ...] = ()

    @property
    def total(self) -> float:
        """Sum of all known increments."""
        return float(self.increment[self.reason == GapReason.NONE].sum())

    @property
    def covered_ms(self) -> int:
        """Length of all segments with a known increment."""
        known = self.reason == GapReason.NONE
        return int((self.end_ms[known] - self.start_ms[known]).sum())


def segment_counter(
    time_ms: IntArray, values: FloatArray, rules: CounterRules, replacements: Sequence[Replacement] = ()
) -> Segments:
    """Segments of one counter.

    ``time_ms`` (int64, ms since the epoch, strictly increasing) and ``values`` (float64, NaN = invalid) have one entry
    a reading. Integer counts up to 2**53 give exact increments. A replacement outside the readings is ignored. Raises
    ``ValueError`` when times do not increase.
    """
    if time_ms.size > 1 and not bool(np.all(time_ms[1:] > time_ms[:-1])):
        raise ValueError("the times of a counter's readings must increase")
    good = ~np.isnan(values)
    if not good.all():
        time_ms, values = time_ms[good], values[good]
    parts: list[Segments] = []
    start = 0
    for replacement in sorted(replacements, key=lambda replacement: replacement.time_ms):
        change = _find_change(time_ms, values, replacement)
        if change > start:
            parts.append(_segment_one_meter(time_ms[start:change], values[start:change], rules))
            parts.append(bridge(time_ms, values, change, rules, replacement))
            start = change
    parts.append(_segment_one_meter(time_ms[start:], values[start:], rules))
    return join(parts)


def bridge(
    time_ms: IntArray, values: FloatArray, change: int, rules: CounterRules, replacement: Replacement | None
) -> Segments:
    """The one segment from the old meter's last reading, ``change - 1``, to the new meter's first, ``change``.

    Without a signed ``replacement``, or with one whose readings do not fit those around it, it is a gap. The readings
    of both meters (float64, no NaN) are in one unit.
    """
    last, first = float(values[change - 1]), float(values[change])
    duration = time_ms[change : change + 1] - time_ms[change - 1 : change]
    reason, kind, increment = GapReason.METER_CHANGED, AnomalyKind.METER_CHANGED, np.nan
    if replacement is not None:
        before, after = replacement.final_reading - last, first - replacement.first_reading
        limit = float(_ordinary(time_ms, values, rules, duration, (change - 1, change))[0])
        if min(before, after) >= -rules.resolution and before + after <= limit:
            kind = AnomalyKind.REPLACEMENT
            if int(duration[0]) > rules.gap_limit_ms:
                reason = GapReason.TOO_FAR_APART
            else:
                reason, increment = GapReason.NONE, max(before, 0.0) + max(after, 0.0)
    return Segments(
        start_ms=time_ms[change - 1 : change],
        end_ms=time_ms[change : change + 1],
        increment=np.array([increment]),
        reason=np.array([reason], dtype=np.uint8),
        kept_ms=np.zeros(0, dtype=np.int64),
        anomalies=(Anomaly(int(time_ms[change]), kind, last, first),),
    )


def _find_change(time_ms: IntArray, values: FloatArray, replacement: Replacement) -> int:
    """The new meter's first reading: people write down a time near the change, the readings tell which one it was."""
    inside = int(np.searchsorted(time_ms, replacement.time_ms))
    if inside in (0, time_ms.size):
        return 0
    near = np.flatnonzero(np.abs(time_ms - replacement.time_ms) <= HORIZON_MS)
    candidates = np.union1d(near[near > 0], [inside])
    misfit = np.abs(replacement.final_reading - values[candidates - 1])
    misfit += np.abs(values[candidates] - replacement.first_reading)
    return int(candidates[np.argmin(misfit)])


def disconnect(segments: Segments, gap_limit_ms: IntArray) -> Segments:
    """Make gaps of the segments that are longer than their own limit (int64, one entry a segment)."""
    apart = (segments.end_ms - segments.start_ms > gap_limit_ms) & (segments.reason == GapReason.NONE)
    return replace(
        segments,
        increment=np.where(apart, np.nan, segments.increment),
        reason=np.where(apart, np.uint8(GapReason.TOO_FAR_APART), segments.reason),
    )


def join(parts: Sequence[Segments]) -> Segments:
    """Put segments that follow each other in time into one."""
    return Segments(
        start_ms=np.concatenate([part.start_ms for part in parts]),
        end_ms=np.concatenate([part.end_ms for part in parts]),
        increment=np.concatenate([part.increment for part in parts]),
        reason=np.concatenate([part.reason for part in parts]),
        kept_ms=np.concatenate([part.kept_ms for part in parts]),
        anomalies=tuple(anomaly for part in parts for anomaly in part.anomalies),
    )


def _segment_one_meter(time_ms: IntArray, values: FloatArray, rules: CounterRules) -> Segments:
    increment = np.diff(values)
    drops = np.flatnonzero(increment < 0)
    reset = np.zeros(0, dtype=np.bool_)
    anomalies: list[Anomaly] = []
    if drops.size:
        decisions = _Drops(time_ms, values, rules)
        for drop in drops.tolist():
            decisions.decide(drop)
        kept = decisions.kept
        time_ms, values = time_ms[kept], values[kept]
        increment = np.diff(values) + decisions.wrapped[kept][1:]
        reset = decisions.reset[kept][1:]
        anomalies = decisions.anomalies
    duration = np.diff(time_ms)
    reason = np.zeros(increment.size, dtype=np.uint8)
    reason[duration > rules.gap_limit_ms] = GapReason.TOO_FAR_APART
    if rules.maximum_rate is not None:
        impossible = increment > rules.bound(duration)
        reason[impossible] = GapReason.IMPOSSIBLE_INCREMENT
        anomalies = anomalies + [
            Anomaly(int(time_ms[i + 1]), AnomalyKind.IMPOSSIBLE_INCREMENT, float(values[i]), float(values[i + 1]))
            for i in np.flatnonzero(impossible).tolist()
        ]
        anomalies.sort(key=lambda anomaly: anomaly.time_ms)
    if reset.size:
        reason[reset] = GapReason.RESET
    if reason.any():
        increment[reason != GapReason.NONE] = np.nan
    return Segments(time_ms[:-1], time_ms[1:], increment, reason, time_ms, tuple(anomalies))


@dataclass
class _Drops:
    """Decides the drops of one meter from left to right; touches nothing where the counter runs monotonically."""

    time_ms: IntArray
    values: FloatArray
    rules: CounterRules
    anomalies: list[Anomaly] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = self.values.size
        self.kept = np.ones(size, dtype=np.bool_)
        self.reset = np.zeros(size, dtype=np.bool_)
        self.wrapped = np.zeros(size)
        self.base = 0  # first reading after the newest reset or rollover: no comparison reaches back over it

    def decide(self, drop: int) -> None:
        """Decide the drop from reading ``drop`` to the next one, unless an earlier decision has removed it."""
        low = drop + 1
        if not self.kept[low]:
            return
        before = self._kept_before(low)
        if not before.size or self.values[before[-1]] <= self.values[low]:
            return
        high = int(before[-1])
        up, down = self._upward_excursion(before, low), self._downward_excursion(high, low)
        if up is not None and (down is None or high - up <= down - low):
            self._discard(up, low)
        elif down is not None:
            self._discard(high, down)
        elif self.rules.modulus is not None and self._rolls_over(high, low, self.rules.modulus):
            self._note(AnomalyKind.ROLLOVER, high, low)
            self.wrapped[low] = self.rules.modulus
            self.base = low
        else:
            self._start_anew(before, low)

    def _kept_before(self, index: int) -> IntArray:
        """Kept readings before ``index`` that a decision there may look at, oldest first."""
        oldest = int(np.searchsorted(self.time_ms, self.time_ms[index] - HORIZON_MS))
        start = max(oldest, self.base, index - SEARCHED_READINGS)
        return np.flatnonzero(self.kept[start:index]).astype(np.int64) + start

    def _upward_excursion(self, before: IntArray, low: int) -> int | None:
        """The reading from which the readings up to the drop jumped away, if ``low`` comes back to its level."""
        values = self.values
        at_level = np.flatnonzero(values[before] <= values[low])
        if not at_level.size:
            return None
        excursion = before[at_level[-1] :]
        start = int(excursion[0])
        if not self._jumps(excursion, start, low):
            return None
        height = float(values[excursion].max() - values[low])
        return start if self._comes_back(start, low, height) else None

    def _downward_excursion(self, high: int, low: int) -> int | None:
        """The reading with which the counter comes back to the level of ``high``, if it does."""
        values = self.values
        end = int(np.searchsorted(self.time_ms, self.time_ms[high] + HORIZON_MS, side="right"))
        end = min(end, low + SEARCHED_READINGS)
        back = np.flatnonzero(values[low:end] >= values[high])
        if not back.size:
            return None
        first_back = low + int(back[0])
        excursion = np.arange(low, first_back + 1, dtype=np.int64)
        depth = float(values[high] - values[low:first_back].min())
        last_digits = depth <= AMBIGUOUS_COUNTS * self.rules.resolution and depth <= float(values[high]) / 2
        if not last_digits and not self._jumps(excursion, high, first_back):
            return None
        return first_back if self._comes_back(high, first_back, depth) else None

    def _rolls_over(self, high: int, low: int, modulus: float) -> bool:
        wrapped = float(modulus - self.values[high] + self.values[low])
        if self.rules.maximum_rate is None:
            limit = ROLLOVER_FRACTION * modulus
        else:
            limit = min(float(self.rules.bound(self._between(high, low))), modulus / 2)
        return 0 <= wrapped <= limit and self.values[low] >= 0 and self.values[high] <= modulus

    def _start_anew(self, before: IntArray, low: int) -> None:
        """A reset. Where no maximum rate is known, readings at the drop that fit neither side are part of neither."""
        high = int(before[-1])
        if self.rules.maximum_rate is None:
            fitting = self._fitting_before(before, low)
            if fitting != high:
                self._discard(fitting, low)
                high = fitting
            fitting = self._fitting_after(high, low)
            if fitting != low:
                self._discard(high, fitting)
                low = fitting
        self._note(AnomalyKind.RESET, high, low)
        self.reset[low] = True
        self.base = low

    def _fitting_before(self, before: IntArray, low: int) -> int:
        for position in range(before.size - 1, max(before.size - 1 - ISOLATED_READINGS, 0), -1):
            if self._jumps(before[position - 1 : position + 1], int(before[position - 1]), low):
                return int(before[position - 1])
        return int(before[-1])

    def _fitting_after(self, high: int, low: int) -> int:
        for odd in range(low, min(low + ISOLATED_READINGS, self.values.size - 1)):
            if self.values[odd + 1] < self.values[odd] or self._between(low, odd + 1) > HORIZON_MS:
                break
            if self._jumps(np.array([odd, odd + 1]), high, odd + 1):
                return odd + 1
        return low

    def _jumps(self, readings: IntArray, start: int, end: int) -> bool:
        """Whether some step between ``readings`` is out of the ordinary; ``start`` to ``end`` is not asked what is."""
        steps = np.diff(self.values[readings])
        durations = np.diff(self.time_ms[readings])
        return bool((steps > self._ordinary(durations, start, end)).any())

    def _comes_back(self, start: int, end: int, excursion: float) -> bool:
        """Whether the increase from ``start`` to ``end`` is one that the counter could have made meanwhile."""
        increase = float(self.values[end] - self.values[start])
        duration = np.array([self._between(start, end)])
        ordinary = max(float(self._ordinary(duration, start, end)[0]), RETURN_FRACTION * excursion)
        return increase <= min(ordinary, float(self.rules.bound(duration)[0]))

    def _ordinary(self, durations: IntArray, start: int, end: int) -> FloatArray:
        return _ordinary(self.time_ms, self.values, self.rules, durations, (start, end))

    def _between(self, start: int, end: int) -> int:
        return int(self.time_ms[end] - self.time_ms[start])

    def _discard(self, start: int, end: int) -> None:
        """Discard the readings between ``start`` and ``end``, as one glitch."""
        odd = start + 1 + int(np.flatnonzero(self.kept[start + 1 : end])[0])
        self._note(AnomalyKind.GLITCH, start, odd)
        self.kept[start + 1 : end] = False

    def _note(self, kind: AnomalyKind, before: int, after: int) -> None:
        self.anomalies.append(
            Anomaly(int(self.time_ms[after]), kind, float(self.values[before]), float(self.values[after]))
        )


def _ordinary(
    time_ms: IntArray, values: FloatArray, rules: CounterRules, durations: IntArray, around: tuple[int, int]
) -> FloatArray:
    """The largest increments within ``durations`` that look ordinary beside the readings outside of ``around``."""
    start, end = around
    before = _rates(time_ms, values, (start - NEIGHBOURS, start), start)
    after = _rates(time_ms, values, (end, end + NEIGHBOURS), end)
    rates = np.concatenate([before, after])
    usual = float(np.median(rates)) if rates.size else 0.0
    ordinary = USUAL_FACTOR * usual * durations + AMBIGUOUS_COUNTS * rules.resolution
    return np.asarray(np.minimum(ordinary, rules.bound(durations)), dtype=np.float64)


def _rates(time_ms: IntArray, values: FloatArray, readings: tuple[int, int], centre: int) -> FloatArray:
    """Rates per ms of the rising segments from the first to the last of ``readings``, near ``centre``."""
    first, last = max(readings[0], 0), min(readings[1], values.size - 1)
    times, values = time_ms[first : last + 1], values[first : last + 1]
    near = np.abs(times - time_ms[centre]) <= HORIZON_MS
    steps, durations = np.diff(values[near]), np.diff(times[near])
    rising = steps > 0
    return np.asarray(steps[rising] / durations[rising])
