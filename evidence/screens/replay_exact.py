"""Windows of values that occur twice, to the last digit: found by a hash of every window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from evidence.result import ScreenPlace, Wording
from evidence.screen import BoolArray, Channel, Found, NotChecked, Screen, Strength, Subject
from evidence.table import FloatArray

WINDOW_MS = 6 * 3_600_000
MINIMUM_ROWS = 7
"""A window is six hours long, and at least seven rows."""
SPARE_BITS = 20.0
"""A window has to carry so much more information than it takes to find one of all pairs: one false alarm in a million
tables whose values are independent."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
Codes = NDArray[np.int64]


class ReplayExact(Screen):
    """Does a window of all channels, or of one metered amount, occur a second time?"""

    name = "replay_exact"
    strength = Strength.STRONG
    title = Wording(en="Replayed windows, exact", zh="数据重放（完全相同）")
    meaning = Wording(
        en="Six hours of measurements never come back to the last digit. A repeated window was copied, by somebody or "
        "by a fault that sends old data again.",
        zh="六个小时的实测数据不会逐位重现。重复出现的时间窗是被复制的：可能为人为，也可能是重复发送旧数据的故障。",
    )
    limits = Wording(
        en="Which of the two windows is the original is not known. Resting loads are left out: a window needs half of "
        "its values different. A load run by a programme and metered coarsely can repeat by itself.",
        zh="无法判断两处中哪一处是原始数据。静止负荷不参与检查：时间窗内须有半数取值互不相同。按固定程序运行且计量分辨率很粗的负荷可能自然重复。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Look at all channels together, then at each metered amount on its own."""
        rows = window_rows(subject)
        channels = [channel for channel in subject.channels if np.isfinite(channel.values).any()]
        if not channels or subject.time_ms.size < 2 * rows:
            return NotChecked(
                f"Two windows of {rows} rows are needed; the table has {subject.time_ms.size}.",
                f"至少需要两个各 {rows} 行的时间窗，数据只有 {subject.time_ms.size} 行。",
            )
        places = list(_replays(subject, channels, rows))
        if len(channels) > 1:
            for channel in channels:
                if channel.is_metered:
                    alone = _replays(subject, [channel], rows)
                    places += [place for place in alone if not any(_within(place, other) for other in places)]
        names = tuple(channel.name for channel in channels)
        hours = rows * subject.step_ms / 3_600_000
        if not places:
            return Found(
                names,
                f"No window of {hours:g} h occurs twice.",
                f"没有任何 {hours:g} 小时的时间窗重复出现。",
            )
        longest = max(place.end_ms - place.start_ms for place in places) / 3_600_000
        return Found(
            names,
            f"{len(places)} stretch(es) repeat earlier values to the last digit, the longest over {longest:g} h.",
            f"有 {len(places)} 段与此前数值逐位相同，最长 {longest:g} 小时。",
            tuple(places),
        )


def window_rows(subject: Subject) -> int:
    """Rows of a window."""
    return max(-(-WINDOW_MS // subject.step_ms), MINIMUM_ROWS)


def _replays(subject: Subject, channels: Sequence[Channel], rows: int) -> Iterator[ScreenPlace]:
    values = np.column_stack([channel.values for channel in channels])
    known = np.asarray(np.isfinite(values).all(axis=1), dtype=np.bool_)
    codes = _codes(values)
    names = [channel.name for channel in channels]
    copies: dict[int, list[tuple[int, int]]] = {}
    for later, earlier in _pairs(codes, known, _follows(subject), rows):
        same = copies.setdefault(later - earlier, [])
        # Windows of one copy overlap; what rests between two of them belongs to it.
        if same and later <= same[-1][1] + rows:
            same[-1] = (same[-1][0], later)
        else:
            same.append((later, later))
    for distance, found in sorted(copies.items()):
        for first, last in found:
            final = last + rows - 1
            source_ms = float(subject.time_ms[first - distance])
            figures = {"source_start_ms": source_ms, "rows": float(final - first + 1)}
            yield subject.place(names, first, final, figures)


def _within(place: ScreenPlace, other: ScreenPlace) -> bool:
    """Whether a copy of some channels is part of a copy of more."""
    more = set(place.series) < set(other.series)
    return more and other.start_ms <= place.start_ms and place.end_ms <= other.end_ms


def _follows(subject: Subject) -> BoolArray:
    """Rows with their predecessor directly before them; the first counts as such."""
    gaps = np.diff(subject.time_ms, prepend=subject.time_ms[:1] - subject.step_ms)
    return np.asarray(gaps <= subject.step_ms + (3_600_000 if subject.rows_a_day == 1 else 0), dtype=np.bool_)


def _codes(values: FloatArray) -> Codes:
    """A number for each row, the same for rows of equal values (what is not known is equal to zero)."""
    known = np.where(np.isfinite(values), values, 0.0) + 0.0  # without minus zero: equal values have equal bits
    keys = np.zeros(known.shape[0], dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in np.ascontiguousarray(known.T).view(np.uint64):
            keys = (keys ^ column) * _MULTIPLIER
            keys ^= keys >> np.uint64(29)
    _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    if not np.array_equal(known[first[codes]], known):
        # Two different rows have one key: they are told apart by their values, which takes ten times as long.
        _, codes = np.unique(known, axis=0, return_inverse=True)
    return np.asarray(codes.ravel(), dtype=np.int64)


def _pairs(codes: Codes, known: BoolArray, follows: BoolArray, rows: int) -> list[tuple[int, int]]:
    """(later, earlier) starts of equal windows, by later; each later window with its earliest original."""
    count = codes.size - rows + 1
    if count < 2:
        return []
    unknown, broken = (np.concatenate(([0], np.cumsum(~mask))) for mask in (known, follows))
    # The first row of a window may stand behind a hole; the rows after it may not.
    usable = (unknown[rows:] == unknown[:count]) & (broken[rows:] == broken[1 : count + 1])
    changed = np.concatenate(([0], np.cumsum(np.diff(codes, prepend=-1) != 0)))
    usable &= changed[rows:] - changed[:count] >= rows / 2
    starts = np.flatnonzero(usable)
    if starts.size < 2:
        return []
    hashes = np.zeros(starts.size, dtype=np.uint64)
    mixed = codes.astype(np.uint64) * _MULTIPLIER + np.uint64(1)
    with np.errstate(over="ignore"):
        for offset in range(rows):
            hashes = hashes * np.uint64(6364136223846793005) + mixed[starts + offset]
    order = np.argsort(hashes, kind="stable")
    equal = hashes[order][1:] == hashes[order][:-1]
    twins = starts[order][np.concatenate((equal, [False])) | np.concatenate(([False], equal))]
    if not twins.size:
        return []
    frequency = np.bincount(codes)
    bits = -np.log2(frequency / codes.size)
    windows = np.lib.stride_tricks.sliding_window_view(codes, rows)
    needed = 2.0 * float(np.log2(codes.size)) + SPARE_BITS
    first: dict[bytes, int] = {}
    found = []
    for start in np.sort(twins).tolist():
        window = windows[start]
        distinct = np.unique(window)
        # A value that the window repeats tells nothing new.
        if distinct.size < rows / 2 or float(bits[distinct].sum()) < needed:
            continue
        earliest = first.setdefault(window.tobytes(), start)
        if start - earliest >= rows:
            found.append((start, earliest))
    return found
