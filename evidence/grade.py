"""How strongly the values behind a figure are vouched for, from the strongest to the weakest."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class EvidenceGrade(StrEnum):
    """Who vouches for a value."""

    GATEWAY_SIGNED = "gateway_signed"
    """A gateway read it, signed it and chained it when it was measured."""
    METER_HISTORY = "meter_history"
    """The meter froze it by itself, before the gateway came; the gateway read it later and signed what it read."""
    IMPORTED_DOCUMENT = "imported_document"
    """A person handed in a document. Only who, when, and that it has not changed since is known."""


_STRENGTH = (EvidenceGrade.GATEWAY_SIGNED, EvidenceGrade.METER_HISTORY, EvidenceGrade.IMPORTED_DOCUMENT)


def weakest(grades: Iterable[EvidenceGrade]) -> EvidenceGrade:
    """The grade of a figure that draws on all of these; of one that draws on nothing known, the weakest there is."""
    return max(grades, key=_STRENGTH.index, default=EvidenceGrade.IMPORTED_DOCUMENT)
