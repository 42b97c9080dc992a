"""``shopfloor evidence``: evaluate a plan over a table, without a server."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from shopfloor import (
    evidence_events,
    evidence_explain,
    evidence_import,
    evidence_indicators,
    evidence_kpis,
    evidence_programmes,
    evidence_refresh,
    evidence_schema,
)
from shopfloor.evidence_files import read_text, write_bytes
from shopfloor.evidence_tables import add_data, read_bill_table, read_data

if TYPE_CHECKING:
    from evidence.grade import EvidenceGrade
    from evidence.plan import Plan
    from evidence.result import Evaluation, KpiResult, PeriodDates, ScreenResult, Wording

Language = Literal["en", "zh"]

PLACES_PRINTED = 5
"""Places of a screen in the readable output; JSON has them all."""

_WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "met": "met",
        "not_met": "not met",
        "not_distinguishable": "not distinguishable",
        "insufficient_data": "insufficient data",
        "baseline": "baseline",
        "reporting": "reporting",
        "change": "change",
        "interval": "interval",
        "target": "target",
        "coverage": "coverage",
        "evidence": "evidence:",
        "peak": "peak (mean of {interval})",
        "load_factor": "load factor",
        "screens": "screens (they find what needs checking, and prove nothing)",
        "strong": "strong",
        "weak": "weak",
        "more_places": "and {n} more places",
    },
    "zh": {
        "met": "达成",
        "not_met": "未达成",
        "not_distinguishable": "无法区分",
        "insufficient_data": "数据不足",
        "baseline": "基准期",
        "reporting": "报告期",
        "change": "变化率",
        "interval": "置信区间",
        "target": "目标",
        "coverage": "数据覆盖率",
        "evidence": "证据等级：",
        "peak": "最大功率（{interval} 平均）",
        "load_factor": "负荷率",
        "screens": "数据筛查（仅提示需核实之处，不作结论）",
        "strong": "强",
        "weak": "弱",
        "more_places": "另有 {n} 处",
    },
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``evidence`` and its commands."""
    parser = subparsers.add_parser(
        "evidence", help="evaluate evidence plans", description="Evaluates evidence plans, without a server."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    evaluate = commands.add_parser(
        "evaluate",
        help="compare before and after as a plan says",
        description="Evaluate PLAN over a table of intervals, or over documents as people write them. Exits with 0 "
        "whatever the verdict, with 2 when plan, table or document cannot be read.",
    )
    evaluate.add_argument("plan", metavar="PLAN", type=Path, help="evidence plan (YAML)")
    add_data(evaluate)
    evaluate.add_argument(
        "--model",
        metavar="NAME",
        help="try another baseline model than the plan's, or auto; the result then says that it is not the plan's",
    )
    evaluate.add_argument(
        "--json", metavar="FILE", help="write the whole result as JSON to FILE, or to standard output: -"
    )
    evaluate.add_argument("--language", choices=("en", "zh"), default="en", help="language of the readable output")
    evaluate.set_defaults(func=_evaluate)

    stored = commands.add_parser(
        "stored",
        help="list what meters had stored before the gateway came",
        description="Prints the readings that meters froze by themselves and a gateway read and signed, as CSV with a "
        "row a value. 'read' is when the gateway read it (UTC), 'entry' 1 the newest. FILE is written by shopfloor "
        "agent export, from the gateway's first record on. With --key every signature is verified.",
    )
    stored.add_argument("file", metavar="FILE", type=Path, help="records of one gateway")
    stored.add_argument("--key", metavar="KEY", help="public key of the gateway: ed25519:...")
    stored.set_defaults(func=_stored)
    evidence_events.add_parser(commands)
    evidence_explain.add_parser(commands)
    evidence_import.add_parser(commands)
    evidence_schema.add_parser(commands)
    evidence_kpis.add_parser(commands)
    evidence_programmes.add_parser(commands)
    evidence_indicators.add_parser(commands)
    evidence_refresh.add_parser(commands)


def _evaluate(options: argparse.Namespace) -> int:
    from evidence.plan import load_plan

    plan = load_plan(read_text(options.plan), options.plan)
    evaluation = _evaluated(options, plan)
    if options.json is not None:
        document = evaluation.to_bytes()
        if options.json == "-":
            print(document.decode("utf-8"), end="")
            return 0
        write_bytes(Path(options.json), document)
    print(_readable(evaluation, evaluation.step_ms, options.language))
    return 0


def _evaluated(options: argparse.Namespace, plan: Plan) -> Evaluation:
    from evidence.bill_evaluation import evaluate_bills
    from evidence.evaluate import evaluate
    from evidence.trial import evaluate_with_model

    bills = read_bill_table(options, plan)
    if bills is not None:
        return evaluate_bills(plan, bills) if options.model is None else evaluate_with_model(plan, bills, options.model)
    table, origin = read_data(options, plan)
    if options.model is None:
        return evaluate(plan, table, origin=origin)
    return evaluate_with_model(plan, table, options.model, origin)


def _stored(options: argparse.Namespace) -> int:
    import csv
    from datetime import UTC, datetime

    from evidence.errors import FileError
    from evidence.stored import stored_readings
    from wire.errors import RecordFileError
    from wire.keys import VerifyingKey
    from wire.record import open_record
    from wire.record_file import read_records

    key = None if options.key is None else VerifyingKey.from_text(options.key)
    if key is None:
        print("signatures: NOT CHECKED (give --key)", file=sys.stderr)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("gateway", "device", "history", "entry", "read", "series", "value", "unit"))
    try:
        with options.file.open("rb") as file:
            for one in stored_readings(open_record(data, key) for data in read_records(file)):
                read = datetime.fromtimestamp(one.read_ms / 1000, UTC).isoformat(timespec="seconds")
                for series, value in zip(one.series, one.values, strict=True):
                    shown = "" if value is None else f"{value:.10g}"
                    table.writerow(
                        (one.gateway, one.device, one.history, one.entry, read, series.name, shown, series.unit)
                    )
    except OSError as error:
        raise FileError(f"{options.file}: cannot be read: {error.strerror}") from error
    except RecordFileError as error:
        raise FileError(f"{options.file}: {error}") from error
    return 0


def _readable(evaluation: Evaluation, step_ms: int, language: Language) -> str:
    words = _WORDS[language]
    baseline, reporting = evaluation.baseline, evaluation.reporting
    lines = [
        f"{evaluation.project}   {words['baseline']} {_days(baseline, language)}   "
        f"{words['reporting']} {_days(reporting, language)}   {evaluation.timezone}"
    ]
    for kpi in evaluation.kpis:
        lines += ["", *_kpi_lines(kpi, language)]
    peak = words["peak"].format(interval=_duration(step_ms))
    for name, total in evaluation.totals.items():
        highest = "" if total.peak_kw is None else f"   {peak} {total.peak_kw:,.2f} kW"
        load = "" if total.load_factor is None else f"   {words['load_factor']} {total.load_factor:.4f}"
        covered = f"   {words['coverage']} {100 * total.coverage:.1f} %"
        lines += ["", f"{name}   {total.sum:,.2f} {total.unit}{highest}{load}{covered}"]
    lines += ["", *evidence_events.event_lines(evaluation, language)]
    lines += ["", words["screens"]]
    for screen in evaluation.screens:
        lines += _screen_lines(screen, evaluation.timezone, language)
    return "\n".join(lines)


def _screen_lines(screen: ScreenResult, timezone: str, language: Language) -> list[str]:
    """One line a screen; of an anomaly also the first places, what it means and what it cannot tell."""

    def said(wording: Wording) -> str:
        return wording.zh if language == "zh" else wording.en

    words = _WORDS[language]
    lines = [f"  {said(screen.title)} ({words[screen.strength]})   {said(screen.statement)}: {said(screen.finding)}"]
    if screen.state != "anomaly":
        return lines
    zone = ZoneInfo(timezone)
    for place in screen.places[:PLACES_PRINTED]:
        start, end = (
            datetime.fromtimestamp(time_ms / 1000, zone).strftime("%Y-%m-%d %H:%M")
            for time_ms in (place.start_ms, place.end_ms)
        )
        lines.append(f"    {start} – {end}   {', '.join(place.series)}")
    more = len(screen.places) - PLACES_PRINTED + screen.more_places
    if more > 0:
        lines.append(f"    {words['more_places'].format(n=more)}")
    return [*lines, f"    {said(screen.meaning)}", f"    {said(screen.limits)}"]


def _days(period: PeriodDates, language: Language) -> str:
    """First and last day, as people name a period; plans name the first day after it."""
    last = period.end - timedelta(days=1)
    return f"{period.first} 至 {last}" if language == "zh" else f"{period.first} to {last}"


def _duration(duration_ms: int) -> str:
    minutes = duration_ms // 60_000
    return f"{minutes} min" if minutes < 60 else f"{minutes / 60:g} h"


def _kpi_lines(kpi: KpiResult, language: Language) -> list[str]:
    from evidence.reasons import percent

    def value(number: float | None) -> str:
        return "-" if number is None else f"{number:,.6g} {kpi.unit}"

    words = _WORDS[language]
    change = "-" if kpi.change is None else percent(kpi.change)
    interval = "-" if kpi.interval is None else f"[{percent(kpi.interval[0])}, {percent(kpi.interval[1])}]"
    target = "-" if kpi.target is None else percent(kpi.target)
    return [
        f"{kpi.id} ({kpi.kind})   {words[kpi.verdict].upper()}",
        f"  {words['baseline']} {value(kpi.baseline)}   {words['reporting']} {value(kpi.reporting)}   "
        f"{words['change']} {change}",
        f"  {100 * kpi.confidence:g} % {words['interval']} {interval}   {words['target']} {target}",
        f"  {words['coverage']} {words['baseline']} {100 * kpi.coverage.baseline:.1f} %, "
        f"{words['reporting']} {100 * kpi.coverage.reporting:.1f} %",
        *_grade_lines(kpi, language),
        *(f"  - {reason.zh if language == 'zh' else reason.en}" for reason in kpi.reasons),
    ]


def _grade_lines(kpi: KpiResult, language: Language) -> list[str]:
    """Who vouches for the values, and of each input from where it is."""
    from evidence.origin import GRADE_NAMES

    def named(grade: EvidenceGrade) -> str:
        return GRADE_NAMES[grade].zh if language == "zh" else GRADE_NAMES[grade].en

    lines = [f"  {_WORDS[language]['evidence']} {named(kpi.grade)}"]
    for one in kpi.inputs:
        sources = f"   {', '.join(one.sources)}" if one.sources else ""
        days = f"{one.first} – {one.end - timedelta(days=1)}"
        lines.append(f"    {one.series}   {days}   {named(one.grade)}{sources}")
    return lines
