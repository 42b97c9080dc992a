"""Events: what happened to a gateway or its devices, signed and chained like every other record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from wire import schema
from wire.limits import MAXIMUM_SEQUENCE

EventName = Literal[
    "start", "stop", "configuration", "clock_step", "clock_state", "meter_replaced", "gap", "loss", "ratio_changed",
    "ratio_mismatch", "setting_changed", "history", "commissioned", "key_rotated",
]  # fmt: skip
EVENT_NAMES: tuple[str, ...] = get_args(EventName)
_MAXIMUM_DETAILS = 32


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``detail`` holds what its name calls for (see the CDDL): integers, floats, texts, byte strings."""

    name: EventName
    detail: dict[str, int | float | str | bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that the gateway lost for good: ``first``..``last`` (both included), between two hashes it still knows.

    ``before`` is the hash of record ``first - 1``, ``hash`` that of record ``last``: whoever has the records on both
    sides can check that exactly these are missing. ``samples`` is how many reads were lost with them.
    """

    first: int
    last: int
    before: bytes
    hash: bytes
    samples: int
    reason: str

    def to_event(self) -> Event:
        """Return the event that declares this gap."""
        return Event(
            "gap",
            {
                "first": self.first,
                "last": self.last,
                "before": self.before,
                "hash": self.hash,
                "samples": self.samples,
                "reason": self.reason,
            },
        )

    @classmethod
    def from_event(cls, event: Event) -> Gap:
        """Read a gap event; raise `RecordError` (``bad-payload``) when a field is off."""
        fields = schema.mapping(event.detail, "gap", {"first", "last", "before", "hash", "samples", "reason"})
        first = schema.integer(fields["first"], "gap.first", 1, MAXIMUM_SEQUENCE)
        return cls(
            first=first,
            last=schema.integer(fields["last"], "gap.last", first, MAXIMUM_SEQUENCE),
            before=schema.octets(fields["before"], "gap.before", 32),
            hash=schema.octets(fields["hash"], "gap.hash", 32),
            samples=schema.integer(fields["samples"], "gap.samples", 0, MAXIMUM_SEQUENCE),
            reason=schema.text(fields["reason"], "gap.reason"),
        )


def event_to_cbor(event: Event) -> dict[str, Any]:
    """Return the event as the CDDL's ``event`` map."""
    return {"name": event.name, "detail": dict(event.detail)}


def event_from_cbor(value: Any) -> Event:
    """Read the CDDL's ``event`` map; raise `RecordError` (``bad-payload``) naming the field that is off."""
    fields = schema.mapping(value, "event", {"name", "detail"})
    if fields["name"] not in EVENT_NAMES:
        raise schema.fault("event.name", f"must be one of {', '.join(EVENT_NAMES)}, is {fields['name']!r}")
    detail = fields["detail"]
    if not isinstance(detail, dict) or len(detail) > _MAXIMUM_DETAILS:
        raise schema.fault("event.detail", f"must be a map of at most {_MAXIMUM_DETAILS} entries")
    for key, entry in detail.items():
        if not isinstance(key, str) or isinstance(entry, bool) or not isinstance(entry, int | float | str | bytes):
            raise schema.fault(f"event.detail.{key}", "must be a number, a text or a byte string under a text key")
    event = Event(cast("EventName", fields["name"]), detail)
    if event.name == "gap":
        Gap.from_event(event)
    return event
