"""Cursors: the last row of a page, opaque to its reader, with which the next page begins behind it.

A cursor holds the key of that row and a digest of the query it belongs to. It opens nothing that the query does not:
one that somebody made up is at worst another place in his own answer.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import Request

from ingest.api.problems import wrong_parameter

Query = Mapping[str, Any]
_ADVICE = "is not the cursor of this query; take 'next' of a page and leave all other parameters as they were"
_LARGEST = 2**63


def write_cursor(query: Query, key: Sequence[int | str]) -> str:
    """The cursor behind the row with ``key`` in the answer to ``query``."""
    text = json.dumps([_digest(query), *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("utf-8")).decode("ascii").rstrip("=")


def read_cursor(text: str | None, query: Query, kinds: Sequence[type[int] | type[str]]) -> list[Any] | None:
    """The key in a cursor, its parts of the given kinds; None without a cursor. Raises the problem of a wrong one."""
    if text is None:
        return None
    try:
        parts: Any = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise wrong_parameter("cursor", _ADVICE) from None
    if not isinstance(parts, list) or not parts:
        raise wrong_parameter("cursor", _ADVICE)
    digest: object = parts[0]
    key: list[Any] = parts[1:]
    fits = len(key) == len(kinds) and all(type(part) is kind for part, kind in zip(key, kinds, strict=False))
    if digest != _digest(query) or not fits or not all(_storable(part) for part in key):
        raise wrong_parameter("cursor", _ADVICE)
    return key


def next_link(request: Request, cursor: str | None) -> dict[str, str]:
    """The header that leads to the next page (RFC 8288), relative to this one; none at the end."""
    if cursor is None:
        return {}
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return {"link": f'<?{urlencode([*parameters, ("cursor", cursor)])}>; rel="next"'}


def _storable(part: int | str) -> bool:
    if isinstance(part, int):
        return -_LARGEST <= part < _LARGEST
    return part.isprintable() and part.isascii()


def _digest(query: Query) -> str:
    return hashlib.sha256(json.dumps(query, sort_keys=True).encode("utf-8")).hexdigest()[:16]
