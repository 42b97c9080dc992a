"""Sends records to the server until the server itself says, signed, that it has committed them.

What the broker confirms counts for nothing here. A window of records is in flight, oldest first; without progress the
window is sent again after a growing, jittered wait, and after a reconnect from the last acknowledged record on.
Duplicates are harmless to the server, gaps are not: the events that declare lost records go out ahead of their turn.

Each uplink has its own connection, window, pace and waits, and nothing in common with another but the journal.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
from collections import deque
from dataclasses import dataclass

from agent.backoff import Backoff
from agent.config import UplinkConfig
from agent.errors import ConfigurationError, ProtocolVersionError, SpoolError, UplinkError
from agent.head_file import Acknowledged
from agent.health import offline
from agent.journal import JournalThread
from agent.mqtt_link import MqttLink, SpokenVersion, Will
from wire.errors import ReceiptError
from wire.receipt import Acknowledgement, open_acknowledgement
from wire.topics import ack_topic, health_topic, record_topic

log = logging.getLogger(__name__)

FIRST_RECONNECT_MS, LAST_RECONNECT_MS = 5_000, 60_000
"""Waits begin long enough that a fleet whose broker comes back does not come back all at once."""

FIRST_RESEND_MS, LAST_RESEND_MS = 10_000, 60_000
_RESEND_PACE_SECONDS = 5.0
_BURST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _InFlight:
    covers: int
    size: int


class Uplink:
    """The way of one gateway's records to one server.

    ``acknowledged`` is the highest record up to which the server has everything; ``fault`` says why there is no
    connection to the broker now, ``None`` when there is one.
    """

    def __init__(
        self,
        config: UplinkConfig,
        gateway: str,
        journal: JournalThread,
        *,
        first_resend_ms: int = FIRST_RESEND_MS,
        last_reconnect_ms: int = LAST_RECONNECT_MS,
    ) -> None:
        self._config = config
        self._gateway = gateway
        self._journal = journal
        self._server_key = config.key
        source = random.SystemRandom()
        self._reconnect = Backoff(min(FIRST_RECONNECT_MS, last_reconnect_ms), last_reconnect_ms, source, least=0.0)
        self._resend = Backoff(first_resend_ms, max(first_resend_ms, LAST_RESEND_MS), source)
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._inbox: deque[bytes] = deque()
        self._lost: str | None = None
        self._health: bytes | None = None
        self._health_sent: bytes | None = None
        self.fault: str | None = "not connected yet"
        self._reported = False
        self._version = SpokenVersion(config.version)
        self._in_flight: deque[_InFlight] = deque()
        self._sent = 0
        self._sent_at = 0.0
        self._deadline = 0.0
        self._allowance = 0.0
        self._allowed_at = 0.0
        self._acknowledged = journal.state.uplinks[config.id]

    @property
    def acknowledged(self) -> int:
        """See the class."""
        return self._acknowledged.seq

    def notify(self) -> None:
        """Say that there are new records. Call from the event loop."""
        self._wake.set()

    def publish_health(self, document: bytes) -> None:
        """Have the server see ``document`` as how the gateway is, from now on and after each reconnect."""
        self._health = document
        self._wake.set()

    async def run(self) -> None:
        """Connect and send until cancelled; whatever fails is tried again."""
        while True:
            try:
                await self._session()
            except ProtocolVersionError as error:
                if self._version.fall_back():
                    log.info("the broker does not speak MQTT 5, going on with 3.1.1")
                    continue
                log.error("%s (MQTT %s, the gateway file says %s)", error, self._version.current, self._config.version)
                self.fault = str(error)
            except (UplinkError, SpoolError, ConfigurationError) as error:
                if not self._reported:
                    log.warning("uplink %s: %s; trying again until it works", self._config.id, error)
                self._reported = True
                self.fault = str(error)
            await asyncio.sleep(self._reconnect.next_ms() / 1000)

    async def wait_acknowledged(self, seq: int) -> None:
        """Return when the server has everything up to ``seq``."""
        while self.acknowledged < seq:
            self._progress.clear()
            await self._progress.wait()

    async def _session(self) -> None:
        self._inbox.clear()
        self._lost = None
        link = MqttLink(
            self._config,
            version=self._version.current,
            client_id=self._client_id(),
            topics=[ack_topic(self._gateway)],
            on_message=self._take,
            on_lost=self._take_loss,
            will=Will(health_topic(self._gateway), json.dumps(offline(self._gateway)).encode(), retain=True),
        )
        try:
            await link.open()
            log.info("uplink %s: connected to the broker", self._config.id)
            self._reported = False
            self.fault = None
            self._health_sent = None
            self._start_again(self.acknowledged)
            while self._lost is None:
                self._wake.clear()
                self._send_health(link)
                await self._read_inbox()
                await self._fill_window(link)
                self._check_progress(link)
                await self._rest()
            raise UplinkError(self._lost)
        except asyncio.CancelledError:
            if self.fault is None and self._lost is None:
                self._send_health(link)
            raise
        finally:
            await link.close()

    def _client_id(self) -> str:
        """Return the name of the session; with a TLS key nobody else can guess it, and end the session by taking it."""
        name = f"shopfloor-{self._gateway}-{self._config.id}"
        if self._config.client_key is None:
            return name
        try:
            return f"{name}-{hashlib.sha256(self._config.client_key.read_bytes()).hexdigest()[:16]}"
        except OSError as error:
            raise ConfigurationError(f"{self._config.client_key}: cannot be read: {error}") from error

    def _take(self, _topic: str, data: bytes) -> None:
        self._inbox.append(data)
        self._wake.set()

    def _take_loss(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._wake.set()

    def _send_health(self, link: MqttLink) -> None:
        if self._health is not None and self._health is not self._health_sent:
            link.publish(health_topic(self._gateway), self._health, retain=True)
            self._health_sent = self._health

    async def _rest(self) -> None:
        """Wait for something to do: an acknowledgement, a new record, a lost connection, or the time to send again."""
        now = asyncio.get_running_loop().time()
        waits = [self._deadline - now] if self._in_flight else []
        if self._config.bytes_a_second is not None and self._allowance < 0:
            waits.append(-self._allowance / self._config.bytes_a_second)
        left = min(waits, default=None)
        try:
            await asyncio.wait_for(self._wake.wait(), left)
        except TimeoutError:
            return

    def _start_again(self, seq: int) -> None:
        self._in_flight.clear()
        self._sent = seq

    async def _fill_window(self, link: MqttLink) -> None:
        now = asyncio.get_running_loop().time()
        while True:
            records = self._config.window_records - len(self._in_flight)
            size = self._config.window_bytes - sum(one.size for one in self._in_flight)
            if records <= 0 or size <= 0 or self._lost is not None or not self._allowed(now):
                return
            batch = await self._journal.outgoing(self._sent, records, size)
            if not batch:
                return
            for message in batch:
                link.publish(record_topic(self._gateway), message.data)
                if not self._in_flight:
                    self._deadline = now + self._resend.next_ms() / 1000
                self._in_flight.append(_InFlight(message.covers, len(message.data)))
                self._allowance -= len(message.data)
                self._sent = message.covers
            self._sent_at = now

    def _allowed(self, now: float) -> bool:
        """Tell whether the pace lets something be sent now: what was not used lately may be used, up to a minute's."""
        rate = self._config.bytes_a_second
        if rate is None:
            return True
        self._allowance = min(self._allowance + (now - self._allowed_at) * rate, rate * _BURST_SECONDS)
        self._allowed_at = now
        return self._allowance >= 0

    def _check_progress(self, link: MqttLink) -> None:
        if not self._in_flight or asyncio.get_running_loop().time() < self._deadline:
            return
        if link.unconfirmed:
            raise UplinkError(f"the broker has not confirmed {link.unconfirmed} messages")
        log.info("uplink %s: no acknowledgement behind %d; sending again", self._config.id, self.acknowledged)
        self._start_again(self.acknowledged)
        self._wake.set()

    async def _read_inbox(self) -> None:
        while self._inbox:
            data = self._inbox.popleft()
            try:
                acknowledgement = open_acknowledgement(data, self._server_key)
            except ReceiptError as error:
                log.warning("ignored an acknowledgement that is not the server's: %s", error)
                continue
            if acknowledgement.gateway != self._gateway:
                log.warning("ignored an acknowledgement for gateway %s", acknowledgement.gateway)
                continue
            await self._heed(acknowledgement)

    async def _heed(self, acknowledgement: Acknowledgement) -> None:
        seq, last = acknowledgement.seq, self._journal.state.seq
        if seq > last:
            log.error("the server has record %d, the last one here is %d: the spool was lost", seq, last)
            return
        known = await self._journal.hash_of(seq)
        if known is None and seq > self.acknowledged:
            log.error("the server acknowledges record %d, which is not known here", seq)
            return
        if known not in (None, acknowledgement.hash):
            log.error("the server has another record %d than this gateway: the chain has forked", seq)
            return
        if seq > self.acknowledged:
            await self._note(acknowledgement)
            self._settle(seq)
        elif seq < self.acknowledged and acknowledgement.issued_ms > self._acknowledged.issued_ms:
            log.warning("the server went back from record %d to %d; sending again from there", self.acknowledged, seq)
            await self._note(acknowledgement)
            self._start_again(seq)
        elif seq == self.acknowledged and asyncio.get_running_loop().time() - self._sent_at > _RESEND_PACE_SECONDS:
            # The server is there and says where it stands, so what is in flight has not reached it.
            self._start_again(seq)

    async def _note(self, acknowledgement: Acknowledgement) -> None:
        """Heed an acknowledgement; where the disk does not take it, the server will say so again after a restart."""
        try:
            await self._journal.acknowledge(acknowledgement, self._config.id)
        except SpoolError as error:
            log.warning("uplink %s: an acknowledgement is not kept: %s", self._config.id, error)
        self._acknowledged = Acknowledged(acknowledgement.seq, acknowledgement.hash, acknowledgement.issued_ms)

    def _settle(self, seq: int) -> None:
        while self._in_flight and self._in_flight[0].covers <= seq:
            self._in_flight.popleft()
        self._sent = max(self._sent, seq)
        self._resend.reset()
        self._reconnect.reset()
        self._deadline = asyncio.get_running_loop().time() + self._resend.next_ms() / 1000
        self._progress.set()
