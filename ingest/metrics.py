"""``/metrics`` for Prometheus: what the processes have counted, how the database and the site's own broker stand."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ingest.broker_backlog import MONITOR, BacklogCollector
from store.database import Pool, transaction
from store.errors import StoreError
from store.job_queue import job_counts
from store.monitoring import SiteState, site_state

SILENT_SECONDS = 300.0
"""A gateway from which nothing came for so long is silent; an agent closes a record every 10 s, and a head hourly."""

PROCESSES_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Name of the environment variable with the folder in which the processes of a site keep their figures."""

_log = logging.getLogger(__name__)


class SiteCollector(Collector):
    """Asks the database when it is asked itself; a database that is away is a figure, too."""

    def __init__(self, connections: Pool) -> None:
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        try:
            with transaction(self._connections) as conn:
                state = site_state(conn)
                jobs = job_counts(conn)
        except StoreError as error:
            _log.warning("no figures of the database: %s", error)
            yield GaugeMetricFamily("shopfloor_database_up", "Whether the database answers", 0)
            return
        yield GaugeMetricFamily("shopfloor_database_up", "Whether the database answers", 1)
        yield from _state_metrics(state)
        waiting = GaugeMetricFamily("shopfloor_jobs", "Background jobs by task and status", labels=["task", "status"])
        for (task, status), count in jobs.items():
            waiting.add_metric([task, status], count)
        yield waiting


def _state_metrics(state: SiteState) -> Iterator[Metric]:
    quarantined = GaugeMetricFamily("shopfloor_quarantined_messages", "Messages in quarantine", labels=["reason"])
    for reason, count in state.quarantined.items():
        quarantined.add_metric([reason], count)
    yield quarantined
    incidents = GaugeMetricFamily("shopfloor_incidents", "Incidents that nobody has closed", labels=["kind"])
    for kind, count in state.open_incidents.items():
        incidents.add_metric([kind], count)
    yield incidents
    yield GaugeMetricFamily("shopfloor_dirty_days", "Gateway-days that wait for their intervals", state.dirty_days)
    yield GaugeMetricFamily(
        "shopfloor_oldest_dirty_day_seconds", "How long the day that waits longest has waited", state.oldest_dirty_s
    )
    silent = sum(age is None or age > SILENT_SECONDS for age in state.received_s.values())
    yield GaugeMetricFamily("shopfloor_gateways", "Gateways that are enrolled", len(state.received_s))
    yield GaugeMetricFamily(
        "shopfloor_gateways_silent", f"Gateways from which nothing came for {SILENT_SECONDS:.0f} s", silent
    )
    ages = GaugeMetricFamily(
        "shopfloor_gateway_silence_seconds", "How long ago the newest record of a gateway came", labels=["gateway"]
    )
    for gateway, age in state.received_s.items():
        if age is not None:
            ages.add_metric([gateway], age)
    yield ages


def metrics_router(connections: Pool, own: CollectorRegistry | None = None) -> APIRouter:
    """The route ``/metrics``: the database, and the figures of this process (``own``) or of all processes of a site."""
    router = APIRouter()
    registry = CollectorRegistry()
    registry.register(SiteCollector(connections))
    if own is None and os.environ.get(PROCESSES_FOLDER):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    if own is None and (monitor_url := os.environ.get(MONITOR)):
        registry.register(BacklogCollector(monitor_url))

    @router.get("/metrics")
    def metrics() -> Response:
        """Figures for Prometheus."""
        text = generate_latest(registry) + (b"" if own is None else generate_latest(own))
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return router
