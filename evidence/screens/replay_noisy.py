"""Weeks that follow another week too closely: a copy with noise added, found as the nearest neighbour.

What a load does every week at the same time is taken out; what remains, the change from interval to interval, is this
week's own. Two weeks of a real load have next to nothing in common there: for n intervals the correlation is about
1/sqrt(n). A copy with noise keeps most of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evidence.result import ScreenPlace, Wording
from evidence.screen import Channel, Found, NotChecked, Screen, Strength, Subject, runs
from evidence.table import FloatArray

WEEK_DAYS = 7
MINIMUM_WEEKS = 6
MINIMUM_ROWS_A_DAY = 24
LIMIT = 0.6
"""Correlation of the changes of two weeks from which on they are no two weeks of one load."""
OWN_LIMIT = 0.3
"""A load whose weeks are this alike by themselves (median nearest neighbour) cannot be judged."""
CLIP = 4.0
"""Changes beyond so many robust deviations count as that: no single start-up decides."""
ACTIVE_SHARE = 0.25
"""Weeks with less than this share of the usual movement (shutdowns) are left out."""


class ReplayNoisy(Screen):
    """Does a week follow another one, apart from noise?"""

    name = "replay_noisy"
    strength = Strength.WEAK
    title = Wording(en="Replayed weeks, with noise", zh="数据重放（叠加噪声）")
    meaning = Wording(
        en="The ups and downs of one week are those of another, at the same times of day, far beyond what any other "
        "two weeks share: a copy that was changed a little.",
        zh="某一周的起伏与另一周在相同时刻一致，程度远超其他任何两周：疑为略加改动的复制。",
    )
    limits = Wording(
        en="A load that is run by a fixed weekly programme can do so by itself; series whose weeks are all alike are "
        "not judged. Copies of less than a week, moved by hours, or with noise as large as the load's own, are missed.",
        zh="按固定周程序运行的负荷可能自然如此；各周都很相似的序列不作判断。不足一周、错开若干小时、或噪声与负荷波动相当的复制会漏检。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Compare all weeks of each metered amount with all others."""
        if subject.rows_a_day < MINIMUM_ROWS_A_DAY or subject.time_ms.size < MINIMUM_WEEKS * 7 * subject.rows_a_day:
            return NotChecked(
                f"Needs at least {MINIMUM_WEEKS} weeks of intervals of one hour or less.",
                f"至少需要 {MINIMUM_WEEKS} 周、间隔不超过一小时的数据。",
            )
        looked, alike, places, figures = [], [], [], {}
        for channel in subject.channels:
            if not channel.is_metered:
                continue
            weeks = _compare(subject, channel)
            if weeks is None:
                continue
            figures[f"{channel.name}.median_nearest"] = weeks.usual
            if weeks.usual > OWN_LIMIT:
                alike.append(channel.name)
                continue
            looked.append(channel.name)
            figures[f"{channel.name}.highest_nearest"] = float(weeks.nearest.max())
            places += list(_places(subject, channel, weeks))
        if not looked:
            names = ", ".join(alike)
            return NotChecked(
                f"The weeks of {names} are alike by themselves." if alike else "No series moves enough to be compared.",
                f"{names} 的各周本来就彼此相似。" if alike else "没有任何序列有足够的起伏可供比较。",
            )
        highest = max(figures[f"{name}.highest_nearest"] for name in looked)
        if not places:
            return Found(
                tuple(looked),
                f"The two weeks most alike have a correlation of {highest:.3f}; {LIMIT:g} would be an anomaly.",
                f"最相似的两周相关系数为 {highest:.3f}；达到 {LIMIT:g} 才视为异常。",
                (),
                figures,
            )
        return Found(
            tuple(looked),
            f"{len(places)} stretch(es) follow another week with a correlation of up to {highest:.3f}; the median of "
            f"all weeks' nearest is {max(figures[f'{name}.median_nearest'] for name in looked):.3f}.",
            f"有 {len(places)} 段与另一周相关系数最高达 {highest:.3f}；"
            f"各周与其最近邻的相关系数中位数为 {max(figures[f'{name}.median_nearest'] for name in looked):.3f}。",
            tuple(places),
            figures,
        )


@dataclass(frozen=True)
class _Weeks:
    """``nearest``: for each first day the highest correlation with another week, ``lag`` how many days before or after
    it is; ``daily`` the correlation of single days."""

    first_day: int
    nearest: FloatArray
    lag: FloatArray
    daily: FloatArray
    usual: float


def _compare(subject: Subject, channel: Channel) -> _Weeks | None:
    moves, first_day = _moves(subject, channel)
    products = moves @ moves.T
    days = moves.shape[0]
    norms = np.diagonal(products)
    weeks = days - WEEK_DAYS + 1
    if weeks < MINIMUM_WEEKS * WEEK_DAYS or not norms.any():
        return None
    energy = np.convolve(norms, np.ones(WEEK_DAYS), "valid")
    active = energy >= ACTIVE_SHARE * np.median(energy)
    nearest, lag = np.full(weeks, -1.0), np.zeros(weeks)
    for distance in range(WEEK_DAYS, weeks):
        shared = np.convolve(np.diagonal(products, distance), np.ones(WEEK_DAYS), "valid")
        size = np.sqrt(energy[:-distance] * energy[distance:])
        both = active[:-distance] & active[distance:]
        alike = np.where(both, shared / np.where(size > 0, size, 1.0), -1.0)
        for part, sign in ((slice(None, -distance), 1.0), (slice(distance, None), -1.0)):
            better = alike > nearest[part]
            nearest[part] = np.where(better, alike, nearest[part])
            lag[part] = np.where(better, sign * distance, lag[part])
    known = nearest[nearest > -1.0]
    if known.size < MINIMUM_WEEKS * WEEK_DAYS:
        return None
    length = np.sqrt(np.where(norms > 0, norms, 1.0))
    return _Weeks(first_day, nearest, lag, products / np.outer(length, length), float(np.median(known)))


def _moves(subject: Subject, channel: Channel) -> tuple[FloatArray, int]:
    """Changes from interval to interval without what is usual for the time of the week, a row a local day; unknown ones
    are zero."""
    days = subject.days
    count = int(days[-1] - days[0]) + 1
    table = np.full((count, subject.rows_a_day), np.nan)
    rows = subject.rows_of_day
    table[days - days[0], np.minimum(rows, subject.rows_a_day - 1)] = channel.values
    change = np.diff(table.ravel(), prepend=np.nan).reshape(table.shape)
    for weekday in range(WEEK_DAYS):
        same = change[weekday::WEEK_DAYS]
        known = np.isfinite(same).any(axis=0)
        same[:, known] -= np.nanmedian(same[:, known], axis=0)
    moving = np.abs(change[np.isfinite(change) & (change != 0)])
    if not moving.size:
        return np.zeros(table.shape), int(days[0])
    spread = 1.4826 * float(np.median(moving))
    return np.nan_to_num(np.clip(change / spread, -CLIP, CLIP)), int(days[0])


def _places(subject: Subject, channel: Channel, weeks: _Weeks) -> Iterator[ScreenPlace]:
    # The later of the two is named as the place; which of them is the copy is not known.
    copies = (weeks.nearest >= LIMIT) & (weeks.lag < 0)
    for distance in np.unique(-weeks.lag[copies]).astype(int).tolist():
        for first, last in runs(copies & (weeks.lag == -distance)):
            days = np.arange(first, last + WEEK_DAYS)
            alike = days[weeks.daily[days, days - distance] >= LIMIT]
            if not alike.size:
                continue
            chosen = subject.days - weeks.first_day
            rows = np.flatnonzero((chosen >= alike[0]) & (chosen <= alike[-1]))
            source = np.flatnonzero(chosen >= alike[0] - distance)[0]
            figures = {
                "correlation": float(weeks.nearest[first : last + 1].max()),
                "days_before": float(distance),
                "source_start_ms": float(subject.time_ms[source]),
                "usual_correlation": weeks.usual,
            }
            yield subject.place([channel.name], int(rows[0]), int(rows[-1]), figures)
