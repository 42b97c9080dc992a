"""MODBUS/TCP Security (MB-TCP-Security V36): Modbus TCP, header and all, inside TLS 1.2 or later."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path

from pymodbus.client import AsyncModbusTcpClient

from agent.clock import Clock
from agent.errors import ConfigurationError
from agent.modbus import Guard, ModbusConnection, ModbusHost
from agent.setting import setting, settings


@settings
class Settings(ModbusHost):
    """A Modbus server with a certificate that ``ca_file`` vouches for.

    ``server_name`` is the name in its certificate, ``host`` when absent. ``certificate_file`` and ``private_key_file``
    are the gateway's own, for servers that ask for them. All files are PEM.
    """

    port: int = setting(default=802, ge=1, le=65_535)
    ca_file: Path
    server_name: str | None = None
    certificate_file: Path | None = None
    private_key_file: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.certificate_file is None) != (self.private_key_file is None):
            raise ValueError("certificate_file and private_key_file belong together; give both or none")


def connect(settings: Settings, clock: Clock) -> ModbusConnection:
    """Return an unopened connection; raise `ConfigurationError` when a certificate or key cannot be used."""
    context = _context(settings)

    def client(guard: Guard) -> AsyncModbusTcpClient:
        made = AsyncModbusTcpClient(
            settings.host,
            port=settings.port,
            timeout=settings.timeout / 1000,
            retries=0,
            reconnect_delay=0,
            trace_pdu=guard,
        )
        # pymodbus's own TLS client takes any piece of an answer for the whole, and knows no server name.
        made.ctx.call_create = partial(
            made.ctx.loop.create_connection,
            made.ctx.handle_new_connection,
            settings.host,
            settings.port,
            ssl=context,
            server_hostname=settings.server_name or settings.host,
        )
        return made

    return ModbusConnection(client, settings, clock)


def _context(settings: Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(settings.ca_file)
    except OSError as error:
        raise ConfigurationError(f"{settings.ca_file}: no CA certificate can be read from it: {error}") from error
    if settings.certificate_file is not None:
        try:
            context.load_cert_chain(settings.certificate_file, settings.private_key_file)
        except OSError as error:
            raise ConfigurationError(
                f"{settings.certificate_file} with {settings.private_key_file}: no certificate with its key: {error}"
            ) from error
    return context
