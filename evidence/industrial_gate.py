"""When a baseline model explains enough to be used: the industrial gate of SEP 50001."""

from __future__ import annotations

from collections.abc import Iterator

from evidence import reasons
from evidence.baseline_model import FittedModel
from evidence.result import Reason

# The industrial gate: Superior Energy Performance 50001 measurement and verification protocol, model validity.
MINIMUM_R2 = 0.5
MAXIMUM_MODEL_P = 0.10
MAXIMUM_BEST_VARIABLE_P = 0.10
MAXIMUM_VARIABLE_P = 0.20


def gate_reasons(learnt: FittedModel) -> Iterator[Reason]:
    """Yield what a learnt baseline model fails."""
    fit = learnt.fit
    if fit.r2 is None:
        yield reasons.constant_energy()
        return
    if fit.r2 < MINIMUM_R2:
        yield reasons.poor_fit(fit.r2, MINIMUM_R2)
    _, p_value = fit.f_test
    if p_value is not None and p_value > MAXIMUM_MODEL_P:
        yield reasons.model_not_significant(p_value, MAXIMUM_MODEL_P)
    by_variable = variable_p_values(learnt)
    smallest = min(by_variable.values(), default=0.0)
    if smallest >= MAXIMUM_BEST_VARIABLE_P:
        yield reasons.no_significant_variable(smallest, MAXIMUM_BEST_VARIABLE_P)
    for name, p in by_variable.items():
        if p > MAXIMUM_VARIABLE_P:
            yield reasons.weak_variable(name, p, MAXIMUM_VARIABLE_P)


def variable_p_values(learnt: FittedModel) -> dict[str, float]:
    """The two-sided p of each term that multiplies a variable, by the name of the term."""
    rows = zip(learnt.terms, learnt.fit.p_values.tolist(), strict=True)
    return {term.name: p for term, p in rows if term.variable is not None}
