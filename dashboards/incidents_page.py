"""The page of incidents: what was authentic but odd, whether somebody has settled it, and how that was explained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from dashboards.figures import iso_time, zone_text
from dashboards.language import Catalogue
from store.database import Connection, clock_ms
from store.incident_decisions import IncidentDecision, decisions_about
from store.incidents import open_incidents
from store.listings import IncidentEntry, page_of_incidents

PAGE_ROWS = 100
_ADDRESS = "/incidents"


class IncidentState(StrEnum):
    """Which incidents are looked at."""

    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


_CLOSED = {IncidentState.OPEN: False, IncidentState.CLOSED: True, IncidentState.ALL: None}


def read_incidents(
    connection: Connection,
    state: IncidentState,
    timezone: str,
    *,
    gateway: str | None = None,
    before: int | None = None,
) -> dict[str, Any]:
    """At most `PAGE_ROWS` incidents, the newest first, those with lower numbers than ``before``; times in the zone.

    ``older`` is the number from which the next page goes on, None on the last one.
    """
    found = page_of_incidents(
        connection,
        before=before,
        limit=PAGE_ROWS,
        among=None if gateway is None else [gateway],
        closed=_CLOSED[state],
    )
    decisions = decisions_about(connection, [one.id for one in found])
    return {
        "state": state.value,
        "gateway": gateway,
        "zone": zone_text(timezone, clock_ms(connection)),
        "open": open_incidents(connection, gateway),
        "incidents": [_incident(one, decisions.get(one.id, []), timezone) for one in found],
        "older": found[-1].id if len(found) == PAGE_ROWS else None,
    }


def incidents_view(page: Mapping[str, Any], text: Catalogue) -> dict[str, Any]:
    """What `incidents.html` writes of `read_incidents`."""
    return {
        "zone": page["zone"],
        "summary": text("incidents.open_now", n=page["open"]),
        "gateway": page["gateway"],
        "states": [
            {
                "name": text(f"incidents.states.{state}"),
                "address": _address(page, state=state.value),
                "current": state == page["state"],
            }
            for state in IncidentState
        ],
        "incidents": [_row(one, text) for one in page["incidents"]],
        "older": None if page["older"] is None else _address(page, before=page["older"]),
        "all_gateways": None if page["gateway"] is None else f"{_ADDRESS}?{urlencode({'state': page['state']})}",
    }


def _incident(entry: IncidentEntry, decisions: Sequence[IncidentDecision], timezone: str) -> dict[str, Any]:
    return {
        "id": entry.id,
        "gateway": entry.gateway,
        "kind": entry.kind,
        "record": entry.seq,
        "at": iso_time(entry.at_ms, timezone),
        "detail": entry.detail,
        "open": entry.closed_ms is None,
        "decisions": [
            {"closed": one.closed, "actor": one.actor, "reason": one.reason, "at": iso_time(one.at_ms, timezone)}
            for one in decisions
        ],
    }


def _row(incident: Mapping[str, Any], text: Catalogue) -> dict[str, Any]:
    return {
        "id": incident["id"],
        "gateway": incident["gateway"] or text("incidents.no_gateway"),
        "kind": _kind_text(incident["kind"], text),
        "code": incident["kind"],
        "record": "" if incident["record"] is None else f"#{incident['record']}",
        "at": _clock_text(incident["at"]),
        "open": incident["open"],
        "state": text("incidents.state_open" if incident["open"] else "incidents.state_closed"),
        "detail": json.dumps(incident["detail"], ensure_ascii=False),
        "decisions": [
            text(
                "incidents.was_closed" if one["closed"] else "incidents.was_opened",
                time=_clock_text(one["at"]),
                actor=one["actor"],
                reason=one["reason"],
            )
            for one in incident["decisions"]
        ],
    }


def _kind_text(kind: str, text: Catalogue) -> str:
    """A kind in words; one that a newer version has raised stays as it is."""
    try:
        return text(f"incidents.kinds.{kind}")
    except KeyError:
        return kind


def _address(page: Mapping[str, Any], **changed: object) -> str:
    """The address of the same page with something changed; another state begins with its newest incident."""
    asked = {"state": page["state"], "gateway": page["gateway"], **changed}
    return f"{_ADDRESS}?{urlencode({name: value for name, value in asked.items() if value is not None})}"


def _clock_text(iso: str) -> str:
    return iso[:19].replace("T", " ")
