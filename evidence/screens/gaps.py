"""Gaps that fall where they please: missing intervals of the reporting period at times of high load."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evidence.result import ScreenPlace, Wording
from evidence.screen import BoolArray, Channel, Found, NotChecked, Screen, Strength, Subject, runs
from evidence.table import FloatArray

MINIMUM_GAPS = 5
LIMIT = 3.5
"""Standard deviations above what gaps at any time would hide: one honest series in four thousand, were gaps independent
of each other."""
NOTABLE = 1.25
"""What is missing has to be expected that much higher than the mean: a small lean is no anomaly."""
WEEK_DAYS = 7
MINIMUM_ROWS_A_DAY = 24


class Gaps(Screen):
    """Are intervals missing when the load is high, rather than at any time?"""

    name = "gaps_at_convenient_times"
    strength = Strength.WEAK
    title = Wording(en="Gaps at convenient times", zh="缺口出现的时机")
    meaning = Wording(
        en="What is missing of the reporting period falls on hours of high load far more than chance would put it "
        "there: energy may have been kept out.",
        zh="报告期的缺失数据集中在高负荷时段，远超偶然：可能有电量未被计入。",
    )
    limits = Wording(
        en="Gaps have honest causes that keep hours, too: maintenance, breakers, people. Gaps of whole days are not "
        "judged here, only those within the week's rhythm.",
        zh="缺口也可能有规律性的正当原因：检修、断路器、人员作息。本项不判断整天的缺失，只判断一周节律内的缺口。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Compare the load expected in the gaps of each metered amount with that of gaps at any time of the week."""
        if subject.rows_a_day < MINIMUM_ROWS_A_DAY:
            return NotChecked("Needs intervals of one hour or less.", "需要间隔不超过一小时的数据。")
        looked, places, figures = [], [], {}
        within = (subject.time_ms >= subject.reporting_ms[0]) & (subject.time_ms < subject.reporting_ms[1])
        for channel in subject.channels:
            if not channel.is_metered or not within.any():
                continue
            grid = _grid(subject, channel, within)
            if grid is None:
                continue
            looked.append(channel.name)
            missing, expected, first_ms = grid
            found = runs(missing)
            figures[f"{channel.name}.gaps"] = float(len(found))
            if len(found) < MINIMUM_GAPS:
                continue
            ratio, excess = _weigh(found, expected, subject.rows_a_day * WEEK_DAYS)
            figures[f"{channel.name}.expected_load_at_gaps"] = ratio
            figures[f"{channel.name}.deviations"] = excess
            if excess >= LIMIT and ratio >= NOTABLE:
                places += [
                    ScreenPlace(
                        series=(channel.name,),
                        start_ms=first_ms + first * subject.step_ms,
                        end_ms=first_ms + (last + 1) * subject.step_ms,
                        figures={"expected_load": float(expected[first : last + 1].mean() / expected.mean())},
                    )
                    for first, last in found
                ]
        if not looked:
            return NotChecked(
                "No metered amount has a week of intervals in the reporting period.",
                "报告期内没有任何计量序列有一周以上的时段。",
            )
        count = int(max(figures[f"{name}.gaps"] for name in looked))
        if places:
            ratio = max(figures.get(f"{name}.expected_load_at_gaps", 0.0) for name in looked)
            deviations = max(figures.get(f"{name}.deviations", 0.0) for name in looked)
            return Found(
                tuple(looked),
                f"The load expected in the gaps is {ratio:.2f} times the mean, {deviations:.1f} standard deviations "
                "above that of gaps at any time of the week.",
                f"缺口处的预期负荷为平均值的 {ratio:.2f} 倍，比一周内任意时刻的缺口高 {deviations:.1f} 个标准差。",
                tuple(places),
                figures,
            )
        return Found(
            tuple(looked),
            f"{count} gap(s) in the reporting period, none gathered at times of high load."
            if count
            else "No gaps in the reporting period.",
            f"报告期有 {count} 处缺口，未集中在高负荷时段。" if count else "报告期没有缺口。",
            (),
            figures,
        )


def _grid(subject: Subject, channel: Channel, within: BoolArray) -> tuple[BoolArray, FloatArray, int] | None:
    """What is missing of the reporting period between its first and last known interval, and the load expected there
    from the same time of other weeks."""
    known = within & np.isfinite(channel.values)
    times = subject.time_ms[known]
    week = subject.rows_a_day * WEEK_DAYS
    if not times.size or times[-1] - times[0] < 2 * week * subject.step_ms:
        return None
    position = (times - times[0]) // subject.step_ms
    missing = np.ones(int(position[-1]) + 1, dtype=np.bool_)
    missing[position] = False
    present = np.isfinite(channel.values)
    values = channel.values[present]
    # What the other weeks of the whole table show at that time: the reporting period may show nothing there.
    slot = (subject.time_ms[present] - times[0]) // subject.step_ms % week
    counts = np.bincount(slot, minlength=week)
    means = np.bincount(slot, weights=values, minlength=week) / np.maximum(counts, 1)
    overall = float(values.mean())
    if overall <= 0:
        return None
    means[counts == 0] = overall
    # Gaps of a day and more are the plant's or the line's business and lie at all hours alike.
    for first, last in runs(missing):
        if last - first + 1 >= subject.rows_a_day:
            missing[first : last + 1] = False
    return missing, means[np.arange(missing.size) % week], int(times[0])


def _weigh(gaps: Sequence[tuple[int, int]], expected: FloatArray, week: int) -> tuple[float, float]:
    """Expected load in the gaps over the mean, and by how many standard deviations it is above that of gaps of the same
    lengths at any time of the week, each on its own."""
    profile = expected[:week]
    sums = np.concatenate(([0.0], np.cumsum(np.tile(profile, 2))))
    hidden = chance = variance = 0.0
    rows = 0
    for first, last in gaps:
        length = last - first + 1
        anywhere = sums[length : length + week] - sums[:week]
        hidden += float(anywhere[first % week])
        chance += float(anywhere.mean())
        variance += float(anywhere.var())
        rows += length
    excess = (hidden - chance) / math.sqrt(variance) if variance > 0 else 0.0
    return hidden / (rows * float(profile.mean())), excess
