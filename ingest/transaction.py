"""One batch of messages, one database transaction: what `ingest.admission` decides is written, all or nothing."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest.admission import Admitted, Decision, decide
from ingest.authentication import Authenticated, Message, Rejection, authenticate, decode_messages
from ingest.history import Interpreters, StoredHistory
from store.database import Connection, Pool, transaction
from store.dirty import mark_dirty
from store.gateways import gateways
from store.incidents import add_incident
from store.latest import LatestValue, upsert_latest
from store.quarantine import add_quarantine, quarantine_bytes, quarantine_count
from store.records import NewRecord, advance_head, insert_records, lock_head
from wire.keys import VerifyingKey
from wire.receipt import Acknowledgement

KEYS_RELOAD_SECONDS = 1.0
"""How often at most the registered keys are read again because of a gateway or key that is not known."""

QUARANTINE_BYTES = 256 * 1024 * 1024
"""How much is kept of what is not authentic. Anyone who may publish can make it grow; the disk is for records."""

QUARANTINE_FULL = "quarantine-full"
"""Incident, of no gateway: what is refused from now on is counted and not kept, until the quarantine is emptied."""

_QUARANTINE_ROW_BYTES = 512
_QUARANTINE_LOOK_SECONDS = 60.0
_REPEATS_KEPT = 65_536


def now_ms() -> int:
    """Return the server's clock: milliseconds since the Unix epoch, UTC."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Tally:
    """Counts of what was done with messages; `add` sums them up."""

    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    incidents: int = 0
    samples: int = 0

    def add(self, other: Tally) -> None:
        """Add the counts of ``other``."""
        self.stored += other.stored
        self.duplicates += other.duplicates
        self.quarantined += other.quarantined
        self.incidents += other.incidents
        self.samples += other.samples


@dataclass(slots=True)
class Committed:
    """What a committed batch came to: counts, and the acknowledgements that may now be signed and sent."""

    tally: Tally = field(default_factory=Tally)
    refused: Counter[str] = field(default_factory=Counter)
    """How many messages were not authentic, by reason; those that are in quarantine already among them."""
    acknowledgements: list[Acknowledgement] = field(default_factory=list)


class AdmissionTransactions:
    """Admits batches. Not to be shared between threads; several processes may admit into one database.

    Bytes that are sent again and again are put on file once: a gateway whose key is not registered keeps sending until
    it is acknowledged. Beyond ``quarantine_limit`` bytes nothing more is put on file.
    """

    def __init__(self, connections: Pool, *, quarantine_limit: int = QUARANTINE_BYTES) -> None:
        self._connections = connections
        self._quarantine_limit = quarantine_limit
        self._quarantine_room = 0
        self._quarantine_looked = float("-inf")
        self._quarantine_full = False
        self._keys: dict[str, VerifyingKey] = {}
        self._keys_read = float("-inf")
        self._interpreters = Interpreters()
        self._refused = _Recent()
        self._forks = _Recent()
        self._last_issued_ms = 0

    def commit(self, messages: Sequence[Message]) -> Committed:
        """Admit ``messages`` in one transaction; when this returns, it is committed.

        Raises `store.errors.DatabaseUnreachableError` when the database is away, or other exceptions of `store` and
        psycopg when it refuses; nothing has been written then, and the same messages can be offered again.
        """
        decoded = decode_messages(messages)
        with transaction(self._connections) as conn:
            self._read_keys(conn, decoded)
            authenticated = authenticate(decoded, self._keys)
            committed = Committed()
            decisions = self._decide_all(conn, authenticated, committed)
            _write(conn, decisions)
            refused = self._quarantine(conn, authenticated.rejected, committed)
        for decision in decisions:
            for descriptor_hash, interpreter in decision.interpreters.items():
                self._interpreters.keep(decision.gateway, descriptor_hash, interpreter)
            for incident in decision.incidents:
                if incident.data is not None:
                    self._forks.add(hashlib.sha256(incident.data).digest())
        for identity in refused:
            self._refused.add(identity)
        return committed

    def refuse(self, message: Message, reason: str, detail: str) -> Committed:
        """Put one message into quarantine for a ``reason`` found elsewhere; in a transaction of its own."""
        committed = Committed()
        with transaction(self._connections) as conn:
            refused = self._quarantine(conn, [Rejection(message, reason, detail)], committed)
        for identity in refused:
            self._refused.add(identity)
        return committed

    def _read_keys(self, conn: Connection, decoded: Authenticated) -> None:
        """Read the registered keys again when a record names one that is not known, but not for every such record."""
        complete = all(
            gateway in self._keys and all(one.record.key_id == self._keys[gateway].key_id for one in arrivals)
            for gateway, arrivals in decoded.by_gateway.items()
        )
        if not complete and time.monotonic() - self._keys_read >= KEYS_RELOAD_SECONDS:
            self._keys = {known.id: VerifyingKey.from_bytes(known.public_key) for known in gateways(conn)}
            self._keys_read = time.monotonic()

    def _decide_all(self, conn: Connection, authenticated: Authenticated, committed: Committed) -> list[Decision]:
        decisions = []
        # In the order of their ids, so that two processes cannot wait for each other.
        for gateway, arrivals in sorted(authenticated.by_gateway.items()):
            head = lock_head(conn, gateway)
            history = StoredHistory(conn, gateway, head, self._interpreters, self._forks.__contains__)
            decision = decide(gateway, arrivals, history)
            if decision.head != head:
                advance_head(conn, gateway, decision.head)
            decisions.append(decision)
            committed.tally.add(
                Tally(
                    stored=len(decision.records),
                    duplicates=decision.duplicates,
                    incidents=len(decision.incidents),
                    samples=sum(record.samples for record in decision.records),
                )
            )
            committed.acknowledgements.append(
                Acknowledgement(gateway, decision.head.seq, decision.head.hash, self._issue_ms())
            )
        return decisions

    def _issue_ms(self) -> int:
        """Return the time of issue, taken while the head is locked: later acknowledgements never say less."""
        self._last_issued_ms = max(now_ms(), self._last_issued_ms)
        return self._last_issued_ms

    def _quarantine(self, conn: Connection, rejected: Sequence[Rejection], committed: Committed) -> list[bytes]:
        """Put what was rejected on file, unless it is there; return the identities of what was added."""
        if not rejected:
            return []
        self._look_into_quarantine(conn)
        added: dict[bytes, None] = {}
        for rejection in rejected:
            message = rejection.message
            committed.refused[rejection.reason] += 1
            identity = hashlib.sha256(message.topic.encode() + b"\0" + message.data).digest()
            if identity in self._refused or identity in added:
                committed.tally.duplicates += 1
                continue
            committed.tally.quarantined += 1
            size = len(message.data) + _QUARANTINE_ROW_BYTES
            if size > self._quarantine_room:
                self._note_full_quarantine(conn)
                continue
            self._quarantine_room -= size
            add_quarantine(conn, message.topic, rejection.reason, rejection.detail, message.data, message.received_ms)
            added[identity] = None
        return list(added)

    def _look_into_quarantine(self, conn: Connection) -> None:
        """Measure the room that is left, now and then: others fill it too, and people empty it."""
        if time.monotonic() - self._quarantine_looked < _QUARANTINE_LOOK_SECONDS:
            return
        kept = quarantine_bytes(conn) + _QUARANTINE_ROW_BYTES * quarantine_count(conn)
        self._quarantine_room = self._quarantine_limit - kept
        self._quarantine_looked = time.monotonic()
        self._quarantine_full = self._quarantine_full and self._quarantine_room <= self._quarantine_limit // 2

    def _note_full_quarantine(self, conn: Connection) -> None:
        if not self._quarantine_full:
            self._quarantine_full = True
            add_incident(conn, "", QUARANTINE_FULL, None, {"limit_bytes": self._quarantine_limit}, None, now_ms())


class _Recent:
    """A bounded memory of identities, the oldest forgotten first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, identity: object) -> bool:
        return identity in self._kept

    def add(self, identity: bytes) -> None:
        self._kept[identity] = None
        if len(self._kept) > _REPEATS_KEPT:
            self._kept.popitem(last=False)


def _write(conn: Connection, decisions: Sequence[Decision]) -> None:
    insert_records(conn, [_new_record(decision.gateway, one) for decision in decisions for one in decision.records])
    received_ms = now_ms()
    for decision in decisions:
        if decision.dirty_days:
            mark_dirty(conn, decision.gateway, decision.dirty_days)
        for incident in decision.incidents:
            add_incident(
                conn, incident.gateway, incident.kind, incident.seq, incident.detail, incident.data, received_ms
            )
    upsert_latest(
        conn,
        [
            LatestValue(
                reading.series,
                reading.time_ms,
                None if reading.value is None else float(reading.value),
                reading.unit,
                reading.status,
                received_ms,
            )
            for decision in decisions
            for reading in decision.latest
        ],
    )


def _new_record(gateway: str, admitted: Admitted) -> NewRecord:
    record = admitted.arrival.record
    payload = record.payload
    return NewRecord(
        gateway=gateway,
        seq=payload.seq,
        time_ms=payload.time_ms,
        first_sample_ms=admitted.first_sample_ms,
        last_sample_ms=admitted.last_sample_ms,
        kind=int(payload.kind),
        hash=record.hash,
        descriptor_hash=payload.descriptor,
        samples=admitted.samples,
        data=record.data,
        received_ms=admitted.arrival.message.received_ms,
    )
