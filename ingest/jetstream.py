"""Records from a NATS cluster: several workers, on any machines, pull from one durable consumer of one stream.

Gateways speak MQTT to any server of the cluster; NATS maps the topic ``shopfloor/v1/<gateway>/record`` to the subject
``shopfloor.v1.<gateway>.record``, which our stream captures. What MQTT acknowledges to a gateway (PUBACK) is in the
internal stream of NATS's MQTT, not yet in ours: when a leader is killed in between, ours lacks it. Nothing rests on
that, because gateways send until they have the server's own acknowledgement.

The stream is a work queue: a message is in it until a worker acknowledges it, after the commit. What a dead worker held
is delivered to another one after `ACKNOWLEDGE_WAIT_SECONDS`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    Header,
    RetentionPolicy,
    StatusCode,
    StorageType,
    StreamConfig,
    StreamInfo,
)

from ingest.address import NatsAddress
from ingest.authentication import Message
from ingest.delivery import Delivery, Session
from ingest.errors import BrokerError, BrokerRefusalError
from ingest.inbox import Inbox
from ingest.session import RECEIVE_MAXIMUM
from ingest.transaction import now_ms
from wire.topics import RECORD_FILTER

STREAM = "shopfloor-records"
DURABLE = "shopfloor-ingest"

STREAM_BYTES = 1024**3
"""What the stream may hold. Beyond that it takes nothing more: the gateways keep their records and send them again."""

REPLICAS = 3
"""Copies of the stream in a cluster of three servers or more; it goes on while two of them are there."""

ACKNOWLEDGE_WAIT_SECONDS = 30.0
"""After which time a message that a worker has not acknowledged is delivered again, to any worker."""

MAXIMUM_PENDING = 20_000
"""Messages under way to all workers together: beyond that nothing more is delivered until some are acknowledged."""

RELEASE_SECONDS = 5
"""After which time a message that a worker could not take is delivered again."""

CONNECT_SECONDS = 10.0
_ATTEMPT_SECONDS = 2
_PULL_RECORDS = 500
_PULL_BYTES = 16 * 1024 * 1024
_PULL_SECONDS = 2.0
_NEXT = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{DURABLE}"
_PUT_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_FAILING_SECONDS = 30.0
"""How long pulling may fail, while a new leader is elected or a server returns, before all is set up anew."""

_LEAVE_SECONDS = 5.0
_PROGRAMME = "shopfloor-programme"
_SHORT_REPLY = 9
_NOW = b"-NAK"
_LATER = b'-NAK {"delay": %d}' % (RELEASE_SECONDS * 1_000_000_000)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JetStreamDelivery:
    """A message of the stream, and the session that brought it."""

    message: Message
    session: JetStreamSession
    sequence: int
    reply: str

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return len(self.message.data)

    @property
    def void(self) -> bool:
        """Whether the session has ended."""
        return self.session.closed

    def acknowledge(self) -> None:
        """Take the message out of the stream."""
        self.session.acknowledge(self)

    def release(self) -> None:
        """Have it delivered again, to any worker, after `RELEASE_SECONDS`."""
        self.session.release(self)


class JetStreamSession:
    """One connection to a cluster; it moves to another server when its own dies, and ends when pulling keeps failing.

    An event loop in a thread of its own does the network; the methods may be called from any thread.
    """

    def __init__(self, address: NatsAddress, programme: str | None, inbox: Inbox[Delivery]) -> None:
        self._address = address
        self._programme = programme
        self._inbox = inbox
        self._client = Client()
        self._held: dict[int, str] = {}
        self._backlog: int | None = None
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._sending = False
        self._closed = threading.Event()
        self._pulling: asyncio.Task[None] | None = None
        self._subscription: Subscription | None = None
        self._wanted = 0
        self._ended = asyncio.Event()
        self._ending: str | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ingest-jetstream", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether a server of the cluster delivers to us now."""
        return self._client.is_connected and not self._closed.is_set()

    @property
    def backlog(self) -> int | None:
        """What the stream held behind the newest message that we were given; None before the first one."""
        return self._backlog

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self._closed.is_set()

    def open(self) -> None:
        """Connect, make stream and consumer where they are missing, and begin to pull.

        Raises `BrokerError` when no server answers or the cluster has no leader yet, and `BrokerRefusalError` when it
        does not let us in or its stream is another one.
        """
        self._thread.start()
        try:
            self._wait(self._begin(), 2 * CONNECT_SECONDS)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give back what is held and not acknowledged, to be delivered to others at once, and leave the cluster."""
        self._closed.set()
        if self._thread.is_alive():
            try:
                self._wait(self._leave(), 2 * _LEAVE_SECONDS)
            except (BrokerError, TimeoutError) as error:
                _log.warning("left the cluster without a word: %s", error)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_LEAVE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait until the session has ended; tell whether it has."""
        return self._closed.wait(timeout_s)

    def publish(self, topic: str, data: bytes) -> bool:
        """Publish to the subscribers of an MQTT topic, at whatever server they are; tell whether it was taken."""
        if not self.alive:
            return False
        self._send(topic.replace("/", "."), data)
        return True

    def acknowledge(self, delivery: JetStreamDelivery) -> None:
        """Take a message out of the stream; an acknowledgement that is lost leads to one more delivery."""
        self._held.pop(delivery.sequence, None)
        if not self.closed:
            self._send(delivery.reply, b"")

    def release(self, delivery: JetStreamDelivery) -> None:
        """Give a message back to the stream, but not to be met again at once."""
        self._held.pop(delivery.sequence, None)
        if not self.closed:
            self._send(delivery.reply, _LATER)

    def _wait(self, work: Coroutine[Any, Any, None], timeout_s: float) -> None:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise BrokerError(f"the NATS cluster at {self._address} does not answer in time") from None

    async def _begin(self) -> None:
        tls = self._address.context() if self._address.tls else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._client.connect(
                    [f"{'tls' if tls else 'nats'}://{server}" for server in self._address.servers],
                    name=DURABLE,
                    error_cb=self._note,
                    max_reconnect_attempts=-1,
                    connect_timeout=_ATTEMPT_SECONDS,
                    reconnect_time_wait=_RETRY_SECONDS,  # type: ignore[arg-type]
                    user=self._address.username,
                    password=self._address.password,
                    tls=tls,
                )
                await self._set_up(self._client.jetstream())
                inbox = self._client.new_inbox()
                self._subscription = await self._client.subscribe(inbox, cb=self._arrived)
        except nats.js.errors.BadRequestError as error:
            raise BrokerRefusalError(f"JetStream at {self._address} refuses the stream {STREAM}: {error}") from error
        except (nats.errors.AuthorizationError, nats.js.errors.ServiceUnavailableError) as error:
            raise BrokerRefusalError(f"the cluster at {self._address} does not let us pull: {error}") from error
        except (OSError, TimeoutError, nats.errors.Error) as error:
            last = error if self._client.last_error is None else self._client.last_error
            raise BrokerError(f"no NATS cluster answers at {self._address}: {_text(last)}") from error
        self._pulling = asyncio.create_task(self._pull(inbox))

    async def _set_up(self, jetstream: JetStreamContext) -> None:
        """Make the stream and its durable consumer when they are not there. A stream that is there keeps its size and
        its number of copies, which an operator may have changed."""
        subject = RECORD_FILTER.replace("/", ".").replace("+", "*")
        try:
            _check(await jetstream.stream_info(STREAM), subject, self._programme)
        except nats.js.errors.NotFoundError:
            await jetstream.add_stream(
                StreamConfig(
                    name=STREAM,
                    subjects=[subject],
                    retention=RetentionPolicy.WORK_QUEUE,
                    discard=DiscardPolicy.NEW,
                    storage=StorageType.FILE,
                    max_bytes=STREAM_BYTES,
                    num_replicas=REPLICAS if len(self._address.servers) >= REPLICAS else 1,
                    metadata={} if self._programme is None else {_PROGRAMME: self._programme},
                )
            )
        await jetstream.add_consumer(
            STREAM,
            ConsumerConfig(
                durable_name=DURABLE,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACKNOWLEDGE_WAIT_SECONDS,
                max_ack_pending=MAXIMUM_PENDING,
                max_deliver=-1,
            ),
        )

    async def _pull(self, inbox: str) -> None:
        """Ask for messages again and again, never for more than there is room for."""
        failing_since: float | None = None
        while not self.closed:
            room = RECEIVE_MAXIMUM - len(self._inbox)
            if room < _PULL_RECORDS // 2:
                # Back-pressure: what is not pulled stays in the stream, for us later or for another worker now.
                await asyncio.sleep(_RETRY_SECONDS / 10)
                continue
            fault = await self._ask(inbox, min(room, _PULL_RECORDS))
            if fault is None:
                failing_since = None
                continue
            now = self._loop.time()
            failing_since = now if failing_since is None else failing_since
            if now - failing_since > _FAILING_SECONDS:
                _log.warning("nothing can be pulled from %s: %s; connecting anew", self._address, fault)
                self._closed.set()
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _ask(self, inbox: str, count: int) -> str | None:
        """Ask for ``count`` messages and wait until they are here or the server says that these are all; return what
        is wrong when it says something else or nothing. The request is NATS's ``consumer_getnext_request``."""
        self._wanted, self._ending = count, None
        self._ended.clear()
        request = {"batch": count, "max_bytes": _PULL_BYTES, "expires": int(_PULL_SECONDS * 1e9)}
        try:
            await self._client.publish(_NEXT, json.dumps(request).encode(), reply=inbox)
            async with asyncio.timeout(2 * _PULL_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            # Messages may have come, and the word that ends them not: their server has died meanwhile.
            return "no answer" if self._wanted == count else None
        except nats.errors.Error as error:
            return _text(error)
        return self._ending

    async def _arrived(self, message: Msg) -> None:
        status = (message.headers or {}).get(Header.STATUS)
        if status is None:
            self._wanted -= 1
            await self._take(message)
            if self._wanted <= 0:
                self._ended.set()
            return
        description = (message.headers or {}).get(Header.DESCRIPTION, "")
        enough = status in (StatusCode.NO_MESSAGES, StatusCode.REQUEST_TIMEOUT) or "MaxBytes" in description
        self._ending = None if enough else f"{status} {description}".strip()
        self._ended.set()

    async def _take(self, message: Msg) -> None:
        sequence = _sequence(message.reply)
        self._backlog = _pending(message.reply)
        if sequence in self._held:
            # Delivered again because the database is slow: it waits in the inbox already.
            return
        self._held[sequence] = message.reply
        arrived = Message(message.subject.replace(".", "/"), message.data, now_ms())
        delivery = JetStreamDelivery(arrived, self, sequence, message.reply)
        if self._inbox.put(delivery, 0):
            return
        while not await asyncio.to_thread(self._inbox.put, delivery, _PUT_SECONDS):
            if self.closed:
                return

    def _send(self, subject: str, data: bytes) -> None:
        self._outgoing.append((subject, data))
        if not self._sending:
            self._sending = True
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._send_all()))

    async def _send_all(self) -> None:
        self._sending = False
        while self._outgoing:
            subject, data = self._outgoing.popleft()
            try:
                await self._client.publish(subject, data)
            except nats.errors.Error as error:
                # Unacknowledged messages are delivered again, unacknowledged records are sent again.
                _log.debug("not sent to %s: %s", subject, error)

    async def _leave(self) -> None:
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.gather(self._pulling, return_exceptions=True)
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                if self._client.is_connected:
                    if self._subscription is not None:
                        # What is given back must not be delivered to a request of our own.
                        await self._subscription.unsubscribe()
                        await self._client.flush()
                    held, self._held = self._held, {}
                    self._outgoing.extend((reply, _NOW) for reply in held.values())
                    await self._send_all()
                    await self._client.flush()
                await self._client.close()
        except (TimeoutError, nats.errors.Error) as error:
            raise BrokerError(_text(error)) from error

    async def _note(self, error: Exception) -> None:
        _log.info("cluster at %s: %s", self._address, _text(error))


@dataclass(frozen=True, slots=True)
class JetStreamSessions:
    """Opens sessions with one cluster. Any number of processes may: they share the records among themselves."""

    address: NatsAddress
    programme: str | None = None
    """Whose records the stream holds; each programme has an account of its own, and in it its own stream."""

    def open(self, inbox: Inbox[Delivery]) -> Session:
        """Connect and begin to pull; raise `BrokerError` when that cannot be."""
        session = JetStreamSession(self.address, self.programme, inbox)
        session.open()
        _log.info("pulling from stream %s at %s", STREAM, self.address)
        return session


def _sequence(reply: str) -> int:
    """Return the number of a message in its stream, from the subject that acknowledges it (NATS ADR-15): there are nine
    tokens, or more where domain and account stand before stream and consumer."""
    tokens = reply.split(".")
    return int(tokens[5] if len(tokens) == _SHORT_REPLY else tokens[7])


def _pending(reply: str) -> int:
    """Return how many messages wait behind the one that this subject acknowledges, three tokens after its number."""
    tokens = reply.split(".")
    return int(tokens[8] if len(tokens) == _SHORT_REPLY else tokens[10])


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _check(stream: StreamInfo, subject: str, programme: str | None) -> None:
    """Raise `BrokerRefusalError` when ``stream`` is not one that the workers of ``programme`` can share."""
    found = (stream.config.metadata or {}).get(_PROGRAMME)
    if found != programme:
        raise BrokerRefusalError(
            f"the stream {STREAM} holds the records of programme '{found}', not of '{programme}': connect with the "
            "account of your own programme"
        )
    if stream.config.retention != RetentionPolicy.WORK_QUEUE or stream.config.subjects != [subject]:
        raise BrokerRefusalError(
            f"the stream {STREAM} is another one: it should be a work queue of {subject}; "
            "remove it, the gateways send again what it holds"
        )
