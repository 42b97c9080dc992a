"""Who made the bytes? The first half of admission: pure, and the only place where bytes from outside become records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from wire import cose
from wire.errors import RecordError, TopicError
from wire.record import Record, open_record
from wire.rotation import KeyHistory, rotates_key
from wire.topics import gateway_of


@dataclass(frozen=True, slots=True)
class Message:
    """What the broker delivered. ``received_ms`` is the server's clock, milliseconds since the Unix epoch, UTC."""

    topic: str
    data: bytes
    received_ms: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A decoded record and the message that brought it."""

    record: Record
    message: Message


@dataclass(frozen=True, slots=True)
class Rejection:
    """Bytes that are not authentic. ``reason`` is a stable word, ``detail`` a sentence for people."""

    message: Message
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class GatewayTrust:
    """Whose word counts as that of a gateway: its keys, and since when nothing is taken any more (ms UTC)."""

    keys: KeyHistory
    revoked_ms: int | None = None


@dataclass(slots=True)
class Authenticated:
    """The outcome of `authenticate`: authentic records by gateway, ordered by ``seq``, and everything else."""

    by_gateway: dict[str, list[Arrival]] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)


def decode_messages(messages: Iterable[Message]) -> Authenticated:
    """Sort messages by the gateway they claim to come from; nothing is verified yet.

    Rejected are: topics that name no gateway (``foreign-topic``), records that do not decode (the fault of
    `wire.record.open_record`) and records whose signed gateway is not the topic's (``foreign-gateway``).
    """
    decoded = Authenticated()
    for message in messages:
        try:
            gateway = gateway_of(message.topic)
            record = open_record(message.data, None)
        except TopicError as error:
            decoded.rejected.append(Rejection(message, "foreign-topic", str(error)))
            continue
        except RecordError as error:
            decoded.rejected.append(Rejection(message, error.fault, str(error)))
            continue
        if record.payload.gateway != gateway:
            detail = f"the record is of gateway '{record.payload.gateway}', it came on the topic of '{gateway}'"
            decoded.rejected.append(Rejection(message, "foreign-gateway", detail))
            continue
        decoded.by_gateway.setdefault(gateway, []).append(Arrival(record, message))
    return decoded


def authenticate(decoded: Authenticated, trusted: Mapping[str, GatewayTrust]) -> Authenticated:
    """Keep what the keys of its gateway vouch for; reject the rest with the reason.

    A record names the hash of the one before it, so that a signature vouches for the whole run that ends with it: a
    contiguous batch costs its hashes and one signature (as in `wire.chain.verify_run`, which would decode again what
    is decoded already). A record that hands over to another key is verified by itself, with the key in force; those
    behind it with the other. Rejected are ``unknown-gateway``, ``revoked-key`` (what came after the revocation,
    whatever time it says it was made), ``wrong-key``, ``bad-signature`` and ``bad-rotation``.
    """
    result = Authenticated(rejected=list(decoded.rejected))
    for gateway, arrivals in decoded.by_gateway.items():
        trust = trusted.get(gateway)
        if trust is None:
            detail = f"no public key is registered for gateway '{gateway}'; register it, the gateway will send again"
            result.rejected.extend(Rejection(arrival.message, "unknown-gateway", detail) for arrival in arrivals)
            continue
        authentic: list[Arrival] = []
        keys = trust.keys
        for run in _linked_runs(_in_time(arrivals, trust, result.rejected)):
            for segment in _segments(run):
                vouched = _vouched(segment, keys, result.rejected)
                authentic.extend(segment[:vouched])
                if vouched == len(segment):
                    keys = keys.through(segment[-1].record)
        if authentic:
            authentic.sort(key=_seq)
            result.by_gateway[gateway] = authentic
    return result


def _in_time(arrivals: Sequence[Arrival], trust: GatewayTrust, rejected: list[Rejection]) -> list[Arrival]:
    """Return what arrived before its gateway was revoked; the rest is rejected."""
    revoked_ms = trust.revoked_ms
    if revoked_ms is None:
        return list(arrivals)
    late = [arrival for arrival in arrivals if arrival.message.received_ms >= revoked_ms]
    detail = "the gateway is revoked; nothing that arrives from now on is taken, whenever it says it was made"
    rejected.extend(Rejection(arrival.message, "revoked-key", detail) for arrival in late)
    return [arrival for arrival in arrivals if arrival.message.received_ms < revoked_ms]


def _segments(run: Sequence[Arrival]) -> Iterator[Sequence[Arrival]]:
    """Yield the parts of a run that one key signs: each ends with the record that hands over to another, or the run."""
    start = 0
    for end, arrival in enumerate(run, start=1):
        if end == len(run) or rotates_key(arrival.record):
            yield run[start:end]
            start = end


def _linked_runs(arrivals: Sequence[Arrival]) -> list[list[Arrival]]:
    """Split records into runs in which each names the hash of the one before; copies of one record stay together."""
    runs: list[list[Arrival]] = []
    run_ending_with: dict[bytes, list[Arrival]] = {}
    for arrival in sorted(arrivals, key=_seq):
        record = arrival.record
        run = run_ending_with.get(record.hash) or run_ending_with.pop(record.payload.prev, None)
        if run is None:
            run = []
            runs.append(run)
        run.append(arrival)
        run_ending_with[record.hash] = run
    return runs


def _vouched(run: Sequence[Arrival], keys: KeyHistory, rejected: list[Rejection]) -> int:
    """Return how many records of ``run`` the last good signature vouches for; those after it are rejected."""
    for last in range(len(run) - 1, -1, -1):
        try:
            cose.parse(run[last].message.data).verify(keys.at(run[last].record.seq))
            keys.through(run[last].record)
        except RecordError as error:
            rejected.append(Rejection(run[last].message, error.fault, str(error)))
        else:
            return last + 1
    return 0


def _seq(arrival: Arrival) -> int:
    return arrival.record.payload.seq
