"""The edge node at its broker: sessions, births, changes and deaths, for as long as the agent runs.

One task of the event loop; what takes time (decoding, encoding) is done in a thread. It takes what the recorder read
last and gives nothing back: whatever happens to the broker or the host, the records know nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path

from agent.backoff import Backoff
from agent.config import SparkplugConfig
from agent.errors import (
    BrokerUnreachableError,
    ConfigurationError,
    ProtocolVersionError,
    SparkplugPayloadError,
    UplinkError,
)
from agent.mqtt_link import MqttLink, SpokenVersion, Will
from agent.newest import NewestReads, Read
from agent.sparkplug_node import NUMBERS, EdgeNode, Message, Names, commands_rebirth, death, state_topic
from wire.descriptor import Descriptor

log = logging.getLogger(__name__)

FIRST_RECONNECT_MS, LAST_RECONNECT_MS = 1_000, 60_000
_REBIRTH_PAUSE_SECONDS = 1.0
"""However often hosts ask, births do not follow one another faster."""

_SETTLED_SECONDS = 30.0
"""A session that lasted so long was a good one: after it the back-off begins anew."""

_STUCK_SECONDS = 1.0
_REMEMBERED_REFUSALS = 100
_NUMBER_FILE = "sparkplug-bdseq"


class SessionNumbers:
    """Numbers of sessions (bdSeq), 0 to 255, one more for every CONNECT that may have reached the broker.

    Kept in ``directory`` so that the next start goes on (tck-id-topics-nbirth-bdseq-increment). A disk that does not
    take the number costs that, nothing else.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _NUMBER_FILE
        self._number = self._read()
        self._used = True

    def next(self) -> int:
        """Return the number for the next CONNECT; the same again until it was `used`."""
        if self._used:
            self._number = (self._number + 1) % NUMBERS
            self._used = False
            self._write()
        return self._number

    def used(self) -> None:
        """Say that the broker may know the number."""
        self._used = True

    def _read(self) -> int:
        try:
            number = int(self._path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return -1
        except (OSError, ValueError) as error:
            log.warning("%s: %s; session numbers begin again", self._path, error)
            return -1
        return number if 0 <= number < NUMBERS else -1

    def _write(self) -> None:
        new = self._path.with_suffix(".new")
        try:
            new.write_text(f"{self._number}\n", encoding="ascii")
            new.replace(self._path)
        except OSError as error:
            log.warning("%s: cannot be written: %s; the next start repeats a session number", self._path, error)


class HostState:
    """Whether the primary host is there, from what it and its will say on its STATE topic."""

    def __init__(self) -> None:
        self.online = False
        self._time_ms: float = -1

    def take(self, payload: bytes) -> None:
        """Heed a STATE message, unless it is older than the last one or is none.

        ``{"online": ..., "timestamp": ...}`` (tck-id-message-flow-edge-node-birth-publish-phid-wait-online and
        ...-timestamp).
        """
        said = _state(payload)
        if said is None:
            log.warning("the primary host says something that is no state: %r", payload[:100])
        elif said[1] >= self._time_ms:
            self.online, self._time_ms = said


def _state(payload: bytes) -> tuple[bool, float] | None:
    """Return whether a host is online, and since when in milliseconds; ``None`` for what is no STATE message."""
    try:
        said = json.loads(payload)
        online, time_ms = said["online"], said["timestamp"]
        is_time = not isinstance(time_ms, bool) and math.isfinite(time_ms)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return (online, time_ms) if isinstance(online, bool) and is_time else None


class SparkplugSessions:
    """The edge node's sessions, one after the other.

    ``fault`` says why there is no connection to the broker now, ``None`` when there is one; ``born`` whether the host
    was told of the node in this session.
    """

    def __init__(
        self,
        config: SparkplugConfig,
        gateway: str,
        directory: Path,
        newest: NewestReads,
        now_ms: Callable[[], int],
        *,
        last_reconnect_ms: int = LAST_RECONNECT_MS,
    ) -> None:
        self._config = config
        self._gateway = gateway
        self._names = Names(config.group_id, config.edge_node_id or gateway)
        self._newest = newest
        self._now_ms = now_ms
        self._numbers = SessionNumbers(directory)
        self._version = SpokenVersion(config.version)
        self._reconnect = Backoff(FIRST_RECONNECT_MS, last_reconnect_ms, random.SystemRandom(), least=0.0)
        self._host = HostState()
        self._host_left = False
        self._node: EdgeNode | None = None
        self._inbox: deque[tuple[str, bytes]] = deque(maxlen=1_000)
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._lost: str | None = None
        self._rebirth = False
        self._born_at = self._told_at = float("-inf")
        self._refused: set[str] = set()
        self._reported = False
        self.fault: str | None = "not connected yet"
        self.born = False

    @property
    def waiting_for_host(self) -> bool:
        """Whether nothing is told because the primary host is not there."""
        return self.fault is None and self._config.primary_host_id is not None and not self._host.online

    def stop(self) -> None:
        """Have `run` say goodbye and return."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Hold sessions until asked to stop; whatever fails is tried again."""
        while not self._stop.is_set():
            try:
                await self._session()
                continue
            except ProtocolVersionError as error:
                if self._version.fall_back():
                    log.info("the Sparkplug broker does not speak MQTT 5, going on with 3.1.1")
                    continue
                self._report(f"{error} (MQTT {self._version.current}, the gateway file says {self._config.version})")
            except (UplinkError, ConfigurationError) as error:
                self._report(str(error))
            except Exception as error:
                # An error of ours must not end the lane, and has nothing to do with the records.
                log.exception("sparkplug: an error that should not be; trying again")
                self.fault = repr(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._reconnect.next_ms() / 1000)

    def _report(self, text: str) -> None:
        if not self._reported:
            log.warning("sparkplug: %s; trying again until it works", text)
        self._reported = True
        self.fault = text

    async def _session(self) -> None:
        """Hold one session. Returns when it ended because we ended it, raises when it was lost."""
        self._inbox.clear()
        self._wake.clear()
        self._lost, self.born, self._rebirth = None, False, False
        self._host.online = self._host_left = False
        number = self._numbers.next()
        will = death(self._names, number, self._now_ms())
        link = MqttLink(
            self._config,
            version=self._version.current,
            client_id=f"shopfloor-{self._gateway}-sparkplug",
            topics=self._topics(),
            on_message=self._take,
            on_lost=self._take_loss,
            will=Will(will.topic, will.payload, retain=False),
        )
        try:
            try:
                await link.open()
            except BrokerUnreachableError:
                raise
            except UplinkError:
                self._numbers.used()
                raise
            self._numbers.used()
            self._reported, self.fault = False, None
            log.info("sparkplug: connected to the broker, session %d", number)
            opened = asyncio.get_running_loop().time()
            try:
                await self._serve(link, number)
            finally:
                if asyncio.get_running_loop().time() - opened > _SETTLED_SECONDS:
                    self._reconnect.reset()
                # What ends with our DISCONNECT has no will (tck-id-...-edge-node-intentional-disconnect-ndeath).
                last_word = death(self._names, number, self._now_ms())
                with contextlib.suppress(UplinkError):
                    link.publish(last_word.topic, last_word.payload)
        finally:
            self.born = False
            await link.close()

    def _topics(self) -> list[str]:
        topics = [self._names.topic("NCMD"), self._names.topic("DCMD", "+")]
        if self._config.primary_host_id is not None:
            topics.append(state_topic(self._config.primary_host_id))
        return topics

    async def _serve(self, link: MqttLink, number: int) -> None:
        """Tell what there is to tell until the host leaves or we are to stop; raise when the connection is lost."""
        while not self._stop.is_set():
            self._read_inbox()
            if self._lost is not None:
                raise UplinkError(self._lost)
            if self._host_left:
                log.info("sparkplug: the primary host has left; waiting for it")
                return
            if self._config.primary_host_id is not None and not self._host.online:
                await self._rest(None)
                continue
            left = self._due() - asyncio.get_running_loop().time()
            if left > 0:
                await self._rest(left)
            elif link.unconfirmed:
                # The line is slower than the changes: what is newest when it is free is told then.
                await self._rest(_STUCK_SECONDS)
            else:
                await self._tell(link, number)

    def _due(self) -> float:
        """Return when to tell something next; from a request for births on nothing but them."""
        if not self.born:
            return float("-inf")
        return self._born_at + _REBIRTH_PAUSE_SECONDS if self._rebirth else self._told_at + self._config.interval / 1000

    async def _tell(self, link: MqttLink, number: int) -> None:
        """Publish births when they are due, else what has changed."""
        birth, self._rebirth = self._rebirth or not self.born, False
        descriptor, reads = self._newest.take()
        messages, born = await asyncio.to_thread(self._compose, descriptor, reads, number, birth=birth)
        self._told_at = asyncio.get_running_loop().time()
        if born:
            self._born_at, self.born = self._told_at, True
        for message in messages:
            link.publish(message.topic, message.payload, qos=0)

    def _compose(
        self, descriptor: Descriptor, reads: tuple[Read, ...], number: int, *, birth: bool
    ) -> tuple[list[Message], bool]:
        """Return the messages that are due, and whether they are births."""
        if self._node is None or self._node.descriptor is not descriptor:
            self._node = EdgeNode(self._names, descriptor, self._node)
            birth = True
        self._node.take(reads)
        now_ms = self._now_ms()
        if birth or self._node.must_be_reborn:
            return self._node.birth(number, now_ms), True
        return self._node.changes(now_ms), False

    async def _rest(self, seconds: float | None) -> None:
        """Wait for the time to tell what has changed, or for a message or a loss before it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    def _take(self, topic: str, payload: bytes) -> None:
        self._inbox.append((topic, payload))
        self._wake.set()

    def _take_loss(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._wake.set()

    def _read_inbox(self) -> None:
        while self._inbox:
            topic, payload = self._inbox.popleft()
            if topic == self._names.topic("NCMD"):
                self._take_command(payload)
            elif self._config.primary_host_id is not None and topic == state_topic(self._config.primary_host_id):
                self._host.take(payload)
                # A host that is back at once has forgotten what it was told all the same.
                self._host_left |= self.born and not self._host.online
            else:
                self._refuse(topic.rsplit("/", 1)[-1])

    def _take_command(self, payload: bytes) -> None:
        try:
            asked, others = commands_rebirth(payload)
        except SparkplugPayloadError as error:
            self._refuse(f"the node with what is no payload ({error})")
            return
        self._rebirth |= asked
        for name in others:
            self._refuse(f"the node with {name}")

    def _refuse(self, what: str) -> None:
        """Say once that somebody wants to write what: this gateway reads, it has nothing that writes."""
        if what in self._refused or len(self._refused) >= _REMEMBERED_REFUSALS:
            return
        self._refused.add(what)
        log.warning("sparkplug: a command to %s is refused: this gateway only reads", what)
