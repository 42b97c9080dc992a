"""The gateway's clock against the time at which the server received its records."""

from __future__ import annotations

import numpy as np

from evidence.result import ScreenPlace, Wording
from evidence.screen import BoolArray, Found, NotChecked, Screen, Strength, Subject, joined_runs
from evidence.signed_facts import Arrivals
from evidence.table import DAY_MS, FloatArray

TOLERANCE_S = 300.0
STEADY_DAYS = 3
STEADY_S = 60.0
"""A delay that is the same to a minute for days is a clock; a backlog gets shorter."""


class Clock(Screen):
    """Was a record closed later than it was received, or by a clock that goes behind?"""

    name = "clock"
    strength = Strength.STRONG
    title = Wording(en="Clock against receive time", zh="网关时钟与接收时间")
    meaning = Wording(
        en="A record that was received before it was closed has a wrong time; so has a gateway whose records are late "
        "by the same minutes for days. Intervals then hold energy of another time.",
        zh="先接收后封存的记录时间必然有误；连续数日以相同分钟数延迟的网关亦然。此时各时段的电量属于别的时间。",
    )
    limits = Wording(
        en="Records that were kept on the gateway while there was no line come late, and that is right: such delays "
        "say nothing about the clock. The receive time is the server's own.",
        zh="断网期间保存在网关上的记录会迟到，属正常现象，不说明时钟有误。接收时间以服务器为准。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Look at the shortest delay of each day of each gateway."""
        arrivals = () if subject.signed is None else tuple(one for one in subject.signed.arrivals if one.closed_ms.size)
        if not arrivals:
            return NotChecked(
                "Needs signed records with the times at which they were received.", "需要签名记录及其接收时间。"
            )
        places: list[ScreenPlace] = []
        figures: dict[str, float] = {}
        for arrival in arrivals:
            delays = (arrival.received_ms - arrival.closed_ms) / 1000.0
            figures[f"{arrival.gateway}.shortest_delay_s"] = float(delays.min())
            figures[f"{arrival.gateway}.median_delay_s"] = float(np.median(delays))
            places += _places(arrival, delays)
        names = tuple(arrival.gateway for arrival in arrivals)
        shortest = min(value for key, value in figures.items() if key.endswith("shortest_delay_s"))
        if places:
            return Found(
                names,
                f"In {len(places)} stretch(es) the clock does not fit the receive times; the shortest delay is "
                f"{shortest:.0f} s.",
                f"有 {len(places)} 段时钟与接收时间不符；最短延迟 {shortest:.0f} 秒。",
                tuple(places),
                figures,
            )
        return Found(
            names,
            "No record was received before it was closed, and no delay stays the same; "
            f"the shortest is {shortest:.1f} s.",
            f"没有先接收后封存的记录，延迟也非固定不变；最短 {shortest:.1f} 秒。",
            (),
            figures,
        )


def _places(arrival: Arrivals, delays: FloatArray) -> list[ScreenPlace]:
    # Days of the server's clock: the gateway's is what is in question.
    days, position = np.unique(arrival.received_ms // DAY_MS, return_inverse=True)
    shortest = np.full(days.size, np.inf)
    np.minimum.at(shortest, position, delays)
    steady = np.zeros(days.size, dtype=np.bool_)
    for first in range(days.size - STEADY_DAYS + 1):
        part = shortest[first : first + STEADY_DAYS]
        if part.min() > TOLERANCE_S and part.max() - part.min() <= STEADY_S:
            steady[first : first + STEADY_DAYS] = True
    odd: BoolArray = (shortest < -TOLERANCE_S) | steady
    places = []
    for begin, end in joined_runs(odd, 1):
        rows = np.flatnonzero((position >= begin) & (position <= end))
        figures = {"shortest_delay_s": float(delays[rows].min()), "records": float(rows.size)}
        start_ms, end_ms = int(arrival.received_ms[rows].min()), int(arrival.received_ms[rows].max()) + 1
        places.append(ScreenPlace(series=(arrival.gateway,), start_ms=start_ms, end_ms=end_ms, figures=figures))
    return places
