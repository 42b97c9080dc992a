"""Everything that is known of a project: its plan, the evaluation, the proof, and the data behind every figure.

Nothing in a dossier is stored: it is made from the plan, the intervals and the signed records whenever one of them has
changed. Pages, files, the command line and the demo all show the same dossier.

What a dossier rests on is the enrolled key of each gateway; keys that follow it are proven from the chain. Whoever may
write to the database can replace an enrolled key and sign a history of his own; change what was registered and when (a
plan together with its hash, a date, the newest amendment); cut off the end of a chain together with its head while
nothing after the end has arrived. None of these can be seen from the database alone: it takes a log outside of it that
has recorded keys, plans and heads. Any other alteration of what a figure rests on leaves the figure not proven.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboards.days import DayTable, day_table
from dashboards.errors import PlanAlteredError, UnknownFigureError, UnknownProjectError
from dashboards.figures import iso_time, zone_text
from dashboards.gathered_records import gather, skim
from dashboards.project_table import draws_on_gateways, gateway_part, history_gateways, project_table
from dashboards.siblings import register_readings, sibling_channels
from dashboards.stored_rounds import BEFORE_MS
from evidence.days import period_days
from evidence.evaluate import evaluate, figures_table
from evidence.events.evaluation import tables_of_figures
from evidence.events.registration import Registration, registration
from evidence.explanation.document import Explanation
from evidence.explanation.explain import explain
from evidence.finding import Check
from evidence.intervals import MARGIN_MS, QUARTER_HOUR_MS, SeriesIntervals, complete_durations, complete_values
from evidence.plan import Period, Plan, SeriesPlan, load_plan
from evidence.proof import Proof, prove, unchecked_proof
from evidence.quantities import SECONDS_PER_UNIT
from evidence.result import Evaluation
from evidence.signed_facts import together
from evidence.table import DAY_MS, FloatArray, IntervalTable, midnight_ms, table_from_sources
from store.database import Connection, Pool, snapshot
from store.dirty import dirty_days
from store.gateways import gateway as stored_gateway
from store.gateways import successors
from store.imports import imports_digest
from store.intervals import IntervalArrays, read_interval_arrays
from store.projects import Project, project, project_revisions
from store.records import (
    ChainHead,
    StoredRecord,
    content_digest,
    newest_statement,
    read_head,
    read_records,
)
from wire.keys import VerifyingKey

KEPT_DOSSIERS = 16
_FROM_INTERVALS = ("computed from intervals; open the project to check it", "由区间数据计算得出；打开项目页即可核验")


@dataclass(frozen=True)
class Dossier:
    """A project as of the records and intervals that were stored when it was loaded.

    ``plan_text`` is the plan file as registered; ``revisions`` are all registered plans, the first one first.
    ``sources`` holds the stored intervals of each series id of the plan, ``table`` those that are complete (others are
    NaN). ``keys`` are the enrolled keys of the gateways that the plan names; ``outside`` are the records beyond the
    plan's span in time that the proof rests on; ``heads`` are the ends of those chains that have no record after it.
    """

    plan: Plan
    plan_text: str
    revisions: Sequence[Project]
    evaluation: Evaluation
    proof: Proof
    keys: Mapping[str, VerifyingKey]
    outside: Sequence[StoredRecord]
    heads: Mapping[str, ChainHead]
    table: IntervalTable
    sources: Mapping[str, IntervalArrays]
    day_tables: Mapping[str, DayTable]

    @property
    def proven(self) -> bool:
        """Whether signature, chain and recomputation pass and no other check fails."""
        return self.proof.proven and Check.FAIL not in (self.proof.log, self.proof.timestamp)

    @cached_property
    def registration(self) -> Registration:
        """Since which revisions the plan and its records stand."""
        return registration(self.plan, [(one.revision, one.plan_text) for one in self.revisions])

    @property
    def settled(self) -> Project:
        """The revision since which all of the plan but its records has stood as it is."""
        return next(one for one in self.revisions if one.revision == self.registration.settled)

    @cached_property
    def explanation(self) -> Explanation:
        """The evaluation in words; it concludes nothing from what is not proven."""
        return explain(self.plan, self.evaluation, proven=self.proven if draws_on_gateways(self.plan) else None)

    def to_json(self) -> dict[str, Any]:
        """The dossier as JSON values; the same inputs give the same document. Times are ISO 8601 in the plan's zone."""
        return self._json

    def days_table(self, kpi_id: str) -> DayTable:
        """The days behind a KPI. Raises `UnknownFigureError` for a KPI that the plan does not have."""
        if kpi_id not in self.day_tables:
            raise UnknownFigureError(f"the plan of {self.plan.project} has no KPI '{kpi_id}'")
        return self.day_tables[kpi_id]

    def series_rows(self, name: str) -> list[tuple[str, float | None, float]]:
        """Interval start (ISO 8601), value, coverage (0 to 1) of a series of the plan, over the plan's whole span.

        The value is None when the interval is not complete. Raises `UnknownFigureError` for a series that the plan does
        not have.
        """
        if name not in self.plan.series:
            raise UnknownFigureError(f"the plan of {self.plan.project} has no series '{name}'")
        positions = {start: index for index, start in enumerate(self.table.time_ms.tolist())}
        measured = self.plan.series[name].only_gateways and self.table.step_ms == QUARTER_HOUR_MS
        # Of what was not measured in these intervals it is only known whether there is a value.
        coverage = np.ones(len(positions)) if measured else np.isfinite(self.table.values[name]).astype(np.float64)
        for source in self.plan.series[name].sources if measured else ():
            known = np.zeros(len(positions))
            columns = self.sources[source]
            for start, covered in zip(columns.time_ms.tolist(), columns.coverage.tolist(), strict=True):
                # One that is off the grid is none of the plan's: the proof names it.
                if start in positions:
                    known[positions[start]] = covered
            coverage = np.minimum(coverage, known)
        values = self.table.stated(name)
        return [
            (iso_time(start, self.plan.timezone), None if math.isnan(value) else value, covered)
            for start, value, covered in zip(positions, values.tolist(), coverage.tolist(), strict=True)
        ]

    @cached_property
    def _json(self) -> dict[str, Any]:
        plan, current, settled = self.plan, self.revisions[-1], self.settled
        reporting_ms = midnight_ms(plan.reporting.start, plan.zone)
        return {
            "project": {
                "id": plan.project,
                "enterprise": plan.enterprise,
                "boundary": plan.boundary,
                "programme": plan.programme,
                "timezone": plan.timezone,
                "zone": zone_text(plan.timezone, reporting_ms),
            },
            "plan": {
                "hash": plan.hash,
                "revision": current.revision,
                "registered": iso_time(settled.registered_ms, plan.timezone),
                "registered_before_reporting": settled.registered_ms < reporting_ms,
                "revisions": [
                    {
                        "revision": one.revision,
                        "hash": one.plan_hash.hex(),
                        "registered": iso_time(one.registered_ms, plan.timezone),
                    }
                    for one in self.revisions
                ],
                "records": self.registration.records,
                "periods": [
                    {"name": name, "start": period.start.isoformat(), "end": period.to.isoformat()}
                    for name, period in _periods(plan)
                ],
                "series": {
                    name: {"quantity": one.quantity, "unit": one.unit, "from": _sources(one)}
                    for name, one in plan.series.items()
                },
            },
            "evaluation": self.evaluation.to_json(),
            "explanation": self.explanation.model_dump(mode="json"),
            "proof": self.proof.to_json() | {"proven": self.proven, "unsigned": not draws_on_gateways(plan)},
            "coverage": _coverage(plan, self.table),
            "days": {kpi_id: table.to_json() for kpi_id, table in self.day_tables.items()},
            "gateways": {gateway: {"fingerprint": key.fingerprint} for gateway, key in self.keys.items()},
        }


def load_dossier(connection: Connection, project_id: str) -> Dossier:
    """Evaluates and proves a project from what is stored now.

    Raises `UnknownProjectError`, `PlanAlteredError` when the stored plan does not have the hash that it was registered
    with, and what `evidence` raises for a plan that is none.
    """
    return _make(connection, _read(connection, project_id))


def load_result(connection: Connection, project_id: str, known: bytes | None = None) -> tuple[bytes, Dossier | None]:
    """As `load_dossier`, from the intervals alone: no record is verified, and the dossier says so; no day tables.

    Returns the hash of what it was made from, and None in its place when that is ``known``. Raises as `load_dossier`.
    """
    inputs = _read(connection, project_id, records=False)
    if inputs.key == known:
        return inputs.key, None
    return inputs.key, _make(connection, inputs, proven=False)


@dataclass(frozen=True)
class _Inputs:
    """What a dossier depends on. ``key`` changes when a byte of it changes.

    ``unsettled`` are the days (ms, half-open), by gateway, that the interval worker has still to compute.
    """

    plan: Plan
    plan_text: str
    revisions: Sequence[Project]
    sources: Mapping[str, IntervalArrays]
    keys: Mapping[str, VerifyingKey]
    unsettled: Mapping[str, Sequence[tuple[int, int]]]
    key: bytes = field(repr=False)


class DossierLibrary:
    """Dossiers by project, made again only when the plan, a stored record or an interval has changed.

    Whether something has changed is found out at every call, from the stored bytes themselves. Safe to share between
    threads; two readers of one project wait for one evaluation.
    """

    def __init__(self, connections: Pool) -> None:
        self.connections = connections
        self._kept: OrderedDict[str, tuple[bytes, Dossier]] = OrderedDict()
        self._locks: dict[str, Lock] = {}
        self._guard = Lock()

    def load(self, project_id: str) -> Dossier:
        """The dossier of a project as of now. Raises as `load_dossier`, and `store.errors.DatabaseUnreachable`."""
        with self._guard:
            lock = self._locks.setdefault(project_id, Lock())
        with lock, snapshot(self.connections) as connection:
            inputs = _read(connection, project_id)
            kept = self._kept.get(project_id)
            if kept is not None and kept[0] == inputs.key and _unchanged(connection, kept[1]):
                return kept[1]
            dossier = _make(connection, inputs)
            with self._guard:
                self._kept[project_id] = (inputs.key, dossier)
                self._kept.move_to_end(project_id)
                if len(self._kept) > KEPT_DOSSIERS:
                    self._kept.popitem(last=False)
            return dossier


def _read(connection: Connection, project_id: str, *, records: bool = True) -> _Inputs:
    current = project(connection, project_id)
    if current is None:
        raise UnknownProjectError(f"no project '{project_id}' is registered")
    revisions = project_revisions(connection, project_id)
    _check_revisions(project_id, revisions)
    plan = load_plan(current.plan_text, f"{project_id}.yaml")
    from_ms, to_ms = _span(plan)
    ids = sorted({source for series in plan.series.values() for source in series.sources})
    histories = history_gateways(plan)
    sources = read_interval_arrays(connection, ids, from_ms, to_ms)
    digest = hashlib.sha256(current.plan_hash)
    digest.update(repr((current.revision, current.registered_ms)).encode())
    for name, columns in sources.items():
        digest.update(name.encode())
        for column in fields(columns):
            digest.update(_column_bytes(getattr(columns, column.name)))
    keys: dict[str, VerifyingKey] = {}
    unsettled: dict[str, list[tuple[int, int]]] = {}
    digest.update(imports_digest(connection, project_id))
    for gateway_id in sorted({source.split("/", 1)[0] for source in ids} | histories):
        gateway = stored_gateway(connection, gateway_id)
        if gateway is not None:
            keys[gateway_id] = VerifyingKey.from_bytes(gateway.public_key)
            digest.update(gateway.public_key)
            digest.update(repr(successors(connection, gateway_id)).encode())
            before_ms = BEFORE_MS if gateway_id in histories else MARGIN_MS
            reached = (from_ms - before_ms, to_ms + MARGIN_MS)
            if records:
                digest.update(content_digest(connection, gateway_id, *reached))
            else:
                digest.update(repr(newest_statement(connection, gateway_id)).encode())
            if days := dirty_days(connection, gateway_id, from_ms - DAY_MS, to_ms):
                unsettled[gateway_id] = [(day, day + DAY_MS) for day in days]
                digest.update(repr(days).encode())
    return _Inputs(plan, current.plan_text, revisions, sources, keys, unsettled, digest.digest())


def _check_revisions(project_id: str, revisions: Sequence[Project]) -> None:
    for number, one in enumerate(revisions, start=1):
        if one.revision != number:
            raise PlanAlteredError(
                f"revision {number} of the plan of {project_id} was removed in the database; register it again"
            )
        found = hashlib.sha256(one.plan_text.encode("utf-8")).digest()
        if found != one.plan_hash:
            raise PlanAlteredError(
                f"the stored plan of {project_id}, revision {number}, hashes to {found.hex()}, but was registered with "
                f"{one.plan_hash.hex()}: it was altered in the database; register it again from its file"
            )


def _column_bytes(column: NDArray[Any] | list[Any]) -> bytes:
    return column.tobytes() if isinstance(column, np.ndarray) else repr(column).encode()


def _make(connection: Connection, inputs: _Inputs, *, proven: bool = True) -> Dossier:
    plan = inputs.plan
    intervals = {name: SeriesIntervals.from_lists(columns) for name, columns in inputs.sources.items()}
    measured = _table(gateway_part(plan), intervals)
    table, origin = project_table(connection, plan, measured, inputs.keys)
    read = gather if proven else skim
    gathered = [read(connection, gateway, key, _span(plan)) for gateway, key in inputs.keys.items()]
    units = {
        source: "" if series.states else series.unit for series in plan.series.values() for source in series.sources
    }
    if proven:
        # The proof reads all records; what else they tell is kept as they go by.
        runs = [one.records for one in gathered]
        proof = prove(runs, intervals, *_span(plan), units=units, unsettled=inputs.unsettled)
    else:
        proof = unchecked_proof(_FROM_INTERVALS)
    devices = {source.rsplit("/", 1)[0] for source in units}
    signed = together(one.facts(devices) for one in gathered)
    siblings = sibling_channels(connection, plan, measured, signed)
    signed = replace(signed, registers=register_readings(intervals))
    evaluation = evaluate(plan, table, signed, siblings, origin)
    results = {result.id: result for result in evaluation.kpis}
    tables = tables_of_figures(plan, figures_table(plan, table))
    return Dossier(
        plan=plan,
        plan_text=inputs.plan_text,
        revisions=inputs.revisions,
        evaluation=evaluation,
        proof=proof,
        keys=inputs.keys,
        outside=[record for one in gathered for record in one.outside],
        heads={gateway: head for one in gathered for gateway, head in one.heads.items()},
        table=table,
        sources=inputs.sources,
        day_tables={kpi.id: day_table(plan, kpi, results[kpi.id], tables[kpi.id]) for kpi in plan.kpis if proven},
    )


def _sources(series: SeriesPlan) -> list[str]:
    """All that a series is made of, what it was made of earlier first."""
    earlier = series.earlier
    before = () if earlier is None else (*earlier.documents, *earlier.stored)
    return [*before, *series.columns, *series.documents, *series.stored]


def _unchanged(connection: Connection, dossier: Dossier) -> bool:
    return all(read_head(connection, gateway) == head for gateway, head in dossier.heads.items()) and all(
        [record] == list(read_records(connection, record.gateway, first_seq=record.seq, last_seq=record.seq))
        for record in dossier.outside
    )


def _periods(plan: Plan) -> list[tuple[str, Period]]:
    named = (("baseline", plan.baseline), ("blackout", plan.blackout), ("reporting", plan.reporting))
    return [(name, period) for name, period in named if period is not None]


def _span(plan: Plan) -> tuple[int, int]:
    return plan.span_ms


def _table(plan: Plan, intervals: Mapping[str, SeriesIntervals]) -> IntervalTable:
    """The plan's series over its whole span; an interval that is missing or not complete is NaN."""
    from_ms, to_ms = _span(plan)
    times = range(from_ms, to_ms, QUARTER_HOUR_MS)
    values: dict[str, FloatArray] = {}
    for series in plan.series.values():
        for source, name in zip(series.sources, series.columns, strict=True):
            kept = intervals[source]
            known = _known(series, kept)
            rows, misplaced = np.divmod(kept.time_ms - from_ms, QUARTER_HOUR_MS)
            usable = (misplaced == 0) & (rows >= 0) & (rows < len(times)) & np.isfinite(known)
            column = np.full(len(times), np.nan)
            column[rows[usable]] = known[usable]
            values[name] = column
    return table_from_sources(plan, times, QUARTER_HOUR_MS, values)


def _known(series: SeriesPlan, kept: SeriesIntervals) -> FloatArray:
    """The complete intervals of one source of ``series``, in the unit of the series."""
    if series.states:
        return complete_durations(kept, series.states) / SECONDS_PER_UNIT[series.unit]
    return complete_values(kept, series.definition.aggregation.value)


def _coverage(plan: Plan, table: IntervalTable) -> dict[str, Any]:
    """Share of complete intervals of each local day of the plan's span, by series."""
    span = Period.model_validate({"from": plan.baseline.start, "to": plan.reporting.to})
    shares: dict[str, list[float]] = {}
    days: tuple[date, ...] = ()
    for name in plan.series:
        gathered = period_days(table, span, [name])
        days = gathered.days
        shares[name] = (gathered.present[name] / gathered.expected).tolist()
    return {
        "days": [day.isoformat() for day in days],
        "periods": [_period_of(plan, day) for day in days],
        "series": shares,
    }


def _period_of(plan: Plan, day: date) -> str:
    return next((name for name, period in _periods(plan) if period.start <= day < period.to), "outside")
