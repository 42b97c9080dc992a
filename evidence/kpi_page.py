"""The documentation page of the KPIs, made from their descriptions."""

from __future__ import annotations

from collections.abc import Iterator

from evidence.factors import COAL_EQUIVALENT, GRID_CARBON, Factor
from evidence.kpi_description import Better, KpiDescription, Objective
from evidence.kpis import KPIS

_HEAD = """# KPIs

Made from the code by `shopfloor evidence kpis --markdown`; the tests compare. How a plan asks for them, with worked
numbers: [KPIs in a plan](kpis-in-a-plan.md). The interval methods are in [Evidence](../evidence.md).

A ratio is the ratio of the sums over the used days of a period, never the mean of daily ratios. A change is a fraction
of the baseline value, negative = decrease. *Better* says which direction is an improvement; a target must point there.
Figures without an interval are compared as they are, by rule, and the result says why.
"""


def descriptions() -> tuple[KpiDescription, ...]:
    """All KPIs, by kind."""
    return tuple(sorted((kpi.description for kpi in KPIS), key=lambda one: one.kind))


def markdown() -> str:
    """The page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "## By objective\n"
    yield "| objective | KPIs |"
    yield "| --- | --- |"
    for objective in Objective:
        kinds = [f"[`{one.kind}`](#{one.kind})" for one in descriptions() if objective in one.objectives]
        yield f"| {objective.value} | {', '.join(kinds)} |"
    for one in descriptions():
        yield from _section(one)
    yield "\n## Factors: standard coal equivalent\n"
    yield "The measured net calorific value comes first: k = NCV / 29307.6 kJ. These stand in where there is none.\n"
    yield from _factors(COAL_EQUIVALENT, "kgce")
    yield "\n## Factors: CO2 of electricity from the grid\n"
    yield "Other carriers: the plan states value, unit, year and citation.\n"
    yield from _factors(GRID_CARBON, "kg CO2")
    yield ""


def _section(one: KpiDescription) -> Iterator[str]:
    yield f"\n## {one.kind}\n"
    yield f"{one.name.en} · {one.name.zh}\n"
    yield "| | |"
    yield "| --- | --- |"
    yield f"| objective | {'、'.join(objective.value for objective in one.objectives)} |"
    yield f"| formula | {one.formula} |"
    yield f"| source | {one.source} |"
    yield f"| unit | {one.unit} |"
    yield f"| better | {'a rise' if one.better is Better.HIGHER else 'a fall'} |"
    yield f"| interval | {one.interval.value} |"
    for field in one.inputs:
        symbol = f"{field.symbol}: " if field.symbol else ""
        yield f"| `{field.field}`{' (optional)' if field.optional else ''} | {symbol}{field.meaning.en} |"
    yield f"| it cannot tell | {one.cannot_tell.en} {one.cannot_tell.zh} |"


def _factors(table: dict[str, Factor], measure: str) -> Iterator[str]:
    yield f"| factor | {measure} | per | year | for | source |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in table.values():
        value = f"{row.low:g} to {row.high:g}" if row.is_range else f"{row.low:g}"
        only = " (only where bought in)" if row.bought_in_only else ""
        yield f"| `{row.name}` | {value} | {row.unit} | {row.year} | {row.quantities[0]}{only} | {row.citation} |"
