"""``shopfloor evidence explain``: a result in one sentence, one paragraph or one page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from shopfloor.evidence_files import read_text
from shopfloor.evidence_tables import add_data, read_data

if TYPE_CHECKING:
    from evidence.explanation.document import Explanation, KpiExplanation
    from evidence.result import Wording


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``shopfloor evidence``."""
    parser = commands.add_parser(
        "explain",
        help="say in words what a result means",
        description="Evaluates PLAN over a table of intervals and says what came out, in words made from the numbers: "
        "of the project as a whole, then of each KPI. Exits with 0 whatever the verdict, with 2 when plan or table "
        "cannot be read or the plan has no such KPI.",
    )
    parser.add_argument("plan", metavar="PLAN", type=Path, help="evidence plan (YAML)")
    add_data(parser)
    parser.add_argument("--kpi", metavar="ID", help="only this KPI of the plan")
    parser.add_argument(
        "--length", choices=("sentence", "paragraph", "page"), default="paragraph", help="default: paragraph"
    )
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="language of the readable output")
    parser.add_argument("--json", action="store_true", help="print all lengths in both languages as JSON")
    parser.set_defaults(func=_explain)


def _explain(options: argparse.Namespace) -> int:
    from evidence.errors import EvidenceError
    from evidence.evaluate import evaluate
    from evidence.explanation.explain import explain
    from evidence.plan import load_plan
    from wire.document import suggestion

    plan = load_plan(read_text(options.plan), options.plan)
    known = [kpi.id for kpi in plan.kpis]
    if options.kpi is not None and options.kpi not in known:
        raise EvidenceError(f"{options.plan}: no KPI '{options.kpi}'{suggestion(options.kpi, known)}")
    table, origin = read_data(options, plan)
    explanation = explain(plan, evaluate(plan, table, origin=origin), proven=None)
    told: Explanation | KpiExplanation = explanation
    if options.kpi is not None:
        told = next(one for one in explanation.kpis if one.id == options.kpi)
    if options.json:
        print(json.dumps(told.model_dump(mode="json"), ensure_ascii=False, indent=2))
    else:
        print("\n".join(_lines(told, options)))
    return 0


def _lines(told: Explanation | KpiExplanation, options: argparse.Namespace) -> Iterator[str]:
    yield from _of_one(told, options)
    for kpi in getattr(told, "kpis", ()):
        yield ""
        yield f"{kpi.id} ({kpi.kind})   {_said(kpi.standing_name, options)}"
        yield from _of_one(kpi, options)


def _of_one(told: Explanation | KpiExplanation, options: argparse.Namespace) -> Iterator[str]:
    if options.length == "paragraph":
        yield _said(told.paragraph, options)
        return
    yield _said(told.sentence, options)
    for section in told.page if options.length == "page" else ():
        yield f"  {_said(section.title, options)}"
        yield from (f"  - {_said(statement, options)}" for statement in section.statements)


def _said(words: Wording, options: argparse.Namespace) -> str:
    return str(words.zh if options.language == "zh" else words.en)
