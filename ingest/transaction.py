"""One batch of messages, one database transaction: what `ingest.admission` decides is written, all or nothing."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ingest.admission import Admitted, Decision, Incident, IncidentKind, decide
from ingest.authentication import Authenticated, Message, Rejection, authenticate, decode_messages
from ingest.clock_window import DAY_MS
from ingest.history import Interpreters, StoredHistory
from ingest.readings import Reading
from ingest.refusal import raise_incidents
from ingest.replay import REPLAYED, ReplayWatch
from ingest.trust import TrustRegister
from store.chain_heads import advance_heads, lock_heads, newest_seqs
from store.clocks import keep_clocks
from store.database import Connection, Pool, clock_ms, transaction
from store.dirty import mark_all_dirty
from store.holes import note_holes
from store.incidents import add_incident, count_incident
from store.latest import LatestValue, upsert_latest
from store.quarantine import add_quarantine, quarantine_bytes, quarantine_count
from store.records import NewRecord, insert_records
from wire.errors import TopicError
from wire.receipt import Acknowledgement
from wire.topics import gateway_of

QUARANTINE_BYTES = 256 * 1024 * 1024
"""How much is kept of what is not authentic. Anyone who may publish can make it grow; the disk is for records."""

QUARANTINE_FULL = "quarantine-full"
"""Incident, of no gateway: what is refused from now on is counted and not kept, until the quarantine is emptied."""

FLOOD = "flood"
"""Incident: a gateway sends faster than is taken (`ingest.pace`); what is left over it has to send again."""

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
    rejected: list[Rejection] = field(default_factory=list)
    verify_s: float = 0.0
    """How long decoding and verifying took, in seconds."""
    commit_s: float = 0.0
    """How long everything else took, up to the commit."""


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
        self._register = TrustRegister()
        self._interpreters = Interpreters()
        self._refused = _Recent()
        self._forks = _Recent()
        self._told = _Recent()
        self._replays = ReplayWatch()
        self._last_issued_ms = 0

    def commit(self, messages: Sequence[Message]) -> Committed:
        """Admit ``messages`` in one transaction; when this returns, it is committed.

        Raises `store.errors.DatabaseUnreachableError` when the database is away, or other exceptions of `store` and
        psycopg when it refuses; nothing has been written then, and the same messages can be offered again.
        """
        began = time.perf_counter()
        decoded = decode_messages(messages)
        verify_s = time.perf_counter() - began
        with transaction(self._connections) as conn:
            self._register.refresh(conn, decoded)
            verifying = time.perf_counter()
            authenticated = authenticate(decoded, self._register.trusted)
            verify_s += time.perf_counter() - verifying
            committed = Committed(verify_s=verify_s)
            decisions = self._decide_all(conn, authenticated, committed)
            _write(conn, decisions)
            self._note_replays(conn, decisions, committed)
            for decision in decisions:
                stored = (one.arrival.record for one in decision.records)
                self._register.note_rotations(conn, decision.gateway, stored, now_ms())
            revoked = self._register.note_refusals(conn, authenticated.rejected, now_ms())
            refused = self._quarantine(conn, authenticated.rejected, committed)
        committed.commit_s = time.perf_counter() - began - verify_s
        for decision in decisions:
            for descriptor_hash, interpreter in decision.interpreters.items():
                self._interpreters.keep(decision.gateway, descriptor_hash, interpreter)
            for incident in decision.incidents:
                if incident.data is not None:
                    self._forks.add(hashlib.sha256(incident.data).digest())
                if incident.kind is IncidentKind.OUT_OF_WINDOW:
                    self._told.add(_told(incident.gateway, incident.kind, now_ms()))
            self._replays.note(decision.gateway, decision.head.seq, authenticated.by_gateway[decision.gateway])
        for identity in refused:
            self._refused.add(identity)
        self._register.have_reported(revoked)
        return committed

    def readmit(self, messages: Sequence[Message]) -> Committed:
        """As `commit`, of messages that are in quarantine: those still refused are not put there once more."""
        for message in messages:
            self._refused.add(_identity(message))
        return self.commit(messages)

    def note_flood(self, topics: Mapping[str, int], records_per_s: float) -> Committed:
        """Raise an incident for each topic on which records come faster than is taken, once a day."""
        committed = Committed()
        at_ms = now_ms()
        flooded = []
        with transaction(self._connections) as conn:
            for topic, count in topics.items():
                identity = _told(topic, FLOOD, at_ms)
                if identity not in self._told:
                    detail = {"topic": topic, "records_per_s": records_per_s, "held_back": count}
                    add_incident(conn, _gateway_or_none(topic), FLOOD, None, detail, None, at_ms)
                    flooded.append(identity)
        for identity in flooded:
            self._told.add(identity)
        committed.tally.incidents = len(flooded)
        return committed

    def refuse(self, message: Message, reason: str, detail: str) -> Committed:
        """Put one message into quarantine for a ``reason`` found elsewhere; in a transaction of its own."""
        committed = Committed()
        with transaction(self._connections) as conn:
            refused = self._quarantine(conn, [Rejection(message, reason, detail)], committed)
        for identity in refused:
            self._refused.add(identity)
        return committed

    def _decide_all(self, conn: Connection, authenticated: Authenticated, committed: Committed) -> list[Decision]:
        by_gateway = authenticated.by_gateway
        if not by_gateway:
            return []
        decisions = []
        heads = lock_heads(conn, by_gateway)
        newest = newest_seqs(conn, by_gateway)
        for gateway, arrivals in by_gateway.items():
            head = heads[gateway]
            known = self._forks.__contains__
            history = StoredHistory(conn, gateway, head, self._interpreters, known, newest_seq=newest.get(gateway, 0))
            decision = decide(gateway, arrivals, history)
            decision.incidents = [one for one in decision.incidents if not self._is_told(one)]
            decisions.append(decision)
            committed.tally.add(
                Tally(
                    stored=len(decision.records),
                    duplicates=decision.duplicates,
                    incidents=len(decision.incidents),
                    samples=sum(record.samples for record in decision.records),
                )
            )
        advance_heads(conn, {one.gateway: one.head for one in decisions if one.head != heads[one.gateway]})
        issued_ms = self._issue_ms(conn)
        committed.acknowledgements.extend(
            Acknowledgement(decision.gateway, decision.head.seq, decision.head.hash, issued_ms)
            for decision in decisions
        )
        return decisions

    def _is_told(self, incident: Incident) -> bool:
        """Whether an incident that comes with every record, once it has begun, has been raised today."""
        if incident.kind is not IncidentKind.OUT_OF_WINDOW:
            return False
        return _told(incident.gateway, incident.kind, now_ms()) in self._told

    def _note_replays(self, conn: Connection, decisions: Iterable[Decision], committed: Committed) -> None:
        """Raise or count an incident for each gateway of which long known records came again."""
        for decision in sorted(decisions, key=lambda one: one.gateway):
            again = self._replays.replayed(decision.gateway, decision.head.seq, decision.repeated)
            if again:
                first, last = again[0], again[-1]
                detail = {"first": first.record.seq, "last": last.record.seq, "topic": first.message.topic}
                new = count_incident(conn, decision.gateway, REPLAYED, first.record.seq, detail, len(again), now_ms())
                committed.tally.incidents += new

    def _issue_ms(self, conn: Connection) -> int:
        """Return the time of issue, taken while the heads are locked, by a clock that all workers of a database share:
        an acknowledgement that says more is never the older one."""
        self._last_issued_ms = max(clock_ms(conn), self._last_issued_ms)
        return self._last_issued_ms

    def _quarantine(self, conn: Connection, rejected: Sequence[Rejection], committed: Committed) -> list[bytes]:
        """Put what was rejected on file, unless it is there; return the identities of what was added."""
        if not rejected:
            return []
        committed.rejected.extend(rejected)
        self._look_into_quarantine(conn)
        added: dict[bytes, None] = {}
        new: list[Rejection] = []
        for rejection in rejected:
            message = rejection.message
            committed.refused[rejection.reason] += 1
            identity = _identity(message)
            if identity in self._refused or identity in added:
                committed.tally.duplicates += 1
                continue
            committed.tally.quarantined += 1
            new.append(rejection)
            size = len(message.data) + _QUARANTINE_ROW_BYTES
            if size > self._quarantine_room:
                self._note_full_quarantine(conn)
                continue
            self._quarantine_room -= size
            add_quarantine(conn, message.topic, rejection.reason, rejection.detail, message.data, message.received_ms)
            added[identity] = None
        committed.tally.incidents += raise_incidents(conn, new, self._register.trusted, now_ms())
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


def _identity(message: Message) -> bytes:
    return hashlib.sha256(message.topic.encode() + b"\0" + message.data).digest()


def _told(subject: str, kind: str, at_ms: int) -> bytes:
    return f"{kind}/{at_ms // DAY_MS}/{subject}".encode(errors="surrogatepass")


def _gateway_or_none(topic: str) -> str:
    try:
        return gateway_of(topic)
    except TopicError:
        return ""


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
    keep_clocks(conn, [decision.clock for decision in decisions if decision.clock is not None])
    mark_all_dirty(conn, {decision.gateway: decision.dirty_days for decision in decisions})
    received_ms = now_ms()
    for decision in decisions:
        if decision.holes:
            note_holes(conn, decision.gateway, decision.holes)
        for incident in decision.incidents:
            add_incident(
                conn, incident.gateway, incident.kind, incident.seq, incident.detail, incident.data, received_ms
            )
    readings = [reading for decision in decisions for reading in decision.latest]
    upsert_latest(conn, latest_values(readings, received_ms))


def latest_values(readings: Iterable[Reading], received_ms: int) -> list[LatestValue]:
    """Return ``readings`` as rows of the latest values, here since ``received_ms`` (UTC)."""
    return [
        LatestValue(
            reading.series,
            reading.time_ms,
            None if reading.value is None else float(reading.value),
            reading.unit,
            reading.status,
            received_ms,
        )
        for reading in readings
    ]


def _new_record(gateway: str, admitted: Admitted) -> NewRecord:
    record = admitted.arrival.record
    payload = record.payload
    return NewRecord(
        gateway=gateway,
        seq=payload.seq,
        time_ms=admitted.time_ms,
        first_sample_ms=admitted.first_sample_ms,
        last_sample_ms=admitted.last_sample_ms,
        kind=int(payload.kind),
        hash=record.hash,
        descriptor_hash=payload.descriptor,
        samples=admitted.samples,
        data=record.data,
        received_ms=admitted.arrival.message.received_ms,
    )
