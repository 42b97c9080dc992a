"""A channel that stands still for longer than its own behaviour explains."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evidence.result import ScreenPlace, Wording
from evidence.screen import Channel, Found, NotChecked, Screen, Strength, Subject
from evidence.table import FloatArray, IntArray

MINIMUM_RUN = 12
EXPECTED = 1e-6
"""A run is odd when fewer than so many of its length are expected in a table like this."""
RESTING_RUN = 6
"""A value that was held for so many intervals more than once is one at which the channel rests."""
MINIMUM_ROWS = 200


class Stuck(Screen):
    """Does a value repeat for longer than the channel's own resolution and habits explain?"""

    name = "stuck"
    strength = Strength.WEAK
    title = Wording(en="Stuck against its own resolution", zh="数值停滞（按自身分辨率判断）")
    meaning = Wording(
        en="The channel repeated one value far longer than it ever does: a sensor that hangs, a link that repeats its "
        "last value, or a filled-in gap.",
        zh="该通道重复同一数值的时间远超其惯常：传感器卡死、通信重复上一个值，或用固定值填补缺口。",
    )
    limits = Wording(
        en="Zero, and values at which the channel has rested before, are not judged: standing still is normal there. A "
        "channel that is stuck from the first to the last row has no behaviour to be compared with.",
        zh="零值以及该通道曾经停留过的数值不作判断：在那里静止属正常。自始至终不变的通道没有可供比较的自身规律。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Look at every channel that makes no pieces."""
        looked, places, figures = [], [], {}
        for channel in subject.channels:
            present = channel.values[np.isfinite(channel.values)]
            if channel.quantity.production or present.size < MINIMUM_ROWS or np.unique(present).size < 3:
                continue
            looked.append(channel.name)
            figures[f"{channel.name}.resolution"] = _resolution(present)
            places += list(_places(subject, channel, figures))
        if not looked:
            return NotChecked(
                f"No channel has {MINIMUM_ROWS} values of its own to learn from.",
                f"没有任何通道有 {MINIMUM_ROWS} 个可供学习的数值。",
            )
        longest = max(figures[f"{name}.longest_run"] for name in looked)
        if places:
            return Found(
                tuple(looked),
                f"{len(places)} run(s) of one value are longer than the channel's own behaviour explains; the longest "
                f"has {longest:.0f} intervals.",
                f"有 {len(places)} 段同值持续超过该通道自身规律可解释的长度，最长 {longest:.0f} 个时段。",
                tuple(places),
                figures,
            )
        return Found(
            tuple(looked),
            f"The longest run of one value, zero and resting values aside, has {longest:.0f} intervals.",
            f"零值与静止值之外，同一数值最长持续 {longest:.0f} 个时段。",
            (),
            figures,
        )


def _resolution(present: FloatArray) -> float:
    """The smallest step between values that differ, apart from the noise of floating point."""
    steps = np.diff(np.unique(present))
    real = steps[steps > 1e-9 * max(float(np.abs(present).max()), 1e-300)]
    return float(real.min()) if real.size else 0.0


def _places(subject: Subject, channel: Channel, figures: dict[str, float]) -> Iterator[ScreenPlace]:
    first, length = _runs(channel.values)
    held = channel.values[first]
    levels, times = np.unique(held[length >= RESTING_RUN], return_counts=True)
    judged = (held != 0) & ~np.isin(held, levels[times > 1])
    figures[f"{channel.name}.longest_run"] = float(length[judged].max(initial=0))
    values, repeats = int(length[judged].sum()), length[judged] - 1
    for index in np.flatnonzero(judged & (length >= MINIMUM_RUN)).tolist():
        # The run itself is left out: a channel that hangs half of the time must not excuse itself.
        own = int(length[index]) - 1
        others, begun = int(repeats.sum()) - own, int(np.count_nonzero(repeats)) - 1
        pairs = values - int(length[index])
        begin = (begun + 1) / (pairs + 2)
        stay = (others - begun + 1) / (others + 2)
        expected = pairs * begin * stay ** (own - 1)
        if expected <= EXPECTED:
            row = int(first[index])
            numbers = {"value": float(held[index]), "intervals": float(length[index]), "expected": expected}
            yield subject.place([channel.name], row, row + own, numbers)


def _runs(values: FloatArray) -> tuple[IntArray, IntArray]:
    """First row and length of each run of equal values; missing values end a run and have none."""
    present = np.flatnonzero(np.isfinite(values))
    starts = np.ones(present.size, dtype=np.bool_)
    starts[1:] = (np.diff(values[present]) != 0) | (np.diff(present) != 1)
    first = present[starts]
    return first, np.diff(np.append(np.flatnonzero(starts), present.size))
