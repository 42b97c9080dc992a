"""Reading decoded CBOR field by field: each reader names the field when the value is not what the CDDL says."""

from __future__ import annotations

import math
from collections.abc import Set
from typing import Any

from wire.errors import RecordError
from wire.limits import MAXIMUM_TIME_MS
from wire.topics import valid_identifier


def fault(field: str, text: str) -> RecordError:
    """Return the error that says ``field`` is not as the CDDL describes it."""
    return RecordError("bad-payload", f"{field} {text}")


def mapping(value: Any, field: str, keys: Set[Any]) -> dict[Any, Any]:
    """Return ``value`` if it is a map with exactly ``keys``."""
    if not isinstance(value, dict):
        raise fault(field, "must be a map")
    if value.keys() == keys:
        return value
    missing, extra = keys - set(value), set(value) - keys
    if missing:
        raise fault(field, f"lacks {sorted(map(str, missing))}")
    raise fault(field, f"has unknown keys {sorted(map(str, extra))}")


def array(value: Any, field: str, *, length: int | None = None, maximum: int | None = None) -> list[Any]:
    """Return ``value`` if it is an array of ``length`` elements, or of at most ``maximum``."""
    if not isinstance(value, list):
        raise fault(field, "must be an array")
    if length is not None and len(value) != length:
        raise fault(field, f"must have {length} elements, has {len(value)}")
    if maximum is not None and len(value) > maximum:
        raise fault(field, f"has {len(value)} elements, at most {maximum} are accepted")
    return value


def integer(value: Any, field: str, low: int, high: int) -> int:
    """Return ``value`` if it is an integer in ``low``..``high``, both included."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise fault(field, "must be an integer")
    if not low <= value <= high:
        raise fault(field, f"is {value}, outside {low}..{high}")
    return value


def time_ms(value: Any, field: str) -> int:
    """Return ``value`` if it is a time in milliseconds since the Unix epoch, UTC, in the years 1970 to 9999."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAXIMUM_TIME_MS:
        raise RecordError(
            "bad-time", f"{field} is {value!r}; it must be integer milliseconds since 1970, to the year 9999"
        )
    return value


def number(value: Any, field: str) -> float:
    """Return ``value`` if it is a finite float; an integer in its place would be a second encoding of one value."""
    if not isinstance(value, float) or not math.isfinite(value):
        raise fault(field, "must be a finite floating-point number")
    return value


def text(value: Any, field: str) -> str:
    """Return ``value`` if it is a text."""
    if not isinstance(value, str):
        raise fault(field, "must be a text")
    return value


def identifier(value: Any, field: str) -> str:
    """Return ``value`` if it is an id as `wire.topics.valid_identifier` defines it."""
    if not isinstance(value, str) or not valid_identifier(value):
        raise fault(field, "must be an id of a-z, 0-9, '-' and '_', at most 64 characters")
    return value


def octets(value: Any, field: str, length: int | None = None) -> bytes:
    """Return ``value`` if it is a byte string, of ``length`` bytes where that is given."""
    if not isinstance(value, bytes):
        raise fault(field, "must be a byte string")
    if length is not None and len(value) != length:
        raise fault(field, f"must have {length} bytes, has {len(value)}")
    return value


def boolean(value: Any, field: str) -> bool:
    """Return ``value`` if it is true or false."""
    if not isinstance(value, bool):
        raise fault(field, "must be true or false")
    return value
