"""Reads one OPC UA server: keeps a session alive, takes what it sends, and misses nothing in silence.

Every node is on record at least once an interval of its device. A node that a subscription brought nothing of is read;
when such a read shows a value that the server should have sent and did not until the next one, the subscription is
dead whatever it says, and is made anew. While there is no session the record says so, with the status code of the
reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import random
import time
from dataclasses import dataclass, field

from asyncua import ua

from agent.backoff import Backoff
from agent.clock import Clock
from agent.connections import cancel
from agent.drivers.opc_ua import Settings
from agent.opc_ua.samples import failure, sample_of
from agent.opc_ua.session import Loss, OpcUaSession, open_session, status_of, text_of
from agent.poller import FIRST_BACKOFF_MS, LAST_BACKOFF_MS, PolledDevice
from agent.recorder import Recorder
from wire.node import OPC_BAD, OPC_GOOD, OPC_OVERFLOW, NodeSample, Variant

log = logging.getLogger(__name__)

_SETTLED_SECONDS = 30.0
"""A session that lasted so long was a good one: after it the back-off begins anew."""


@dataclass
class _Node:
    """One node of one device, and what is known of it in this session.

    ``heard``: the subscription brought something since the last tick. ``last`` is what it brought last. ``doubt_s``:
    since when reads have shown something else, by the monotonic clock.
    """

    device: PolledDevice
    node: str
    series: int
    monitored: bool = False
    heard: bool = False
    overflowed: bool = False
    last: tuple[int, str] | None = None
    doubt_s: float | None = None


@dataclass
class _Nodes:
    device: PolledDevice
    nodes: list[_Node] = field(default_factory=list)


class OpcUaReader:
    """The one owner of a connection to a server."""

    def __init__(self, settings: Settings, devices: list[PolledDevice], recorder: Recorder, clock: Clock) -> None:
        self._settings = settings
        self._recorder = recorder
        self._clock = clock
        self._backoff = Backoff(FIRST_BACKOFF_MS, LAST_BACKOFF_MS, random.Random(settings.id))  # noqa: S311 - jitter
        self._devices = [_Nodes(device) for device in devices]
        for read, device in zip(self._devices, settings.devices, strict=True):
            wanted = [series.node for series in device.effective_series().values()]
            read.nodes = [_Node(read.device, node, wanted.count(node)) for node in dict.fromkeys(wanted)]
        self._items = [node for read in self._devices for node in read.nodes]
        self._session: OpcUaSession | None = None
        self._outage = int(ua.StatusCodes.BadNotConnected)
        self._tried = asyncio.Event()
        self._flush: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flush.set_result(None)

    async def run(self, until_ms: int | None = None) -> None:
        """Read until cancelled, or until the next tick would be at ``until_ms`` or later."""
        sessions = asyncio.create_task(self._keep_session(), name=f"{self._settings.id} session")
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._tried.wait(), self._settings.timeout / 1000)
            await self._tick_on(sessions, until_ms)
        finally:
            await cancel([sessions])

    async def _tick_on(self, sessions: asyncio.Task[None], until_ms: int | None) -> None:
        start_ms = self._clock.now_ms() - 1
        due = [(read.device.next_tick(start_ms), number, read) for number, read in enumerate(self._devices)]
        heapq.heapify(due)
        while due and (until_ms is None or due[0][0] < until_ms):
            tick_ms, number, read = due[0]
            await self._clock.sleep_until(tick_ms)
            if sessions.done():
                sessions.result()
            await self._tick(read)
            if self._recorder.full:
                await self._recorder.flush()
            now_ms = self._clock.now_ms()
            set_back = now_ms < tick_ms - read.device.interval_ms
            heapq.heapreplace(due, (read.device.next_tick(now_ms if set_back else max(now_ms, tick_ms)), number, read))

    async def _tick(self, read: _Nodes) -> None:
        """Put every node of a device on record that its subscription brought nothing of since the last tick."""
        session = self._session
        if session is None:
            self._fail(read.nodes, self._outage)
            return
        silent = [node for node in read.nodes if not node.heard]
        for node in read.nodes:
            node.heard = False
        started = time.monotonic()
        try:
            values = await session.read([node.node for node in silent])
        except Exception as error:
            self._fail(silent, status_of(error))
            session.give_up(status_of(error), f"a read was not answered: {text_of(error)}")
            return
        round_trip_ms = round(1000 * (time.monotonic() - started))
        time_ms = self._clock.now_ms()
        unmonitored = []
        for node, value in zip(silent, values, strict=True):
            sample, variant = sample_of(value, time_ms)
            self._record(node, sample, variant, round_trip_ms)
            if node.monitored:
                self._look_for_silence(session, node, sample)
            elif sample.status < OPC_BAD:
                unmonitored.append(node)
        if self._settings.reading == "subscription" and unmonitored:
            # Not known to the server when they were subscribed to, and now they can be read.
            with contextlib.suppress(Exception):
                await self._monitor(session, unmonitored)

    def _look_for_silence(self, session: OpcUaSession, node: _Node, sample: NodeSample) -> None:
        """Notice an item that brings nothing although the value has changed, for longer than it may take."""
        now_s = time.monotonic()
        if node.heard or node.last == _said(sample):
            node.doubt_s = None
        elif node.doubt_s is None:
            node.doubt_s = now_s
        elif now_s - node.doubt_s > session.patience_s:
            text = f"the subscription is silent although {node.node} has changed"
            session.give_up(int(ua.StatusCodes.BadNoSubscription), text)

    async def _keep_session(self) -> None:
        """Open a session, wait for its end, and again, for ever."""
        while True:
            opened = time.monotonic()
            loss = await self._one_session()
            if self._outage != loss.status:
                log.warning("%s: %s; trying again until there is a session", self._settings.id, loss.reason)
            self._outage = loss.status
            self._tried.set()
            if time.monotonic() - opened > _SETTLED_SECONDS:
                self._backoff.reset()
            await asyncio.sleep(self._backoff.next_ms() / 1000)

    async def _one_session(self) -> Loss:
        """Open a session, serve it to its end, and tell why it ended."""
        try:
            session = await open_session(self._settings)
        except Exception as error:
            # What a server can do to the protocol stack is more than what the stack says it raises.
            return Loss(status_of(error), f"no session: {text_of(error)}")
        try:
            await self._begin(session)
            loss = await session.lost()
        except Exception as error:
            loss = Loss(status_of(error), f"no subscription: {text_of(error)}")
        finally:
            self._session = None
            await session.close()
        self._fail(self._items, loss.status)
        return loss

    async def _begin(self, session: OpcUaSession) -> None:
        for node in self._items:
            node.monitored = node.heard = node.overflowed = False
            node.last = node.doubt_s = None
        if self._settings.reading == "subscription":
            await session.subscribe(self._take)
            await self._monitor(session, self._items)
        log.info("%s: session with %s", self._settings.id, self._settings.url)
        self._session, self._outage = session, OPC_GOOD
        self._tried.set()

    async def _monitor(self, session: OpcUaSession, nodes: list[_Node]) -> None:
        codes = await session.monitor([(self._items.index(node), node.node) for node in nodes])
        for node, code in zip(nodes, codes, strict=True):
            node.monitored = code < OPC_BAD
            if not node.monitored:
                name = ua.StatusCode(ua.UInt32(code)).name
                log.warning("%s: %s is not monitored: %s; it is read instead", self._settings.id, node.node, name)

    def _take(self, number: int, value: ua.DataValue) -> None:
        """Put on record what the subscription brought."""
        node = self._items[number]
        sample, variant = sample_of(value, self._clock.now_ms())
        node.heard, node.doubt_s, node.last = True, None, _said(sample)
        if sample.status & OPC_OVERFLOW == OPC_OVERFLOW and not node.overflowed:
            log.warning("%s: the queue of %s overflowed: values are missing", self._settings.id, node.node)
            node.overflowed = True
        self._record(node, sample, variant)
        if self._recorder.full and self._flush.done():
            self._flush = asyncio.create_task(self._recorder.flush())
            # What it raises is raised again by the next flush of the agent, which ends it.
            self._flush.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _record(self, node: _Node, sample: NodeSample, variant: Variant, round_trip_ms: int = 0) -> None:
        device = node.device.index
        self._recorder.add_sample(device, node.node, sample, variant, round_trip_ms=round_trip_ms, series=node.series)

    def _fail(self, nodes: list[_Node], status: int) -> None:
        time_ms = self._clock.now_ms()
        for node in nodes:
            self._record(node, failure(status, time_ms), Variant.NULL)


def _said(sample: NodeSample) -> tuple[int, str]:
    """Return what a change is told by: the status without its additional bits, and the value, where NaN equals NaN."""
    return sample.status >> 16, repr(sample.value)
