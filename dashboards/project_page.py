"""What the project page and the list of projects show, from the JSON of a dossier.

A page is made from the very JSON that `/projects/{id}/evidence.json` serves, so that no figure can be on one and not on
the other. Only writing happens here: no figure is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Any
from urllib.parse import quote

from dashboards.documents_page import grade_text, inputs_view
from dashboards.events_view import event_marks, events_view
from dashboards.explanation_page import paragraph_view
from dashboards.figures import local_time, quantity, unit_text
from dashboards.kpi_names import kpi_name
from dashboards.language import Catalogue
from dashboards.screens_view import screens_view
from dashboards.sufficiency_view import sufficiency_view
from evidence.figures import NO_VALUE, confidence_text, number, percent, percent_digits

Json = Mapping[str, Any]

FAULTS_SHOWN = 20
CHECKS = ("signature", "chain", "log", "timestamp", "recomputation")
"""The proof strip, in the order of reading."""
DAYS_A_WEEK = 7
INSUFFICIENT_DATA = "insufficient_data"
INTERCEPT = "intercept"
"""Name of the coefficient that belongs to no variable."""


def project_view(dossier: Json, text: Catalogue) -> dict[str, Any]:
    """Everything that `project.html` writes."""
    project, plan, kpis = dossier["project"], dossier["plan"], dossier["evaluation"]["kpis"]
    return {
        **{key: project[key] for key in ("id", "enterprise", "boundary", "programme")},
        "path": quote(project["id"], safe=""),
        "kpis": _kpi_views(dossier, text),
        "explained": [paragraph_view(told, text) for told in dossier["explanation"]["kpis"]],
        "proof": proof_view(dossier["proof"], text),
        "screens": screens_view(dossier["evaluation"]["screens"], project["timezone"], text),
        "events": events_view(dossier, text),
        "inputs": inputs_view(kpis, text),
        "daily_charts": list(_daily_charts(dossier, text)),
        "scatter": _scatter(dossier, text),
        "models": [model_view(kpi, text, project["zone"]) for kpi in kpis],
        "calendars": [
            _calendar(name, dossier["coverage"], text, series["label"])
            for name, series in _labelled(plan["series"], text).items()
        ],
        "registered": _clock_text(plan["registered"]),
        "revisions": [
            {"revision": one["revision"], "registered": _clock_text(one["registered"]), "hash": one["hash"][:16]}
            for one in plan["revisions"]
        ],
        "in_time": plan["registered_before_reporting"],
        "plan_hash": plan["hash"],
        "periods": [{"name": one["name"], "days": _days_text(one, text)} for one in plan["periods"]],
        "series": [_series_view(name, series, dossier, text) for name, series in plan["series"].items()],
        "gateways": [
            {
                "line": text(
                    "project.gateway_line",
                    gateway=gateway["gateway"],
                    records=number(gateway["records"], 0),
                    first=gateway["first_seq"] or NO_VALUE,
                    last=gateway["last_seq"] or NO_VALUE,
                ),
                "fingerprint": dossier["gateways"][gateway["gateway"]]["fingerprint"],
            }
            for gateway in dossier["proof"]["gateways"]
        ],
        "zone": project["zone"],
    }


def summary_view(dossier: Json, text: Catalogue) -> dict[str, Any]:
    """One project in the list of projects."""
    view = dossier["project"]
    proof = dossier["proof"]
    reporting = next(period for period in dossier["plan"]["periods"] if period["name"] == "reporting")
    return {
        **{key: view[key] for key in ("id", "enterprise", "boundary")},
        "path": quote(view["id"], safe=""),
        "reporting": _days_text(reporting, text),
        "kpis": _kpi_views(dossier, text),
        "checks": _checks(proof, text),
        "failure": None,
    }


def failed_summary_view(project_id: str, failure: str) -> dict[str, Any]:
    """A project in the list whose plan or data cannot be evaluated; `failure` says why."""
    view = {"id": project_id, "path": quote(project_id, safe=""), "enterprise": project_id, "boundary": ""}
    return {**view, "reporting": "", "kpis": [], "checks": [], "state": [], "computed": "", "failure": failure}


def _kpi_views(dossier: Json, text: Catalogue) -> list[dict[str, Any]]:
    pairs = zip(dossier["evaluation"]["kpis"], dossier["explanation"]["kpis"], strict=True)
    return [kpi_view(kpi, told, text) for kpi, told in pairs]


def kpi_view(kpi: Json, told: Json, text: Catalogue) -> dict[str, Any]:
    """One line of the KPI table, with its sentence; ``told`` is its explanation."""
    target = kpi["target"]
    interval = kpi["interval"]
    digits = percent_digits((kpi["change"], *(interval or ())), target)
    by_rule = interval is None and kpi["verdict"] != INSUFFICIENT_DATA
    return {
        "id": kpi["id"],
        "path": quote(kpi["id"], safe=""),
        "name": kpi_name(kpi["kind"], text),
        "adjusted": kpi["kind"] == "adjusted_saving",
        "standing": told["standing"],
        "sentence": told["sentence"][text.language],
        "grade": text("documents.verdict_grade", grade=grade_text(kpi["grade"], text)),
        "unit": unit_text(kpi["unit"], text),
        "baseline": number(kpi["baseline"]),
        "reporting": number(kpi["reporting"]),
        "change": percent(kpi["change"], digits, signed=True),
        "interval": _interval(interval, digits),
        "confidence": text("project.by_rule") if by_rule else confidence_text(kpi["confidence"]),
        "target": NO_VALUE if target is None else percent(target, 1, signed=True),
        "coverage_baseline": percent(kpi["coverage"]["baseline"]),
        "coverage_reporting": percent(kpi["coverage"]["reporting"]),
        "reasons": [reason[text.language] for reason in kpi["reasons"]],
    }


def proof_view(proof: Json, text: Catalogue) -> dict[str, Any]:
    """The proof strip, and the records that fail."""
    alert = None
    if not proof["proven"]:
        failing = any(proof[check] == "fail" for check in CHECKS)
        alert = text("proof.alert") if failing else text("proof.incomplete_alert")
        if proof["unsigned"]:
            alert = text("proof.imported_alert")
    faults = proof["faults"]
    return {
        "checks": _checks(proof, text),
        "alert": alert,
        "faults": faults[:FAULTS_SHOWN],
        "more_faults": max(len(faults) - FAULTS_SHOWN, 0),
        "notices": [notice[text.language] for notice in proof["notices"][:FAULTS_SHOWN]],
    }


def _checks(proof: Json, text: Catalogue) -> list[dict[str, str]]:
    return [
        {
            "name": check,
            "state": proof[check],
            "explanation": proof["reasons"][check][text.language]
            if proof[check] == "not_checked"
            else text(f"proof.explain.{check}.{proof[check]}"),
        }
        for check in CHECKS
    ]


def _clock_text(iso: str) -> str:
    return iso[:19].replace("T", " ")


def _days_text(period: Json, text: Catalogue) -> str:
    """First and last day, as people name a period; the plan names the first day after it."""
    last = date.fromisoformat(period["end"]) - timedelta(days=1)
    return text("project.days_range", first=period["start"], last=last.isoformat())


def _interval(interval: Sequence[float] | None, digits: int) -> str:
    if interval is None:
        return NO_VALUE
    low, high = (percent(end, digits, signed=True) for end in interval)
    return f"{low} … {high}"


def _daily_charts(dossier: Json, text: Catalogue) -> Iterator[dict[str, Any]]:
    """The adjusted baseline of each KPI that has one; without any, measured energy of the first KPI alone."""
    tables = {kpi_id: table for kpi_id, table in dossier["days"].items() if table["rows"] and table["energy"]}
    with_model = [
        key for key, table in tables.items() if any(row["adjusted_baseline"] is not None for row in table["rows"])
    ]
    for kpi_id in with_model or list(tables)[:1]:
        table = tables[kpi_id]
        rows = table["rows"]
        if not any(row["values"][table["energy"]] is not None for row in rows):
            continue
        kpi = next(one for one in dossier["evaluation"]["kpis"] if one["id"] == kpi_id)
        unit = unit_text(table["units"][table["energy"]], text)
        yield {
            "kpi": kpi_id,
            "path": quote(kpi_id, safe=""),
            "unit": f"{unit}/{text('unit.d')}",
            "data": _daily_data(table, kpi, unit, text) | {"events": event_marks(dossier, table["energy"], text)},
            "rows": [_day_view(row, table["energy"], text) for row in rows],
        }


def _daily_data(table: Json, kpi: Json, unit: str, text: Catalogue) -> dict[str, Any]:
    rows, energy = table["rows"], table["energy"]

    def column(name: str) -> list[float | None] | None:
        values = [row[name] for row in rows]
        return values if any(value is not None for value in values) else None

    periods = [
        {"name": name, "label": text(f"period.{name}"), "first": days[0], "last": days[-1]}
        for name, days in (
            (name, [row["day"] for row in group]) for name, group in groupby(rows, lambda row: row["period"])
        )
        if name != "outside"
    ]
    labels = {
        "before": f"{text('project.measured')} · {text('period.baseline')}",
        "after": f"{text('project.measured')} · {text('period.reporting')}",
        "adjusted": text("project.adjusted"),
        "band": text("project.band", confidence=confidence_text(kpi["confidence"])),
        "target": text("project.target_line"),
    }
    return {
        "unit": unit,
        "labels": labels,
        "days": [row["day"] for row in rows],
        "periods": periods,
        "before": [None if row["period"] == "reporting" else row["values"][energy] for row in rows],
        "after": [row["values"][energy] if row["period"] == "reporting" else None for row in rows],
        "adjusted": column("adjusted_baseline"),
        "low": column("adjusted_low"),
        "high": column("adjusted_high"),
        "target": column("target"),
    }


def _day_view(row: Json, energy: str, text: Catalogue) -> dict[str, Any]:
    return {
        "day": row["day"],
        "period": row["period"],
        "measured": number(row["values"][energy], 1),
        "adjusted": number(row["adjusted_baseline"], 1),
        "used": row["used"],
        "excluded": "" if row["excluded"] is None else text(f"excluded.{row['excluded']}"),
    }


def _scatter(dossier: Json, text: Catalogue) -> dict[str, Any] | None:
    """Energy against output by day, of the first KPI that has a model line, else of the first that has an output."""
    tables = [(one, table) for one, table in dossier["days"].items() if table["output"] is not None and table["energy"]]
    if not tables:
        return None
    kpi_id, table = next((one for one in tables if one[1]["line"] is not None), tables[0])
    energy, output = (unit_text(table["units"][table[role]], text) for role in ("energy", "output"))
    day = text("unit.d")

    def points(period: str) -> list[list[Any]]:
        used = [row for row in table["rows"] if row["period"] == period and row["used"]]
        return [[row["values"][table["output"]], row["values"][table["energy"]], row["day"]] for row in used]

    before, after = points("baseline"), points("reporting")
    if not before and not after:
        return None
    return {
        "kpi_path": quote(kpi_id, safe=""),
        "data": {
            "labels": {
                "before": text("period.baseline"),
                "after": text("period.reporting"),
                "line": text("project.model_line"),
                "output": f"{text('project.output')} [{output}/{day}]",
                "energy": f"{text('project.energy')} [{energy}/{day}]",
            },
            "before": before,
            "after": after,
            "line": table["line"],
        },
    }


def model_view(kpi: Json, text: Catalogue, zone: str) -> dict[str, Any]:
    """Kind and goodness of the model, in the order a reader checks them; what is undefined is left out."""
    model = kpi["model"]
    parameters = model.get("p")
    written: list[tuple[str, str | None]] = [
        (text("model.kind"), text(f"model.kinds.{model['kind']}")),
        *((_coefficient_name(one["name"], text), _coefficient(one, text)) for one in model.get("coefficients", ())),
        (text("model.r2"), _optional(model.get("r2"), 3)),
        (text("model.cv_rmse", p=parameters), _optional_percent(model.get("cv_rmse"))),
        (text("model.nmbe", p=parameters), _optional_percent(model.get("nmbe"))),
        (text("model.n"), _optional(model["days"]["baseline"]["used"], 0)),
        (text("model.m"), _optional(model["days"]["reporting"]["used"], 0)),
        (text("model.rho"), _optional(model.get("rho"), 3)),
        (text("model.n_effective"), _optional(model.get("n_effective"), 1)),
        (text("model.t"), _optional(model.get("t"), 3)),
        (text("model.placebo"), _placebo(model.get("placebo"), text)),
        (text("model.detectable"), _detectable(model.get("detectable"), text)),
        *(
            (text(f"model.alternatives.{one['method']}"), _optional_interval(one["interval"]))
            for one in model.get("alternative_intervals", ())
        ),
        (text("model.blocks"), _blocks(model, text)),
        (text("model.excluded"), _optional(_excluded(model["days"]), 0)),
        (text("model.formula"), model.get("formula")),
        (text("model.required"), _optional_number(model.get("required"))),
        *((text("model.factor", series=one["series"]), _factor(one)) for one in model.get("factors", ())),
        *((text("model.tariff", name=one["name"]), _tariff(one, model["currency"])) for one in model.get("tariff", ())),
        (text("model.tariff_source"), _tariff_source(model)),
        *_measured_facts(model, text, zone),
    ]
    facts = [(label, value) for label, value in written if value is not None]
    return {
        "id": kpi["id"],
        "name": kpi_name(kpi["kind"], text),
        "facts": facts,
        "specifications": list(_specifications(model.get("specification_curve"), text)),
        "sufficiency": sufficiency_view(model, text),
    }


def _placebo(placebo: Json | None, text: Catalogue) -> str | None:
    """The false-positive rate of the method on this baseline, with what it was counted from."""
    if placebo is None:
        return None
    if placebo["state"] == "not_determinable":
        return text("model.placebo_not_determinable")
    return text(
        "model.placebo_value",
        rate=percent(placebo["false_positive_rate"], 1),
        excluding=placebo["excluding_zero"],
        windows=placebo["windows"],
        days=placebo["window_days"],
        saving=placebo["claiming_saving"],
        nominal=percent(placebo["nominal"], 1),
    )


def _specifications(curve: Json | None, text: Catalogue) -> Iterator[tuple[str, str]]:
    """Every admissible model and baseline window with its change, the largest decrease first."""
    for one in () if curve is None else curve["specifications"]:
        label = text(
            "model.specification",
            kind=text(f"model.kinds.{one['model']}"),
            window=text(f"model.windows.{one['window']}"),
        )
        yield label, f"{percent(one['change'], 1, signed=True)} ({_interval(one['interval'], 1)})"


def _optional_interval(interval: Sequence[float] | None) -> str | None:
    return None if interval is None else _interval(interval, 1)


def _detectable(detectable: Json | None, text: Catalogue) -> str | None:
    if detectable is None:
        return None
    return text(
        "model.detectable_value",
        least=percent(detectable["excludes_zero"], 1),
        powered=percent(detectable["with_power"], 1),
        power=percent(detectable["power"], 0),
    )


def _factor(factor: Json) -> str:
    """A conversion factor with its year and where it is from."""
    told = (f"{factor['value']:g} /{factor['unit']}", str(factor["year"]), factor["citation"], factor["reason"])
    return " · ".join(part for part in told if part)


def _tariff(period: Json, currency: str) -> str:
    before, after = (number(value, 0) for value in period["energy_kwh"])
    return f"{period['price']:g} {currency}/kWh: {before} → {after} kWh"


def _tariff_source(model: Json) -> str | None:
    return f"{model['citation']} ({model['effective']})" if model.get("tariff") else None


def _measured_facts(model: Json, text: Catalogue, zone: str) -> Iterator[tuple[str, str]]:
    """What the figure of each period was made of, for KPIs that are compared as measured."""
    if model["kind"] != "compared_as_measured":
        return

    def written(name: str, value: float | None) -> str:
        return local_time(None if value is None else int(value), zone) if name.endswith("_ms") else number(value)

    before, after = model["baseline"], model["reporting"]
    for name in dict.fromkeys([*before, *after]):
        yield text(f"model.facts.{name}"), f"{written(name, before.get(name))} → {written(name, after.get(name))}"


def _coefficient_name(name: str, text: Catalogue) -> str:
    return text("model.intercept") if name == INTERCEPT else text("model.coefficient", name=name)


def _coefficient(coefficient: Json, text: Catalogue) -> str:
    value = quantity(coefficient["value"], coefficient["unit"], text)
    return f"{value} ± {number(coefficient['standard_error'])}"


def _blocks(model: Json, text: Catalogue) -> str | None:
    if not model.get("blocks"):
        return None
    baseline, reporting = model["blocks"]
    return text(
        "model.blocks_value",
        baseline=baseline,
        reporting=reporting,
        days=model["block_days"],
        replicates=number(model["replicates"], 0),
    )


def _excluded(days: Json) -> int:
    return sum(len(days[period]["excluded"]) for period in ("baseline", "reporting"))


def _optional(value: float | None, digits: int) -> str | None:
    return None if value is None else number(float(value), digits)


def _optional_number(value: float | None) -> str | None:
    return None if value is None else number(value)


def _optional_percent(value: float | None) -> str | None:
    return None if value is None else percent(value, 2)


def _labelled(series: Mapping[str, Json], text: Catalogue) -> dict[str, dict[str, str]]:
    return {
        name: {"label": f"{name} · {text('quantity.' + one['quantity'])} [{unit_text(one['unit'], text)}]"}
        for name, one in series.items()
    }


def _calendar(name: str, coverage: Json, text: Catalogue, label: str) -> dict[str, Any]:
    """Weeks are columns, weekdays rows, Monday first; days before the first and after the last are empty cells."""
    days = [date.fromisoformat(day) for day in coverage["days"]]
    fractions: Sequence[float] = coverage["series"][name]
    first_monday = days[0] - timedelta(days=days[0].weekday())
    weeks = ((days[-1] - first_monday).days // DAYS_A_WEEK) + 1
    grid: list[list[dict[str, str] | None]] = [[None] * weeks for _ in range(DAYS_A_WEEK)]
    for day, fraction, period in zip(days, fractions, coverage["periods"], strict=True):
        week = (day - first_monday).days // DAYS_A_WEEK
        title = text(
            "project.calendar_cell",
            day=day.isoformat(),
            period=text(f"period.{period}"),
            percent=percent(fraction, 0),
        )
        grid[day.weekday()][week] = {"style": f"c{_coverage_class(fraction)} {period}", "title": title}
    mondays = [first_monday + timedelta(weeks=week) for week in range(weeks)]
    months = [
        {"name": month, "weeks": len(list(group))} for month, group in groupby(day.isoformat()[:7] for day in mondays)
    ]
    return {
        "series": label,
        "path": quote(name, safe=""),
        "months": [{**month, "name": str(month["name"]) if int(str(month["weeks"])) > 2 else ""} for month in months],
        "weekdays": grid,
    }


def _coverage_class(fraction: float) -> int:
    if fraction >= 1.0:
        return 4
    for style, least in ((3, 0.9), (2, 0.5)):
        if fraction >= least:
            return style
    return 1 if fraction > 0 else 0


def _series_view(name: str, series: Json, dossier: Json, text: Catalogue) -> dict[str, Any]:
    totals = dossier["evaluation"]["totals"].get(name)
    return {
        "name": name,
        "quantity": text(f"quantity.{series['quantity']}"),
        "unit": unit_text(series["unit"], text),
        "sources": series["from"],
        "total": NO_VALUE if totals is None or totals["coverage"] == 0 else number(totals["sum"], 2),
    }
