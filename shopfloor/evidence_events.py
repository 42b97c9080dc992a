"""``shopfloor evidence events``: what happened beside a retrofit, looked for and recorded, with and without."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from shopfloor.evidence_files import read_text
from shopfloor.evidence_tables import add_data, read_data

if TYPE_CHECKING:
    from evidence.result import Evaluation, EventCandidate, EventVariant, RecordedEvent, Wording

Language = Literal["en", "zh"]

_WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "events": "events",
        "baseline": "baseline",
        "reporting": "reporting",
        "candidate": "{first} to {last}   {days} days   {level} {unit}/d, {statistic:.1f} standard errors   {recorded}",
        "no_record": "no event recorded",
        "recorded": "recorded: {ids}",
        "event": "{id} ({treatment})   {start} – {end}   {what}   [{factor}]",
        "by": "recorded {recorded} by {by}",
        "taken_out": "taken out",
        "estimated": "by the residuals",
        "exclude": "days left out",
        "adjust": "stated quantity",
        "model": "by the model",
        "all": "all events taken out",
        "none": "as measured, none taken out",
        "without": "all but {event}",
        "met": "met",
        "not_met": "not met",
        "not_distinguishable": "not distinguishable",
        "insufficient_data": "insufficient data",
    },
    "zh": {
        "events": "事件",
        "baseline": "基准期",
        "reporting": "报告期",
        "candidate": "{first} 至 {last}   {days} 天   {level} {unit}/天   {statistic:.1f} 倍标准误   {recorded}",
        "no_record": "没有登记事件",
        "recorded": "已登记：{ids}",
        "event": "{id}（{treatment}）   {start} – {end}   {what}   [{factor}]",
        "by": "{recorded} 由 {by} 登记",
        "taken_out": "扣除量",
        "estimated": "残差估计",
        "exclude": "剔除日期",
        "adjust": "给定用能量",
        "model": "由模型估计",
        "all": "全部扣除",
        "none": "按实测，均不扣除",
        "without": "除 {event} 外全部扣除",
        "met": "达成",
        "not_met": "未达成",
        "not_distinguishable": "无法区分",
        "insufficient_data": "数据不足",
    },
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``shopfloor evidence``."""
    parser = commands.add_parser(
        "events",
        help="look for events beside the retrofit, and show figures with and without recorded ones",
        description="Searches the residuals of the plan's baseline models for runs of days that stand apart, and shows "
        "every event that the plan records, its energy, and each KPI with and without it. A run that is found is a "
        "question to people; no figure is changed by it. Exits with 0 whatever is found, with 2 when plan or table "
        "cannot be read.",
    )
    parser.add_argument("plan", metavar="PLAN", type=Path, help="evidence plan (YAML)")
    add_data(parser)
    parser.add_argument("--json", action="store_true", help="print everything about events as JSON")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="language of the readable output")
    parser.set_defaults(func=_events)


def _events(options: argparse.Namespace) -> int:
    from evidence.evaluate import evaluate
    from evidence.plan import load_plan

    plan = load_plan(read_text(options.plan), options.plan)
    table, origin = read_data(options, plan)
    evaluation = evaluate(plan, table, origin=origin)
    if options.json:
        print(json.dumps(evaluation.events.model_dump(mode="json"), ensure_ascii=False, indent=2))
    else:
        print("\n".join(event_lines(evaluation, options.language)))
    return 0


def event_lines(evaluation: Evaluation, language: Language) -> Iterator[str]:
    """What is known of events, for reading."""
    words, events = _WORDS[language], evaluation.events
    yield words["events"]
    for search in events.searches:
        yield f"  {search.kpi} {words[search.period]}   {_said(search.finding, language)}"
        for candidate in search.candidates:
            yield f"    {_candidate(candidate, language)}"
        if search.candidates:
            yield f"    {_said(search.candidates[0].statement, language)}"
    for event in events.recorded:
        yield from _recorded(event, evaluation.timezone, language)
    for change in events.measurement:
        at = _minute(change.time_ms, evaluation.timezone)
        moved = f"{change.before} → {change.after}" if change.before else change.after
        yield f"  {at}   {change.device}   {change.setting} {moved}"
        yield f"    {_said(change.statement, language)}"
    for figure in events.figures:
        yield f"  {figure.kpi}"
        for variant in figure.variants:
            yield f"    {_variant(variant, language)}"


def _candidate(candidate: EventCandidate, language: Language) -> str:
    words = _WORDS[language]
    ids = ", ".join(candidate.recorded)
    return words["candidate"].format(
        first=candidate.first,
        last=candidate.end - timedelta(days=1),
        days=candidate.days,
        level=f"{candidate.level:+,.4g}",
        unit=candidate.unit,
        statistic=candidate.statistic,
        recorded=words["recorded"].format(ids=ids) if ids else words["no_record"],
    )


def _recorded(event: RecordedEvent, timezone: str, language: Language) -> Iterator[str]:
    words = _WORDS[language]
    yield "  " + words["event"].format(
        id=event.id,
        treatment=words[event.treatment],
        start=_minute(event.start_ms, timezone),
        end=_minute(event.end_ms, timezone),
        what=event.what,
        factor=event.factor,
    )
    yield "    " + words["by"].format(recorded=event.recorded, by=event.recorded_by)
    for name, quantities in (("taken_out", event.taken_out), ("estimated", event.estimated)):
        for one in quantities:
            value = f"{one.energy:+,.6g} ± {one.standard_uncertainty:,.3g} {event.unit} (k = 1)"
            yield f"    {words[name]} ({words[one.period]}): {value}"


def _variant(variant: EventVariant, language: Language) -> str:
    from evidence.reasons import percent

    words = _WORDS[language]
    change = "-" if variant.change is None else percent(variant.change)
    interval = "-" if variant.interval is None else f"[{percent(variant.interval[0])}, {percent(variant.interval[1])}]"
    named = words[variant.events].format(event=variant.event)
    return f"{named:32} {change:>9}  {interval:22} {words[variant.verdict]}"


def _minute(time_ms: int, timezone: str) -> str:
    return datetime.fromtimestamp(time_ms / 1000, ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M")


def _said(wording: Wording, language: Language) -> str:
    return wording.zh if language == "zh" else wording.en
