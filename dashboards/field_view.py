"""What the project page shows of a field book, from its JSON. Only writing happens here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboards.figures import quantity
from dashboards.language import Catalogue
from evidence.figures import NO_VALUE, number

Json = Mapping[str, Any]

HASH_DIGITS = 16
SERIES_SHOWN = 2
"""Of a stored history the page shows so many series, the table as a file has all."""


def field_view(book: Json, text: Catalogue) -> dict[str, Any]:
    """Everything that the section of `project.html` writes."""
    days = {"first": book["from"][:10], "last": book["to"][:10]}
    lost = sum(book["lost_samples"].values())
    return {
        "looked_at": text("field.looked_at", **days),
        "unverified": book["unverified_records"],
        "commissioned": [_commissioned(one) for one in book["commissioned"]],
        "not_commissioned": book["not_commissioned"],
        "losses": [_loss(one, text) for one in book["losses"]],
        "lost": text("field.lost_total", samples=number(lost, 0)) if lost else "",
        "stored": [_stored(one, text) for one in book["stored"]],
    }


def _place(one: Json) -> dict[str, str]:
    return {"place": f"{one['gateway']}/{one['device']}", "record": number(one["record"], 0)}


def _clock(iso: str) -> str:
    return iso[:19].replace("T", " ")


def _commissioned(one: Json) -> dict[str, Any]:
    return {
        **_place(one),
        "time": _clock(one["time"]),
        "model": one["model"],
        "serial_number": one["serial_number"] or NO_VALUE,
        "operator": one["operator"],
        **{key: number(count, 0) for key, count in one["checks"].items()},
        "good": not one["checks"]["failed"],
        "checks_failed": one["checks_failed"],
        "accepted": one["accepted"],
        "report": one["report_sha256"],
        "report_short": one["report_sha256"][:HASH_DIGITS],
    }


def _loss(one: Json, text: Catalogue) -> dict[str, str]:
    if "lost_records" in one:
        first, last = (number(seq, 0) for seq in one["lost_records"])
    else:
        first, last = (_clock(iso) for iso in one["lost_time"])
    return {
        "gateway": one["gateway"],
        "record": number(one["record"], 0),
        "time": _clock(one["time"]),
        "what": text(f"field.{one['kind']}", first=first, last=last),
        "samples": number(one["samples"], 0),
        "reason": one["reason"],
    }


def _stored(one: Json, text: Catalogue) -> dict[str, Any]:
    return {
        **_place(one),
        "name": text(f"field.period.{one['period']}"),
        "read": _clock(one["read"]),
        "entries": text("field.entries", good=number(one["good"], 0), entries=number(one["entries"], 0)),
        "missing": one["found"] < one["good"],
        "series": [
            {
                "name": series["name"],
                **{
                    end: text(
                        "field.entry",
                        value=quantity(series[end]["value"], series["unit"], text),
                        entry=series[end]["entry"],
                    )
                    for end in ("oldest", "newest")
                },
            }
            for series in one["series"][:SERIES_SHOWN]
        ],
    }
