"""Who made the bytes? The first half of admission: pure, and the only place where bytes from outside become records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wire import cose
from wire.errors import RecordError, TopicError
from wire.keys import VerifyingKey
from wire.record import Record, open_record
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


def authenticate(decoded: Authenticated, keys: Mapping[str, VerifyingKey]) -> Authenticated:
    """Keep what the registered key of its gateway vouches for; reject the rest with the reason.

    A record names the hash of the one before it, so that a signature vouches for the whole run that ends with it: a
    contiguous batch costs its hashes and one signature (as in `wire.chain.verify_run`, which would decode again what
    is decoded already). Rejected are ``unknown-gateway``, ``wrong-key`` and ``bad-signature``.
    """
    result = Authenticated(rejected=list(decoded.rejected))
    for gateway, arrivals in decoded.by_gateway.items():
        key = keys.get(gateway)
        if key is None:
            detail = f"no public key is registered for gateway '{gateway}'; register it, the gateway will send again"
            result.rejected.extend(Rejection(arrival.message, "unknown-gateway", detail) for arrival in arrivals)
            continue
        authentic: list[Arrival] = []
        for run in _linked_runs(arrivals):
            vouched = _vouched(run, key, result.rejected)
            authentic.extend(run[:vouched])
        if authentic:
            authentic.sort(key=_seq)
            result.by_gateway[gateway] = authentic
    return result


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


def _vouched(run: Sequence[Arrival], key: VerifyingKey, rejected: list[Rejection]) -> int:
    """Return how many records of ``run`` the last good signature vouches for; those after it are rejected."""
    for last in range(len(run) - 1, -1, -1):
        try:
            cose.parse(run[last].message.data).verify(key)
        except RecordError as error:
            rejected.append(Rejection(run[last].message, error.fault, str(error)))
        else:
            return last + 1
    return 0


def _seq(arrival: Arrival) -> int:
    return arrival.record.payload.seq
