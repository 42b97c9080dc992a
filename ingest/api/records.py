"""What is kept: signed records, byte for byte."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from ingest.api.access import check_gateway, needs
from ingest.api.answers import PAGE_HEADERS, octets
from ingest.api.cursors import next_link, read_cursor, write_cursor
from ingest.api.models import (
    Record,
    RecordKind,
    RecordPage,
)
from ingest.api.parameters import (
    LIST_LIMIT,
    Cursor,
    GatewayPath,
    Limit,
    MaybeFrom,
    MaybeTo,
    check_range,
    instant_text,
)
from ingest.api.problems import not_found
from store.database import Pool, reading
from store.gateways import gateway as stored_gateway
from store.listings import (
    RecordEntry,
    page_of_records,
)
from store.readers import Reader, Scope
from store.records import read_records
from wire.limits import MAXIMUM_SEQUENCE
from wire.record import Kind
from wire.record_file import write_record

RecordReader = Annotated[Reader, Depends(needs(Scope.RECORDS))]
IncidentReader = Annotated[Reader, Depends(needs(Scope.INCIDENTS))]
QuarantineReader = Annotated[Reader, Depends(needs(Scope.QUARANTINE))]
Seq = Annotated[int, Path(ge=1, le=MAXIMUM_SEQUENCE, description="Number of the record in the chain, from 1.")]
FirstSeq = Annotated[int, Query(ge=1, le=MAXIMUM_SEQUENCE, description="First record, inclusive.")]
LastSeq = Annotated[int, Query(ge=1, le=MAXIMUM_SEQUENCE, description="Last record, inclusive.")]

RECORD_TYPE = 'application/cose; cose-type="cose-sign1"'
RECORDS_TYPE = "application/cbor-seq"
OCTETS_TYPE = "application/octet-stream"
FILE_RECORDS = 256
_KINDS: dict[int, RecordKind] = {
    Kind.FRAMES: "frames",
    Kind.DESCRIPTOR: "descriptor",
    Kind.EVENT: "event",
    Kind.HEAD: "head",
}
"""Records of a file are read this many at a time; at most 64 MiB."""


def add_records(router: APIRouter, connections: Pool) -> None:
    """Add the routes."""

    @router.get("/gateways/{gateway}/records", operation_id="list_records", tags=["custody"], responses=PAGE_HEADERS)
    def records(
        *,
        request: Request,
        response: Response,
        reader: RecordReader,
        gateway: GatewayPath,
        from_ms: MaybeFrom = None,
        to_ms: MaybeTo = None,
        limit: Limit = LIST_LIMIT,
        cursor: Cursor = None,
    ) -> RecordPage:
        """The records of a gateway by number, those that it closed in [from, to)."""
        check_gateway(reader, gateway)
        check_range(from_ms, to_ms)
        query = {"of": "records", "gateway": gateway, "from": from_ms, "to": to_ms}
        key = read_cursor(cursor, query, (int,))
        with reading(connections) as conn:
            if stored_gateway(conn, gateway) is None:
                raise not_found(f"gateway {gateway}")
            found = page_of_records(
                conn, gateway, after=key[0] if key else 0, limit=limit, from_ms=from_ms, to_ms=to_ms
            )
        following = write_cursor(query, [found[-1].seq]) if len(found) == limit else None
        response.headers.update(next_link(request, following))
        return RecordPage(records=[_record(one) for one in found], next=following)

    @router.get(
        "/gateways/{gateway}/records/{record}",
        operation_id="get_record",
        tags=["custody"],
        response_class=Response,
        responses={
            **octets(RECORD_TYPE, "The bytes of the record as the gateway signed them (COSE_Sign1, RFC 9052)."),
            304: {"description": "It is the record named in If-None-Match."},
        },
    )
    def record(gateway: GatewayPath, record: Seq, request: Request, reader: RecordReader) -> Response:
        """One record, byte for byte as it was signed. The ETag is its SHA-256."""
        check_gateway(reader, gateway)
        with reading(connections) as conn:
            found = next(iter(list(read_records(conn, gateway, first_seq=record, last_seq=record))), None)
        if found is None:
            raise not_found(f"record {record} of gateway {gateway}")
        headers = {"etag": f'"{found.hash.hex()}"', "cache-control": "private, max-age=31536000, immutable"}
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.data, media_type=RECORD_TYPE, headers=headers)

    @router.get(
        "/gateways/{gateway}/records-file",
        operation_id="download_records",
        tags=["custody"],
        response_class=StreamingResponse,
        responses=octets(RECORDS_TYPE, "A .records file: a CBOR sequence (RFC 8742) of the bytes of each record."),
    )
    def records_file(
        reader: RecordReader, gateway: GatewayPath, first: FirstSeq = 1, last: LastSeq = MAXIMUM_SEQUENCE
    ) -> Response:
        """Records `first` to `last`, in the order of the chain, as a file that `shopfloor ingest import` reads."""
        check_gateway(reader, gateway)
        with reading(connections) as conn:
            if stored_gateway(conn, gateway) is None:
                raise not_found(f"gateway {gateway}")
        disposition = f'attachment; filename="{gateway}.records"'
        return StreamingResponse(
            _file(connections, gateway, first, last),
            media_type=RECORDS_TYPE,
            headers={"content-disposition": disposition, "cache-control": "private, no-cache"},
        )


def _file(connections: Pool, gateway: str, first: int, last: int) -> Iterator[bytes]:
    position = first
    while position <= last:
        with reading(connections) as conn:
            entries = page_of_records(conn, gateway, after=position - 1, limit=FILE_RECORDS)
            if not entries or entries[0].seq > last:
                return
            end = min(entries[-1].seq, last)
            file = io.BytesIO()
            for stored in read_records(conn, gateway, first_seq=position, last_seq=end):
                write_record(file, stored.data)
        yield file.getvalue()
        position = end + 1


def _record(entry: RecordEntry) -> Record:
    def maybe(time_ms: int | None) -> str | None:
        return None if time_ms is None else instant_text(time_ms)

    return Record(
        record=entry.seq,
        kind=_KINDS[entry.kind],
        closed=instant_text(entry.time_ms),
        first_sample=maybe(entry.first_sample_ms),
        last_sample=maybe(entry.last_sample_ms),
        received=instant_text(entry.received_ms),
        sha256=entry.hash.hex(),
        descriptor=entry.descriptor_hash.hex(),
        samples=entry.samples,
        bytes=entry.bytes,
    )
