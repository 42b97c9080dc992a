"""Text and details from strangers, made fit for columns of text and JSON: both refuse what a packet may hold."""

from __future__ import annotations

import math
from collections.abc import Mapping

from psycopg.types.json import Jsonb


def storable(text: str) -> str:
    """The text with U+FFFD in the place of NUL (PostgreSQL cannot hold it) and of lone surrogates (UTF-8 cannot)."""
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def storable_detail(detail: Mapping[str, object]) -> Jsonb:
    """The detail of an event as JSON: bytes as hexadecimal text, numbers that are not finite as text."""
    return Jsonb({storable(name): _storable_value(value) for name, value in detail.items()})


def _storable_value(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {storable(str(name)): _storable_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable_value(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return storable(str(value))
