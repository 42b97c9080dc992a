"""The ten indicators of a project whose programme is known, from what is stored now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from dashboards.days import DayTable
from dashboards.dossier import Dossier
from dashboards.language import Catalogue
from evidence.indicators.snapshot import Asset, Snapshot, Trend, TrendPoint
from evidence.indicators.ten import Indicator, early_warning, indicators
from evidence.plan import Plan
from evidence.programmes import programme, programme_names
from store.clocks import GatewayClock, read_clocks
from store.database import Connection, clock_ms
from store.gateways import Gateway, gateways
from store.incidents import open_incidents
from store.records import Freshness, freshness

HOUR_MS = 3_600_000
MICROSECONDS_A_SECOND = 1_000_000
DAYS_A_WEEK = 7


def project_state(connection: Connection, dossier: Dossier) -> tuple[Indicator, ...]:
    """The ten lights and, last, the early warning; empty where the plan names no programme whose rules are known."""
    plan = dossier.plan
    if plan.programme not in programme_names():
        return ()
    rules = programme(plan.programme)
    now_ms = clock_ms(connection)
    enrolled = {gateway.id: gateway for gateway in gateways(connection)}
    concerned = sorted({*dossier.keys, *plan.assets})
    snapshot = project_snapshot(
        dossier,
        now_ms=now_ms,
        acceptance_end=rules.acceptance_end(plan.batch),
        assets=_assets(plan, enrolled, freshness(connection), now_ms),
        incidents=sum(open_incidents(connection, gateway) for gateway in concerned),
        clock_s=_worst_clock_s(read_clocks(connection), concerned),
    )
    return (*indicators(snapshot, rules.indicators), early_warning(snapshot, rules.indicators))


def project_snapshot(
    dossier: Dossier,
    *,
    now_ms: int,
    acceptance_end: date | None,
    assets: tuple[Asset, ...],
    incidents: int,
    clock_s: float | None = None,
) -> Snapshot:
    """What is known of a project at ``now_ms`` (UTC); ``clock_s`` is how far the worst of its clocks may be off."""
    plan, document = dossier.plan, dossier.to_json()
    today = _day(now_ms, plan)
    kpis = document["evaluation"]["kpis"]
    rates = [kpi["reporting"] for kpi in kpis if kpi["kind"] == "connection_rate" and kpi["reporting"] is not None]
    chain = document["proof"]["chain"]
    return Snapshot(
        today=today,
        data_continuity=_continuity(document["coverage"], today),
        chain=chain if chain in {"pass", "fail"} else None,
        clock_s=clock_s,
        baseline_coverage=min((kpi["coverage"]["baseline"] for kpi in kpis), default=None),
        registered=_day(dossier.settled.registered_ms, plan),
        reporting_start=plan.reporting.start,
        reporting_end=plan.reporting.to,
        acceptance_end=acceptance_end,
        trend=_trend(dossier, kpis, today),
        assets=assets or None,
        connection_rate=min(rates, default=None),
        open_incidents=incidents,
    )


def state_view(state: Sequence[Indicator], text: Catalogue) -> list[dict[str, str]]:
    """One row an indicator, as the pages write it: a shape and a word beside the colour."""
    return [
        {
            "name": one.name,
            "light": one.light.value,
            "symbol": one.light.symbol,
            "word": one.light.word.zh if text.language == "zh" else one.light.word.en,
            "title": one.title.zh if text.language == "zh" else one.title.en,
            "reason": one.reason.zh if text.language == "zh" else one.reason.en,
        }
        for one in state
    ]


def _assets(
    plan: Plan, enrolled: Mapping[str, Gateway], fresh: Mapping[str, Freshness], now_ms: int
) -> tuple[Asset, ...]:
    found = []
    for name in plan.assets:
        known = enrolled.get(name)
        received = fresh[name].newest_received_ms if name in fresh else None
        silent = None if received is None else max(now_ms - received, 0) / HOUR_MS
        found.append(Asset(gateway=name, enrolled=known is not None and known.revoked_ms is None, silent_hours=silent))
    return tuple(found)


def _worst_clock_s(clocks: Mapping[str, GatewayClock], gateways: Sequence[str]) -> float | None:
    """Seconds by which the worst clock may be off, its error included; None when one of them is not known."""
    worst = 0.0
    for gateway in gateways:
        clock = clocks.get(gateway)
        if clock is None or clock.offset_us is None or clock.error_us is None:
            return None
        worst = max(worst, (abs(clock.offset_us) + clock.error_us) / MICROSECONDS_A_SECOND)
    return worst if gateways else None


def _day(time_ms: int, plan: Plan) -> date:
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(plan.zone).date()


def _continuity(coverage: Mapping[str, Any], today: date) -> float | None:
    """Share of complete intervals of all series over the days of the reporting period that are over."""
    rows = [
        position
        for position, (day, period) in enumerate(zip(coverage["days"], coverage["periods"], strict=True))
        if period == "reporting" and date.fromisoformat(day) < today
    ]
    shares = [series[row] for series in coverage["series"].values() for row in rows]
    return sum(shares) / len(shares) if shares else None


def _trend(dossier: Dossier, kpis: Sequence[Mapping[str, Any]], today: date) -> Trend | None:
    """The weeks of the first KPI with a target and an adjusted baseline; changes and target are of the energy used."""
    for kpi in kpis:
        table = dossier.day_tables[kpi["id"]]
        if kpi["target"] is None or not table.energy:
            continue
        points = _weeks(table, dossier.plan.reporting.start, today)
        if points:
            return Trend(kpi=kpi["id"], target=kpi["target"], points=points)
    return None


def _weeks(table: DayTable, start: date, today: date) -> tuple[TrendPoint, ...]:
    """Measured against adjusted baseline, week by week from ``start`` on, over the used days of weeks that are over."""
    measured: dict[int, float] = defaultdict(float)
    adjusted: dict[int, float] = defaultdict(float)
    for day in table.days:
        value = day.values[table.energy]
        if day.period != "reporting" or not day.used or value is None or day.adjusted_baseline is None:
            continue
        week = (date.fromisoformat(day.day) - start).days // DAYS_A_WEEK
        measured[week] += value
        adjusted[week] += day.adjusted_baseline
    ends = {week: start + timedelta(days=DAYS_A_WEEK * (week + 1) - 1) for week in measured}
    return tuple(
        TrendPoint(day=ends[week], change=measured[week] / adjusted[week] - 1)
        for week in sorted(measured)
        if ends[week] < today and adjusted[week] > 0
    )
