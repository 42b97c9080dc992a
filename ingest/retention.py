"""Which records may go when their time is over, and their removal.

What goes are records of samples and heads, never descriptors and events: those say what the others mean and which keys
sign, and are few. Nothing goes that a registered evidence plan rests on, under any of its revisions: the records of its
gateways from `GUARD_MS` before the baseline to as long after the reporting period, and the one on either side, which
shows that the range is whole. The newest records of a gateway stay, too, however old.

Intervals stay. A day of which records were removed is never computed again; what was removed is on account with the
hashes that tie the chain together over it, so that everything that is left can still be verified.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import psycopg

from evidence.intervals import MARGIN_MS
from evidence.plan import Plan, load_plan
from ingest.clock_window import DAY_MS
from ingest.errors import RetentionError
from store.database import Connection, Pool, transaction
from store.dirty import dirty_days
from store.gateways import gateways
from store.projections import read_longest_ms, write_longest_ms
from store.projects import project_revisions, projects
from store.records import freshness, lock_head, sequence_range
from store.retention import (
    Removable,
    Removal,
    RemovedRun,
    count_removable,
    drop_empty_pieces,
    longest_samples_ms,
    remove_records,
    removed_runs,
)
from wire.errors import ShopfloorError
from wire.event import Gap
from wire.record import Kind

GUARD_MS = 2 * DAY_MS
"""How far beyond the periods of a plan records are kept: more than any interval or proof reaches."""

SHORTEST_DAYS = 30
"""No policy keeps less: a gateway may be away for weeks, and what it brings then belongs to days that are whole."""

_KINDS = (int(Kind.FRAMES), int(Kind.HEAD))
_PIECE_RECORDS = 5_000
_FIRST_MS = 0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GatewayRetention:
    """What a policy does to one gateway. ``projects`` are those whose records are kept; ``waits``: days before the
    limit still wait for their intervals, so that nothing goes before they have them."""

    what: Removable
    removal: Removal
    projects: tuple[str, ...]
    waits: bool


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What goes, by gateway: records without a sample since ``before_ms`` (UTC midnight)."""

    before_ms: int
    policy: str
    gateways: list[GatewayRetention]


def check_keep_days(keep_days: int) -> None:
    """Raise `RetentionError` when records would be kept for too short a time."""
    if keep_days < SHORTEST_DAYS:
        raise RetentionError(f"{keep_days} days are too few: keep records for at least {SHORTEST_DAYS}")


def plan_retention(conn: Connection, keep_days: int, at_ms: int) -> RetentionPlan:
    """Say what goes at ``at_ms`` (UTC) when records are kept for ``keep_days``; nothing is changed.

    :raises RetentionError: ``keep_days`` is too few, or the plan of a project cannot be read: what it rests on is not
        known then.
    """
    check_keep_days(keep_days)
    before_ms = (at_ms - keep_days * DAY_MS) // DAY_MS * DAY_MS
    needed = _needed(conn)
    newest = freshness(conn)
    found = []
    for gateway in gateways(conn):
        newest_ms = newest[gateway.id].newest_time_ms
        if newest_ms is None:
            continue
        own_ms = min(before_ms, newest_ms // DAY_MS * DAY_MS - GUARD_MS)
        kept = tuple(_kept(conn, gateway.id, needed.get(gateway.id, [])))
        # The day that begins at the limit is computed from records before it, too.
        what = Removable(gateway.id, own_ms - MARGIN_MS, _KINDS, kept)
        waits = bool(dirty_days(conn, gateway.id, _FIRST_MS, own_ms))
        names = tuple(sorted({span.project for span in needed.get(gateway.id, [])}))
        found.append(GatewayRetention(what, count_removable(conn, what), names, waits))
    return RetentionPlan(before_ms, f"keep {keep_days} days", found)


def apply_retention(
    connections: Pool, keep_days: int, at_ms: int, notice: Callable[[float, str], None] = lambda _share, _what: None
) -> RetentionPlan:
    """Remove what `plan_retention` says, a few thousand records at a time, and drop the months that are empty then.

    Interrupted, it has removed less; the next call goes on. ``notice`` is told the share done and the gateway in hand.

    :raises RetentionError: as `plan_retention`.
    :raises store.errors.DatabaseUnreachableError: the database went away.
    """
    with transaction(connections) as conn:
        plan = plan_retention(conn, keep_days, at_ms)
    for done, one in enumerate(plan.gateways):
        notice(done / len(plan.gateways), one.what.gateway)
        if not one.waits:
            _remove(connections, one, plan.policy)
    with transaction(connections) as conn:
        try:
            dropped = drop_empty_pieces(conn, plan.before_ms)
        except psycopg.errors.LockNotAvailable:
            _log.warning("empty months are not dropped, because somebody reads them; the next run drops them")
        else:
            _log.info("%d empty months dropped", dropped)
    return plan


def removed_gaps(conn: Connection, gateway: str) -> list[Gap]:
    """Return what was removed of a gateway as gaps in its chain, neighbouring runs as one."""
    merged: list[list[RemovedRun]] = []
    for run in removed_runs(conn, gateway):
        if merged and merged[-1][-1].last_seq + 1 == run.first_seq:
            merged[-1].append(run)
        else:
            merged.append([run])
    return [
        Gap(
            first=runs[0].first_seq,
            last=runs[-1].last_seq,
            before=runs[0].before,
            hash=runs[-1].hash,
            samples=sum(run.samples for run in runs),
            reason="retention",
        )
        for runs in merged
    ]


@dataclass(frozen=True, slots=True)
class _Span:
    project: str
    from_ms: int
    to_ms: int


def _needed(conn: Connection) -> dict[str, list[_Span]]:
    """The spans of time that plans rest on, by gateway; every revision of every project counts."""
    spans: dict[str, list[_Span]] = defaultdict(list)
    for project in projects(conn):
        for revision in project_revisions(conn, project.id):
            name = f"revision {revision.revision} of project {project.id}"
            try:
                plan = load_plan(revision.plan_text, name)
            except ShopfloorError as error:
                raise RetentionError(
                    f"nothing is removed: what {name} rests on is not known, because its plan cannot be read: {error}"
                ) from error
            span = _Span(project.id, *_guarded(plan))
            series_ids = [source for one in plan.series.values() for source in (*one.sources, *one.stored_sources)]
            for gateway in {source.split("/", 1)[0] for source in series_ids}:
                spans[gateway].append(span)
    return spans


def _guarded(plan: Plan) -> tuple[int, int]:
    from_ms, to_ms = plan.span_ms
    return from_ms - GUARD_MS, to_ms + GUARD_MS


def _kept(conn: Connection, gateway: str, spans: list[_Span]) -> Iterator[tuple[int, int]]:
    for span in spans:
        seqs = sequence_range(conn, gateway, span.from_ms, span.to_ms)
        if seqs is not None:
            yield seqs[0] - 1, seqs[1] + 1


def _remove(connections: Pool, one: GatewayRetention, policy: str) -> None:
    first, last = one.removal.first_seq, one.removal.last_seq
    if first is None or last is None:
        return
    for start, end in pairwise([*range(first, last + 1, _PIECE_RECORDS), last + 1]):
        with transaction(connections) as conn:
            remove_records(conn, one.what, start, end - 1, policy)
    gateway = one.what.gateway
    with transaction(connections) as conn:
        lock_head(conn, gateway)
        longest_ms = longest_samples_ms(conn, gateway)
        if longest_ms < read_longest_ms(conn, gateway):
            write_longest_ms(conn, gateway, longest_ms)
