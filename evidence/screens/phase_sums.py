"""The total of a three-phase quantity against the sum of its phases."""

from __future__ import annotations

import numpy as np

from evidence.balance import balance
from evidence.result import Wording
from evidence.screen import Channel, Found, NotChecked, Screen, Strength, Subject

TOLERANCE = 0.01
SUMMED = ("active_energy_import", "active_energy_export", "active_power", "reactive_power")
"""Quantities whose total is the sum of the phases."""


class PhaseSums(Screen):
    """Do the phases add up to the total?"""

    name = "phase_sums"
    strength = Strength.STRONG
    title = Wording(en="Phase sums", zh="三相之和")
    meaning = Wording(
        en="Three phases add up to the total that the same meter shows. When they do not, one of the four was changed, "
        "or a phase is wired or read wrongly.",
        zh="同一电表三相之和应等于总值。不相等说明四者之一被改动，或某相接线、读取有误。",
    )
    limits = Wording(
        en="All four scaled alike agree. Small loads and phases that feed back are compared by the day only.",
        zh="四者同比例缩放则仍一致。小负荷及反向供电的相仅按日比较。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Compare each total with its phases, which are named ``..._l1`` to ``..._l3``."""
        looked: list[str] = []
        places, figures = [], {}
        for total, phases in _groups(subject):
            together = np.sum([phase.values for phase in phases], axis=0)
            compared = balance(subject, together, total.values, TOLERANCE, total.resolution or 0.0)
            if compared is None:
                continue
            names = (total.name, *(phase.name for phase in phases))
            looked += names
            figures[f"{total.name}.largest_difference"] = float(np.abs(compared.difference).max())
            figures[f"{total.name}.tolerance"] = compared.tolerance
            places += list(compared.places(subject, names, np.abs(compared.difference) > compared.tolerance))
        if not looked:
            return NotChecked(
                "No meter has a total together with its three phases (series named like active_power_l1 to _l3).",
                "没有电表同时具有总值与三相数值（序列名如 active_power_l1 至 _l3）。",
            )
        largest = max(value for key, value in figures.items() if key.endswith("largest_difference"))
        if places:
            return Found(
                tuple(looked),
                f"In {len(places)} place(s) the phases do not add up to the total; they differ by up to "
                f"{100 * largest:.1f} %.",
                f"有 {len(places)} 处三相之和与总值不符，最大相差 {100 * largest:.1f} %。",
                tuple(places),
                figures,
            )
        return Found(
            tuple(looked),
            f"The phases add up to the total on every day; the largest difference is {100 * largest:.2f} %.",
            f"每日三相之和均与总值一致，最大相差 {100 * largest:.2f} %。",
            (),
            figures,
        )


def _groups(subject: Subject) -> list[tuple[Channel, tuple[Channel, ...]]]:
    groups = []
    for total in subject.channels:
        if total.phase or total.quantity.name not in SUMMED:
            continue
        phases = {
            channel.phase: channel
            for channel in subject.channels
            if channel.phase and channel.total == total.total and channel.meter == total.meter
        }
        if sorted(phases) == [1, 2, 3]:
            groups.append((total, tuple(phases[number] for number in (1, 2, 3))))
    return groups
