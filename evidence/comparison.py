"""A learnt baseline model, driven by the conditions of other days and compared with what was measured on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from evidence.baseline_model import BaselineModel, Conditions, FittedModel
from evidence.bill_uncertainty import billed_sum_uncertainty
from evidence.hourly_uncertainty import hourly_sum_uncertainty
from evidence.table import FloatArray
from evidence.uncertainty import SumUncertainty, prediction_sum_uncertainty

Interval = tuple[float, float]


@dataclass(frozen=True)
class BeforeAndAfter:
    """Used rows of both periods: conditions and energy, one value a row, of bills a day's."""

    before: Conditions
    energy_before: FloatArray
    after: Conditions
    energy_after: FloatArray


class Compared(ABC):
    """What a method says of a change between two periods."""

    @property
    @abstractmethod
    def models(self) -> tuple[FittedModel, ...]:
        """The models that it rests on."""

    @property
    @abstractmethod
    def change(self) -> float | None:
        """The change relative to the baseline energy, negative = less; None unless that energy is positive."""

    @property
    @abstractmethod
    def interval(self) -> Interval | None:
        """Interval of the change; None where the days do not determine it."""

    @property
    @abstractmethod
    def relative_standard_error(self) -> float | None:
        """Standard error of the change; None where there is no interval."""

    @property
    @abstractmethod
    def t(self) -> float | None:
        """Half width of the interval in standard errors."""

    @property
    @abstractmethod
    def degrees_of_freedom(self) -> float:
        """What ``t`` is based on; less than one where there is no interval."""


Method = Callable[[BaselineModel, BeforeAndAfter, float], Compared | None]
"""Compares two periods by a model with a confidence; None when the days do not determine the model's coefficients."""


@dataclass(frozen=True)
class Comparison(Compared):
    """One value a row of model and measurement, and the uncertainty of the sum of their differences."""

    learnt: FittedModel
    predicted: FloatArray
    measured: FloatArray
    uncertainty: SumUncertainty

    @property
    def models(self) -> tuple[FittedModel, ...]:
        return (self.learnt,)

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
    def interval(self) -> Interval | None:
        """Interval of the change: that of the saving, relative to the adjusted baseline."""
        return self.interval_with(self.uncertainty.half_width)

    @property
    def relative_standard_error(self) -> float | None:
        error = self.uncertainty.standard_error
        return None if error is None or self.adjusted_baseline <= 0 else error / self.adjusted_baseline

    @property
    def t(self) -> float | None:
        return self.uncertainty.t

    @property
    def degrees_of_freedom(self) -> float:
        return self.uncertainty.degrees_of_freedom

    def interval_with(self, half_width: float | None) -> Interval | None:
        """Interval of the change for another half width of the saving."""
        if self.change is None or half_width is None:
            return None
        half = half_width / self.adjusted_baseline
        return self.change - half, self.change + half


def compare(
    learnt: FittedModel, before: Conditions, after: Conditions, measured: FloatArray, confidence: float
) -> Comparison:
    """Compare ``measured`` with the model under the conditions ``after``; it was learnt on the rows ``before``.

    ``measured`` has one value for each row of ``after``, of bills the energy a day.
    """
    design = learnt.design(after)
    predicted = design @ learnt.fit.coefficients
    lengths = 1.0 if after.lengths is None else after.lengths
    match after.granularity:
        case "hour":
            uncertainty = hourly_sum_uncertainty(learnt, before, design, after, confidence=confidence)
        case "bill_month":
            uncertainty = billed_sum_uncertainty(learnt, before, design, after, confidence=confidence)
        case "day":
            uncertainty = prediction_sum_uncertainty(
                learnt.fit, before.ordinals, design, after.ordinals, confidence=confidence
            )
    return Comparison(learnt, predicted * lengths, measured * lengths, uncertainty)


def avoided_energy(model: BaselineModel, data: BeforeAndAfter, confidence: float) -> Comparison | None:
    """Learn ``model`` on the first period and compare the second with it."""
    learnt = model.learn(data.before, data.energy_before)
    if learnt is None:
        return None
    return compare(learnt, data.before, data.after, data.energy_after, confidence)
