"""The placebo test: how often the method finds a change where nothing was changed, on the project's own baseline.

Every window of the baseline that is as long as the reporting period is once taken for a reporting period: the model
learns from the days that are left, and the window is judged as the project is. Nothing was done in it, so an interval
that excludes zero is a false positive. The windows are laid by rule, from the first day of the baseline to the last in
equal steps, so that nobody can choose the pleasant ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evidence.baseline_model import BaselineModel, Conditions
from evidence.comparison import BeforeAndAfter, Method, avoided_energy
from evidence.result import ResultModel
from evidence.table import FloatArray

MOST_WINDOWS = 40
"""Windows overlap, and more of them say hardly more: at least a step apart that keeps their number below this."""
MOST_WINDOWS_OF_HOURS = 12
"""A model of hours has a hundred and more coefficients, each window costs as much as the project itself."""
MINIMUM_SEPARATE_WINDOWS = 2
"""The baseline must hold this many windows that do not overlap."""
ROUNDING = 1e-9
"""A change smaller than this is zero: days without any noise leave nothing but rounding."""


class Placebo(ResultModel):
    """What the placebo test found.

    ``window_days`` is the calendar length of a window and ``step_days`` the distance of their first days; ``windows``
    were judged and have an interval, ``undetermined`` have none, ``separate`` fit into the baseline without overlap.
    ``excluding_zero`` and ``claiming_saving`` count the windows whose interval lies on one side of zero, and below it.
    ``nominal`` is what the confidence allows, 1 - confidence. When ``state`` is ``not_determinable``, no window was
    judged: the baseline is too short for ``separate`` windows (``too_short``), none has an interval
    (``no_interval``), or the rows are bills, of which a year has too few (``bills``).
    """

    state: Literal["determined", "not_determinable"]
    why: Literal["too_short", "no_interval", "bills"] | None
    baseline_days: int
    window_days: int
    step_days: int | None
    windows: int
    undetermined: int
    separate: int
    excluding_zero: int
    claiming_saving: int
    false_positive_rate: float | None
    false_saving_rate: float | None
    nominal: float


def placebo_test(
    model: BaselineModel,
    conditions: Conditions,
    energy: FloatArray,
    *,
    window_days: int,
    minimum_days: int,
    confidence: float,
    method: Method = avoided_energy,
) -> Placebo:
    """Judge the windows of the baseline days by ``method``, each against the others.

    ``conditions`` and ``energy`` are those of the used baseline rows. ``window_days`` is the calendar length of the
    reporting period; a window needs nine tenths of its days, and ``minimum_days`` others to learn from.
    """
    rows, days = conditions.ordinals, np.unique(conditions.ordinals)
    span = int(days[-1] - days[0]) + 1 if len(days) else 0
    separate = span // window_days
    laid = _Laid(span, window_days, separate, 1.0 - confidence)
    if conditions.lengths is not None:
        return laid.not_determinable("bills")
    if separate < MINIMUM_SEPARATE_WINDOWS or len(days) - window_days < minimum_days:
        return laid.not_determinable("too_short")
    starts = span - window_days + 1
    step = -(-starts // (MOST_WINDOWS if conditions.hours is None else MOST_WINDOWS_OF_HOURS))
    undetermined = 0
    intervals = []
    for first in range(int(days[0]), int(days[0]) + starts, step):
        inside = (rows >= first) & (rows < first + window_days)
        rest = ~inside
        count = int(np.count_nonzero((days >= first) & (days < first + window_days)))
        interval = None
        if 10 * count >= 9 * window_days and len(days) - count >= minimum_days:
            split = BeforeAndAfter(conditions.only(rest), energy[rest], conditions.only(inside), energy[inside])
            compared = method(model, split, confidence)
            interval = None if compared is None else compared.interval
        if interval is None:
            undetermined += 1
        else:
            intervals.append(interval)
    if not intervals:
        return laid.not_determinable("no_interval", undetermined)
    saving = sum(high < -ROUNDING for _, high in intervals)
    excluding = saving + sum(low > ROUNDING for low, _ in intervals)
    return Placebo(
        state="determined",
        why=None,
        baseline_days=span,
        window_days=window_days,
        step_days=step,
        windows=len(intervals),
        undetermined=undetermined,
        separate=separate,
        excluding_zero=excluding,
        claiming_saving=saving,
        false_positive_rate=excluding / len(intervals),
        false_saving_rate=saving / len(intervals),
        nominal=laid.nominal,
    )


@dataclass(frozen=True)
class _Laid:
    """How the windows lie, before anything is judged."""

    span: int
    window_days: int
    separate: int
    nominal: float

    def not_determinable(self, why: Literal["too_short", "no_interval", "bills"], undetermined: int = 0) -> Placebo:
        return Placebo(
            state="not_determinable",
            why=why,
            baseline_days=self.span,
            window_days=self.window_days,
            step_days=None,
            windows=0,
            undetermined=undetermined,
            separate=self.separate,
            excluding_zero=0,
            claiming_saving=0,
            false_positive_rate=None,
            false_saving_rate=None,
            nominal=self.nominal,
        )
