"""What there is: gateways, their devices, and series."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from ingest.api.access import check_gateway, needs
from ingest.api.cursors import next_link, read_cursor, write_cursor
from ingest.api.descriptors import Descriptors
from ingest.api.models import (
    DescribedSeries,
    Device,
    Devices,
    Gateway,
    GatewayPage,
    LatestValue,
    Series,
    SeriesPage,
)
from ingest.api.parameters import LIST_LIMIT, Cursor, GatewayPath, Limit, MaybeGateway, instant_text
from ingest.api.problems import not_found
from store.database import Pool, reading
from store.listings import GatewayState, SeriesState, list_gateways, list_series
from store.readers import Reader, Scope
from wire import descriptor as wire
from wire.keys import VerifyingKey

GatewayReader = Annotated[Reader, Depends(needs(Scope.GATEWAYS))]
SeriesReader = Annotated[Reader, Depends(needs(Scope.SERIES))]


def add_catalogue(router: APIRouter, connections: Pool, descriptors: Descriptors) -> None:
    """Add the routes."""

    @router.get("/gateways", operation_id="list_gateways", tags=["catalogue"])
    def gateways(
        request: Request, response: Response, reader: GatewayReader, limit: Limit = LIST_LIMIT, cursor: Cursor = None
    ) -> GatewayPage:
        """The enrolled gateways by id, and how far each chain has come."""
        key = read_cursor(cursor, {"of": "gateways"}, (str,))
        with reading(connections) as conn:
            found = list_gateways(conn, key[0] if key else "", limit, reader.selection)
        following = write_cursor({"of": "gateways"}, [found[-1].id]) if len(found) == limit else None
        response.headers.update(next_link(request, following))
        return GatewayPage(gateways=[_gateway(one) for one in found], next=following)

    @router.get("/gateways/{gateway}", operation_id="get_gateway", tags=["catalogue"])
    def gateway(gateway: GatewayPath, reader: GatewayReader) -> Gateway:
        """One gateway."""
        check_gateway(reader, gateway)
        with reading(connections) as conn:
            found = list_gateways(conn, "", 1, [gateway])
        if not found:
            raise not_found(f"gateway {gateway}")
        return _gateway(found[0])

    @router.get(
        "/gateways/{gateway}/devices",
        operation_id="list_devices",
        tags=["catalogue"],
        response_model=Devices,
        responses={304: {"description": "Nothing has changed: the descriptor is the one named in If-None-Match."}},
    )
    def devices(gateway: GatewayPath, request: Request, response: Response, reader: GatewayReader) -> object:
        """Devices and series of a gateway, as its newest descriptor has them. The ETag is that of the descriptor."""
        check_gateway(reader, gateway)
        with reading(connections) as conn:
            newest = descriptors.newest(conn, gateway)
        if newest is None:
            raise not_found(f"a descriptor of gateway {gateway}")
        digest, seq, descriptor = newest
        tag = f'"{digest.hex()}"'
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"etag": tag})
        response.headers["etag"] = tag
        return Devices(
            gateway=gateway,
            timezone=descriptor.timezone,
            software=descriptor.software,
            descriptor=digest.hex(),
            descriptor_record=seq,
            devices=[_device(gateway, device) for device in descriptor.devices],
        )

    @router.get("/series", operation_id="list_series", tags=["catalogue"])
    def series(
        *,
        request: Request,
        response: Response,
        reader: SeriesReader,
        gateway: MaybeGateway = None,
        limit: Limit = LIST_LIMIT,
        cursor: Cursor = None,
    ) -> SeriesPage:
        """Every series that is stored, by id, with its unit and its latest value."""
        query = {"of": "series", "gateway": gateway}
        key = read_cursor(cursor, query, (str,))
        if gateway is not None:
            check_gateway(reader, gateway)
        with reading(connections) as conn:
            among = reader.selection if gateway is None else [gateway]
            found = list_series(conn, key[0] if key else "", limit, among)
            described: dict[str, wire.Series] = {}
            for one in sorted({state.gateway for state in found}):
                newest = descriptors.newest(conn, one)
                if newest is not None:
                    described |= series_of(newest[2])
        following = write_cursor(query, [found[-1].id]) if len(found) == limit else None
        response.headers.update(next_link(request, following))
        return SeriesPage(series=[_series(one, described.get(one.id)) for one in found], next=following)


def series_of(descriptor: wire.Descriptor) -> dict[str, wire.Series]:
    """The series of a descriptor by full id."""
    return {
        f"{descriptor.gateway}/{device.id}/{series.name}": series
        for device in descriptor.devices
        for series in device.series
    }


def _gateway(state: GatewayState) -> Gateway:
    key = VerifyingKey.from_bytes(state.public_key)
    return Gateway(
        id=state.id,
        name=state.name,
        fingerprint=key.fingerprint,
        public_key=key.text,
        added=instant_text(state.added_ms),
        revoked=None if state.revoked_ms is None else instant_text(state.revoked_ms),
        head_seq=state.head_seq,
        newest_record=None if state.newest_time_ms is None else instant_text(state.newest_time_ms),
        newest_received=None if state.newest_received_ms is None else instant_text(state.newest_received_ms),
    )


def _device(gateway: str, device: wire.Device) -> Device:
    return Device(
        id=device.id,
        model=device.model,
        serial_number=device.serial_number,
        protocol=device.protocol,
        unit_address=device.unit,
        ct_ratio=device.ct_ratio,
        pt_ratio=device.pt_ratio,
        interval_ms=device.interval_ms,
        series=[
            DescribedSeries(
                id=f"{gateway}/{device.id}/{series.name}",
                name=series.name,
                quantity=series.quantity,
                unit=series.unit,
                kind=series.kind,
                scale=series.scale,
                offset=series.offset,
                modulus=series.modulus,
                maximum_rate=series.maximum_rate,
            )
            for series in device.series
        ],
    )


def _series(state: SeriesState, described: wire.Series | None) -> Series:
    gateway, device, name = state.id.split("/", 2)
    latest = None
    if state.time_ms is not None and state.unit is not None and state.status is not None:
        latest = LatestValue(time=instant_text(state.time_ms), value=state.value, unit=state.unit, status=state.status)
    return Series(
        id=state.id,
        gateway=gateway,
        device=device,
        name=name,
        unit=state.unit if described is None else described.unit,
        quantity=None if described is None else described.quantity,
        kind=None if described is None else described.kind,
        latest=latest,
    )
