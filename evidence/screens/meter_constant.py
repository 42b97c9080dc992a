"""Values off the lattice of the meter's own constant: `evidence.lattice`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from evidence.lattice import Lattice, learn_lattice, learn_resolution
from evidence.result import ScreenPlace, Wording
from evidence.screen import JOINED_DAYS, Channel, Found, NotChecked, Screen, Strength, Subject, joined_runs
from evidence.table import FloatArray

BLOCKS = 8
"""The constant is the one that most eighths of the table show by themselves: where all are pooled, 0.3 kWh before and
0.27 kWh after would pass as steps of 0.03 kWh."""
OFF_SHARE = 0.1
MINIMUM_OFF = 3
"""A day stands off the lattice when a tenth of its values, and three, do."""


class MeterConstant(Screen):
    """Are all values whole numbers of steps of one meter constant?"""

    name = "meter_constant"
    strength = Strength.STRONG
    title = Wording(en="Meter-constant lattice", zh="电表常数格点")
    meaning = Wording(
        en="A meter counts in steps of pulse constant × CT × PT. Values between the steps were not counted by this "
        "meter with this constant: scaled, averaged, typed in, or read from another meter.",
        zh="电表按“脉冲常数 × 电流互感器变比 × 电压互感器变比”的整数倍计量。落在格点之间的数值不是该表以该常数计出的："
        "可能经过缩放、平均、手工录入，或来自另一块表。",
    )
    limits = Wording(
        en="A new meter or ratio moves the lattice too: compare with the configuration changes. Values multiplied by a "
        "whole number, and whole steps removed one by one, stay on it. Interpolated or finely stated values have no "
        "lattice.",
        zh="换表或更换互感器也会改变格点，应与配置变更对照。乘以整数、或逐个删去整步的数值仍在格点上。插值或分辨率很细的数值没有格点。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Learn each amount's lattice, then look at every local day."""
        looked, places, figures = [], [], {}
        for channel in subject.channels:
            if not channel.is_metered:
                continue
            lattice = _lattice(channel)
            if lattice is None:
                continue
            looked.append(channel.name)
            figures[f"{channel.name}.constant"] = lattice.constant
            figures[f"{channel.name}.on_lattice"] = _share(lattice, channel.values)
            figures[f"{channel.name}.by_chance"] = lattice.chance
            places += list(_places(subject, channel, lattice))
        if not looked:
            return NotChecked(
                "No series shows steps of a constant (interpolated values, values stated too finely, or too few "
                "different ones), and none is declared (`meter_constant` in the plan).",
                "没有任何序列呈现固定步长（数值经插值、分辨率过细或不同取值太少），方案中也未声明 meter_constant。",
            )
        constants = ", ".join(f"{name} {figures[f'{name}.constant']:.6g}" for name in looked)
        if places:
            worst = 100 * max(place.figures["off_lattice"] for place in places)
            return Found(
                tuple(looked),
                f"In {len(places)} place(s) up to {worst:.1f} % of the values lie off the lattice of the meter "
                f"constant ({constants}).",
                f"{len(places)} 处有最多 {worst:.1f} % 的数值不在电表常数的格点上（{constants}）。",
                tuple(places),
                figures,
            )
        return Found(
            tuple(looked),
            f"All values are whole numbers of steps: {constants}.",
            f"全部数值均为步长的整数倍：{constants}。",
            (),
            figures,
        )


def _lattice(channel: Channel) -> Lattice | None:
    resolution = channel.resolution or learn_resolution(channel.values)
    if channel.step is not None:
        return Lattice(min(resolution or channel.step, channel.step), channel.step)
    found: list[Lattice] = []
    for block in np.array_split(channel.values, BLOCKS):
        own = channel.resolution or learn_resolution(block)
        lattice = None if own is None else learn_lattice(block, own)
        if lattice is not None:
            found.append(lattice)
    if not found:
        return None if resolution is None else learn_lattice(channel.values, resolution)
    # Of constants that as many parts show the first counts: it is the meter's as it was in the beginning.
    return max(found, key=lambda one: sum(math.isclose(one.constant, other.constant, rel_tol=1e-6) for other in found))


def _share(lattice: Lattice, values: FloatArray) -> float:
    counted = values[np.isfinite(values) & (values != 0)]
    return float(lattice.holds(counted).mean()) if counted.size else 1.0


def _places(subject: Subject, channel: Channel, lattice: Lattice) -> Iterator[ScreenPlace]:
    counted = np.isfinite(channel.values) & (channel.values != 0)
    off = counted & ~lattice.holds(channel.values)
    if subject.rows_a_day == 1:
        group = np.arange(subject.time_ms.size) // JOINED_DAYS
    else:
        days = subject.days
        group = days - days[0] if days.size else days
    size = int(group[-1]) + 1 if group.size else 0
    per_group = np.bincount(group[off], minlength=size)
    known = np.bincount(group[counted], minlength=size)
    bad = (per_group >= MINIMUM_OFF) & (per_group >= OFF_SHARE * known)
    for first, last in joined_runs(bad, 1 if subject.rows_a_day == 1 else JOINED_DAYS):
        rows = np.flatnonzero((group >= first) & (group <= last) & counted)
        inside = channel.values[rows]
        figures = {
            "off_lattice": float(off[rows].mean()),
            "by_chance": 1.0 - lattice.chance,
            "constant": lattice.constant,
            "values": float(rows.size),
        }
        other = learn_lattice(inside, channel.resolution or learn_resolution(inside) or lattice.resolution)
        if other is not None:
            figures["constant_here"] = other.constant
        yield subject.place([channel.name], int(rows[0]), int(rows[-1]), figures)
