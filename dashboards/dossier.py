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
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from dashboards.days import DayTable, day_table
from dashboards.errors import PlanAlteredError, UnknownFigureError, UnknownProjectError
from dashboards.figures import iso_time, zone_text
from dashboards.siblings import register_readings, sibling_channels
from evidence.days import period_days
from evidence.evaluate import evaluate
from evidence.finding import Check
from evidence.intervals import MARGIN_MS, QUARTER_HOUR_MS, SeriesIntervals, complete_durations, complete_values
from evidence.plan import Period, Plan, SeriesPlan, load_plan
from evidence.proof import GatewayRecords, Proof, prove
from evidence.quantities import SECONDS_PER_UNIT
from evidence.result import Evaluation
from evidence.screens.impossible_increments import credible
from evidence.signed_facts import ReceivedRecord, SignedFacts, gateway_facts, together
from evidence.table import DAY_MS, FloatArray, IntervalTable, midnight_ms, table_from_sources
from store.database import Connection, Pool, snapshot
from store.dirty import dirty_days
from store.gateways import gateway as stored_gateway
from store.gateways import successors
from store.intervals import IntervalColumns, read_intervals
from store.projects import Project, project, project_revisions
from store.records import (
    ChainHead,
    StoredRecord,
    content_digest,
    descriptor_record,
    read_head,
    read_records,
    record_hashes,
    records_before,
)
from wire.errors import RecordError
from wire.keys import VerifyingKey
from wire.record import ZERO_HASH, Kind, Payload, open_record

KEPT_DOSSIERS = 16


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
    sources: Mapping[str, IntervalColumns]
    day_tables: Mapping[str, DayTable]

    @property
    def proven(self) -> bool:
        """Whether signature, chain and recomputation pass and no other check fails."""
        return self.proof.proven and Check.FAIL not in (self.proof.log, self.proof.timestamp)

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
        coverage = np.ones(len(positions))
        for source in self.plan.series[name].sources:
            known = np.zeros(len(positions))
            columns = self.sources[source]
            for start, covered in zip(columns.time_ms, columns.coverage, strict=True):
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
        plan, current = self.plan, self.revisions[-1]
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
                "registered": iso_time(current.registered_ms, plan.timezone),
                "registered_before_reporting": current.registered_ms < reporting_ms,
                "revisions": [
                    {
                        "revision": one.revision,
                        "hash": one.plan_hash.hex(),
                        "registered": iso_time(one.registered_ms, plan.timezone),
                    }
                    for one in self.revisions
                ],
                "periods": [
                    {"name": name, "start": period.start.isoformat(), "end": period.to.isoformat()}
                    for name, period in _periods(plan)
                ],
                "series": {
                    name: {"quantity": one.quantity, "unit": one.unit, "from": list(one.columns)}
                    for name, one in plan.series.items()
                },
            },
            "evaluation": self.evaluation.to_json(),
            "proof": self.proof.to_json() | {"proven": self.proven},
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


@dataclass(frozen=True)
class _Inputs:
    """What a dossier depends on. ``key`` changes when a byte of it changes.

    ``unsettled`` are the days (ms, half-open), by gateway, that the interval worker has still to compute.
    """

    plan: Plan
    plan_text: str
    revisions: Sequence[Project]
    sources: Mapping[str, IntervalColumns]
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


def _read(connection: Connection, project_id: str) -> _Inputs:
    current = project(connection, project_id)
    if current is None:
        raise UnknownProjectError(f"no project '{project_id}' is registered")
    revisions = project_revisions(connection, project_id)
    _check_revisions(project_id, revisions)
    plan = load_plan(current.plan_text, f"{project_id}.yaml")
    from_ms, to_ms = _span(plan)
    ids = sorted({source for series in plan.series.values() for source in series.sources})
    sources = read_intervals(connection, ids, from_ms, to_ms)
    digest = hashlib.sha256(current.plan_hash)
    digest.update(repr((current.revision, current.registered_ms)).encode())
    for name, columns in sources.items():
        digest.update(name.encode())
        for column in fields(columns):
            digest.update(_column_bytes(getattr(columns, column.name)))
    keys: dict[str, VerifyingKey] = {}
    unsettled: dict[str, list[tuple[int, int]]] = {}
    for gateway_id in sorted({source.split("/", 1)[0] for source in ids}):
        gateway = stored_gateway(connection, gateway_id)
        if gateway is not None:
            keys[gateway_id] = VerifyingKey.from_bytes(gateway.public_key)
            digest.update(gateway.public_key)
            digest.update(repr(successors(connection, gateway_id)).encode())
            digest.update(content_digest(connection, gateway_id, from_ms - MARGIN_MS, to_ms + MARGIN_MS))
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


def _column_bytes(column: Sequence[Any]) -> bytes:
    numbers = not any(isinstance(value, dict) for value in column)
    return np.asarray(column, dtype=np.float64).tobytes() if numbers else repr(column).encode()


def _make(connection: Connection, inputs: _Inputs) -> Dossier:
    plan = inputs.plan
    intervals = {name: SeriesIntervals.from_lists(columns) for name, columns in inputs.sources.items()}
    table = _table(plan, intervals)
    gathered = [_gateway_records(connection, inputs, gateway) for gateway in inputs.keys]
    signed = together(one.facts for one in gathered)
    siblings = sibling_channels(connection, plan, table, signed)
    signed = replace(signed, registers=register_readings(intervals))
    evaluation = evaluate(plan, table, signed, siblings)
    results = {result.id: result for result in evaluation.kpis}
    possible = credible(table)
    units = {
        source: "" if series.states else series.unit for series in plan.series.values() for source in series.sources
    }
    return Dossier(
        plan=plan,
        plan_text=inputs.plan_text,
        revisions=inputs.revisions,
        evaluation=evaluation,
        proof=prove(
            [one.records for one in gathered], intervals, *_span(plan), units=units, unsettled=inputs.unsettled
        ),
        keys=inputs.keys,
        outside=[record for one in gathered for record in one.outside],
        heads={gateway: head for one in gathered for gateway, head in one.heads.items()},
        table=table,
        sources=inputs.sources,
        day_tables={kpi.id: day_table(plan, kpi, results[kpi.id], possible) for kpi in plan.kpis},
    )


def _gateway_records(connection: Connection, inputs: _Inputs, gateway: str) -> _Gathered:
    """The stored records of the plan's span and its margins, without holes in their numbers, and what they rest on.

    The columns beside a record may have been altered, so that the span does not end where they say: it ends on either
    side with a record that says itself that it lies beyond, or where the chain does.
    """
    from_ms, to_ms = _span(inputs.plan)
    from_ms, to_ms = from_ms - MARGIN_MS, to_ms + MARGIN_MS
    # Ingestion goes on meanwhile: records that come after the head was read do not make it wrong.
    head = read_head(connection, gateway)
    inside = list(read_records(connection, gateway, from_ms=from_ms, to_ms=to_ms))
    first, last = (inside[0].seq, inside[-1].seq) if inside else (1, 0)
    stored = inside
    if len(inside) != last - first + 1:
        # A record whose samples lie elsewhere in time stands between them: the chain runs through it all the same.
        stored = list(read_records(connection, gateway, first_seq=first, last_seq=last))
    ends_with_chain = True
    if inside:
        later = read_records(connection, gateway, first_seq=last + 1)
        following = _up_to(later, lambda record: _closed_ms(record) >= to_ms)
        ends_with_chain = not following or _closed_ms(following[-1]) < to_ms
        earlier = _up_to(records_before(connection, gateway, first), lambda record: _closed_ms(record) < from_ms)
        stored = [*reversed(earlier), *stored, *following]
        first, last = stored[0].seq, stored[-1].seq
    events: list[StoredRecord] = []
    if len(stored) != last - first + 1:
        events = list(read_records(connection, gateway, first_seq=last + 1, kind=int(Kind.EVENT)))
    own = {record.hash for record in stored} | {ZERO_HASH}
    named = {record.descriptor_hash for record in stored} - own
    descriptors = _descriptor_records(connection, gateway, named)
    if len(descriptors) != len(named):
        # The column may have been altered; what the records themselves name takes a look into each of them.
        descriptors = _descriptor_records(connection, gateway, _descriptors_named(stored) - own)
    # Where they stand is looked up; what they say is read from the records, and proven.
    handing_over = [seq - 1 for seq in successors(connection, gateway).get(gateway, {}) if seq <= first]
    rotations = [
        record for seq in handing_over for record in read_records(connection, gateway, first_seq=seq, last_seq=seq)
    ]
    records = GatewayRecords(
        gateway=gateway,
        key=inputs.keys[gateway],
        first_seq=first,
        prev_hash=record_hashes(connection, gateway, first - 1, first - 1).get(first - 1),
        records=[(record.seq, record.data) for record in stored],
        descriptor_records=[record.data for record in descriptors],
        event_records=[record.data for record in events],
        rotation_records=[record.data for record in rotations],
        head=(head.seq, head.hash) if ends_with_chain else None,
    )
    devices = {source.rsplit("/", 1)[0] for series in inputs.plan.series.values() for source in series.sources}
    facts = gateway_facts(
        gateway,
        [ReceivedRecord(record.data, record.received_ms) for record in stored],
        [record.data for record in descriptors],
        devices,
    )
    known = {record.seq for record in inside}
    outside = [record for record in stored if record.seq not in known]
    resting_on = [*outside, *descriptors, *events, *rotations]
    return _Gathered(records, resting_on, {gateway: head} if ends_with_chain else {}, facts)


def _descriptor_records(connection: Connection, gateway: str, names: Iterable[bytes]) -> list[StoredRecord]:
    found = (descriptor_record(connection, gateway, name) for name in sorted(names))
    return [record for record in found if record is not None]


@dataclass(frozen=True)
class _Gathered:
    """The records of one gateway; those beyond the span, the head of the chain where it counts, and what the records
    say beside their values."""

    records: GatewayRecords
    outside: Sequence[StoredRecord]
    heads: Mapping[str, ChainHead]
    facts: SignedFacts


def _up_to(records: Generator[StoredRecord, None, None], ends: Callable[[StoredRecord], bool]) -> list[StoredRecord]:
    found: list[StoredRecord] = []
    with closing(records):
        for record in records:
            found.append(record)
            if ends(record):
                break
    return found


def _closed_ms(record: StoredRecord) -> int:
    """When the record says itself that it was closed; what the column says where it cannot be read any more."""
    payload = _payload(record)
    return record.time_ms if payload is None else payload.time_ms


def _descriptors_named(records: Iterable[StoredRecord]) -> set[bytes]:
    return {payload.descriptor for payload in map(_payload, records) if payload is not None}


def _payload(record: StoredRecord) -> Payload | None:
    try:
        return open_record(record.data, None).payload
    except RecordError:
        return None


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
    values: dict[str, list[float | None]] = {}
    for series in plan.series.values():
        for source, name in zip(series.sources, series.columns, strict=True):
            kept = intervals[source]
            known = _known(series, kept)
            rows, misplaced = np.divmod(kept.time_ms - from_ms, QUARTER_HOUR_MS)
            usable = (misplaced == 0) & (rows >= 0) & (rows < len(times)) & np.isfinite(known)
            column = np.full(len(times), np.nan)
            column[rows[usable]] = known[usable]
            values[name] = column.tolist()
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
