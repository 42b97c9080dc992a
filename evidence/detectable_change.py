"""The minimum detectable effect: which saving these days could have told from zero at all."""

from __future__ import annotations

from scipy import stats

from evidence.comparison import Compared
from evidence.result import ResultModel

POWER = 0.8
"""The usual power: an effect of this size is found in four of five cases."""


class DetectableSaving(ResultModel):
    """Savings as fractions of the baseline energy.

    ``excludes_zero`` is the smallest measured saving whose interval excludes zero, t SE; a true saving of that size is
    found every second time. ``with_power`` is the true saving that is found with probability ``power``: (t + t_power)
    SE. SE is relative to the baseline energy, too.
    """

    excludes_zero: float
    with_power: float
    power: float


def detectable_saving(compared: Compared) -> DetectableSaving | None:
    """Return what could have been found; None where there is no interval.

    n, m, rho and the residual variance are all in the standard error of the comparison.
    """
    standard_error, t = compared.relative_standard_error, compared.t
    if standard_error is None or t is None:
        return None
    of_power = float(stats.t.ppf(POWER, compared.degrees_of_freedom))
    return DetectableSaving(excludes_zero=t * standard_error, with_power=(t + of_power) * standard_error, power=POWER)
