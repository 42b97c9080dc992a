"""From the broker to the database and back: batches in, one commit each, then acknowledgements to broker and agents.

Nothing is acknowledged before its commit. When the database dies, the batch in hand is offered again until it is
committed; the broker keeps the rest, because it may only have so many messages under way to us. When the broker dies, a
new session is opened for as long as it takes. When this process is killed, everything that was not acknowledged is
delivered again by the broker, or sent again by the agents.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import psycopg

from ingest.delivery import Delivery, Session, Sessions
from ingest.errors import BrokerError
from ingest.inbox import Inbox
from ingest.meter import IngestMeter
from ingest.pace import Pace, topics_of
from ingest.session import RECEIVE_MAXIMUM
from ingest.transaction import AdmissionTransactions, Committed, Tally, now_ms
from store.database import Pool
from store.errors import DatabaseUnreachableError
from wire.keys import SigningKey
from wire.receipt import sign_acknowledgement
from wire.topics import ack_topic

BATCH_RECORDS = 1000
LINGER_SECONDS = 0.02
"""How long a batch waits for more after its first record: what a record's acknowledgement can be late by."""

INBOX_BYTES = 64 * 1024 * 1024
FIRST_DELAY_SECONDS = 0.1
LAST_DELAY_SECONDS = 5.0
_TAKE_SECONDS = 0.2
_BUSY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Consumer:
    """Two threads: one keeps a session with the broker, one commits."""

    def __init__(
        self,
        sessions: Sessions,
        connections: Pool,
        server_key: SigningKey,
        *,
        batch_records: int = BATCH_RECORDS,
        meter: IngestMeter | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.meter = IngestMeter() if meter is None else meter
        self.tally = Tally()
        self.batches = 0
        self.database_failures = 0
        self._sessions = sessions
        self._server_key = server_key
        self._batch_records = batch_records
        self._transactions = AdmissionTransactions(connections)
        self._pace = Pace() if pace is None else pace
        self._large_batch_at = float("-inf")
        self._inbox: Inbox[Delivery] = Inbox(RECEIVE_MAXIMUM, INBOX_BYTES)
        self._session: Session | None = None
        self._stopping = threading.Event()
        self._network = threading.Thread(target=self._keep_session, name="ingest-network", daemon=True)
        self._committer = threading.Thread(target=self._keep_committing, name="ingest-commit", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether the broker delivers to us now."""
        session = self._session
        return session is not None and session.alive

    @property
    def waiting(self) -> int:
        """Messages that are here and not yet committed, the batch in hand not counted."""
        return len(self._inbox)

    @property
    def busy(self) -> bool:
        """Whether batches have lately been large: more arrives than is admitted at once."""
        return time.monotonic() - self._large_batch_at < _BUSY_SECONDS

    def start(self) -> None:
        """Start both threads; the broker may come later."""
        self._committer.start()
        self._network.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Finish the batch in hand, acknowledge it, and leave; what waits stays with the broker."""
        self._stopping.set()
        self._committer.join(timeout_s)
        self._network.join(timeout_s)

    def _keep_session(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while not self._stopping.is_set():
            try:
                session = self._sessions.open(self._inbox)
            except BrokerError as error:
                _log.warning("%s; next attempt in %.1f s", error, delay)
                self._stopping.wait(delay)
                delay = min(2 * delay, LAST_DELAY_SECONDS)
                continue
            delay = FIRST_DELAY_SECONDS
            self._session = session
            while not session.wait_closed(_TAKE_SECONDS) and self._committer.is_alive():
                pass
            session.close()

    def _keep_committing(self) -> None:
        while not self._stopping.is_set():
            batch = self._inbox.take(self._batch_records, _TAKE_SECONDS, LINGER_SECONDS)
            session = self._session
            backlog = None if session is None else session.backlog
            self.meter.look(waiting=self.waiting, connected=self.connected, backlog=backlog)
            if 2 * len(batch) > self._batch_records:
                self._large_batch_at = time.monotonic()
            # What a lost session brought is delivered again by the next one.
            batch, held_back = self._pace.sort_out(delivery for delivery in batch if not delivery.void)
            try:
                if held_back:
                    self._hold_back(held_back)
                if batch:
                    self._commit(batch)
            except Exception:
                _log.exception("%d messages are left with the broker, which will deliver them again", len(batch))
                for delivery in batch:
                    delivery.release()

    def _hold_back(self, deliveries: Sequence[Delivery]) -> None:
        """Leave to the gateways what they send too fast; that they do so is put on file first."""
        counts = topics_of(deliveries)
        told = self._when_possible(lambda: self._transactions.note_flood(counts, self._pace.records_per_s))
        if told is None:
            return
        self.tally.add(told.tally)
        self.meter.held_back(len(deliveries))
        for delivery in deliveries:
            delivery.acknowledge()

    def _commit(self, batch: Sequence[Delivery]) -> None:
        """Commit ``batch``, however long it takes; one by one when it is refused for what is in it."""
        messages = [delivery.message for delivery in batch]
        try:
            committed = self._when_possible(lambda: self._transactions.commit(messages))
        except Exception as error:
            if len(batch) > 1:
                _log.warning("a batch is refused, its records are offered one by one: %s", error)
                for delivery in batch:
                    self._commit([delivery])
                return
            # One message that nobody can take must not hold up all others.
            _log.exception("a record is refused and goes into quarantine")
            refusal = str(error)
            committed = self._when_possible(lambda: self._transactions.refuse(messages[0], "not-storable", refusal))
        if committed is not None:
            self._acknowledge(batch, committed)

    def _when_possible(self, write: Callable[[], Committed]) -> Committed | None:
        """Return what ``write`` does, tried until the database answers; None when we are to stop before that."""
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                return write()
            except (DatabaseUnreachableError, psycopg.OperationalError) as error:
                self.database_failures += 1
                self.meter.database_failed()
                _log.warning("nothing can be committed: %s; next attempt in %.1f s", error, delay)
                if self._stopping.wait(delay):
                    return None
                delay = min(2 * delay, LAST_DELAY_SECONDS)

    def _acknowledge(self, batch: Sequence[Delivery], committed: Committed) -> None:
        self.batches += 1
        self.tally.add(committed.tally)
        self.meter.committed([delivery.message for delivery in batch], committed, now_ms())
        session = self._session
        for acknowledgement in committed.acknowledgements:
            if session is not None:
                topic = ack_topic(acknowledgement.gateway)
                session.publish(topic, sign_acknowledgement(acknowledgement, self._server_key))
        for delivery in batch:
            delivery.acknowledge()
