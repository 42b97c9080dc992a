"""The minimum detectable effect: which saving these days could have told from zero at all."""

from __future__ import annotations

from scipy import stats

from evidence.comparison import Comparison
from evidence.result import ResultModel

POWER = 0.8
"""The usual power: an effect of this size is found in four of five cases."""


class DetectableSaving(ResultModel):
    """Savings as fractions of the adjusted baseline.

    ``excludes_zero`` is the smallest measured saving whose interval excludes zero, t SE / adjusted baseline; a true
    saving of that size is found every second time. ``with_power`` is the true saving that is found with probability
    ``power``: (t + t_power) SE / adjusted baseline.
    """

    excludes_zero: float
    with_power: float
    power: float


def detectable_saving(comparison: Comparison) -> DetectableSaving | None:
    """Return what could have been found; None where there is no interval.

    n, m, rho and the residual variance are all in the standard error of `evidence.uncertainty`.
    """
    found, total = comparison.uncertainty, comparison.adjusted_baseline
    if found.standard_error is None or found.t is None or total <= 0:
        return None
    of_power = float(stats.t.ppf(POWER, found.degrees_of_freedom))
    return DetectableSaving(
        excludes_zero=found.t * found.standard_error / total,
        with_power=(found.t + of_power) * found.standard_error / total,
        power=POWER,
    )
