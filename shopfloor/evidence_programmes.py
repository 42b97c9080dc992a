"""``shopfloor evidence programmes``: the pilot programmes, every figure with its source, and what they say of a
project."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evidence.eligibility import Condition
    from evidence.programme import Figure, Programme, Tally, TallyLine
    from evidence.result import Wording

FACTS = ("batch", "level", "investment", "hardware")

_WORDS = {
    "en": {
        "conflicts": "conflicts of the sources",
        "level": "required level",
        "none": "none stated",
        "acceptance": "accepted before",
        "calendar": "calendar",
        "by": "by",
        "targets": "targets",
        "budget": "budget",
        "rules": "rules",
        "other": "other support, at most (10,000 CNY)",
        "sources": "sources",
        "fulfilled": "✓ fulfilled",
        "not_fulfilled": "✗ not fulfilled",
        "conflict": "≠ sources disagree",
        "not_known": "? not known",
        "context": "· context",
        "acceptance_kind": "acceptance",
        "retrofit_kind": "retrofits",
        "payment_kind": "payment",
        "preparation_kind": "preparation",
        "remediation_kind": "remediation",
        "summary_kind": "summary",
    },
    "zh": {
        "conflicts": "来源之间的矛盾",
        "level": "要求等级",
        "none": "未注明",
        "acceptance": "验收截止（不含）",
        "calendar": "日程",
        "by": "截至",
        "targets": "目标",
        "budget": "预算",
        "rules": "规定",
        "other": "其他奖补上限（万元）",
        "sources": "来源",
        "fulfilled": "✓ 符合",
        "not_fulfilled": "✗ 不符合",
        "conflict": "≠ 来源矛盾",
        "not_known": "? 未知",
        "context": "· 背景",
        "acceptance_kind": "验收",
        "retrofit_kind": "改造",
        "payment_kind": "拨付",
        "preparation_kind": "准备",
        "remediation_kind": "集中攻坚",
        "summary_kind": "总结",
    },
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``shopfloor evidence``."""
    parser = commands.add_parser(
        "programmes",
        help="list the pilot programmes and show their rules",
        description="Prints the pilot programmes; with NAME everything one of them states, each figure with its source "
        "and every conflict of the sources. With --batch, --level, --investment or --hardware also what its rules say "
        "of such a project: context for a reviewer, never a decision on a payment. Exits with 2 when there is no such "
        "programme or batch.",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="one programme: pingluo-2025 ...")
    parser.add_argument("--batch", metavar="NAME", help="batch or stage of a project: 1, 2 ...")
    parser.add_argument("--level", metavar="N", type=int, choices=range(1, 5), help="digital level it reached, 1 to 4")
    parser.add_argument("--investment", metavar="SUM", type=_amount, help="total price of the project, in 10,000 CNY")
    parser.add_argument("--hardware", metavar="SUM", type=_amount, help="gateways, routers and the like, of that price")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    form.add_argument("--schema", action="store_true", help="print the JSON Schema of programme files")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="language of the readable output")
    parser.set_defaults(func=_programmes)


def _amount(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError
    return value


def _programmes(options: argparse.Namespace) -> int:
    from evidence.eligibility import STATEMENT, ProjectFacts, eligibility
    from evidence.errors import ProgrammeError
    from evidence.programme_schema import programme_schema_text
    from evidence.programmes import programme, programme_names

    if options.schema:
        print(programme_schema_text(), end="")
        return 0
    facts = {key: getattr(options, key) for key in FACTS}
    asked = any(value is not None for value in facts.values())
    if options.name is None:
        if asked:
            raise ProgrammeError("name the programme that the project belongs to: shopfloor evidence programmes NAME")
        known = [programme(name) for name in programme_names()]
        if options.json:
            print(json.dumps([_document(one) for one in known], ensure_ascii=False, indent=2))
        else:
            print("\n".join(_line(one, options.language) for one in known))
        return 0
    one = programme(options.name)
    conditions = eligibility(one, ProjectFacts(**facts)) if asked else ()
    if options.json:
        document = _document(one)
        if asked:
            document["eligibility"] = {
                "statement": STATEMENT.model_dump(mode="json"),
                "conditions": [condition.model_dump(mode="json") for condition in conditions],
            }
        print(json.dumps(document, ensure_ascii=False, indent=2))
        return 0
    lines = [*_lines(one, options.language)]
    if asked:
        lines += ["", _said(STATEMENT, options.language), *_condition_lines(conditions, options.language)]
    print("\n".join(lines))
    return 0


def _document(one: Programme) -> dict[str, object]:
    conflicts = [conflict.model_dump(mode="json") for conflict in one.conflicts()]
    return {**one.model_dump(mode="json", by_alias=True), "conflicts": conflicts}


def _said(words: Wording, language: str) -> str:
    return words.zh if language == "zh" else words.en


def _line(one: Programme, language: str) -> str:
    words = _WORDS[language]
    return (
        f"{one.name:16} {_said(one.title, language)}   {words['level']} {one.level.required or words['none']}   "
        f"{words['acceptance']} {one.acceptance_end(None) or words['none']}   "
        f"{words['conflicts']}: {len(one.conflicts())}"
    )


def _lines(one: Programme, language: str) -> Iterator[str]:
    words = _WORDS[language]
    yield _line(one, language)
    for conflict in one.conflicts():
        yield f"  ≠ {_said(conflict.text, language)}"
    yield f"\n{words['calendar']}"
    for phase in one.calendar:
        yield f"  {phase.first} – {phase.last}   {_said(phase.name, language)}   [{phase.source}]"
    titles = {batch.name: _said(batch.title, language) for batch in one.batches}
    for deadline in one.deadlines:
        whose = "" if deadline.batch is None else titles[deadline.batch]
        yield f"  {words['by']} {deadline.by}   {words[deadline.kind + '_kind']} {whose}   [{deadline.source}]"
    yield f"\n{words['rules']}"
    from evidence.eligibility import ProjectFacts, eligibility

    yield from _condition_lines(eligibility(one, ProjectFacts()), language)
    for provision in one.provisions:
        yield f"  {_said(provision.text, language)}   [{provision.source}]"
    if one.other_support:
        yield f"\n{words['other']}"
    for other in one.other_support:
        count = "" if other.count is None else f" × {other.count}"
        yield f"  {_said(other.name, language)}: {_figure(other.cap)}{count}"
    yield f"\n{words['targets']}"
    for target in one.targets:
        yield from _tally_lines(one, target, language)
    if one.budget is not None:
        yield f"\n{words['budget']}"
        yield from _tally_lines(one, one.budget, language)
    yield f"\n{words['sources']}"
    for name, source in one.sources.items():
        yield f"  [{name}] {_said(source.title, language)}   {source.file}   {source.status}"


def _figure(figure: Figure) -> str:
    return " | ".join(f"{statement.value:g} [{statement.source}]" for statement in figure)


def _condition_lines(conditions: tuple[Condition, ...], language: str) -> Iterator[str]:
    for one in conditions:
        yield f"  {_WORDS[language][one.state]}: {_said(one.text, language)}   [{', '.join(one.sources)}]"


def _tally_lines(one: Programme, tally: Tally, language: str) -> Iterator[str]:
    least = "≥ " if tally.at_least else ""
    yield (
        f"  {_said(tally.name, language)} [{_said(tally.unit, language)}]: {least}{_tally(one, tally, tally, language)}"
        + (f"   [{tally.source}]")
    )
    for line in tally.lines:
        yield f"    {_said(line.name, language)}: {_tally(one, tally, line, language)}"


def _tally(one: Programme, tally: Tally, line: TallyLine, language: str) -> str:
    total = "" if line.total is None else f"{line.total:g}"
    columns: tuple[Wording, ...] = () if tally.columns is None else getattr(one, tally.columns)
    parts = ", ".join(f"{_said(name, language)} {value:g}" for name, value in zip(columns, line.parts, strict=False))
    conflict = "" if line.conflict is None else f"   ≠ {_said(line.conflict, language)}"
    return " ".join(part for part in (total, f"({parts})" if parts else "") if part) + conflict
