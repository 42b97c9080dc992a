"""Whose word counts as that of which gateway, as the database says now."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from ingest.authentication import Authenticated, GatewayTrust, Rejection
from store.database import Connection
from store.enrolment import add_decision, newest_decision
from store.gateways import Gateway, add_successor, gateway, gateways, successors
from store.incidents import add_incident
from wire.keys import VerifyingKey
from wire.record import Record
from wire.rotation import KeyHistory
from wire.topics import gateway_of

KEYS_RELOAD_SECONDS = 1.0
"""How often at most the registered keys are read again because of a gateway or key that is not known."""

REVOKED_KEY = "revoked-key"
"""Incident: records of a gateway that is revoked arrive; their bytes are in quarantine."""

KEY_ROTATED = "key-rotated"
"""Decision, of the gateway itself: another key signs from a record on."""


class TrustRegister:
    """The keys of all gateways, read again as soon as somebody has decided something about one of them.

    Whether somebody has is asked for every batch: what arrives after a revocation is not taken.
    """

    def __init__(self) -> None:
        self.trusted: Mapping[str, GatewayTrust] = {}
        self._decision = -1
        self._read_at = float("-inf")
        self._reported: set[str] = set()

    def refresh(self, conn: Connection, decoded: Authenticated) -> None:
        """Read what is registered when it may have changed; keys that are not known are looked for now and then."""
        decision = newest_decision(conn)
        since = time.monotonic() - self._read_at
        if decision != self._decision or (since >= KEYS_RELOAD_SECONDS and not self._knows_all(decoded)):
            followed = successors(conn)
            self.trusted = {one.id: _trust(one, followed.get(one.id, {})) for one in gateways(conn)}
            self._decision, self._read_at = decision, time.monotonic()

    def note_rotations(self, conn: Connection, gateway: str, stored: Iterable[Record], at_ms: int) -> None:
        """Register the keys that records which are now stored hand over to."""
        before = self.trusted[gateway].keys
        for record in stored:
            after = before.through(record)
            if after != before:
                add_successor(conn, gateway, record.seq + 1, after.newest.raw)
                detail = {"record": record.seq, "before": before.newest.text, "after": after.newest.text}
                add_decision(conn, gateway, KEY_ROTATED, gateway, detail, at_ms)
                before = after

    def note_refusals(self, conn: Connection, rejected: Iterable[Rejection], at_ms: int) -> set[str]:
        """Raise an incident for each gateway whose records are refused because it is revoked, unless it has had one.

        The caller hands the gateways that are returned to `have_reported` when the incidents are committed.
        """
        topics = {rejection.message.topic for rejection in rejected if rejection.reason == REVOKED_KEY}
        refused = {gateway_of(topic) for topic in topics} - self._reported
        for name in sorted(refused):
            since_ms = self.trusted[name].revoked_ms
            add_incident(conn, name, REVOKED_KEY, None, {"revoked_ms": since_ms}, None, at_ms)
        return refused

    def have_reported(self, refused: Iterable[str]) -> None:
        """Remember that these gateways have had their incident."""
        self._reported.update(refused)

    def _knows_all(self, decoded: Authenticated) -> bool:
        return all(
            gateway in self.trusted and all(self.trusted[gateway].keys.knows(one.record.key_id) for one in arrivals)
            for gateway, arrivals in decoded.by_gateway.items()
        )


def stored_trust(conn: Connection, id: str) -> GatewayTrust | None:
    """What is registered of one gateway; None when nothing is."""
    known = gateway(conn, id)
    return None if known is None else _trust(known, successors(conn, id).get(id, {}))


def _trust(known: Gateway, followed: Mapping[int, bytes]) -> GatewayTrust:
    later = {seq: VerifyingKey.from_bytes(key) for seq, key in followed.items()}
    return GatewayTrust(KeyHistory(VerifyingKey.from_bytes(known.public_key), later), known.revoked_ms)
