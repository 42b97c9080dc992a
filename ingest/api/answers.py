"""What the routes may answer besides their own content, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from ingest.api.formats import MEDIA_TYPES, Format
from ingest.api.problems import PROBLEM_TYPE

Responses = dict[int | str, dict[str, Any]]


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


PROBLEM_RESPONSES: Responses = {
    401: _problem("No token, or one that is unknown, expired or revoked."),
    403: _problem("The token lacks the scope that this needs."),
    404: _problem("Not there, or not for this reader to see."),
    405: _problem("Nothing can be changed: only GET is served."),
    422: _problem("A parameter is wrong; `errors` says which, and what to give instead."),
    503: _problem("The database does not answer now; try again after the time in Retry-After."),
}

_LINK = {"Link": {"description": "The next page (RFC 8288), if there is one.", "schema": {"type": "string"}}}
PAGE_HEADERS: Responses = {200: {"headers": _LINK}}

TABLE_RESPONSES: Responses = {
    200: {
        "headers": _LINK,
        "content": {
            MEDIA_TYPES[Format.CSV]: {"schema": {"type": "string"}},
            MEDIA_TYPES[Format.ARROW]: {"schema": {"type": "string", "contentMediaType": MEDIA_TYPES[Format.ARROW]}},
        },
    },
    406: _problem("None of the types in Accept can be had."),
}


def octets(media_type: str, description: str) -> Responses:
    """An answer of bytes."""
    content = {media_type: {"schema": {"type": "string", "contentMediaType": media_type}}}
    return {200: {"description": description, "content": content}}
