"""What the project page shows of events: each with its energy, figures with and without, marks, a timeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from dashboards.figures import iso_time, unit_text
from dashboards.kpi_names import kpi_name
from dashboards.language import Catalogue
from evidence.figures import NARROW_SPACE, NO_VALUE, number, percent, percent_digits

Json = Mapping[str, Any]

INSUFFICIENT_DATA = "insufficient_data"
NOT_PROVEN = "not_proven"
NO_TARGET = "no_target"


def events_view(dossier: Json, text: Catalogue) -> dict[str, Any]:
    """Everything that `events.html` writes."""
    events = dossier["evaluation"]["events"]
    return {
        "figures": [_figure(figure, dossier, text) for figure in events["figures"]],
        "recorded": [_recorded(event, dossier, text) for event in events["recorded"]],
        "searches": [_search(search, text) for search in events["searches"]],
        "timeline": sorted(_timeline(dossier, text), key=lambda entry: entry["from"]),
    }


def event_marks(dossier: Json, energy: str, text: Catalogue) -> list[dict[str, str]]:
    """Recorded events of the series ``energy`` and changes of its meters, for a chart of days: first and last day."""
    zone, events = dossier["project"]["timezone"], dossier["evaluation"]["events"]
    recorded = (
        {
            "label": event["id"],
            "first": _day(event["start_ms"], zone),
            "last": _day(event["end_ms"] - 1, zone),
        }
        for event in events["recorded"]
        if event["series"] == energy
    )
    changed = (
        {"label": text(f"events.effect.{change['effect']}"), "first": day, "last": day}
        for change in events["measurement"]
        if energy in change["series"] and change["effect"] != "noted"
        for day in [_day(change["time_ms"], zone)]
    )
    return list({tuple(mark.values()): mark for mark in [*recorded, *changed]}.values())


def _figure(figure: Json, dossier: Json, text: Catalogue) -> dict[str, Any]:
    kpi = next(one for one in dossier["evaluation"]["kpis"] if one["id"] == figure["kpi"])
    changes = [
        value for one in figure["variants"] for value in (one["change"], *(one["interval"] or ())) if value is not None
    ]
    digits = percent_digits(tuple(changes), kpi["target"])
    return {
        "name": kpi_name(kpi["kind"], text),
        "id": kpi["id"],
        "depends": figure["verdict_depends"],
        "rows": [_variant(one, kpi, digits, dossier, text) for one in figure["variants"]],
    }


def _variant(variant: Json, kpi: Json, digits: int, dossier: Json, text: Catalogue) -> dict[str, Any]:
    standing = str(variant["verdict"])
    if not dossier["proof"]["proven"]:
        standing = NOT_PROVEN
    elif kpi["target"] is None and standing != INSUFFICIENT_DATA:
        standing = NO_TARGET
    interval = variant["interval"]
    unit = unit_text(kpi["unit"], text)
    return {
        "events": text(f"events.with.{variant['events']}", event=variant["event"] or ""),
        "baseline": f"{number(variant['baseline'])}{NARROW_SPACE}{unit}",
        "reporting": f"{number(variant['reporting'])}{NARROW_SPACE}{unit}",
        "change": percent(variant["change"], digits, signed=True),
        "interval": NO_VALUE
        if interval is None
        else f"{percent(interval[0], digits, signed=True)} … {percent(interval[1], digits, signed=True)}",
        "standing": standing,
        "coverage": text(
            "project.coverage_pair",
            baseline=percent(variant["coverage"]["baseline"]),
            reporting=percent(variant["coverage"]["reporting"]),
        ),
    }


def _recorded(event: Json, dossier: Json, text: Catalogue) -> dict[str, Any]:
    zone = dossier["project"]["timezone"]
    registered = _revision(f"event {event['id']}", dossier)
    end = next(one["end"] for one in dossier["plan"]["periods"] if one["name"] == "reporting")
    # What a record says of its own date is the word of its author; the date of the revision is the server's.
    early, late = (
        event["recorded_before_reporting"],
        event["recorded_after_reporting"] or registered["registered"] >= end,
    )
    return {
        "id": event["id"],
        "what": event["what"],
        "factor": event["factor"],
        "series": event["series"],
        "days": text("project.days_range", first=_minute(event["start_ms"], zone), last=_minute(event["end_ms"], zone)),
        "treatment": text(f"events.treatment.{event['treatment']}"),
        "basis": event["basis"] or "",
        "taken_out": [_quantity(one, event["unit"], text) for one in event["taken_out"]],
        "estimated": [_quantity(one, event["unit"], text) for one in event["estimated"]],
        "recorded": text("events.recorded_by", day=event["recorded"], by=event["recorded_by"]),
        "late": text(f"events.late.{'after' if late else 'before' if early else 'during'}"),
        "is_late": late,
        "registered": text("events.registered", n=registered["revision"], at=_clock(registered["registered"])),
        "evidence": [{"file": file, "hash": hash_[:16]} for file, hash_ in event["evidence"]],
    }


def _quantity(one: Json, unit: str, text: Catalogue) -> str:
    sign = "+" if one["energy"] > 0 else ""
    value = f"{sign}{number(one['energy'])} ± {number(one['standard_uncertainty'])}"
    written = f"{value}{NARROW_SPACE}{unit_text(unit, text)}"
    return text("events.quantity", period=text(f"period.{one['period']}"), value=written)


def _revision(record: str, dossier: Json) -> Json:
    """The first registered revision of the plan that holds a record as it is now."""
    number = dossier["plan"]["records"][record]
    found: Json = next(one for one in dossier["plan"]["revisions"] if one["revision"] == number)
    return found


def _search(search: Json, text: Catalogue) -> dict[str, Any]:
    return {
        "name": text("events.search_of", kpi=search["kpi"], period=text(f"period.{search['period']}")),
        "finding": search["finding"][text.language],
        "candidates": [_candidate(one, text) for one in search["candidates"]],
    }


def _candidate(one: Json, text: Catalogue) -> dict[str, Any]:
    unit = f"{unit_text(one['unit'], text)}/{text('unit.d')}"
    sign = "+" if one["level"] > 0 else ""
    return {
        "days": text("project.days_range", first=one["first"], last=_last(one["end"])),
        "level": f"{sign}{number(one['level'])}{NARROW_SPACE}{unit}",
        "energy": f"{sign}{number(one['energy'])}{NARROW_SPACE}{unit_text(one['unit'], text)}",
        "statistic": number(one["statistic"], 1),
        "recorded": ", ".join(one["recorded"]) or text("events.not_recorded"),
        "statement": one["statement"][text.language],
    }


def _timeline(dossier: Json, text: Catalogue) -> Iterator[dict[str, str]]:
    """Every dated matter of the project, each with what was done about it."""
    zone, events, plan = dossier["project"]["timezone"], dossier["evaluation"]["events"], dossier["plan"]
    for revision in plan["revisions"]:
        yield _entry(_clock(revision["registered"]), "plan", text("project.revision", n=revision["revision"]), "", text)
    for period in plan["periods"]:
        days = text("project.days_range", first=period["start"], last=_last(period["end"]))
        yield _entry(period["start"], "period", f"{text('period.' + period['name'])} {days}", "", text)
    for event in events["recorded"]:
        days = text("project.days_range", first=_minute(event["start_ms"], zone), last=_minute(event["end_ms"], zone))
        done = text(f"events.treatment.{event['treatment']}")
        yield _entry(_minute(event["start_ms"], zone), "event", f"{event['what']} ({days})", done, text)
    for search in events["searches"]:
        for one in search["candidates"]:
            candidate = _candidate(one, text)
            told = f"{candidate['days']} {candidate['level']} ({search['kpi']}; {candidate['recorded']})"
            yield _entry(one["first"], "candidate", told, candidate["statement"], text)
    for change in events["measurement"]:
        moved = f"{change['before']} → {change['after']}" if change["before"] else change["after"]
        told = f"{change['device']}: {change['setting']} {moved}".strip()
        yield _entry(_minute(change["time_ms"], zone), "measurement", told, change["statement"][text.language], text)
    yield from _factor_years(dossier, text)


def _factor_years(dossier: Json, text: Catalogue) -> Iterator[dict[str, str]]:
    start = next(one["start"] for one in dossier["plan"]["periods"] if one["name"] == "reporting")
    for kpi in dossier["evaluation"]["kpis"]:
        figures = {one["basis"]: one for one in kpi["model"].get("factor_years", ())}
        if figures:
            before, after = (", ".join(names) for names in figures["mixed"]["factors"])
            done = text(
                "events.factor_year",
                plan=percent(kpi["change"], 1, signed=True),
                baseline=percent(figures["baseline_year"]["change"], 1, signed=True),
                reporting=percent(figures["reporting_year"]["change"], 1, signed=True),
                mixed=percent(figures["mixed"]["change"], 1, signed=True),
            )
            yield _entry(start, "factor_year", f"{kpi['id']}: {before} → {after}", done, text)


def _entry(when: str, kind: str, told: str, done: str, text: Catalogue) -> dict[str, str]:
    return {"from": when, "kind": kind, "name": text(f"events.kind.{kind}"), "told": told, "done": done}


def _last(end: str) -> str:
    return (date.fromisoformat(end) - timedelta(days=1)).isoformat()


def _day(time_ms: int, timezone: str) -> str:
    return iso_time(time_ms, timezone)[:10]


def _minute(time_ms: int, timezone: str) -> str:
    return _clock(iso_time(time_ms, timezone))


def _clock(iso: str) -> str:
    return iso[:16].replace("T", " ")
