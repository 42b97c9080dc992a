"""Every event that the agent can write is one that the CDDL knows, by an independent library."""

from __future__ import annotations

from pathlib import Path

import pycddl
import pytest

import wire
from wire import cbor
from wire.event import EVENT_NAMES, Event, event_from_cbor, event_to_cbor

CDDL = (Path(wire.__file__).parent / "record.cddl").read_text(encoding="utf-8")
DETAIL: dict[str, dict[str, int | float | str | bytes]] = {
    "gap": {"first": 2, "last": 3, "before": bytes(32), "hash": bytes(32), "samples": 4, "reason": "disk full"},
    "history": {"device": "meter-1", "name": "daily", "address": 0x6000, "stride": 34, "entries": 90, "good": 90},
    "ratio_changed": {"device": "meter-1", "setting": "ct_ratio", "before": 60.0, "after": 120.0, "time_ms": 1},
}


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_every_event_is_in_the_cddl_and_comes_back_as_it_was(name: str) -> None:
    event = Event(name, DETAIL.get(name, {"reason": "text", "count": 1, "share": 0.5}))  # type: ignore[arg-type]
    encoded = event_to_cbor(event)
    pycddl.Schema(f"start = event\n{CDDL}").validate_cbor(cbor.encode(encoded))
    assert event_from_cbor(encoded) == event


def test_an_event_of_another_name_is_not_in_the_cddl() -> None:
    with pytest.raises(pycddl.ValidationError):
        pycddl.Schema(f"start = event\n{CDDL}").validate_cbor(cbor.encode({"name": "ratio_change", "detail": {}}))
