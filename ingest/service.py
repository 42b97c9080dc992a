"""Ingestion as a whole: the consumer that admits records and the worker that makes intervals of them."""

from __future__ import annotations

import gc
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Self

from ingest.address import address_from_url
from ingest.consumer import Consumer
from ingest.holes import HoleWatch
from ingest.jobs import JobWorker, Task
from ingest.meter import IngestMeter
from ingest.programme import hold_programme
from ingest.retention import check_keep_days
from ingest.session import MqttVersion
from ingest.sessions import sessions_with
from ingest.worker import SETTLE_MS, IntervalWorker
from store.database import Pool, connect, pool, transaction
from store.errors import DatabaseUnreachableError
from store.job_queue import prepare_job_queue
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
    :param client_id: names the persistent session at an MQTT broker; two processes must not share one.
    :param share: the group of workers among which an MQTT 5 broker shares the records out; on NATS all workers share.
    :param programme: the one whose evidence the database holds, from the first start with it on.
    :param keep_days: remove records that are older, every night, as `ingest.retention` says; None: keep all.
    :param further_tasks: run in the background as those of `ingest.jobs`.
    :param tls_context: makes what connections to the broker need to know of certificates, instead of the system's.
    :raises store.errors.DatabaseUnreachableError: on `start`, when the database stays away.
    :raises ingest.errors.ProgrammeError: on `start`, when the database is another programme's.
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
        share: str | None = None,
        programme: str | None = None,
        tls_context: Callable[[], ssl.SSLContext] | None = None,
        settle_ms: int = SETTLE_MS,
        keep_days: int | None = None,
        further_tasks: Mapping[str, Task] | None = None,
    ) -> None:
        self._further_tasks = further_tasks or {}
        if keep_days is not None:
            check_keep_days(keep_days)
        self._keep_days = keep_days
        self._database_url = database_url
        address = address_from_url(broker_url)
        if tls_context is not None:
            address = replace(address, context=tls_context)
        self._sessions = sessions_with(
            address, client_id=client_id, mqtt_version=mqtt_version, share=share, programme=programme
        )
        self._server_key = server_key
        self._programme = programme
        self._settle_ms = settle_ms
        self.meter = IngestMeter()

    @property
    def connections(self) -> Pool:
        """The connections of a started service, for others in its process that look at the database."""
        return self._connections

    def start(self) -> Self:
        """Bring the tables forward and start; wait up to `DATABASE_SECONDS` for a database that is just starting."""
        self._migrate()
        self._connections = pool(self._database_url, max_size=4)
        self._consumer = Consumer(self._sessions, self._connections, self._server_key, meter=self.meter)
        self._worker = IntervalWorker(
            self._connections,
            settle_ms=self._settle_ms,
            admission_is_busy=lambda: self._consumer.busy,
            computed=self.meter.day_computed,
        )
        self._holes = HoleWatch(self._connections)
        self._jobs = JobWorker(self._database_url, self._connections, self._keep_days, self._further_tasks)
        # What is loaded by now stays: no collection need go through it again while records come.
        gc.collect()
        gc.freeze()
        self._consumer.start()
        self._worker.start()
        self._holes.start()
        self._jobs.start()
        return self

    def stop(self) -> None:
        """Commit and acknowledge the batch in hand, finish the day in hand, close the connections."""
        self._consumer.stop()
        self._worker.stop()
        self._holes.stop()
        self._jobs.stop()
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
                    prepare_job_queue(conn)
                    hold_programme(conn, self._programme)
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
