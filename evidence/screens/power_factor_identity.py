"""The power factor against the active and reactive energy of the same interval: PF = P / sqrt(P^2 + Q^2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evidence.result import ScreenPlace, Wording
from evidence.screen import JOINED_DAYS, BoolArray, Channel, Found, NotChecked, Screen, Strength, Subject, joined_runs
from evidence.table import FloatArray

LEAST_TOLERANCE = 0.002
SPREADS = 8.0
FITTING = 0.02
"""A reactive series belongs to a power factor when the identity holds to this for most of some part of the table."""
BLOCKS = 8
OFF_SHARE = 0.5
MINIMUM_OFF = 4

_ACTIVE = ("active_energy_import", "active_power")
_REACTIVE = ("reactive_energy_import", "reactive_energy_export", "reactive_power")


class PowerFactorIdentity(Screen):
    """Do active, reactive energy and power factor agree?"""

    name = "power_factor_identity"
    strength = Strength.STRONG
    title = Wording(en="Power-factor identity", zh="功率因数恒等式")
    meaning = Wording(
        en="P, Q and the power factor are one triangle. Whoever changes the energy alone breaks it.",
        zh="有功、无功与功率因数构成一个三角形。只改动电量必然破坏这一关系。",
    )
    limits = Wording(
        en="Which of the three was changed is not known; P and Q scaled alike keep the power factor. A power factor "
        "that is the mean of single moments agrees roughly only: the tolerance is learned from the series.",
        zh="无法判断三者中哪一个被改动；有功与无功同比例缩放时功率因数不变。由瞬时值平均得到的功率因数只能近似吻合，容差由序列自身学习。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Find the readings that belong together, then look at every local day."""
        looked: list[str] = []
        places: list[ScreenPlace] = []
        figures: dict[str, float] = {}
        for factor in subject.channels:
            triangle = _triangle(subject, factor) if factor.quantity.name == "power_factor" else None
            if triangle is None:
                continue
            names = (factor.name, *triangle.names)
            looked += [name for name in names if name not in looked]
            figures[f"{factor.name}.tolerance"] = triangle.tolerance
            figures[f"{factor.name}.median_difference"] = float(np.nanmedian(np.abs(triangle.error)))
            places += list(_places(subject, names, triangle))
        if not looked:
            return NotChecked(
                "Active energy (or power), reactive energy and power factor of one meter are needed, and the power "
                "factor has to follow them somewhere.",
                "需要同一电表的有功、无功与功率因数，且功率因数至少在部分数据中与之吻合。",
            )
        worst = max((place.figures["largest"] for place in places), default=0.0)
        if places:
            return Found(
                tuple(looked),
                f"In {len(places)} place(s) the power factor is not that of the energies, by up to {worst:.3f}.",
                f"有 {len(places)} 处功率因数与电量不符，最大相差 {worst:.3f}。",
                tuple(places),
                figures,
            )
        highest = max(value for key, value in figures.items() if key.endswith("tolerance"))
        return Found(
            tuple(looked),
            f"The power factor follows from the energies on every day, within {highest:.3f}.",
            f"每日功率因数均与电量吻合，容差 {highest:.3f}。",
            (),
            figures,
        )


@dataclass(frozen=True)
class _Triangle:
    names: tuple[str, ...]
    error: FloatArray
    tolerance: float


def _triangle(subject: Subject, factor: Channel) -> _Triangle | None:
    """The readings whose triangle the power factor is; all candidates of its meter are tried."""
    own = [one for one in subject.channels if one.meter == factor.meter and one.phase == factor.phase]
    best: _Triangle | None = None
    best_fit = FITTING
    for active in (one for one in own if one.quantity.name in _ACTIVE):
        for reactive in (one for one in own if one.quantity.name in _REACTIVE):
            if active.is_increment != reactive.is_increment:
                continue
            apparent = np.hypot(active.values, reactive.values)
            known = (apparent > 0) & np.isfinite(factor.values) & (active.values > 0)
            error = np.full(apparent.shape, np.nan)
            error[known] = active.values[known] / apparent[known] - np.abs(factor.values[known])
            parts = (np.abs(part[np.isfinite(part)]) for part in np.array_split(error, BLOCKS))
            fit = min((float(np.median(part)) for part in parts if part.size), default=FITTING)
            if fit < best_fit:
                best_fit = fit
                best = _Triangle((active.name, reactive.name), error, _tolerance(error))
    return best


def _tolerance(error: FloatArray) -> float:
    changes = np.abs(np.diff(error[np.isfinite(error)]))
    spread = float(np.median(changes)) / 0.9539 if changes.size else 0.0
    return max(LEAST_TOLERANCE, min(SPREADS * spread, 5 * FITTING))


def _places(subject: Subject, names: tuple[str, ...], triangle: _Triangle) -> Iterator[ScreenPlace]:
    known = np.isfinite(triangle.error)
    off: BoolArray = known & (np.abs(np.nan_to_num(triangle.error)) > triangle.tolerance)
    days = subject.days - subject.days[0]
    size = int(days[-1]) + 1
    counted, odd = np.bincount(days[known], minlength=size), np.bincount(days[off], minlength=size)
    bad = (odd >= min(MINIMUM_OFF, subject.rows_a_day)) & (odd >= OFF_SHARE * counted)
    for first, last in joined_runs(bad, JOINED_DAYS):
        rows = np.flatnonzero((days >= first) & (days <= last) & known)
        error = triangle.error[rows]
        figures = {
            "mean_difference": float(error.mean()),
            "largest": float(np.abs(error).max()),
            "tolerance": triangle.tolerance,
            "off": float(off[rows].mean()),
        }
        yield subject.place(names, int(rows[0]), int(rows[-1]), figures)
