"""Sends records to the server until the server itself says, signed, that it has committed them.

What the broker confirms counts for nothing here. A window of records is in flight, oldest first; without progress the
window is sent again after a growing, jittered wait, and after a reconnect from the last acknowledged record on.
Duplicates are harmless to the server, gaps are not: the events that declare lost records go out ahead of their turn.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from dataclasses import dataclass

from agent.backoff import Backoff
from agent.config import UplinkConfig
from agent.errors import ProtocolVersionError, UplinkError
from agent.journal import JournalThread
from agent.mqtt_link import MqttLink
from wire.errors import ReceiptError
from wire.receipt import Acknowledgement, open_acknowledgement
from wire.topics import ack_topic, record_topic

log = logging.getLogger(__name__)

FIRST_RECONNECT_MS, LAST_RECONNECT_MS = 500, 60_000
FIRST_RESEND_MS, LAST_RESEND_MS = 10_000, 60_000
_RESEND_PACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _InFlight:
    covers: int
    size: int


class Uplink:
    """The way of one gateway's records to its server."""

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
        self._reconnect = Backoff(FIRST_RECONNECT_MS, last_reconnect_ms, source)
        self._resend = Backoff(first_resend_ms, max(first_resend_ms, LAST_RESEND_MS), source)
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._inbox: deque[bytes] = deque()
        self._lost: str | None = None
        self._reported = False
        self._version = "3.1.1" if config.version == "3.1.1" else "5"
        self._in_flight: deque[_InFlight] = deque()
        self._sent = 0
        self._sent_at = 0.0
        self._deadline = 0.0

    def notify(self) -> None:
        """Say that there are new records. Call from the event loop."""
        self._wake.set()

    async def run(self) -> None:
        """Connect and send until cancelled; whatever fails is tried again."""
        while True:
            try:
                await self._session()
            except ProtocolVersionError as error:
                if self._config.version == "auto" and self._version == "5":
                    log.info("the broker does not speak MQTT 5, going on with 3.1.1")
                    self._version = "3.1.1"
                    continue
                log.error("%s (MQTT %s, the gateway file says %s)", error, self._version, self._config.version)
            except UplinkError as error:
                if not self._reported:
                    log.warning("%s; trying again until it works", error)
                self._reported = True
            await asyncio.sleep(self._reconnect.next_ms() / 1000)

    async def wait_acknowledged(self, seq: int) -> None:
        """Return when the server has everything up to ``seq``."""
        while self._journal.state.acknowledged < seq:
            self._progress.clear()
            await self._progress.wait()

    async def _session(self) -> None:
        self._inbox.clear()
        self._lost = None
        link = MqttLink(
            self._config,
            version=self._version,
            client_id=f"shopfloor-{self._gateway}",
            topic=ack_topic(self._gateway),
            on_message=self._take,
            on_lost=self._take_loss,
        )
        try:
            await link.open()
            log.info("connected to the broker")
            self._reported = False
            self._reconnect.reset()
            self._start_again(self._journal.state.acknowledged)
            while self._lost is None:
                self._wake.clear()
                await self._read_inbox()
                await self._fill_window(link)
                self._check_progress(link)
                await self._rest()
            raise UplinkError(self._lost)
        finally:
            await link.close()

    def _take(self, data: bytes) -> None:
        self._inbox.append(data)
        self._wake.set()

    def _take_loss(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._wake.set()

    async def _rest(self) -> None:
        """Wait for something to do: an acknowledgement, a new record, a lost connection, or the time to send again."""
        left = self._deadline - asyncio.get_running_loop().time() if self._in_flight else None
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
            if records <= 0 or size <= 0 or self._lost is not None:
                return
            batch = await self._journal.outgoing(self._sent, records, size)
            if not batch:
                return
            for message in batch:
                link.publish(record_topic(self._gateway), message.data)
                if not self._in_flight:
                    self._deadline = now + self._resend.next_ms() / 1000
                self._in_flight.append(_InFlight(message.covers, len(message.data)))
                self._sent = message.covers
            self._sent_at = now

    def _check_progress(self, link: MqttLink) -> None:
        if not self._in_flight or asyncio.get_running_loop().time() < self._deadline:
            return
        if link.unconfirmed:
            raise UplinkError(f"the broker has not confirmed {link.unconfirmed} messages")
        log.info("no acknowledgement behind record %d; sending again", self._journal.state.acknowledged)
        self._start_again(self._journal.state.acknowledged)
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
        state = self._journal.state
        seq = acknowledgement.seq
        if seq > state.seq:
            log.error("the server has record %d, the last one here is %d: the spool was lost", seq, state.seq)
            return
        known = await self._journal.hash_of(seq)
        if known is None and seq > state.acknowledged:
            log.error("the server acknowledges record %d, which is not known here", seq)
            return
        if known not in (None, acknowledgement.hash):
            log.error("the server has another record %d than this gateway: the chain has forked", seq)
            return
        if seq > state.acknowledged:
            await self._journal.acknowledge(acknowledgement)
            self._settle(seq)
        elif seq < state.acknowledged and acknowledgement.issued_ms > state.acknowledged_issued_ms:
            log.warning("the server went back from record %d to %d; sending again from there", state.acknowledged, seq)
            await self._journal.acknowledge(acknowledgement)
            self._start_again(seq)
        elif seq == state.acknowledged and asyncio.get_running_loop().time() - self._sent_at > _RESEND_PACE_SECONDS:
            # The server is there and says where it stands, so what is in flight has not reached it.
            self._start_again(seq)

    def _settle(self, seq: int) -> None:
        while self._in_flight and self._in_flight[0].covers <= seq:
            self._in_flight.popleft()
        self._sent = max(self._sent, seq)
        self._resend.reset()
        self._deadline = asyncio.get_running_loop().time() + self._resend.next_ms() / 1000
        self._progress.set()
