"""Past one machine: three brokers and three workers, killed in turn under load; nothing is lost, nothing is double.

Prints what was killed, and after how long every gateway had an acknowledgement for a record that it made afterwards.
``SHOPFLOOR_CLUSTER_SEED`` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agent.clock import SystemClock
from agent.config import UplinkConfig
from agent.journal import Journal, JournalThread
from agent.uplink import Uplink
from ingest.clock_window import DAY_MS
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.migrations import migrate
from store.quarantine import list_quarantine
from wire.keys import VerifyingKey
from wire.topics import record_topic

pytestmark = pytest.mark.cluster

GATEWAYS = 6
WORKERS = 3
SHARED_RECORDS = 150
"""Records of each gateway after which every worker must have had some."""
BATCH = 5
WINDOW = 400
PAUSE_S = 0.05
RECOVERY_S = 120.0
BACK_S = (0.5, 4.0)
"""After which time what was killed is started again: between these, drawn by the seed."""

STREAM = "shopfloor-records"
CONSUMER = f"{STREAM}/shopfloor-ingest"


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own."""
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        yield server


def _trust(url: str, *gateways: Any) -> None:
    with connect(url) as conn:
        migrate(conn)
        for gateway in gateways:
            add_gateway(conn, gateway.id, gateway.key.public.raw)


class Agent:
    """The journal and the uplink of the real agent, with records made as fast as the server takes them."""

    def __init__(self, gateway: Any, directory: Path, url: str, server: VerifyingKey) -> None:
        parts = urlsplit(url)
        self.gateway = gateway
        gateway.time_ms = SystemClock().now_ms() - DAY_MS
        config = UplinkConfig(
            url=f"mqtt://{parts.hostname}:{parts.port}",
            username=parts.username,
            password=parts.password,
            server_key=server.text,
        )
        journal = Journal(directory / gateway.id, gateway.id, gateway.key, 2**28, SystemClock())
        self._journal = JournalThread(journal)
        self._uplink = Uplink(config, gateway.id, self._journal, first_resend_ms=2_000, last_reconnect_ms=1_000)

    @property
    def made(self) -> int:
        """How many records there are."""
        return len(self.gateway.records)

    @property
    def acknowledged(self) -> int:
        """Up to which record the server has everything."""
        return self._uplink.acknowledged

    async def run(self, stopping: asyncio.Event) -> None:
        """Make records until told to stop, then wait until the server has them all."""
        sending = asyncio.create_task(self._uplink.run())
        try:
            self.gateway.records.append(await self._journal.append(self.gateway.descriptor()))
            while not stopping.is_set():
                if self.made - self.acknowledged < WINDOW:
                    for _ in range(BATCH):
                        self.gateway.records.append(await self._journal.append((self.gateway.frame(),), 20))
                        self.gateway.time_ms += 10_000
                    self._uplink.notify()
                if sending.done():
                    await sending
                await asyncio.sleep(PAUSE_S)
            await asyncio.wait_for(self._uplink.wait_acknowledged(self.made), RECOVERY_S)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._journal.close()


class Fleet:
    """All agents, in a thread of their own."""

    def __init__(self, agents: list[Agent]) -> None:
        self.agents = agents
        self.failure: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="fleet")
        self._thread.start()

    @property
    def made(self) -> int:
        """Records of all agents."""
        return sum(agent.made for agent in self.agents)

    def wait_acknowledged(self, marks: dict[Agent, int]) -> None:
        """Wait until each agent has its record acknowledged; fail after `RECOVERY_S`."""
        deadline = time.monotonic() + RECOVERY_S
        while behind := [agent.gateway.id for agent, mark in marks.items() if agent.acknowledged < mark]:
            if self.failure is not None:
                raise RuntimeError("an agent has ended") from self.failure
            assert time.monotonic() < deadline, f"not acknowledged within {RECOVERY_S:.0f} s: {behind}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Make no more; wait until everything is acknowledged."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop.close()
        if self.failure is not None:
            raise RuntimeError("an agent has ended") from self.failure

    def _run(self) -> None:
        async def run() -> None:
            async with asyncio.TaskGroup() as together:
                for agent in self.agents:
                    together.create_task(agent.run(self._stopping))

        try:
            self._loop.run_until_complete(run())
        except BaseException as error:
            self.failure = error


class Site:
    """Cluster, workers and gateways under load."""

    def __init__(self, cluster: Any, fleet: Fleet, random_numbers: random.Random, say: Callable[[str], None]) -> None:
        self.cluster = cluster
        self._say = say
        self.fleet = fleet
        self.killed = 0
        self.recovery_s: list[float] = []
        self._random = random_numbers
        self._began = time.monotonic()

    def kill(self, what: str, *victims: Any) -> None:
        """kill -9 the victims, start them again after a while, and wait until every gateway goes on."""
        for victim in victims:
            victim.kill()
        at = time.monotonic()
        marks = {agent: agent.made + 1 for agent in self.fleet.agents}
        time.sleep(self._random.uniform(*BACK_S))
        for victim in victims:
            victim.start()
        self.killed += len(victims)
        self.fleet.wait_acknowledged(marks)
        self.recovery_s.append(time.monotonic() - at)
        self._say(
            f"{at - self._began:6.1f} s  kill -9 {what:<56} all go on after {self.recovery_s[-1]:5.1f} s, "
            f"{self.fleet.made} records"
        )

    def leader_of(self, what: str) -> Any:
        """The server that leads the cluster (``meta``), a stream or a consumer; waits for the election."""
        deadline = time.monotonic() + RECOVERY_S
        while (leader := self.cluster.leaders("programme-a").get(what)) is None:
            assert time.monotonic() < deadline, f"{what} has no leader"
            time.sleep(0.1)
        return leader

    def pick(self, several: list[Any], count: int = 1) -> list[Any]:
        """Some of several, by the seed."""
        return self._random.sample(several, count)


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints past pytest's capture: a lane that takes minutes says how it goes."""

    def write(line: str) -> None:
        with capfd.disabled():
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    return write


def test_leaders_nodes_and_workers_are_killed_under_load(  # noqa: PLR0917 - fixtures
    nats_cluster: Any,
    postgres: EmbeddedPostgres,
    tmp_path: Path,
    new_gateway: Callable[[str], Any],
    new_ingest: Callable[..., Any],
    stored_once: Callable[[str, Any], None],
    say: Callable[[str], None],
) -> None:
    seed = int(os.environ.get("SHOPFLOOR_CLUSTER_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    say(f"\nSHOPFLOOR_CLUSTER_SEED={seed}")
    gateways = [new_gateway(f"gw-{number:02}") for number in range(GATEWAYS)]
    _trust(postgres.url, *gateways)
    arguments = (postgres.url, nats_cluster.url(), tmp_path)
    workers = [new_ingest(*arguments) for _ in range(WORKERS)]
    server = workers[0].server_key
    fleet = Fleet(
        [
            Agent(gateway, tmp_path / "spools", nats_cluster.mqtt_url(number), server)
            for number, gateway in enumerate(gateways)
        ]
    )
    try:
        site = Site(nats_cluster, fleet, random.Random(seed), say)
        nodes = nats_cluster.nodes
        fleet.wait_acknowledged(dict.fromkeys(fleet.agents, SHARED_RECORDS))
        shares = [worker.stop()["stored"] for worker in workers]
        for worker in workers:
            worker.start()
        assert all(shares), f"every worker takes its share: {shares}"
        say(f"the workers share: {shares}")
        for what in ("meta", STREAM, CONSUMER, "$MQTT_msgs"):
            leader = site.leader_of(what)
            site.kill(f"leader {leader.name} of {what}", leader)
        site.kill("one worker", *site.pick(workers))
        site.kill("two workers at once", *site.pick(workers, 2))
        leader = site.leader_of(STREAM)
        site.kill(f"leader {leader.name} of {STREAM} and one worker", leader, *site.pick(workers))
        site.kill("two nodes at once: no quorum", *site.pick(nodes, 2))
        site.kill("all workers at once", *workers)
        site.kill("all nodes at once", *nodes)
    finally:
        fleet.stop()
    stats = [worker.stop() for worker in workers]
    for gateway in gateways:
        stored_once(postgres.url, gateway)
    say(
        f"{fleet.made} records of {GATEWAYS} gateways: 0 lost, 0 double; {site.killed} processes killed in "
        f"{len(site.recovery_s)} blows, recovery {min(site.recovery_s):.1f} to {max(site.recovery_s):.1f} s; since "
        f"their last start the workers stored {[one['stored'] for one in stats]} and met "
        f"{sum(one['duplicates'] for one in stats)} records again"
    )
    assert fleet.made > 1000


def test_programmes_on_one_cluster_never_meet(  # noqa: PLR0917 - fixtures
    nats_cluster: Any,
    database_url: str,
    postgres: EmbeddedPostgres,
    tmp_path: Path,
    new_gateway: Callable[[str], Any],
    new_publisher: Callable[..., Any],
    new_ingest: Callable[..., Any],
    stored_once: Callable[[str, Any], None],
) -> None:
    """Each has an account at the brokers, workers and a database of its own; ids of gateways may be the same."""
    databases = {"a": database_url, "b": postgres.url}
    gateways = {programme: new_gateway("gw-01") for programme in databases}
    for programme, url in databases.items():
        _trust(url, gateways[programme])
    workers = {
        programme: new_ingest(url, nats_cluster.url(programme), tmp_path / programme, "--programme", programme)
        for programme, url in databases.items()
    }
    publishers = {
        programme: new_publisher(nats_cluster.mqtt_url(0, programme), gateway, workers[programme].server_key)
        for programme, gateway in gateways.items()
    }
    for publisher in publishers.values():
        publisher.send(*publisher.gateway.make(50))
    for publisher in publishers.values():
        publisher.wait_until_acknowledged(50)
    for programme, url in databases.items():
        stored_once(url, gateways[programme])

    stray = gateways["a"].records[9]
    publishers["b"].publish(record_topic("gw-01"), stray.data)
    publishers["b"].send(*gateways["b"].make(1))
    publishers["b"].wait_until_acknowledged(51)
    with connect(databases["b"]) as conn:
        assert [(one.reason, one.data) for one in list_quarantine(conn)] == [("wrong-key", stray.data)]
    stored_once(databases["a"], gateways["a"])

    with pytest.raises(AssertionError, match="the database holds the evidence of programme 'a', 'b' was named"):
        new_ingest(databases["a"], nats_cluster.url("b"), tmp_path / "stray", "--programme", "b")
