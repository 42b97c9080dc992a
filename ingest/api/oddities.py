"""What was odd, and what was refused: incidents and the quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from ingest.api.access import check_gateway, needs
from ingest.api.answers import PAGE_HEADERS, octets
from ingest.api.cursors import next_link, read_cursor, write_cursor
from ingest.api.models import Incident, IncidentDecision, IncidentPage, Quarantine, QuarantineReason
from ingest.api.parameters import (
    LIST_LIMIT,
    Cursor,
    Limit,
    MaybeFrom,
    MaybeGateway,
    MaybeTo,
    check_range,
    instant_text,
)
from ingest.api.problems import ApiProblemError, not_found
from store.database import Pool, reading
from store.incident_decisions import IncidentDecision as StoredDecision
from store.incident_decisions import decisions_about
from store.listings import IncidentEntry, incident_bytes, page_of_incidents, quarantine_summary
from store.readers import Reader, Scope

IncidentReader = Annotated[Reader, Depends(needs(Scope.INCIDENTS))]
QuarantineReader = Annotated[Reader, Depends(needs(Scope.QUARANTINE))]
IncidentId = Annotated[int, Path(ge=1, lt=2**63, description="Id of an incident.")]
Kind = Annotated[str | None, Query(pattern="^[a-z]+(-[a-z]+)*$", max_length=64, description="Of this kind only.")]

State = Annotated[Literal["open", "closed"] | None, Query(description="Only those that are open, or closed.")]

OCTETS_TYPE = "application/octet-stream"


def add_oddities(router: APIRouter, connections: Pool) -> None:
    """Add the routes."""

    @router.get("/incidents", operation_id="list_incidents", tags=["custody"], responses=PAGE_HEADERS)
    def incidents(
        *,
        request: Request,
        response: Response,
        reader: IncidentReader,
        gateway: MaybeGateway = None,
        kind: Kind = None,
        state: State = None,
        from_ms: MaybeFrom = None,
        to_ms: MaybeTo = None,
        limit: Limit = LIST_LIMIT,
        cursor: Cursor = None,
    ) -> IncidentPage:
        """What was authentic but odd (fork, hole, declared gap ...), raised in [from, to), the newest first."""
        if gateway is not None:
            check_gateway(reader, gateway)
        check_range(from_ms, to_ms)
        query = {"of": "incidents", "gateway": gateway, "kind": kind, "state": state, "from": from_ms, "to": to_ms}
        key = read_cursor(cursor, query, (int,))
        among = reader.selection if gateway is None else [gateway]
        with reading(connections) as conn:
            found = page_of_incidents(
                conn,
                before=key[0] if key else None,
                limit=limit,
                among=among,
                kind=kind,
                from_ms=from_ms,
                to_ms=to_ms,
                closed=None if state is None else state == "closed",
            )
            decisions = decisions_about(conn, [one.id for one in found])
        following = write_cursor(query, [found[-1].id]) if len(found) == limit else None
        response.headers.update(next_link(request, following))
        return IncidentPage(incidents=[_incident(one, decisions.get(one.id, [])) for one in found], next=following)

    @router.get(
        "/incidents/{incident}/bytes",
        operation_id="get_incident_bytes",
        tags=["custody"],
        response_class=Response,
        responses=octets(OCTETS_TYPE, "What was taken into custody, byte for byte."),
    )
    def custody(incident: IncidentId, reader: IncidentReader) -> Response:
        """The bytes that were kept of an incident: of a fork, the record that came second."""
        with reading(connections) as conn:
            found = incident_bytes(conn, incident)
        if found is None or found[1] is None or not reader.sees(found[0]):
            raise not_found(f"what was taken into custody of incident {incident}")
        headers = {"content-disposition": f'attachment; filename="incident-{incident}.bin"'}
        return Response(found[1], media_type=OCTETS_TYPE, headers=headers)

    @router.get("/quarantine", operation_id="summarise_quarantine", tags=["custody"])
    def quarantine(reader: QuarantineReader) -> Quarantine:
        """What was refused, by reason. It belongs to no gateway: who sent it is what could not be told."""
        if reader.gateways is not None:
            raise ApiProblemError(
                HTTPStatus.FORBIDDEN,
                "scope-missing",
                "this needs a token for all gateways: whose the refused messages are is not known",
            )
        with reading(connections) as conn:
            found = quarantine_summary(conn)
        return Quarantine(
            messages=sum(one.messages for one in found),
            bytes=sum(one.bytes for one in found),
            reasons=[
                QuarantineReason(
                    reason=one.reason,
                    messages=one.messages,
                    bytes=one.bytes,
                    first_received=instant_text(one.first_received_ms),
                    latest_received=instant_text(one.latest_received_ms),
                )
                for one in found
            ],
        )


def _incident(entry: IncidentEntry, decisions: Sequence[StoredDecision]) -> Incident:
    return Incident(
        id=entry.id,
        gateway=entry.gateway,
        kind=entry.kind,
        record=entry.seq,
        at=instant_text(entry.at_ms),
        detail=entry.detail,
        bytes=entry.bytes,
        closed=None if entry.closed_ms is None else instant_text(entry.closed_ms),
        decisions=[
            IncidentDecision(closed=one.closed, actor=one.actor, reason=one.reason, at=instant_text(one.at_ms))
            for one in decisions
        ],
    )
