"""Since when a plan and its records have been registered.

What a record says of its own date is the word of who wrote it; the date of the revision is the server's. A revision
that only adds records leaves the rest of the plan as it was registered: it is not late because something happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evidence.errors import PlanError
from evidence.events.recorded import PersonalRecord
from wire.errors import DocumentError

if TYPE_CHECKING:
    from evidence.plan import Plan

RECORDS = frozenset({"non_routine_events", "measurement_changes"})
"""The keys of a plan that grow while it is in force."""


@dataclass(frozen=True)
class Registration:
    """Revisions of a plan, counted from 1: ``settled``, since which all but its records has stood unchanged, and by
    record (``event relining``, ``change ct-2``) the first one that holds it as it is now."""

    settled: int
    records: dict[str, int]


def registration(plan: Plan, revisions: Sequence[tuple[int, str]]) -> Registration:
    """Look through ``revisions`` (number and text, the oldest first, the last one that of ``plan``).

    A revision that can no longer be read holds nothing.
    """
    earlier = [(number, _read(text, number)) for number, text in revisions[:-1]]
    known = [*earlier, (revisions[-1][0], plan)]
    settled = known[-1][0]
    for number, one in reversed(known):
        if one is None or _settled(one) != _settled(plan):
            break
        settled = number
    found: dict[str, int] = {}
    for name, record in _records(plan):
        found[name] = next(number for number, one in known if one is not None and (name, record) in _records(one))
    return Registration(settled, found)


def _read(text: str, number: int) -> Plan | None:
    from evidence.plan import load_plan  # noqa: PLC0415 - the plan's fields are classes of this package

    try:
        return load_plan(text, f"revision {number}")
    except (DocumentError, PlanError):
        return None


def _settled(plan: Plan) -> dict[str, Any]:
    return plan.model_dump(exclude=set(RECORDS))


def _records(plan: Plan) -> Iterator[tuple[str, PersonalRecord]]:
    yield from ((f"event {one.id}", one) for one in plan.non_routine_events)
    yield from ((f"change {one.id}", one) for one in plan.measurement_changes)
