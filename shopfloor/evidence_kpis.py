"""``shopfloor evidence kpis``: which KPIs a plan may ask for, and what each is."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evidence.kpi_description import KpiDescription
    from evidence.result import Wording


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``shopfloor evidence``."""
    parser = commands.add_parser(
        "kpis",
        help="list the KPIs that a plan may ask for",
        description="Prints the KPIs that a plan may ask for; with KIND formula, source, unit, sign and inputs of one, "
        "and what it cannot tell. Exits with 2 when there is no such KPI.",
    )
    parser.add_argument("kind", metavar="KIND", nargs="?", help="one KPI: oee, peak_demand ...")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    form.add_argument("--markdown", action="store_true", help="print the documentation page")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="language of the readable output")
    parser.set_defaults(func=_kpis)


def _kpis(options: argparse.Namespace) -> int:
    from evidence.errors import EvidenceError
    from evidence.kpi_page import descriptions, markdown
    from wire.document import suggestion

    known = descriptions()
    chosen = [one for one in known if options.kind in (None, one.kind)]
    if not chosen:
        raise EvidenceError(f"no KPI '{options.kind}'{suggestion(options.kind, [one.kind for one in known])}")
    if options.json:
        print(json.dumps([one.model_dump(mode="json") for one in chosen], ensure_ascii=False, indent=2))
    elif options.markdown:
        print(markdown(), end="")
    elif options.kind is None:
        for one in known:
            objectives = " ".join(objective.value for objective in one.objectives)
            print(f"{one.kind:24} {_said(one.name, options)}   {one.formula}   [{one.unit}]   {objectives}")
    else:
        print("\n".join(_lines(chosen[0], options)))
    return 0


def _said(words: Wording, options: argparse.Namespace) -> str:
    return str(words.zh if options.language == "zh" else words.en)


def _lines(one: KpiDescription, options: argparse.Namespace) -> list[str]:
    return [
        f"{one.kind}   {_said(one.name, options)}   {' '.join(objective.value for objective in one.objectives)}",
        f"  {one.formula}   [{one.unit}]   {one.better.value} is better",
        f"  {one.source}",
        f"  interval: {one.interval.value}",
        *(
            f"  {field.field}{' (optional)' if field.optional else ''}: {_said(field.meaning, options)}"
            for field in one.inputs
        ),
        f"  {_said(one.cannot_tell, options)}",
    ]
