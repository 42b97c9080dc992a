"""What the project page shows of sufficiency: each criterion of a modelled saving in a line of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dashboards.figures import quantity
from dashboards.language import Catalogue

Json = Mapping[str, Any]

PERIODS = ("baseline", "reporting", "model")
NO_UNIT = "1"


def sufficiency_view(model: Json, text: Catalogue) -> list[tuple[str, str]]:
    """The lines as label and text: what was found, what is asked, from which source, and whether it is met."""
    return list(_lines(model.get("sufficiency", ()), text))


def _lines(criteria: Any, text: Catalogue) -> Iterator[tuple[str, str]]:
    for one in criteria:
        unit = "" if one["unit"] == NO_UNIT else one["unit"]
        state = "not_judged" if one["passed"] is None else "met" if one["passed"] else f"failed_{one['effect']}"
        label = text("sufficiency.label", name=text(f"sufficiency.names.{one['name']}"), of=_of(one["of"], text))
        asked = text(f"sufficiency.{one['asked']}", limit=quantity(one["threshold"], unit, text))
        yield (
            label,
            text(
                "sufficiency.line",
                value=quantity(one["value"], unit, text),
                asked=asked,
                source=one["source"],
                state=text(f"sufficiency.states.{state}"),
            ),
        )


def _of(of: str, text: Catalogue) -> str:
    """A period, with a month where there is one; else a variable, which has the plan's own name."""
    period, _, month = of.partition(" ")
    if period not in PERIODS:
        return of
    return f"{text(f'sufficiency.of.{period}')} {month}".rstrip()
