"""The real steel works: its published intervals as the pulse counters of a meter.

Source: UCI 851, "Steel Industry Energy Consumption" (a works in Gwangyang, 2018, 15-minute intervals, CC BY 4.0).
What is known of it:

* stamps are interval ends, and each day's closing 00:00 row carries the date of the day that has just ended;
* every kWh and kvarh value is ``round(k x 0.036, 2)`` with a whole ``k``: the meter constant. The counters replayed
  here are the running sums of ``k``;
* stamps have no zone. The works keeps Korean time, which had no daylight saving time in 2018, and so do gateway and
  plan.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from demo.errors import DemoError

ZONE = ZoneInfo("Asia/Seoul")
PULSE_KWH = 0.036
INTERVAL_MS = 900_000
FILE_NAME = "steel_industry_energy.csv"

_STAMP = "date"
_COLUMNS = ("Usage_kWh", "Lagging_Current_Reactive_Power_kVarh", "Leading_Current_Reactive_Power_kVarh")
# Published values are rounded to 0.01, so k x 0.036 differs from them by no more than half of that.
_TOLERANCE = 0.005 + 1e-9

Counters = tuple[int, int, int]


@dataclass(frozen=True)
class ImpulseHistory:
    """Running pulse counts of three registers (active, lagging, leading) at the interval ends of a contiguous history.

    ``first_ms`` is the start of the first interval; ``counters[n]`` is what the meter shows n intervals later.
    """

    first_ms: int
    counters: list[Counters]

    @property
    def last_ms(self) -> int:
        """End of the last interval, ms since the epoch, UTC."""
        return self.first_ms + (len(self.counters) - 1) * INTERVAL_MS

    def counters_at(self, time_ms: int) -> Counters:
        """What the meter shows at an instant; pulses of an interval come evenly spread. Before and after the
        history it stands still.
        """
        intervals, within = divmod(min(max(time_ms, self.first_ms), self.last_ms) - self.first_ms, INTERVAL_MS)
        if not within:
            return self.counters[intervals]
        before, after = self.counters[intervals], self.counters[intervals + 1]
        active, lagging, leading = (
            first + (last - first) * within // INTERVAL_MS for first, last in zip(before, after, strict=True)
        )
        return active, lagging, leading


def read_history(folder: Path) -> ImpulseHistory:
    """Read the published file of the steel works from ``folder``.

    Raises `DemoError`, naming file and line, when the file is missing, a value is no multiple of the meter
    constant, or an interval is missing or doubled.
    """
    path = folder / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DemoError(
            f"{path}: cannot be read ({error.strerror}); --data takes the folder that holds {FILE_NAME}"
        ) from error
    ends: list[datetime] = []
    counts: list[Counters] = []
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in (_STAMP, *_COLUMNS) if name not in (reader.fieldnames or [])]
    if missing:
        raise DemoError(f"{path}:1: no column {', '.join(missing)}")
    for row in reader:
        where = f"{path}:{reader.line_num}"
        ends.append(_interval_end(row[_STAMP], where))
        active, lagging, leading = (_pulses(row[name], f"{where}: {name}") for name in _COLUMNS)
        counts.append((active, lagging, leading))
    for line, (before, after) in enumerate(pairwise(ends), start=3):
        if after - before != timedelta(milliseconds=INTERVAL_MS):
            raise DemoError(f"{path}:{line}: the interval that ends {after} does not follow the one that ends {before}")
    if not ends:
        raise DemoError(f"{path}: no intervals in it")
    start = int(ends[0].replace(tzinfo=ZONE).timestamp() * 1000) - INTERVAL_MS
    return ImpulseHistory(start, list(accumulate(counts, _add, initial=(0, 0, 0))))


def _interval_end(stamp: str, where: str) -> datetime:
    try:
        end = datetime.strptime(stamp, "%d/%m/%Y %H:%M")  # noqa: DTZ007 - the zone of the works is put on the first one
    except ValueError as error:
        raise DemoError(f"{where}: {stamp!r} is no stamp like 31/12/2018 23:45") from error
    # The closing row of a day is stamped 00:00 with the date of the day it closes.
    return end + timedelta(days=1) if end.hour == end.minute == 0 else end


def _pulses(text: str, where: str) -> int:
    try:
        value = float(text)
    except ValueError as error:
        raise DemoError(f"{where}: {text!r} is no number") from error
    pulses = round(value / PULSE_KWH)
    if abs(pulses * PULSE_KWH - value) > _TOLERANCE:
        raise DemoError(f"{where}: {text} is no whole number of pulses of {PULSE_KWH}")
    return pulses


def _add(total: Counters, more: Counters) -> Counters:
    return total[0] + more[0], total[1] + more[1], total[2] + more[2]
