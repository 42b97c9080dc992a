"""OPC UA against real servers, one of them not written in Python: values, times, faults, and what is never sent."""

from __future__ import annotations

import asyncio
import ctypes
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from asyncua import Client, ua
from cryptography.hazmat.primitives.serialization import Encoding

from agent import drivers
from agent.clock import SystemClock
from agent.config import GatewayConfig, parse_config
from agent.connections import connect, plans
from agent.description import describe
from agent.drivers.opc_ua import Settings
from agent.errors import ConfigurationError, ForbiddenRequestError
from agent.journal import Journal, JournalThread
from agent.opc_ua.certificates import ensure_identity
from agent.opc_ua.session import BrowsedNode, only_reads, open_session
from agent.recorder import Recorder
from wire.errors import DocumentError
from wire.frame import NodeFrame, NodeSample, Variant
from wire.keys import SigningKey
from wire.node import OPC_OVERFLOW
from wire.record import open_record

HERE = Path(__file__).parent / "opc_ua"
KEY = SigningKey.generate()
POWER, COUNT, RUNNING, ORDER = (f"ns=2;s={name}" for name in ("Power", "GoodCount", "Running", "Order"))
IN_2000_MS = 946_684_800_000
BAD_NODE_UNKNOWN, BAD_NOT_CONNECTED, UNTRUSTED = 0x8034_0000, 0x808A_0000, 0x801A_0000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Line:
    """A server in a process of its own, at one address for as long as the test lasts."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/line"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.der"

    def start(self, *options: str) -> None:
        arguments = [*self._command, str(self.port), str(self.folder), *options]
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=_die_with_parent,  # noqa: PLW1509
        )
        self._answered("ready")

    async def tell(self, **command: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        await asyncio.to_thread(self._answered, "done")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answered(self, word: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while (text := self._process.stdout.readline().decode()) != f"{word}\n":
            assert text, f"the server ended instead of saying {word}"


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """An asyncua server, not yet started."""
    made = Line([sys.executable, str(HERE / "asyncua_server.py")], tmp_path / "server")
    made.folder.mkdir()
    yield made
    made.kill()


@pytest.fixture
def foreign_line(npm_packages: Callable[[Path], Path], tmp_path: Path) -> Iterator[Line]:
    """A node-opcua server, which is not ours and not in Python, not yet started."""
    command = ["env", f"NODE_PATH={npm_packages(HERE)}", "node", str(HERE / "node_opcua_server.js")]
    made = Line(command, tmp_path / "server")
    made.folder.mkdir()
    yield made
    made.kill()


@pytest.fixture(params=["asyncua", pytest.param("node-opcua", marks=pytest.mark.registry)])
def any_line(request: pytest.FixtureRequest) -> Line:
    """A server of each implementation, not yet started."""
    made: Line = request.getfixturevalue("line" if request.param == "asyncua" else "foreign_line")
    return made


PACE = "sampling: 100ms\n    publishing: 100ms"


def config(
    url: str,
    directory: Path,
    *,
    connection: str = "security: None",
    pace: str = PACE,
    interval: str = "500ms",
    series: str = "",
) -> GatewayConfig:
    text = f"""
gateway: gw-01
key_file: key
data_directory: data
connections:
  - id: line
    protocol: opc-ua
    url: {url}
    timeout: 2s
    {pace}
    {connection}
    devices:
      - id: line-1
        model: opc-ua-plc
        interval: {interval}
        series: [active_power, good_count]
        overrides:
          active_power: {{node: {POWER!r}, scale: 1.0}}
          good_count: {{node: {COUNT!r}}}
        extra_series:
          running: {{quantity: running, unit: "1", kind: state, node: {RUNNING!r}}}
          order: {{quantity: order, unit: "1", kind: state, node: {ORDER!r}}}
{series}
"""
    return parse_config(text, "gateway.yaml", directory)


class Watched(Recorder):
    """A recorder that a test can wait on."""

    def __init__(self, journal: JournalThread, clock: SystemClock) -> None:
        super().__init__(journal, clock)
        self.seen: list[tuple[str, NodeSample]] = []
        self._changed = asyncio.Event()

    def add_sample(
        self, device: int, node: str, sample: NodeSample, variant: Variant, *, round_trip_ms: int = 0, series: int = 1
    ) -> None:
        super().add_sample(device, node, sample, variant, round_trip_ms=round_trip_ms, series=series)
        self.seen.append((node, sample))
        self._changed.set()

    async def until(self, node: str, wanted: Callable[[NodeSample], bool], timeout_s: float = 20.0) -> NodeSample:
        """Wait for a sample of ``node``, among those that came since the last call, or that comes."""
        async with asyncio.timeout(timeout_s):
            while True:
                self._changed.clear()
                while self.seen:
                    name, sample = self.seen.pop(0)
                    if name == node and wanted(sample):
                        return sample
                await self._changed.wait()

    async def until_any(self) -> tuple[str, NodeSample]:
        """Wait for the next sample of any node."""
        while not self.seen:
            self._changed.clear()
            await self._changed.wait()
        return self.seen.pop(0)


Reading = Callable[[GatewayConfig], AbstractAsyncContextManager[Watched]]


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    """Runs what reads the one connection of a gateway file; afterwards its records are in ``tmp_path / "spool"``."""

    @asynccontextmanager
    async def run(gateway: GatewayConfig) -> AsyncIterator[Watched]:
        clock = SystemClock()
        journal = JournalThread(Journal(tmp_path / "spool", "gw-01", KEY, 2**26, clock))
        recorder = Watched(journal, clock)
        (plan, devices), *_ = plans(gateway)
        task = asyncio.create_task(connect(plan.connection, devices, recorder, clock).run())
        try:
            await recorder.begin(describe(gateway))
            yield recorder
            assert not task.done(), task.result()
            await recorder.flush()
        finally:
            task.cancel()
            await asyncio.wait([task])
            journal.close()

    return run


def power(value: float) -> Callable[[NodeSample], bool]:
    return lambda sample: sample.status == 0 and sample.value == value


def failed(status: int | None = None) -> Callable[[NodeSample], bool]:
    return lambda sample: sample.value is None and sample.status == status if status else sample.status >= 0x8000_0000


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_subscription_brings_changes_with_their_times(any_line: Line, reading: Reading, tmp_path: Path) -> None:
    any_line.start()

    async def work() -> None:
        async with reading(config(any_line.url, tmp_path, interval="1h")) as seen:
            first = await seen.until(POWER, power(10.0))
            assert first.source_ms is not None
            assert first.server_ms is not None
            await any_line.tell(set="Power", value=12.5)
            changed = await seen.until(POWER, power(12.5))
            assert abs(changed.time_ms - (changed.source_ms or 0)) < 60_000
            await any_line.tell(set="Order", value="B-2", type="String")
            assert (await seen.until(ORDER, lambda sample: sample.value == "B-2")).status == 0
            await any_line.tell(set="Power", value=99.0, status=0x8000_0000)
            assert (await seen.until(POWER, failed())).value is None

    run(work)
    spool = JournalThread(Journal(tmp_path / "spool", "gw-01", KEY, 2**26, SystemClock()))
    try:
        records = [open_record(m.data, KEY.public) for m in asyncio.run(spool.outgoing(0, 10**6, 2**30))]
    finally:
        spool.close()
    frames = [frame for record in records for frame in record.payload.frames if isinstance(frame, NodeFrame)]
    kinds = {frame.node: frame.variant for frame in frames if frame.n_ok}
    assert kinds == {
        POWER: Variant.DOUBLE,
        COUNT: Variant.UINT32,
        RUNNING: Variant.BOOLEAN,
        ORDER: Variant.STRING,
    }


def test_a_value_that_does_not_change_is_on_record_every_interval(line: Line, reading: Reading, tmp_path: Path) -> None:
    """benthos-umh#49: what reports by exception is silent while a value stands still, and nobody knows it is alive."""
    line.start()

    async def work() -> None:
        async with reading(config(line.url, tmp_path)) as seen:
            times = [(await seen.until(POWER, power(10.0))).time_ms for _ in range(4)]
            assert times == sorted(set(times))

    run(work)


@pytest.mark.parametrize("reads", ["subscription", "polling"])
def test_a_node_that_does_not_exist_harms_no_other(
    any_line: Line, reading: Reading, tmp_path: Path, reads: str
) -> None:
    """telegraf#19186: an unknown node ended the connection for good; thingsboard-gateway#2093: all updates stopped."""
    any_line.start()
    wrong = '          ghost: {quantity: ghost, unit: "1", kind: gauge, node: "ns=2;s=Ghost"}'

    async def work() -> None:
        gateway = config(any_line.url, tmp_path, connection=f"security: None\n    reading: {reads}", series=wrong)
        async with reading(gateway) as seen:
            await seen.until("ns=2;s=Ghost", failed(BAD_NODE_UNKNOWN))
            await seen.until(POWER, power(10.0))
            await any_line.tell(add="Ghost")
            await seen.until("ns=2;s=Ghost", power(1.5))

    run(work)


def test_polling_reads_at_every_interval(any_line: Line, reading: Reading, tmp_path: Path) -> None:
    any_line.start()

    async def work() -> None:
        gateway = config(any_line.url, tmp_path, connection="security: None\n    reading: polling", interval="100ms")
        async with reading(gateway) as seen:
            for value in (1.0, 2.0, 3.0):
                await any_line.tell(set="Power", value=value)
                await seen.until(POWER, power(value))

    run(work)


def test_a_server_that_is_killed_is_read_again_when_it_is_back(
    any_line: Line, reading: Reading, tmp_path: Path
) -> None:
    """telegraf#18454: subscriptions were not made again after a session was lost."""
    any_line.start()

    async def work() -> None:
        async with reading(config(any_line.url, tmp_path)) as seen:
            await seen.until(POWER, power(10.0))
            any_line.kill()
            await seen.until(POWER, failed())
            await seen.until(COUNT, failed(BAD_NOT_CONNECTED))
            await asyncio.to_thread(any_line.start)
            await seen.until(POWER, power(10.0))
            await any_line.tell(set="Power", value=11.0)
            await seen.until(POWER, power(11.0))

    run(work)


def test_a_server_that_is_not_there_yet_is_said_and_waited_for(line: Line, reading: Reading, tmp_path: Path) -> None:
    async def work() -> None:
        async with reading(config(line.url, tmp_path)) as seen:
            await seen.until(POWER, failed(BAD_NOT_CONNECTED))
            await asyncio.to_thread(line.start)
            await seen.until(POWER, power(10.0))

    run(work)


@pytest.mark.parametrize("what", ["subscriptions", "items"])
def test_a_subscription_that_the_server_forgot_is_noticed_and_made_anew(
    line: Line, reading: Reading, tmp_path: Path, what: str
) -> None:
    """thingsboard-gateway#2028, Azure/Industrial-IoT#2264: subscriptions that went silent, or stale after days."""
    line.start()

    async def work() -> None:
        async with reading(config(line.url, tmp_path, interval="500ms")) as seen:
            await seen.until(POWER, power(10.0))
            await line.tell(forget=what)
            await line.tell(set="Power", value=20.0)
            await seen.until(POWER, failed())
            await seen.until(POWER, power(20.0))
            await line.tell(set="Power", value=21.0)
            await seen.until(POWER, power(21.0))

    run(work)


def test_a_server_with_room_for_one_session_is_read_however_often_it_forgets(
    line: Line, reading: Reading, tmp_path: Path
) -> None:
    """Azure/Industrial-IoT#1923: more sessions than a server of four had; #2368: an endless loop of reconnections."""
    line.start("one-session")

    async def work() -> None:
        async with reading(config(line.url, tmp_path)) as seen:
            await seen.until(POWER, power(10.0))
            for value in (11.0, 12.0, 13.0):
                await line.tell(forget="subscriptions")
                await line.tell(set="Power", value=value)
                await seen.until(POWER, power(value))
            seen.seen.clear()
            for _ in range(3):
                assert (await seen.until(POWER, lambda _: True)).status == 0, "it has come to rest"

    run(work)


def test_of_two_hundred_nodes_none_is_left_out_though_no_value_changes(
    line: Line, reading: Reading, tmp_path: Path
) -> None:
    """Azure/Industrial-IoT#133: heartbeats were lost with many nodes."""
    line.start()
    names = [f"Tank{number}" for number in range(200)]
    series = "".join(
        f'          tank-{number}: {{quantity: level, unit: "1", kind: gauge, node: "ns=2;s={name}"}}\n'
        for number, name in enumerate(names)
    )

    async def work() -> None:
        for name in names:
            await line.tell(add=name)
        async with reading(config(line.url, tmp_path, interval="1s", series=series)) as seen:
            times: dict[str, set[int]] = {f"ns=2;s={name}": set() for name in names}
            while min(map(len, times.values())) < 3:
                sample = await seen.until_any()
                if sample[0] in times and sample[1].status == 0:
                    times[sample[0]].add(sample[1].time_ms)

    run(work)


def test_a_server_clock_in_2000_changes_no_sample_time(any_line: Line, reading: Reading, tmp_path: Path) -> None:
    """thingsboard-gateway#879: the time stamps of a PLC that had lost its clock became the times of the history."""
    any_line.start()

    async def work() -> None:
        before_ms = SystemClock().now_ms()
        async with reading(config(any_line.url, tmp_path, interval="1h")) as seen:
            await seen.until(POWER, power(10.0))
            await any_line.tell(set="Power", value=5.0, source=IN_2000_MS)
            sample = await seen.until(POWER, power(5.0))
            assert sample.source_ms == IN_2000_MS
            assert sample.time_ms >= before_ms

    run(work)


@pytest.mark.registry
def test_a_queue_that_overflowed_is_on_record(foreign_line: Line, reading: Reading, tmp_path: Path) -> None:
    """Against node-opcua only: asyncua's server drops values without the overflow bit that the standard asks for."""
    foreign_line.start()

    async def work() -> None:
        pace = "sampling: 20ms\n    publishing: 1s\n    queue: 2"
        async with reading(config(foreign_line.url, tmp_path, pace=pace, interval="1h")) as seen:
            await seen.until(POWER, power(10.0))
            await foreign_line.tell(burst="Power", count=40)
            sample = await seen.until(POWER, lambda one: one.status & OPC_OVERFLOW == OPC_OVERFLOW)
            assert sample.value is not None

    run(work)


SECURED = [
    (policy, mode)
    for policy in ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")
    for mode in ("Sign", "SignAndEncrypt")
]


def trust(server: Line, directory: Path) -> None:
    """Do what an integrator does who has compared the thumbprint."""
    refused = list((directory / "opc-ua" / "refused").iterdir())
    assert [path.read_bytes() for path in refused] == [server.certificate.read_bytes()]
    refused[0].rename(directory / "opc-ua" / "trusted" / refused[0].name)


@pytest.mark.parametrize("secured", SECURED, ids="-".join)
def test_a_secured_session_with_a_user_name_needs_a_trusted_server(
    any_line: Line, reading: Reading, tmp_path: Path, caplog: pytest.LogCaptureFixture, secured: tuple[str, str]
) -> None:
    policy, mode = secured
    any_line.start("users")
    connection = f"security: {policy}\n    mode: {mode}\n    username: line\n    password: secret"

    async def work() -> None:
        async with reading(config(any_line.url, tmp_path, connection=connection)) as seen:
            await seen.until(POWER, failed(UNTRUSTED))
            assert "accept it with: mv " in caplog.text
            trust(any_line, tmp_path)
            await seen.until(POWER, power(10.0))

    run(work)
    assert (tmp_path / "opc-ua" / "own" / "key.pem").stat().st_mode & 0o777 == 0o600


def test_a_wrong_password_is_said(any_line: Line, reading: Reading, tmp_path: Path) -> None:
    any_line.start("users")
    connection = "username: line\n    password: guess"

    async def work() -> None:
        async with reading(config(any_line.url, tmp_path, connection=connection)) as seen:
            await seen.until(POWER, failed(UNTRUSTED))
            trust(any_line, tmp_path)
            await seen.until(POWER, failed(0x801F_0000))

    run(work)


def test_a_user_certificate_logs_in(line: Line, reading: Reading, tmp_path: Path) -> None:
    line.start("users")
    operator = ensure_identity(tmp_path / "user").certificate.public_bytes(Encoding.DER)
    connection = "user_certificate_file: user/own/certificate.der\n    user_key_file: user/own/key.pem"

    async def work() -> None:
        async with reading(config(line.url, tmp_path, connection=connection)) as seen:
            await seen.until(POWER, failed(UNTRUSTED))
            trust(line, tmp_path)
            await seen.until(POWER, failed(0x801F_0000))
            (line.folder / "operator.der").write_bytes(operator)
            await seen.until(POWER, power(10.0))

    run(work)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    identity = ensure_identity(tmp_path)
    assert identity.application_uri.startswith("urn:")
    assert ensure_identity(tmp_path).certificate == identity.certificate
    (tmp_path / "own" / "key.pem").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        ensure_identity(tmp_path)


def test_the_nodes_of_a_server_are_found(any_line: Line, tmp_path: Path) -> None:
    any_line.start()

    async def work() -> None:
        (plan, _), *_ = plans(config(any_line.url, tmp_path))
        session = await open_session(cast("Settings", plan.connection))
        try:
            found = {one.node: one for one in await session.browse("i=85")}
            assert {POWER, COUNT, RUNNING, ORDER, "i=2253"} <= set(found)
            assert found[POWER] == BrowsedNode(POWER, "Power", is_variable=True)
            assert not found["i=2253"].is_variable
            with pytest.raises(ua.UaStatusCodeError):
                await session.browse("ns=2;s=Ghost")
        finally:
            await session.close()

    run(work)


READS = {
    "GetEndpointsRequest", "CreateSessionRequest", "ActivateSessionRequest", "CloseSessionRequest", "ReadRequest",
    "BrowseRequest", "BrowseNextRequest", "CreateSubscriptionRequest", "CreateMonitoredItemsRequest", "PublishRequest",
}  # fmt: skip


def test_no_service_but_those_that_read_can_leave() -> None:
    """Every request that the protocol stack knows is tried, writes and method calls among them."""
    kinds = [kind for kind in vars(ua).values() if isinstance(kind, type) and kind.__name__.endswith("Request")]
    sent: list[str] = []

    async def work() -> None:
        client = Client("opc.tcp://127.0.0.1:1")

        async def send(request: Any, *_: Any) -> None:
            sent.append(type(request).__name__)

        client.uaclient._send_request = send
        only_reads(client)
        for kind in kinds:
            if kind.__name__ in READS:
                await client.uaclient._send_request(kind())
                continue
            with pytest.raises(ForbiddenRequestError, match=f"{kind.__name__} is no read"):
                await client.uaclient._send_request(kind())

    asyncio.run(work())
    assert {"WriteRequest", "CallRequest", "AddNodesRequest", "HistoryUpdateRequest"} <= {
        kind.__name__ for kind in kinds
    }
    assert set(sent) == READS


def test_a_write_over_a_session_is_refused_before_it_leaves(line: Line) -> None:
    line.start()

    async def work() -> None:
        client = Client(line.url)
        only_reads(client)
        await client.connect()
        try:
            node = client.get_node(POWER)
            with pytest.raises(ForbiddenRequestError):
                await node.write_value(ua.Variant(1.0, ua.VariantType.Double))
            assert await node.read_value() == 10.0
        finally:
            await client.disconnect()

    run(work)


@pytest.mark.parametrize(
    ("connection", "series", "problem"),
    [
        ("security: Basic128Rsa15", "", "Basic256Sha256"),
        ("username: line\n    password: secret\n    security: None", "", "anybody can read"),
        ("user_key_file: key.pem", "", "belong together"),
        ("", '          bad: {quantity: bad, unit: "1", kind: gauge, node: "Power"}', "is no NodeId"),
        (
            "",
            '          bad: {quantity: bad, unit: "1", kind: gauge, function: 3, address: 1, type: uint16}',
            "bad of opc-ua-plc names no node",
        ),
    ],
)
def test_a_gateway_file_that_cannot_work_is_refused(tmp_path: Path, connection: str, series: str, problem: str) -> None:
    with pytest.raises(DocumentError, match=problem):
        config("opc.tcp://127.0.0.1", tmp_path, connection=connection, series=series)


def test_an_address_is_opc_tcp_and_has_the_registered_port(tmp_path: Path) -> None:
    assert config("opc.tcp://plc/x", tmp_path).connections[0].address == "opc.tcp://plc:4840/x"
    with pytest.raises(DocumentError, match=r"write opc\.tcp://host:port/path"):
        config("http://plc", tmp_path)


def test_a_gateway_without_opc_ua_does_not_load_the_stack() -> None:
    program = (
        "import sys, agent.runtime, agent.drivers.modbus_tcp, agent.drivers.opc_ua; sys.exit('asyncua' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert "opc-ua" in drivers.protocols()
