"""Stored intervals against those computed again from the signed words: equal, or the first that is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from evidence.columns import FloatArray
from evidence.finding import ProofFault
from evidence.intervals import SeriesIntervals

RELATIVE_TOLERANCE = 1e-9
"""For sums and means that another machine may round differently; everything else must be equal."""

_EXACT = ("count", "first", "last", "minimum", "maximum", "coverage")
_ROUNDED = ("increase", "mean", "sum")
_ZERO_WHEN_EMPTY = ("count", "coverage")


def differences(
    stored: Mapping[str, SeriesIntervals],
    recomputed: Mapping[str, SeriesIntervals],
    grid: tuple[int, int, int],
    unsettled: Mapping[str, Sequence[tuple[int, int]]],
) -> list[ProofFault]:
    """Return one fault for each stored series that differs, naming the first interval that does.

    ``grid`` is (from, to, step) in ms; series are keyed by full id; ``unsettled`` spans (ms, half-open, by gateway) are
    not compared.
    """
    found = [
        (series, _first_difference(kept, recomputed.get(series), grid, unsettled.get(series.split("/", 1)[0], ())))
        for series, kept in stored.items()
    ]
    return [_difference_fault(series, difference) for series, difference in found if difference is not None]


@dataclass(frozen=True)
class _Difference:
    time_ms: int
    column: str
    stored: str
    recomputed: str


def _first_difference(
    stored: SeriesIntervals,
    recomputed: SeriesIntervals | None,
    grid: tuple[int, int, int],
    unsettled: Sequence[tuple[int, int]],
) -> _Difference | None:
    """The earliest interval of the range, unsettled spans left out, in which stored and recomputed values differ."""
    from_ms, to_ms, step_ms = grid
    inside = np.flatnonzero((stored.time_ms >= from_ms) & (stored.time_ms < to_ms))
    rows, misplaced = np.divmod(stored.time_ms[inside] - from_ms, step_ms)
    odd = np.flatnonzero((misplaced != 0) | (np.diff(rows, prepend=-1) <= 0))
    if odd.size:
        return _Difference(int(stored.time_ms[inside[odd[0]]]), "time", "no start of an interval, or one twice", "-")
    starts = from_ms + step_ms * np.arange((to_ms - from_ms) // step_ms, dtype=np.int64)
    settled = np.ones(starts.size, dtype=np.bool_)
    for first_ms, last_ms in unsettled:
        settled &= (starts < first_ms) | (starts >= last_ms)
    found: list[tuple[int, _Difference]] = []
    for column in (*_EXACT, *_ROUNDED):
        empty = 0.0 if column in _ZERO_WHEN_EMPTY else np.nan
        ours = np.full((to_ms - from_ms) // step_ms, empty)
        ours[rows] = getattr(stored, column)[inside]
        theirs = np.full(ours.size, empty) if recomputed is None else getattr(recomputed, column)
        differing = np.flatnonzero(settled & ~_same(ours, theirs, RELATIVE_TOLERANCE if column in _ROUNDED else 0.0))
        if differing.size:
            row = int(differing[0])
            time_ms = from_ms + row * step_ms
            found.append((row, _Difference(time_ms, column, f"{ours[row]:.15g}", f"{theirs[row]:.15g}")))
    row_of = dict(zip(inside.tolist(), rows.tolist(), strict=True))
    ours_states = {(row_of[i], *rest) for i, *rest in _state_rows(stored) if i in row_of}
    theirs_states = set(_state_rows(recomputed)) if recomputed is not None else set()
    unequal = sorted(row for row in ours_states ^ theirs_states if settled[row[0]])
    if unequal:
        row = unequal[0][0]
        texts = (
            ", ".join(f"{state}: {ms} ms" for at, state, ms in sorted(states) if at == row)
            for states in (ours_states, theirs_states)
        )
        found.append((row, _Difference(from_ms + row * step_ms, "states", *texts)))
    return min(found, key=lambda item: item[0])[1] if found else None


def _same(ours: FloatArray, theirs: FloatArray, tolerance: float) -> npt.NDArray[np.bool_]:
    finite = np.isfinite(ours) & np.isfinite(theirs)
    with np.errstate(invalid="ignore"):
        close = np.abs(ours - theirs) <= tolerance * np.maximum(np.abs(ours), np.abs(theirs))
    return np.asarray((finite & close) | (np.isnan(ours) & np.isnan(theirs)))


def _state_rows(intervals: SeriesIntervals) -> list[tuple[int, int, int]]:
    states = intervals.states
    if states is None:
        return []
    return list(zip(states.interval.tolist(), states.value.tolist(), states.duration_ms.tolist(), strict=True))


def _difference_fault(series_id: str, difference: _Difference) -> ProofFault:
    start = datetime.fromtimestamp(difference.time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
    return ProofFault(
        gateway=series_id.split("/", 1)[0],
        seq=None,
        fault="recomputation-differs",
        en=(
            f"{series_id}, interval {start}: stored {difference.column} is {difference.stored}, "
            f"recomputed from the records it is {difference.recomputed}"
        ),
        zh=(
            f"{series_id} 区间 {start}：已存 {difference.column} 为 {difference.stored}，"
            f"由记录重算为 {difference.recomputed}"
        ),
    )
