"""Who reads, and what that reader may see.

Whoever answers requests finds out who asks, and hands a `Reader` on to what reads the tables. Rooms that do not know
each other need one word for it: that is why it stands here, beside the tables that it is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """One kind of things that a token may read."""

    GATEWAYS = "read:gateways"
    SERIES = "read:series"
    SAMPLES = "read:samples"
    INTERVALS = "read:intervals"
    INCIDENTS = "read:incidents"
    QUARANTINE = "read:quarantine"
    RECORDS = "read:records"
    PROJECTS = "read:projects"
    STATUS = "read:status"


ALL_SCOPES = frozenset(Scope)

READER_KEY = "shopfloor.reader"
"""Under this name the `Reader` of a request stands in its ASGI scope. Where it is missing, nobody was let in."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who asks. ``gateways`` are the only ones that may be seen, None for all; a ``person`` has logged in."""

    name: str
    scopes: frozenset[Scope] = ALL_SCOPES
    gateways: frozenset[str] | None = None
    person: bool = False

    def may(self, scope: Scope) -> bool:
        """Whether this kind of things may be read."""
        return scope in self.scopes

    def sees(self, gateway: str) -> bool:
        """Whether this gateway may be seen."""
        return self.gateways is None or gateway in self.gateways

    @property
    def selection(self) -> list[str] | None:
        """The ids of the gateways to select, in order, for a query; None for all."""
        return None if self.gateways is None else sorted(self.gateways)
