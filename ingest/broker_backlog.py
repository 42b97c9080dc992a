"""What the embedded broker holds, for Prometheus: its streams, and what waits for which subscription.

nats-server tells it on its monitoring address (``/jsz``), which listens on loopback and can only be read. Over MQTT no
broker tells a subscriber how much waits for him.
"""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ingest.errors import BrokerError

MONITOR = "SHOPFLOOR_BROKER_MONITOR"
"""Name of the environment variable with the monitoring address of the broker that a site runs itself."""

_TIMEOUT_SECONDS = 3.0
_MQTT_MESSAGES = "$MQTT.msgs."
_OURS = ["shopfloor", "v1"]
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Waiting:
    """Messages for all subscriptions to one topic: not delivered yet, and delivered without being confirmed so far."""

    pending: int = 0
    unconfirmed: int = 0


@dataclass(slots=True)
class BrokerBacklog:
    """Messages and bytes in each stream by its name; what waits, by topic, in which ``+`` stands for any gateway."""

    streams: dict[str, tuple[int, int]] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=lambda: defaultdict(Waiting))


def read_backlog(monitor_url: str) -> BrokerBacklog:
    """Ask the broker.

    :param monitor_url: ``http://127.0.0.1:port``, `ingest.broker.EmbeddedBroker.monitor_url`.
    :raises BrokerError: it does not answer, or not as nats-server does.
    """
    address = f"{monitor_url}/jsz?accounts=true&streams=true&consumers=true&config=true"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - our own broker
            told = json.load(answer)
        return _backlog(told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokerError(
            f"the broker's monitoring address {monitor_url} does not say what waits: {error!r}"
        ) from error


def _backlog(told: dict[str, Any]) -> BrokerBacklog:
    found = BrokerBacklog()
    for account in told.get("account_details") or ():
        for stream in account.get("stream_detail") or ():
            state = stream["state"]
            found.streams[stream["name"]] = int(state["messages"]), int(state["bytes"])
            for consumer in stream.get("consumer_detail") or ():
                waiting = found.waiting[_topic(consumer["config"].get("filter_subject", ""))]
                waiting.pending += int(consumer["num_pending"])
                waiting.unconfirmed += int(consumer["num_ack_pending"])
    return found


def _topic(subject: str) -> str:
    """The MQTT topic of a subject of NATS, every gateway as ``+``: a figure for each would be too many of them."""
    if not subject.startswith(_MQTT_MESSAGES):
        return subject
    levels = subject.removeprefix(_MQTT_MESSAGES).replace("//", "\0").split(".")
    if levels[:2] == _OURS and len(levels) > 2:
        levels[2] = "+"
    return "/".join({"*": "+", ">": "#"}.get(level, level) for level in levels).replace("\0", ".")


class BacklogCollector(Collector):
    """Asks the broker when it is asked itself; a broker that is away is a figure, too."""

    def __init__(self, monitor_url: str) -> None:
        self._monitor_url = monitor_url

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        try:
            backlog = read_backlog(self._monitor_url)
        except BrokerError as error:
            _log.warning("no figures of the broker: %s", error)
            yield GaugeMetricFamily("shopfloor_broker_up", "Whether the embedded broker answers", 0)
            return
        yield GaugeMetricFamily("shopfloor_broker_up", "Whether the embedded broker answers", 1)
        messages = GaugeMetricFamily(
            "shopfloor_broker_stream_messages", "Messages that the embedded broker keeps", labels=["stream"]
        )
        size = GaugeMetricFamily(
            "shopfloor_broker_stream_bytes", "Bytes that the embedded broker keeps", labels=["stream"]
        )
        for stream, (count, octets) in sorted(backlog.streams.items()):
            messages.add_metric([stream], count)
            size.add_metric([stream], octets)
        pending = GaugeMetricFamily(
            "shopfloor_broker_pending_messages",
            "Messages that the embedded broker has not delivered yet, by subscription",
            labels=["topic"],
        )
        unconfirmed = GaugeMetricFamily(
            "shopfloor_broker_unconfirmed_messages",
            "Messages that the embedded broker has delivered and nobody has confirmed, by subscription",
            labels=["topic"],
        )
        for topic, waiting in sorted(backlog.waiting.items()):
            pending.add_metric([topic], waiting.pending)
            unconfirmed.add_metric([topic], waiting.unconfirmed)
        yield from (messages, size, pending, unconfirmed)
