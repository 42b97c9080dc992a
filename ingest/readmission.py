"""Offers what is in quarantine to admission again: after a gateway was registered, or a wrong key was put right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from ingest.authentication import Message
from ingest.transaction import AdmissionTransactions, Tally, now_ms
from store.database import Pool, transaction
from store.incidents import add_incident
from store.quarantine import find_quarantined, remove_quarantined
from wire.topics import gateway_of

READMITTED = "readmitted"
"""Incident: messages of a gateway have been taken out of quarantine and admitted."""

_BATCH_RECORDS = 500


@dataclass(slots=True)
class Readmitted:
    """What a readmission came to: messages that were offered, those admitted by gateway, those still refused by reason,
    the counts of admission, and the head of each gateway's chain afterwards."""

    offered: int = 0
    admitted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    heads: dict[str, int] = field(default_factory=dict)


def readmit(
    connections: Pool, *, ids: Collection[int] | None = None, reason: str | None = None, topic: str | None = None
) -> Readmitted:
    """Offer messages in quarantine to admission, as of the time at which they arrived; all conditions must hold.

    What is authentic now is stored and leaves the quarantine, and an incident says so; the rest stays as it is. A crash
    in between leaves in quarantine what is stored already, and the next call finds it a duplicate.

    :raises store.errors.DatabaseUnreachableError: the database is away; what was admitted before stays admitted.
    """
    transactions, result, after = AdmissionTransactions(connections), Readmitted(), 0
    while True:
        with transaction(connections) as conn:
            batch = find_quarantined(conn, ids=ids, reason=reason, topic=topic, after=after, limit=_BATCH_RECORDS)
        if not batch:
            return result
        messages = {one.id: Message(one.topic, one.data, one.received_ms) for one in batch}
        committed = transactions.readmit(list(messages.values()))
        refused = {rejection.message for rejection in committed.rejected}
        admitted = {id_: message for id_, message in messages.items() if message not in refused}
        by_gateway = Counter(gateway_of(message.topic) for message in admitted.values())
        with transaction(connections) as conn:
            remove_quarantined(conn, list(admitted))
            for gateway, count in sorted(by_gateway.items()):
                add_incident(conn, gateway, READMITTED, None, {"messages": count}, None, now_ms())
        result.offered += len(batch)
        result.admitted += by_gateway
        result.refused += committed.refused
        result.tally.add(committed.tally)
        result.heads.update((one.gateway, one.seq) for one in committed.acknowledgements)
        after = batch[-1].id
