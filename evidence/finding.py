"""What a check found: its answer, and what does not hold, in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Check(StrEnum):
    """The answer to one question of a proof."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True)
class ProofFault:
    """One thing that does not hold, or (as a notice) that a reader should know. ``seq`` is None for a whole gateway."""

    gateway: str
    seq: int | None
    fault: str
    en: str
    zh: str

    def to_json(self) -> dict[str, Any]:
        """The fault as a JSON object."""
        return {"gateway": self.gateway, "seq": self.seq, "fault": self.fault, "en": self.en, "zh": self.zh}
