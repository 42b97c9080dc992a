"""What the project page shows of the screens: a line each, and the places of those that saw something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.figures import iso_time
from dashboards.language import Catalogue
from evidence.figures import number

PLACES_SHOWN = 10

Json = Mapping[str, Any]


def screens_view(screens: Sequence[Json], timezone: str, text: Catalogue) -> dict[str, Any]:
    """The screens of an evaluation: anomalies first, then what was clear, then what was not checked."""
    order = ("anomaly", "clear", "not_checked")
    ordered = sorted(screens, key=lambda screen: order.index(screen["state"]))
    counts = {state: sum(screen["state"] == state for screen in screens) for state in order}
    return {
        "summary": text("screens.summary", **counts),
        "anomalies": counts["anomaly"],
        "rows": [_screen(screen, timezone, text) for screen in ordered],
    }


def _screen(screen: Json, timezone: str, text: Catalogue) -> dict[str, Any]:
    written = {key: screen[key][text.language] for key in ("title", "statement", "finding", "meaning", "limits")}
    shown = screen["places"][:PLACES_SHOWN]
    return {
        **written,
        "name": screen["name"],
        "state": screen["state"],
        "strength": text(f"screens.{screen['strength']}"),
        "places": [_place(place, timezone) for place in shown],
        "more_places": len(screen["places"]) - len(shown) + screen["more_places"],
    }


def _place(place: Json, timezone: str) -> dict[str, str]:
    return {
        "start": _minute(place["start_ms"], timezone),
        "end": _minute(place["end_ms"], timezone),
        "series": ", ".join(place["series"]),
        "figures": ", ".join(
            f"{name} {_minute(round(value), timezone) if name.endswith('_ms') else number(value)}"
            for name, value in place["figures"].items()
        ),
    }


def _minute(time_ms: int, timezone: str) -> str:
    return iso_time(time_ms, timezone)[:16].replace("T", " ")
