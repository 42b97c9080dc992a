"""MQTT topics of the contract, and the ids that may stand in them."""

from __future__ import annotations

import re
from functools import lru_cache

from wire.errors import TopicError

RECORD_FILTER = "shopfloor/v1/+/record"
"""Subscription that receives the records of every gateway."""

HEALTH_FILTER = "shopfloor/v1/+/health"
"""Subscription that receives how every gateway is, in retained messages."""

MAXIMUM_ID_LENGTH = 64
_ID = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_IDS_KEPT = 4096
"""A server meets the same few ids in every record."""

_RECORD = re.compile(r"shopfloor/v1/([^/]+)/record")


def valid_identifier(text: str) -> bool:
    """Tell whether ``text`` can be the id of a gateway, device or series.

    Lower-case letters, digits, ``-`` and ``_``, beginning and ending with a letter or digit, at most 64 characters:
    safe in topics, file names, URLs and CSV headers alike.
    """
    return len(text) <= MAXIMUM_ID_LENGTH and _is_identifier(text)


def record_topic(gateway: str) -> str:
    """Return the topic of ``gateway``'s records; raise `TopicError` for an id that cannot stand in a topic."""
    return f"shopfloor/v1/{_checked(gateway)}/record"


def ack_topic(gateway: str) -> str:
    """Return the topic on which the server acknowledges to ``gateway``; raise `TopicError` as `record_topic`."""
    return f"shopfloor/v1/{_checked(gateway)}/ack"


def health_topic(gateway: str) -> str:
    """Return the topic on which ``gateway`` says how it is, retained; raise `TopicError` as `record_topic`."""
    return f"shopfloor/v1/{_checked(gateway)}/health"


@lru_cache(maxsize=_IDS_KEPT)
def gateway_of(topic: str) -> str:
    """Return the gateway that a record topic names; raise `TopicError` when it is no record topic."""
    match = _RECORD.fullmatch(topic)
    if match is None or not valid_identifier(match.group(1)):
        raise TopicError(f"'{topic}' is not a record topic; it should be shopfloor/v1/<gateway>/record")
    return match.group(1)


@lru_cache(maxsize=_IDS_KEPT)
def _is_identifier(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def _checked(gateway: str) -> str:
    if not valid_identifier(gateway):
        raise TopicError(
            f"'{gateway}' cannot be a gateway id: use 1 to {MAXIMUM_ID_LENGTH} of a-z, 0-9, '-' and '_', "
            "beginning and ending with a letter or digit"
        )
    return gateway
