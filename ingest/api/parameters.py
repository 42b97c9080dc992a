"""Parameters that several routes take: ids, instants, limits, and ranges of time.

Instants are ISO 8601 with a zone and milliseconds at most; inside they are int milliseconds since the epoch, UTC.
Ranges are half-open: from <= time < to.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Path, Query
from pydantic import BeforeValidator, Field, WithJsonSchema

from ingest.api.problems import wrong_parameter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_YEAR = 9998
_ID = "[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?"
_EXAMPLE = "2026-03-01T08:00:00+08:00"
MAXIMUM_SERIES = 32
LIST_LIMIT = 100
MAXIMUM_LIST_LIMIT = 1000
MAXIMUM_ROWS = 100_000


def parse_instant(text: object) -> int:
    """Milliseconds since the epoch of an ISO 8601 text. Raises ValueError saying what to write instead."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        hint = " (a '+' in an address must be written %2B)" if " " in str(text) else ""
        raise ValueError(f"'{text}' is no time in ISO 8601; write it like {_EXAMPLE}{hint}") from None
    if at.tzinfo is None:
        raise ValueError(f"'{text}' has no zone; append Z for UTC, or an offset like +08:00")
    moment = at - _EPOCH
    if moment < timedelta(0) or at.year > _LAST_YEAR:
        raise ValueError(f"'{text}' is not in the years 1970 to {_LAST_YEAR}")
    return moment // timedelta(milliseconds=1)


def instant_text(time_ms: int) -> str:
    """ISO 8601 in UTC with milliseconds, like ``2026-03-01T00:00:00.000Z``."""
    return f"{(_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec='milliseconds')[:23]}Z"


Instant = Annotated[
    int,
    BeforeValidator(parse_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": [_EXAMPLE]}),
]
From = Annotated[Instant, Query(alias="from", description="Begin of the range, inclusive; ISO 8601 with zone.")]
To = Annotated[Instant, Query(alias="to", description="End of the range, exclusive; ISO 8601 with zone.")]
MaybeFrom = Annotated[
    Instant | None, Query(alias="from", description="Begin of the range, inclusive; ISO 8601 with zone.")
]
MaybeTo = Annotated[Instant | None, Query(alias="to", description="End of the range, exclusive; ISO 8601 with zone.")]
GatewayId = Annotated[str, Field(pattern=f"^{_ID}$", json_schema_extra={"format": "gateway-id"})]
SeriesId = Annotated[str, Field(pattern=f"^{_ID}/{_ID}/{_ID}$", json_schema_extra={"format": "series-id"})]
GatewayPath = Annotated[GatewayId, Path(description="Id of a gateway.", examples=["gw-01"])]
MaybeGateway = Annotated[GatewayId | None, Query(description="Of this gateway only.")]
SeriesIds = Annotated[
    list[SeriesId],
    Query(
        alias="series",
        min_length=1,
        max_length=MAXIMUM_SERIES,
        description="Full id of a series, gateway/device/name; give the parameter again for each further one.",
        examples=[["gw-01/meter-1/active_energy_import"]],
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAXIMUM_LIST_LIMIT, description="How many entries a page has at most.")]
RowLimit = Annotated[
    int | None,
    Query(
        ge=1, le=MAXIMUM_ROWS, description="How many rows a page has at most. Without it the whole range is streamed."
    ),
]
Cursor = Annotated[
    str | None, Query(max_length=1024, description="Where to go on: `next` of the page before, with the same query.")
]


def check_range(from_ms: int | None, to_ms: int | None) -> None:
    """Raise the problem of a range that holds nothing."""
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise wrong_parameter("to", f"must be after from ({instant_text(from_ms)}), is {instant_text(to_ms)}")
