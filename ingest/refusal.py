"""Refused messages that are more than noise: a key nobody knows, and records on the topic of another gateway.

Their bytes are in quarantine. A person is told once a day and gateway, with a count: who sends under a wrong key, or
plays one gateway's records back as another's, keeps trying. A name that is not registered counts as no gateway: anyone
who may publish can make up as many as he likes. What was damaged on its way is no incident; quarantine has it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from ingest.authentication import Rejection
from store.database import Connection
from store.incidents import count_incident
from wire.topics import gateway_of

UNKNOWN_KEY = "unknown-key"
"""Incident: records are signed with a key that is not registered for the gateway they claim to come from."""

FOREIGN_GATEWAY = "foreign-gateway"
"""Incident: records that say they are of one gateway came on the topic of another, which this incident is of."""

_KINDS = {"unknown-gateway": UNKNOWN_KEY, "wrong-key": UNKNOWN_KEY, "foreign-gateway": FOREIGN_GATEWAY}


def raise_incidents(conn: Connection, refused: Iterable[Rejection], registered: Container[str], at_ms: int) -> int:
    """Raise or count the incidents of messages that were refused at ``at_ms`` (UTC); return how many are new."""
    told: dict[tuple[str, str], list[Rejection]] = {}
    for rejection in refused:
        kind = _KINDS.get(rejection.reason)
        if kind is not None:
            claimed = gateway_of(rejection.message.topic)
            told.setdefault((claimed if claimed in registered else "", kind), []).append(rejection)
    new = 0
    # In one order, because each is locked until the transaction ends.
    for (gateway, kind), rejections in sorted(told.items()):
        first = rejections[0]
        detail = {"reason": first.reason, "topic": first.message.topic, "first": first.detail}
        new += count_incident(conn, gateway, kind, None, detail, len(rejections), at_ms)
    return new
