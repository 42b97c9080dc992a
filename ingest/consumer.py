"""From the broker to the database and back: batches in, one commit each, then acknowledgements to broker and agents.

Nothing is acknowledged before its commit. When the database dies, the batch in hand is offered again until it is
committed; the broker keeps the rest, because it may only have so many messages under way to us. When the broker dies, a
new session is opened for as long as it takes. When this process is killed, everything that was not acknowledged is
delivered again by the broker, or sent again by the agents.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import psycopg

from ingest.address import BrokerAddress
from ingest.errors import BrokerError, BrokerRefusalError
from ingest.inbox import Inbox
from ingest.session import RECEIVE_MAXIMUM, Delivery, MqttVersion, Session
from ingest.transaction import AdmissionTransactions, Committed, Tally
from store.database import Pool
from store.errors import DatabaseUnreachableError
from wire.keys import SigningKey
from wire.receipt import sign_acknowledgement
from wire.topics import ack_topic

BATCH_RECORDS = 500
LINGER_SECONDS = 0.02
"""How long a batch waits for more after its first record: what a record's acknowledgement can be late by."""

INBOX_BYTES = 64 * 1024 * 1024
FIRST_DELAY_SECONDS = 0.1
LAST_DELAY_SECONDS = 5.0
_TAKE_SECONDS = 0.2

_log = logging.getLogger(__name__)


class Consumer:
    """Two threads: one keeps a session with the broker, one commits. ``client_id`` names the persistent session."""

    def __init__(
        self,
        address: BrokerAddress,
        connections: Pool,
        server_key: SigningKey,
        *,
        client_id: str = "shopfloor-ingest",
        version: MqttVersion = MqttVersion.AUTOMATIC,
        batch_records: int = BATCH_RECORDS,
    ) -> None:
        self.tally = Tally()
        self.batches = 0
        self.database_failures = 0
        self._address = address
        self._server_key = server_key
        self._client_id = client_id
        self._version = version
        self._batch_records = batch_records
        self._transactions = AdmissionTransactions(connections)
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
        automatic = self._version is MqttVersion.AUTOMATIC
        version = MqttVersion.V5 if automatic else self._version
        while not self._stopping.is_set():
            session = Session(self._address, self._client_id, version, self._inbox)
            try:
                session.open()
            except BrokerError as error:
                if automatic and isinstance(error, BrokerRefusalError):
                    version = MqttVersion.V5 if version is MqttVersion.V311 else MqttVersion.V311
                    if version is MqttVersion.V311:
                        _log.info("%s; trying MQTT 3.1.1", error)
                        continue
                _log.warning("%s; next attempt in %.1f s", error, delay)
                self._stopping.wait(delay)
                delay = min(2 * delay, LAST_DELAY_SECONDS)
                continue
            _log.info("subscribed at %s with MQTT %s", self._address, version.value)
            delay = FIRST_DELAY_SECONDS
            self._session = session
            while not session.wait_closed(_TAKE_SECONDS) and self._committer.is_alive():
                pass
            session.close()

    def _keep_committing(self) -> None:
        while not self._stopping.is_set():
            batch = self._inbox.take(self._batch_records, _TAKE_SECONDS, LINGER_SECONDS)
            # What a lost session brought is delivered again by the next one.
            batch = [delivery for delivery in batch if not delivery.session.closed]
            try:
                if batch:
                    self._commit(batch)
            except Exception:
                _log.exception("%d messages are left with the broker, which will deliver them again", len(batch))

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
                _log.warning("nothing can be committed: %s; next attempt in %.1f s", error, delay)
                if self._stopping.wait(delay):
                    return None
                delay = min(2 * delay, LAST_DELAY_SECONDS)

    def _acknowledge(self, batch: Sequence[Delivery], committed: Committed) -> None:
        self.batches += 1
        self.tally.add(committed.tally)
        session = self._session
        for acknowledgement in committed.acknowledgements:
            if session is not None:
                topic = ack_topic(acknowledgement.gateway)
                session.publish(topic, sign_acknowledgement(acknowledgement, self._server_key))
        for delivery in batch:
            delivery.session.acknowledge(delivery.packet_id)
