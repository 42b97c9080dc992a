"""``bench/results.json``: the newest figure of everything that was measured, flat name: number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

RESULTS = Path(__file__).with_name("results.json")


def keep(figures: Mapping[str, float]) -> None:
    """Put ``figures`` into the file; those of other subjects stay."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**known, **figures}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
