"""The meter's own frozen daily readings against ours at the same moments."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from evidence.result import ScreenPlace, Wording
from evidence.screen import Found, NotChecked, Screen, Strength, Subject
from evidence.signed_facts import RegisterReadings
from evidence.stored import StoredReading

FREEZE_ERROR_MS = 300_000
"""A meter's clock may be off by five minutes (DL/T 448 asks for it), and so may the moment of the freeze."""
BRACKET_MS = 3_600_000
"""Our readings before and after the freeze, widened by the clock error, may be so far apart."""
TIME_SUFFIX = "_time"


class FrozenReadings(Screen):
    """Did the meter freeze what we read?"""

    name = "frozen_readings"
    strength = Strength.STRONG
    title = Wording(en="Frozen daily readings against ours", zh="电表日冻结值与采集值")
    meaning = Wording(
        en="The meter stored its register at midnight by itself. When that value lies outside of what the gateway read "
        "before and after, one of the two was changed or is of another meter.",
        zh="电表自行在零点冻结其示数。若该值不在网关前后读数之间，说明其一被改动，或来自另一块表。",
    )
    limits = Wording(
        en="Only as many days as the meter remembers, and only meters that freeze. A meter whose clock is off by more "
        "than five minutes stands out too.",
        zh="只能检查电表保存的天数，且电表须具备冻结功能。电表时钟偏差超过五分钟也会被列出。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Bracket each frozen value by our readings."""
        signed = subject.signed
        if signed is None or not signed.stored:
            return NotChecked(
                "Needs readings that a meter froze by itself and a gateway read (history of the device model).",
                "需要电表自行冻结、并由网关读取的示数（设备型号的 history）。",
            )
        places: list[ScreenPlace] = []
        compared: dict[str, int] = {}
        for reading in signed.stored:
            for series, frozen_ms, value, step in _frozen(reading, subject.zone):
                ours = signed.registers.get(series)
                bracket = None if ours is None else _bracket(ours, frozen_ms)
                if bracket is None:
                    continue
                compared[series] = compared.get(series, 0) + 1
                low, high = bracket
                if not low - step <= value <= high + step:
                    figures = {"frozen": value, "ours_before": low, "ours_after": high}
                    places.append(
                        ScreenPlace(series=(series,), start_ms=frozen_ms, end_ms=frozen_ms + 1, figures=figures)
                    )
        if not compared:
            return NotChecked(
                "No frozen reading has readings of the gateway right before and after it.",
                "没有任何冻结值在其前后都有网关读数。",
            )
        count = sum(compared.values())
        names = tuple(sorted(compared))
        figures = {f"{name}.compared": float(number) for name, number in compared.items()}
        if places:
            return Found(
                names,
                f"{len(places)} of {count} frozen readings lie outside of what the gateway read around them.",
                f"{count} 个冻结值中有 {len(places)} 个不在网关前后读数之间。",
                tuple(places),
                figures,
            )
        return Found(
            names,
            f"All {count} frozen readings lie between the gateway's readings around them.",
            f"全部 {count} 个冻结值均在网关前后读数之间。",
            (),
            figures,
        )


def _frozen(reading: StoredReading, zone: ZoneInfo) -> Iterator[tuple[str, int, float, float]]:
    """(full series id of the live counter, moment of the freeze, value, step) of an entry that says when it was
    frozen."""
    prefix = f"{reading.history}_"
    known = {series.name: series for series in reading.series}
    values = dict(zip(known, reading.values, strict=True))
    time_name = f"{prefix.removesuffix('_')}{TIME_SUFFIX}"
    stamp = values.get(time_name)
    frozen_ms = None if stamp is None else _moment_ms(int(stamp), known[time_name].unit, zone)
    if frozen_ms is None:
        return
    for name, value in values.items():
        if name != time_name and value is not None:
            series = f"{reading.gateway}/{reading.device}/{name.removeprefix(prefix)}"
            yield series, frozen_ms, float(value), abs(known[name].scale)


def _moment_ms(stamp: int, unit: str, zone: ZoneInfo) -> int | None:
    """A time as meters write it in decimal digits, in local time; None when it is none."""
    formats = {"YYMMDDhhmm": "%y%m%d%H%M", "YYMMDD": "%y%m%d"}
    if unit not in formats:
        return None
    try:
        moment = datetime.strptime(f"{stamp:0{len(unit)}d}", formats[unit]).replace(tzinfo=zone)
    except ValueError:
        return None
    return round(moment.timestamp() * 1000)


def _bracket(ours: RegisterReadings, frozen_ms: int) -> tuple[float, float] | None:
    """Our last reading before the freeze and the first after it, the clock error allowed for."""
    before = int(np.searchsorted(ours.end_ms, frozen_ms - FREEZE_ERROR_MS, side="right")) - 1
    after = int(np.searchsorted(ours.start_ms, frozen_ms + FREEZE_ERROR_MS))
    if before < 0 or after >= ours.start_ms.size or ours.start_ms[after] - ours.end_ms[before] > BRACKET_MS:
        return None
    return float(ours.last[before]), float(ours.first[after])
