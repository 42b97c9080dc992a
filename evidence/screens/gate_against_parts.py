"""A gate meter against the sum of its sub-meters: the plan's ``parts`` and ``losses``."""

from __future__ import annotations

import numpy as np

from evidence.balance import balance
from evidence.result import Wording
from evidence.screen import Found, NotChecked, Screen, Strength, Subject

TOLERANCE = 0.02
"""Two meters of class 1."""


class GateAgainstParts(Screen):
    """Do the parts fit into the whole?"""

    name = "gate_against_parts"
    strength = Strength.STRONG
    title = Wording(en="Gate against sub-meters", zh="总表与分表")
    meaning = Wording(
        en="Sub-meters cannot count more than the gate meter through which all of it flows; with stated losses they "
        "cannot count less than the rest, either.",
        zh="分表之和不可能超过电能全部流经的总表；声明了损耗时，也不可能少于扣除损耗后的数值。",
    )
    limits = Wording(
        en="Which meter is wrong is not known. Without `losses` in the plan an unmetered rest hides what is missing in "
        "the parts. Own generation behind the gate breaks the balance.",
        zh="无法判断哪块表有误。方案未声明 losses 时，未计量的部分会掩盖分表的缺失。总表之后的自发电会打破平衡。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Compare each whole with its parts."""
        known = {channel.name: channel for channel in subject.channels}
        looked: list[str] = []
        places, figures = [], {}
        for whole in subject.channels:
            if not whole.parts or any(part not in known for part in whole.parts):
                continue
            together = np.sum([known[part].values for part in whole.parts], axis=0)
            compared = balance(subject, together, whole.values, TOLERANCE, whole.resolution or 0.0)
            if compared is None:
                continue
            names = (whole.name, *whole.parts)
            looked += names
            figures[f"{whole.name}.highest_share"] = 1.0 + float(compared.difference.max())
            figures[f"{whole.name}.lowest_share"] = 1.0 + float(compared.difference.min())
            figures[f"{whole.name}.tolerance"] = compared.tolerance
            off = compared.difference > compared.tolerance
            if whole.losses is not None:
                off |= compared.difference < -whole.losses - compared.tolerance
            places += list(compared.places(subject, names, off))
        if not looked:
            return NotChecked(
                "The plan names no `parts` of a series, or they have no common days.",
                "方案未为任何序列指定 parts（分表），或它们没有共同的日期。",
            )
        shares = [value for key, value in figures.items() if key.endswith("_share")]
        if places:
            return Found(
                tuple(looked),
                f"In {len(places)} place(s) the parts do not fit the whole; by the day they are "
                f"{100 * min(shares):.1f} to {100 * max(shares):.1f} % of it.",
                f"有 {len(places)} 处分表之和与总表不符；"
                f"逐日占比 {100 * min(shares):.1f} % 至 {100 * max(shares):.1f} %。",
                tuple(places),
                figures,
            )
        return Found(
            tuple(looked),
            f"By the day the parts are {100 * min(shares):.1f} to {100 * max(shares):.1f} % of the whole.",
            f"逐日分表之和为总表的 {100 * min(shares):.1f} % 至 {100 * max(shares):.1f} %。",
            (),
            figures,
        )
