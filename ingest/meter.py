"""What one ingestion process counts and measures, for Prometheus.

Where ``PROMETHEUS_MULTIPROC_DIR`` is set (``shopfloor serve`` does that for the processes that it starts), the figures
of all processes are kept in files of that folder, and whoever serves ``/metrics`` adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ingest.authentication import Message
from ingest.transaction import Committed

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class IngestMeter:
    """Counters and histograms of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._records = Counter(
            "shopfloor_ingest_records", "Records by what became of them", ["outcome"], registry=self.registry
        )
        for outcome in ("stored", "duplicate", "quarantined", "held-back"):
            self._records.labels(outcome)
        self._samples = Counter("shopfloor_ingest_samples", "Samples in stored records", registry=self.registry)
        self._incidents = Counter("shopfloor_ingest_incidents", "Incidents raised", registry=self.registry)
        self._batches = Counter("shopfloor_ingest_batches", "Transactions committed", registry=self.registry)
        self._failures = Counter(
            "shopfloor_ingest_database_failures", "Attempts to commit that the database refused", registry=self.registry
        )
        self._days = Counter("shopfloor_days_computed", "Gateway-days turned into intervals", registry=self.registry)
        self._verify = self._histogram("shopfloor_ingest_verify_seconds", "Decoding and verifying of one batch")
        self._commit = self._histogram("shopfloor_ingest_commit_seconds", "Writing and committing of one batch")
        self._delay = self._histogram(
            "shopfloor_ingest_delay_seconds",
            "From receiving to committed, of the record of each batch that waited longest",
        )
        self._waiting = Gauge(
            "shopfloor_ingest_waiting_messages",
            "Messages received and not committed",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._known_backlog: int | None = None
        self._backlog = Gauge(
            "shopfloor_broker_backlog_messages",
            "Messages that the broker holds and nobody has been given, where it says so (NATS JetStream)",
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self._connected = Gauge(
            "shopfloor_ingest_connected",
            "Processes to which the broker delivers now",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def committed(self, messages: Sequence[Message], committed: Committed, at_ms: int) -> None:
        """Count a batch that was committed at ``at_ms`` (UTC)."""
        tally = committed.tally
        self._batches.inc()
        self._records.labels("stored").inc(tally.stored)
        self._records.labels("duplicate").inc(tally.duplicates)
        self._records.labels("quarantined").inc(tally.quarantined)
        self._samples.inc(tally.samples)
        self._incidents.inc(tally.incidents)
        self._verify.observe(committed.verify_s)
        self._commit.observe(committed.commit_s)
        self._delay.observe(max(at_ms - min(message.received_ms for message in messages), 0) / 1000)

    def held_back(self, records: int) -> None:
        """Count records that came too fast and are left to their gateways, which send them again."""
        self._records.labels("held-back").inc(records)

    def database_failed(self) -> None:
        """Count an attempt that has to be repeated."""
        self._failures.inc()

    def day_computed(self) -> None:
        """Count a day whose intervals were made."""
        self._days.inc()

    def look(self, *, waiting: int, connected: bool, backlog: int | None = None) -> None:
        """Note how things stand now; ``backlog`` is what the broker holds, None where it does not say."""
        self._waiting.set(waiting)
        self._connected.set(connected)
        # The process that was given a message last knows best: an old figure must not look new.
        if backlog is not None and backlog != self._known_backlog:
            self._known_backlog = backlog
            self._backlog.set(backlog)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, registry=self.registry, buckets=_SECONDS)
