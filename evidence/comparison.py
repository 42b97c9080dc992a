"""A learnt baseline model, driven by the conditions of other days and compared with what was measured on them."""

from __future__ import annotations

from dataclasses import dataclass

from evidence.baseline_model import Conditions, FittedModel
from evidence.table import FloatArray, IntArray
from evidence.uncertainty import SumUncertainty, prediction_sum_uncertainty


@dataclass(frozen=True)
class Comparison:
    """One value a day of model and measurement, and the uncertainty of the sum of their differences."""

    predicted: FloatArray
    measured: FloatArray
    uncertainty: SumUncertainty

    @property
    def adjusted_baseline(self) -> float:
        """What the model says for all the days."""
        return float(self.predicted.sum())

    @property
    def reporting_total(self) -> float:
        """What was measured on all the days."""
        return float(self.measured.sum())

    @property
    def saving(self) -> float:
        """Avoided energy, positive = less was used."""
        return self.adjusted_baseline - self.reporting_total

    @property
    def change(self) -> float | None:
        """Measured over modelled energy minus one, negative = less; None unless the modelled energy is positive."""
        return self.reporting_total / self.adjusted_baseline - 1.0 if self.adjusted_baseline > 0 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Interval of the change: that of the saving, relative to the adjusted baseline."""
        return self.interval_with(self.uncertainty.half_width)

    def interval_with(self, half_width: float | None) -> tuple[float, float] | None:
        """Interval of the change for another half width of the saving."""
        if self.change is None or half_width is None:
            return None
        half = half_width / self.adjusted_baseline
        return self.change - half, self.change + half


def compare(
    learnt: FittedModel, learnt_days: IntArray, conditions: Conditions, measured: FloatArray, confidence: float
) -> Comparison:
    """Compare ``measured`` with the model under ``conditions``; ``learnt_days`` are the day numbers it was learnt on.

    ``measured`` has one value for each day of ``conditions``.
    """
    design = learnt.design(conditions)
    return Comparison(
        predicted=design @ learnt.fit.coefficients,
        measured=measured,
        uncertainty=prediction_sum_uncertainty(
            learnt.fit, learnt_days, design, conditions.ordinals, confidence=confidence
        ),
    )
