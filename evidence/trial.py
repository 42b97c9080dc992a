"""What a plan would say with another model than its own: for looking, never for a claim.

A plan fixes its model before the reporting period; who tries models afterwards will find one that pleases. So the
result of a trial says, at every figure that it changes, that this is not the model of the plan.
"""

from __future__ import annotations

from evidence.bill_evaluation import evaluate_bills
from evidence.bills import BillTable
from evidence.errors import TrialError
from evidence.evaluate import evaluate
from evidence.models import MODELS
from evidence.origin import Origin
from evidence.plan import Plan
from evidence.reasons import model_not_of_plan
from evidence.result import Evaluation
from evidence.saving_kpi import AUTOMATIC, SavingKpi
from evidence.table import IntervalTable
from wire.document import suggestion


def evaluate_with_model(
    plan: Plan, table: IntervalTable | BillTable, model: str, origin: Origin | None = None
) -> Evaluation:
    """Evaluate ``plan`` with ``model`` in all its modelled savings, over intervals or bills.

    Raises `TrialError` when there is no such model, when it cannot be used with the plan's variables, or when the plan
    has no modelled saving.
    """
    if model not in (*MODELS, AUTOMATIC):
        raise TrialError(f"unknown model{suggestion(model, [*MODELS, AUTOMATIC])}")
    tried = [kpi.model_copy(update={"model": model}) if isinstance(kpi, SavingKpi) else kpi for kpi in plan.kpis]
    if not any(isinstance(kpi, SavingKpi) for kpi in plan.kpis):
        raise TrialError(
            "the plan has no KPI of kind adjusted_saving or normalised_saving, so there is no model to try"
        )
    for kpi in tried:
        for _, problem in kpi.problems(plan.series):
            raise TrialError(f"{kpi.id}: {problem}")
    other = plan.model_copy(update={"kpis": tuple(tried)})
    evaluation = evaluate_bills(other, table) if isinstance(table, BillTable) else evaluate(other, table, origin=origin)
    results = [
        result
        if not isinstance(kpi, SavingKpi) or kpi.model == model
        else result.model_copy(update={"reasons": (*result.reasons, model_not_of_plan(kpi.model, model))})
        for kpi, result in zip(plan.kpis, evaluation.kpis, strict=True)
    ]
    return evaluation.model_copy(update={"kpis": tuple(results)})
