"""The register's increase against the integral of the power that the same meter showed."""

from __future__ import annotations

import numpy as np

from evidence.balance import balance
from evidence.result import Wording
from evidence.screen import Channel, Found, NotChecked, Screen, Strength, Subject

TOLERANCE = 0.03
"""Class 1 meter (1 %), power read at single moments in between."""


class RegisterAgainstPower(Screen):
    """Is the energy of each day the integral of the day's power?"""

    name = "register_against_power"
    strength = Strength.STRONG
    title = Wording(en="Register against power integral", zh="电量与功率积分")
    meaning = Wording(
        en="A meter counts the integral of the power that it shows. When the two differ, one of them was changed after "
        "measuring, has another ratio, or is another meter's.",
        zh="电表的电量就是其显示功率的积分。两者不符，说明其一在测量后被改动、变比不同，或来自另一块表。",
    )
    limits = Wording(
        en="Which of the two is wrong is not known; both scaled alike agree. Power read once a minute misses short "
        "peaks, which the tolerance learned from the days takes in.",
        zh="无法判断哪一方有误；两者同比例缩放则仍一致。每分钟读一次功率会漏掉短时尖峰，其影响由逐日学习的容差吸收。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Compare each meter's energy with its power."""
        hours = subject.step_ms / 3_600_000
        looked, places, figures = [], [], {}
        for energy, power in _pairs(subject):
            compared = balance(subject, energy.values, power.values * hours, TOLERANCE, energy.resolution or 0.0)
            if compared is None:
                continue
            looked += [energy.name, power.name]
            figures[f"{energy.name}.largest_difference"] = float(np.abs(compared.difference).max())
            figures[f"{energy.name}.tolerance"] = compared.tolerance
            off = np.abs(compared.difference) > compared.tolerance
            places += list(compared.places(subject, (energy.name, power.name), off))
        if not looked:
            return NotChecked(
                "No meter has exactly one series of active energy and one of total active power over the same time.",
                "没有电表同时具有唯一的有功电量序列与总有功功率序列。",
            )
        largest = max(value for key, value in figures.items() if key.endswith("largest_difference"))
        days = sum(place.figures["days"] for place in places)
        if places:
            en = f"On {days:.0f} day(s) energy and power integral differ, by up to {100 * largest:.1f} %."
            return Found(
                tuple(looked),
                en,
                f"有 {days:.0f} 天电量与功率积分不符，最大相差 {100 * largest:.1f} %。",
                tuple(places),
                figures,
            )
        return Found(
            tuple(looked),
            f"Energy and power integral of each day agree; the largest difference is {100 * largest:.2f} %.",
            f"逐日电量与功率积分一致，最大相差 {100 * largest:.2f} %。",
            (),
            figures,
        )


def _pairs(subject: Subject) -> list[tuple[Channel, Channel]]:
    pairs = []
    for meter in sorted({channel.meter for channel in subject.channels}):
        own = [channel for channel in subject.channels if channel.meter == meter and channel.phase == 0]
        energies = [one for one in own if one.quantity.name == "active_energy_import"]
        powers = [one for one in own if one.quantity.name == "active_power"]
        # Of several it is not known which belong together: a table without sources does not tell the meters apart.
        if len(energies) == 1 and len(powers) == 1:
            pairs.append((energies[0], powers[0]))
    return pairs
