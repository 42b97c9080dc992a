"""What a server sent, as it goes on record: values in their own type, status codes and time stamps as they are."""

from __future__ import annotations

import datetime

from asyncua import ua

from wire.limits import MAXIMUM_TEXT_BYTES, MAXIMUM_TIME_MS
from wire.node import OPC_BAD, OPC_GOOD, NodeSample, NodeValue, Variant

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NOT_CARRIED = int(ua.StatusCodes.BadTypeMismatch)
_TOO_LONG = int(ua.StatusCodes.BadEncodingLimitsExceeded)


def sample_of(received: ua.DataValue, time_ms: int) -> tuple[NodeSample, Variant]:
    """Return what the agent received at ``time_ms`` as a sample and the type of its value.

    A value of a type that records do not carry (arrays, structures, dates) becomes a sample without a value and with
    the status Bad_TypeMismatch, a text that is too long one with Bad_EncodingLimitsExceeded.
    """
    code = received.StatusCode
    status = OPC_GOOD if code is None else int(code.value)
    value, variant = (None, Variant.NULL) if status >= OPC_BAD else _value(received.Value)
    if value is None and variant is not Variant.NULL:
        status, variant = (_TOO_LONG if variant is Variant.STRING else _NOT_CARRIED), Variant.NULL
    source_ms, server_ms = _milliseconds(received.SourceTimestamp), _milliseconds(received.ServerTimestamp)
    return NodeSample(time_ms, status, value, source_ms, server_ms), variant


def failure(status: int, time_ms: int) -> NodeSample:
    """Return the sample of a read that brought nothing, ``status`` says why."""
    return NodeSample(time_ms, status, None)


def _value(received: ua.Variant | None) -> tuple[NodeValue | None, Variant]:
    """Return value and type; no value and no type for a null, no value with a type for what cannot be carried."""
    if received is None or received.Value is None:
        return None, Variant.NULL
    try:
        variant = Variant(received.VariantType.value)
    except ValueError:
        return None, Variant.DOUBLE
    value = received.Value
    if variant is Variant.STRING:
        return (value if isinstance(value, str) and len(value.encode()) <= MAXIMUM_TEXT_BYTES else None), variant
    return (value if isinstance(value, bool | int | float) else None), variant


def _milliseconds(stamp: datetime.datetime | None) -> int | None:
    """Return ``stamp`` in milliseconds since the Unix epoch; ``None`` when it is absent: OPC UA's zero is in 1601."""
    if stamp is None:
        return None
    utc = stamp.replace(tzinfo=datetime.UTC) if stamp.tzinfo is None else stamp
    milliseconds = (utc - _EPOCH) // datetime.timedelta(milliseconds=1)
    absent = utc.year <= 1601 or abs(milliseconds) > MAXIMUM_TIME_MS
    return None if absent else milliseconds
