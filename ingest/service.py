"""Ingestion as a whole: the consumer that admits records and the worker that makes intervals of them."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from ingest.address import BrokerAddress
from ingest.consumer import Consumer
from ingest.session import MqttVersion
from ingest.worker import SETTLE_MS, IntervalWorker
from store.database import connect, pool, transaction
from store.errors import DatabaseUnreachableError
from store.migrations import migrate
from wire.keys import SigningKey

DATABASE_SECONDS = 30.0
"""After a power cut everything starts at once: how long the database may take longer than we do."""

_RETRY_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IngestStats:
    """What a running service has done since it started; ``waiting`` messages are here and not committed."""

    connected: bool
    waiting: int
    batches: int
    stored: int
    duplicates: int
    quarantined: int
    incidents: int
    samples: int
    database_failures: int
    days_computed: int


class IngestService:
    """Consumer and interval worker over one database; a context manager, started on entry and drained on exit.

    :param server_key: signs the acknowledgements; the gateways know its public key.
    :param client_id: names the persistent session at the broker; two processes must not share one.
    :raises store.errors.DatabaseUnreachableError: on `start`, when the database stays away.
    :raises ingest.errors.BrokerAddressError: when ``broker_url`` is no address. A broker that is away is waited for.
    """

    def __init__(
        self,
        database_url: str,
        broker_url: str,
        server_key: SigningKey,
        *,
        client_id: str = "shopfloor-ingest",
        mqtt_version: MqttVersion = MqttVersion.AUTOMATIC,
        settle_ms: int = SETTLE_MS,
    ) -> None:
        self._database_url = database_url
        self._address = BrokerAddress.from_url(broker_url)
        self._server_key = server_key
        self._client_id = client_id
        self._mqtt_version = mqtt_version
        self._settle_ms = settle_ms

    def start(self) -> Self:
        """Bring the tables forward and start; wait up to `DATABASE_SECONDS` for a database that is just starting."""
        self._migrate()
        self._connections = pool(self._database_url, max_size=4)
        self._consumer = Consumer(
            self._address, self._connections, self._server_key, client_id=self._client_id, version=self._mqtt_version
        )
        self._worker = IntervalWorker(self._connections, settle_ms=self._settle_ms)
        self._consumer.start()
        self._worker.start()
        return self

    def stop(self) -> None:
        """Commit and acknowledge the batch in hand, finish the day in hand, close the connections."""
        self._consumer.stop()
        self._worker.stop()
        self._connections.close()

    def stats(self) -> IngestStats:
        """Return what has been done so far."""
        consumer = self._consumer
        return IngestStats(
            connected=consumer.connected,
            waiting=consumer.waiting,
            batches=consumer.batches,
            database_failures=consumer.database_failures,
            days_computed=self._worker.days_computed,
            **asdict(consumer.tally),
        )

    def _migrate(self) -> None:
        deadline = time.monotonic() + DATABASE_SECONDS
        while True:
            try:
                with connect(self._database_url) as conn:
                    migrate(conn)
                return
            except DatabaseUnreachableError as error:
                if time.monotonic() + _RETRY_SECONDS > deadline:
                    raise
                _log.warning("%s Next attempt in %.0f s", error, _RETRY_SECONDS)
                time.sleep(_RETRY_SECONDS)

    def database_answers(self) -> bool:
        """Tell whether the database answers now."""
        try:
            with transaction(self._connections):
                return True
        except DatabaseUnreachableError:
            return False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
