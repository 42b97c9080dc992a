"""Every Modbus driver against a real server over its real medium: what comes back, and what each failure is called."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import pty
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymodbus.exceptions import NoSuchIdException
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent import drivers
from agent.clock import SystemClock
from agent.config import ConnectionConfig, parse_config
from agent.drivers import Connection
from agent.errors import ConfigurationError
from wire.errors import DocumentError
from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT

WORDS = [0x1234, 0xFFFF, 0, 7]


SILENT = 9


async def _no_answer(*_: object) -> None:
    raise NoSuchIdException


def devices(*units: int) -> list[SimDevice]:
    """Devices with eight coils, sixteen inputs and four registers of each kind, and the one that never answers."""
    silent = SimDevice(id=SILENT, simdata=[SimData(100, values=WORDS, datatype=DataType.REGISTERS)], action=_no_answer)
    return [silent] + [
        SimDevice(
            id=unit,
            simdata=(
                [SimData(16, values=[True, False, True, True, False, False, False, True], datatype=DataType.BITS)],
                [SimData(32, values=[False, True] * 8, datatype=DataType.BITS)],
                [SimData(100, values=WORDS, datatype=DataType.REGISTERS)],
                [SimData(100, values=[1, 2, 3, unit], datatype=DataType.REGISTERS)],
            ),
        )
        for unit in units
    ]


def line(tmp_path: Path, protocol: str, more: str, units: tuple[int, ...] = (1,)) -> ConnectionConfig:
    members = ", ".join(f"{{id: d{unit}, model: generic-modbus-plc, unit: {unit}, interval: 1s}}" for unit in units)
    text = (
        "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n"
        f"  - {{id: line, protocol: {protocol}, {more}, devices: [{members}]}}\n"
    )
    return parse_config(text, "gateway.yaml", tmp_path).connections[0]


@asynccontextmanager
async def connected(settings: ConnectionConfig) -> AsyncIterator[Connection]:
    connection = drivers.connect(settings, SystemClock())
    assert await connection.open()
    try:
        yield connection
    finally:
        connection.close()


@asynccontextmanager
async def serial_server(port: str, *units: int) -> AsyncIterator[None]:
    server = ModbusSerialServer(devices(*units), port=port, baudrate=9600, ignore_missing_devices=True)
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()


@asynccontextmanager
async def network_server(framer: FramerType, *units: int) -> AsyncIterator[int]:
    server = ModbusTcpServer(devices(*units), framer=framer, address=("127.0.0.1", 0), ignore_missing_devices=True)
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


async def check_all_reads(connection: Connection, unit: int = 1) -> None:
    for function, address, expected in (
        (1, 16, [1, 0, 1, 1, 0]),
        (2, 33, [1, 0, 1]),
        (3, 100, WORDS),
        (4, 101, [2, 3, unit]),
    ):
        reading = await connection.read(unit, function, address, len(expected))
        assert (reading.status, list(reading.words or ())) == (STATUS_OK, expected)
    refused = await connection.read(unit, 3, 4000, 2)
    assert (refused.status, refused.words) == (2, None)


def test_modbus_tcp_reads_bits_and_registers(tmp_path: Path) -> None:
    async def run() -> None:
        async with network_server(FramerType.SOCKET, 1, 7) as port:
            settings = line(tmp_path, "modbus-tcp", f"host: 127.0.0.1, port: {port}")
            async with connected(settings) as connection:
                await check_all_reads(connection)
                await check_all_reads(connection, 7)

    asyncio.run(run())


def test_modbus_rtu_over_tcp_reads_bits_and_registers(tmp_path: Path) -> None:
    async def run() -> None:
        async with network_server(FramerType.RTU, 1, 7) as port:
            settings = line(tmp_path, "modbus-rtu-over-tcp", f"host: 127.0.0.1, port: {port}, timeout: 200ms")
            async with connected(settings) as connection:
                await check_all_reads(connection)
                await check_all_reads(connection, 7)
                assert (await connection.read(SILENT, 3, 100, 4)).status == STATUS_TIMEOUT
                assert connection.is_open
                await check_all_reads(connection)

    asyncio.run(run())


def test_modbus_rtu_reads_several_devices_on_one_serial_line(tmp_path: Path, serial_cable: Any) -> None:
    async def run() -> None:
        async with serial_cable() as wire, serial_server(wire.far, 1, 7):
            settings = line(tmp_path, "modbus-rtu", f"serial_port: {wire.near}, timeout: 300ms", (1, 7, SILENT))
            async with connected(settings) as connection:
                await check_all_reads(connection)
                await check_all_reads(connection, 7)
                assert (await connection.read(SILENT, 3, 100, 4)).status == STATUS_TIMEOUT
                await check_all_reads(connection)

    asyncio.run(run())


def test_between_two_frames_on_a_serial_line_there_is_silence(tmp_path: Path, serial_cable: Any) -> None:
    """Specification V1.02, 2.5.1.1: at least 3.5 characters; a device that needs longer gets what is set."""

    async def run() -> None:
        async with serial_cable() as wire, serial_server(wire.far, 1):
            shortest = line(tmp_path, "modbus-rtu", f"serial_port: {wire.near}, baud_rate: 1200")
            longer = line(tmp_path, "modbus-rtu", f"serial_port: {wire.near}, pause_between_requests: 120ms")
            for settings, silence in ((shortest, 3.5 * 10 / 1200), (longer, 0.12)):
                wire.moments.clear()
                async with connected(settings) as connection:
                    for _ in range(4):
                        assert (await connection.read(1, 3, 100, 4)).status == STATUS_OK
                requests, answers = wire.moments[::2], wire.moments[1::2]
                assert all(
                    following - answer >= 0.9 * silence
                    for answer, following in zip(answers, requests[1:], strict=False)
                )

    asyncio.run(run())


def test_noise_on_a_serial_line_is_malformed_and_the_next_read_is_good(tmp_path: Path, serial_cable: Any) -> None:
    async def run() -> None:
        async with serial_cable() as wire, serial_server(wire.far, 1):
            settings = line(tmp_path, "modbus-rtu", f"serial_port: {wire.near}, timeout: 200ms")
            async with connected(settings) as connection:
                for garble in (
                    lambda data: bytes([data[0], data[1], data[2] ^ 1]) + data[3:],
                    lambda data: data[:-1] + bytes([data[-1] ^ 0x40]),
                    lambda data: data[:5],
                    lambda data: b"\x00\xff" + data,
                    lambda _: bytes(range(256)),
                    lambda _: b"\x01\x2b\x0e\x01",
                ):
                    wire.garble = garble
                    reading = await connection.read(1, 3, 100, 4)
                    assert (reading.status, reading.words) == (STATUS_MALFORMED, None)
                    wire.garble = bytes
                    assert (await connection.read(1, 3, 100, 4)).status == STATUS_OK

    asyncio.run(run())


def test_an_adapter_that_hears_itself_is_told_apart_from_the_device(tmp_path: Path, serial_cable: Any) -> None:
    async def run() -> None:
        async with serial_cable() as wire, serial_server(wire.far, 1):
            settings = line(tmp_path, "modbus-rtu", f"serial_port: {wire.near}, timeout: 200ms, local_echo: true")
            wire.garble = lambda data: wire.requests[-1] + data
            async with connected(settings) as connection:
                await check_all_reads(connection)

    asyncio.run(run())


def test_a_serial_adapter_that_is_pulled_out_is_a_connection_that_can_be_opened_again(
    tmp_path: Path, serial_cable: Any
) -> None:
    async def run() -> None:
        port = tmp_path / "ttyUSB0"
        settings = line(tmp_path, "modbus-rtu", f"serial_port: {port}, timeout: 200ms")
        connection = drivers.connect(settings, SystemClock())
        assert not await connection.open()
        assert (await connection.read(1, 3, 100, 4)).status == STATUS_CONNECTION
        master, slave = pty.openpty()
        port.symlink_to(os.ttyname(slave))
        assert await connection.open()
        os.close(slave)
        os.close(master)
        assert (await connection.read(1, 3, 100, 4)).status == STATUS_CONNECTION
        assert not connection.is_open
        port.unlink()
        async with serial_cable() as wire, serial_server(wire.far, 1):
            port.symlink_to(wire.near)
            assert await connection.open()
            assert (await connection.read(1, 3, 100, 4)).status == STATUS_OK
            connection.close()

    asyncio.run(run())


def test_a_serial_port_that_cannot_do_what_is_set_says_so(
    tmp_path: Path, serial_cable: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A pseudo terminal knows no parity; a real adapter may not know a baud rate."""

    async def run() -> None:
        async with serial_cable() as wire:
            settings = line(tmp_path, "modbus-rtu", f"serial_port: {wire.near}, parity: even")
            assert settings.address == f"{wire.near} 9600 8E1"
            assert not await drivers.connect(settings, SystemClock()).open()

    asyncio.run(run())
    assert "line: cannot be opened: " in caplog.text
    assert "Invalid argument" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        bytes([0x2B, 0x0E]),
        bytes([3, 7, 0, 1]),
        bytes([3, 250]),
        bytes([0x83]),
        bytes([0x83, 200]),
        bytes([0x90, 2]),
        bytes([4, 8, *bytes(8)]),
        bytes([0x00, 0xFF]),
    ],
    ids=["other-function", "odd", "too-short", "no-code", "strange-code", "other-exception", "other-table", "zero"],
)
def test_an_answer_that_is_none_is_malformed_at_once_and_the_connection_stays(tmp_path: Path, answer: bytes) -> None:
    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            good = bytes([3, 8, *bytes(8)])
            while request := await reader.read(256):
                pdu = answer if request[8:10] == b"\x00\x00" else good
                writer.write(request[:4] + (len(pdu) + 1).to_bytes(2, "big") + request[6:7] + pdu)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = line(tmp_path, "modbus-tcp", f"host: 127.0.0.1, port: {port}, timeout: 20s")
        async with server, connected(settings) as connection:
            assert (await connection.read(1, 3, 0, 4)).status == STATUS_MALFORMED
            assert connection.is_open
            assert (await connection.read(1, 3, 1, 4)).status == STATUS_OK

    asyncio.run(run())


def test_a_late_answer_is_neither_garbage_nor_the_answer_to_the_next_request(tmp_path: Path) -> None:
    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            late = b""
            while request := await reader.read(256):
                address = request[8:10]
                answer = request[:4] + (7).to_bytes(2, "big") + request[6:7] + bytes([3, 4]) + address + address
                if address == b"\x00\x03":
                    writer.write(answer)
                writer.write(late)
                late = answer
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = line(tmp_path, "modbus-tcp", f"host: 127.0.0.1, port: {port}, timeout: 100ms")
        async with server, connected(settings) as connection:
            assert (await connection.read(1, 3, 1, 2)).status == STATUS_TIMEOUT
            assert (await connection.read(1, 3, 2, 2)).status == STATUS_TIMEOUT
            assert (await connection.read(1, 3, 3, 2)).words == [3, 3]

    asyncio.run(run())


class Authority:
    """A certificate authority of a test, and what it signs."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = self._write(f"{name}.pem", self._sign(self._name, self._key.public_key(), None))

    def certificate(self, name: str, *alternatives: x509.GeneralName) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signed = self._sign(subject, key.public_key(), x509.SubjectAlternativeName(alternatives))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        private = self._directory / f"{name}.key"
        private.write_bytes(secret)
        return self._write(f"{name}.pem", signed), private

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, alternatives: x509.SubjectAlternativeName | None
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=alternatives is None, path_length=None), critical=True)
        )
        if alternatives is not None and list(alternatives):
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self._directory / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


@asynccontextmanager
async def tls_server(certificate: tuple[Path, Path], client_authority: Path | None = None) -> AsyncIterator[int]:
    """A Modbus TCP server behind a TLS end point, as stunnel or a secured gateway would put it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if client_authority is not None:
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_REQUIRED

    async with network_server(FramerType.SOCKET, 1, 7) as plain:

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(3):  # an answer need not arrive in one piece
                writer.write(data)
                await writer.drain()
            writer.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", plain)
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer), return_exceptions=True)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        async with server:
            yield server.sockets[0].getsockname()[1]


LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


def test_modbus_over_tls_reads_bits_and_registers(tmp_path: Path) -> None:
    async def run() -> None:
        authority = Authority(tmp_path, "ca")
        async with tls_server(authority.certificate("meter", LOOPBACK)) as port:
            settings = line(tmp_path, "modbus-tls", f"host: 127.0.0.1, port: {port}, ca_file: ca.pem")
            async with connected(settings) as connection:
                await check_all_reads(connection)
                await check_all_reads(connection, 7)

    asyncio.run(run())


def test_the_name_in_the_certificate_may_differ_from_the_address(tmp_path: Path) -> None:
    async def run() -> None:
        authority = Authority(tmp_path, "ca")
        async with tls_server(authority.certificate("meter", x509.DNSName("meter-1.factory"))) as port:
            here = f"host: 127.0.0.1, port: {port}, ca_file: ca.pem"
            assert not await drivers.connect(line(tmp_path, "modbus-tls", here), SystemClock()).open()
            named = line(tmp_path, "modbus-tls", f"{here}, server_name: meter-1.factory")
            async with connected(named) as connection:
                await check_all_reads(connection)

    asyncio.run(run())


def test_a_server_that_another_authority_vouches_for_is_not_read_and_the_reason_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        Authority(tmp_path, "ca")
        other = Authority(tmp_path, "other")
        async with tls_server(other.certificate("meter", LOOPBACK)) as port:
            settings = line(tmp_path, "modbus-tls", f"host: 127.0.0.1, port: {port}, ca_file: ca.pem")
            connection = drivers.connect(settings, SystemClock())
            for _ in range(3):
                assert not await connection.open()
        (told,) = [record.getMessage() for record in caplog.records if record.name == "agent.modbus"]
        assert told.startswith("line: cannot be opened: ")
        assert "certificate verify failed" in told

    asyncio.run(run())


def test_a_server_that_asks_for_the_gateways_certificate_gets_it(tmp_path: Path) -> None:
    async def run() -> None:
        authority = Authority(tmp_path, "ca")
        authority.certificate("gateway")
        async with tls_server(authority.certificate("meter", LOOPBACK), authority.file) as port:
            here = f"host: 127.0.0.1, port: {port}, ca_file: ca.pem, timeout: 1s"
            own = "certificate_file: gateway.pem, private_key_file: gateway.key"
            async with connected(line(tmp_path, "modbus-tls", f"{here}, {own}")) as connection:
                await check_all_reads(connection)
            stranger = drivers.connect(line(tmp_path, "modbus-tls", here), SystemClock())
            if await stranger.open():  # with TLS 1.3 the client only learns later that it was refused
                assert (await stranger.read(1, 3, 100, 4)).status == STATUS_CONNECTION
            stranger.close()

    asyncio.run(run())


def test_a_certificate_file_that_is_none_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    settings = line(tmp_path, "modbus-tls", "host: 127.0.0.1, ca_file: ca.pem")

    async def run() -> None:
        with pytest.raises(ConfigurationError, match=r"ca\.pem: no CA certificate can be read"):
            drivers.connect(settings, SystemClock())

    asyncio.run(run())


@pytest.mark.parametrize(
    ("protocol", "more", "complaint"),
    [
        ("modbus-rtu", "serial_port: /dev/ttyUSB0, parity: strange", "connections[0].parity: "),
        ("modbus-rtu", "serial_prot: /dev/ttyUSB0", "unknown key; did you mean 'serial_port'?"),
        ("modbus-tcp", "serial_port: /dev/ttyUSB0", "connections[0].host: is missing"),
        ("modbus-tls", "host: h, ca_file: ca.pem, certificate_file: c", "belong together"),
        ("modbus-rut", "serial_port: /dev/ttyUSB0", "no such protocol; did you mean 'modbus-rtu'?"),
    ],
)
def test_a_wrong_connection_is_explained(tmp_path: Path, protocol: str, more: str, complaint: str) -> None:
    with pytest.raises(DocumentError) as caught:
        line(tmp_path, protocol, more)
    assert complaint in str(caught.value)


def test_a_unit_that_cannot_answer_on_a_serial_line_is_named(tmp_path: Path) -> None:
    for unit in (0, 248):
        with pytest.raises(DocumentError, match=f"device d{unit}: on a serial line units are 1 to 247"):
            line(tmp_path, "modbus-rtu", "serial_port: /dev/ttyUSB0", (unit,))


def test_one_serial_port_belongs_to_one_connection(tmp_path: Path) -> None:
    """thingsboard-gateway#905, device-modbus-go#685: two masters on one bus."""
    devices_of = "devices: [{{id: {}, model: generic-modbus-plc, interval: 1s}}]"
    lines = [
        f"  - {{id: {name}, protocol: modbus-rtu, serial_port: /dev/ttyS1, {devices_of.format(name)}}}\n"
        for name in ("a", "b")
    ]
    text = "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n" + "".join(lines)
    with pytest.raises(DocumentError) as caught:
        parse_config(text, "gateway.yaml", tmp_path)
    assert "gateway.yaml:6: connections[1]: /dev/ttyS1 is already used by the connection on line 5" in str(caught.value)
