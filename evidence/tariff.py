"""Time-of-use tariffs: 尖 sharp, 峰 peak, 平 flat, 谷 valley hours, with a price each."""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cached_property

import numpy as np
from pydantic import Field, field_validator, model_validator

from evidence.table import IntArray, IntervalTable
from wire.document import DocumentModel

MINUTES_A_DAY = 1440
MONTHS = tuple(range(1, 13))
_SPAN = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


def _minutes(span: str) -> tuple[int, int]:
    hours = [int(part) for part in re.findall(r"\d\d", span)]
    return 60 * hours[0] + hours[1], 60 * hours[2] + hours[3]


class TariffPeriod(DocumentModel):
    """Hours of one price. ``times`` are local, '22:00-06:00' runs over midnight; ``months`` are all unless stated."""

    name: str = Field(min_length=1)
    price: float = Field(gt=0)
    times: tuple[str, ...] = Field(min_length=1)
    months: tuple[int, ...] = MONTHS

    @field_validator("times")
    @classmethod
    def _clock(cls, times: tuple[str, ...]) -> tuple[str, ...]:
        for span in times:
            if not _SPAN.fullmatch(span) or max(_minutes(span)) > MINUTES_A_DAY or len(set(_minutes(span))) == 1:
                raise ValueError(f"'{span}' is no span of a day; write 08:00-11:30, to the end of the day 22:00-24:00")
        return times

    @field_validator("months")
    @classmethod
    def _of_the_year(cls, months: tuple[int, ...]) -> tuple[int, ...]:
        if not months or not set(months) <= set(MONTHS):
            raise ValueError("months are numbers from 1 to 12")
        return months

    def covers(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """The minutes of a day that this price holds for."""
        covered = np.zeros(MINUTES_A_DAY, dtype=np.bool_)
        for span in self.times:
            first, end = _minutes(span)
            if first < end:
                covered[first:end] = True
            else:
                covered[first:] = True
                covered[:end] = True
        return covered


class Tariff(DocumentModel):
    """A tariff as published: prices of a kWh by time of day and month, and the document that fixes them."""

    currency: str = "CNY"
    citation: str = Field(min_length=4)
    effective: date
    periods: tuple[TariffPeriod, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _every_minute_once(self) -> Tariff:
        for month in MONTHS:
            times = sum((one.covers().astype(np.int64) for one in self.periods if month in one.months), np.zeros(1440))
            wrong = np.flatnonzero(times != 1)
            if wrong.size:
                minute = int(wrong[0])
                how = "no price" if times[minute] == 0 else "several prices"
                raise ValueError(
                    f"month {month} has {how} at {minute // 60:02d}:{minute % 60:02d}; each minute has one price"
                )
        return self

    @cached_property
    def _lookup(self) -> IntArray:
        """Number of the period by month (1 to 12) and minute of the day."""
        lookup = np.zeros((13, MINUTES_A_DAY), dtype=np.int64)
        for number, one in enumerate(self.periods):
            for month in one.months:
                lookup[month, one.covers()] = number
        return lookup

    def fits(self, step_ms: int) -> bool:
        """Whether each interval of ``step_ms``, counted from midnight, lies in one tariff period."""
        step = max(step_ms // 60_000, 1)
        edges = {edge for one in self.periods for span in one.times for edge in _minutes(span)}
        return len(self.periods) == 1 or (step < MINUTES_A_DAY and all(edge % step == 0 for edge in edges))

    def period_of(self, table: IntervalTable) -> IntArray:
        """Number of the tariff period of each interval."""
        moments = [datetime.fromtimestamp(start / 1000, table.zone) for start in table.time_ms.tolist()]
        months = np.array([moment.month for moment in moments], dtype=np.int64)
        minutes = np.array([60 * moment.hour + moment.minute for moment in moments], dtype=np.int64)
        found: IntArray = self._lookup[months, minutes]
        return found
