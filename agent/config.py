"""The gateway file: one YAML document that says what a gateway reads, how often, and where it sends it.

See ``gateway_configs/example.yaml`` for a file with every key explained.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from agent import drivers
from agent.errors import ConfigurationError
from agent.models import Limits, Octets, Ratio, SeriesKind, SeriesModel, load_template, model_names
from agent.setting import Checked, FileSettings, Kind, Stated, Within, Written, setting, settings
from wire.errors import KeyFormatError, fault_text, suggestion
from wire.keys import VerifyingKey
from wire.limits import MAXIMUM_ANSWER_BYTES, MAXIMUM_REGISTERS, MAXIMUM_SERIES, MAXIMUM_WINDOW_RECORDS
from wire.topics import valid_identifier
from wire.words import WordOrder, WordType

_DURATION_UNITS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE_UNITS = {"B": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
MAXIMUM_UPLINKS = 3
_MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}
MAXIMUM_SPARKPLUG_NAME_BYTES = 128
ENROLMENT_FOLDER = "enrolment"
"""Where in the data directory the keys and certificates of enrolled uplinks lie."""

MINIMUM_SPOOL_BYTES = 4 * 2**20
"""Below this the write-ahead log alone would eat the spool."""

_DAY_MS = 86_400_000


def parse_duration(value: Any) -> int:
    """Return milliseconds for ``10s``, ``5min``, ``500ms``, ``1h`` or ``1d``; raise `ValueError` for anything else."""
    return _quantity(value, _DURATION_UNITS, "a duration such as 10s, 5min or 1h")


def parse_size(value: Any) -> int:
    """Return bytes for ``64MiB``, ``500kB`` and the like; raise `ValueError` for anything else."""
    return _quantity(value, _SIZE_UNITS, "a size such as 64MiB")


def _quantity(value: Any, units: dict[str, int], wanted: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", value.strip()) if isinstance(value, str) else None
    if match is None or match.group(2) not in units:
        raise ValueError(f"write {wanted}, with one of the units {', '.join(units)}")
    result = float(match.group(1)) * units[match.group(2)]
    if result != int(result) or result <= 0:
        raise ValueError(f"write {wanted}, more than nothing and a whole number of {next(iter(units))}")
    return int(result)


Duration = Annotated[int, Written(parse_duration)]
Size = Annotated[int, Written(parse_size)]


def _identifier(value: Any) -> Any:
    if isinstance(value, str) and not valid_identifier(value):
        raise ValueError("use 1 to 64 of a-z, 0-9, '-' and '_', beginning and ending with a letter or digit")
    return value


Identifier = Annotated[str, Written(_identifier)]


def _version(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


def _broker_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in _MQTT_PORTS:
        raise ValueError("the address of the broker begins with mqtts://, or with mqtt:// where nobody listens in")
    if not parts.hostname or parts.path not in ("", "/") or parts.username:
        raise ValueError("write mqtts://host:port; user name and password are keys of their own")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError("the port must be a number from 1 to 65535") from error
    return value


def _digest(value: str) -> str:
    digest = value.replace(":", "").lower()
    if re.fullmatch("[0-9a-f]{64}", digest) is None:
        raise ValueError("write the SHA-256 of the certificate, 64 hexadecimal digits, colons allowed")
    return digest


@settings
class BrokerConfig(FileSettings):
    """An MQTT broker, and who the gateway is there.

    ``version`` is that of MQTT; ``auto`` is 5, and 3.1.1 with a broker that does not know 5. With ``mqtts://`` the
    broker must prove itself: by the authorities of ``ca_file`` and no others, where it is given, and by the SHA-256 of
    its certificate, where ``certificate_sha256`` is.
    """

    url: Annotated[str, Checked(_broker_url)]
    version: Annotated[Literal["auto", "5", "3.1.1"], Written(_version)] = "auto"
    username: str | None = None
    password: str | None = setting(default=None, repr=False)
    ca_file: Path | None = None
    certificate_sha256: Annotated[str, Checked(_digest)] | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    keepalive: Duration = setting(default=30_000, ge=5_000, le=65_535_000)

    @property
    def host(self) -> str:
        """The broker's host name."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's port, 1883 when the address names none, 8883 with TLS."""
        parts = urlsplit(self.url)
        return parts.port or _MQTT_PORTS[parts.scheme]

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.url).scheme == "mqtts"


def _public_key(value: str) -> str:
    try:
        VerifyingKey.from_text(value)
    except KeyFormatError as error:
        raise ValueError(str(error)) from error
    return value


@settings
class UplinkConfig(BrokerConfig):
    """Where records go: an MQTT broker, and the key with which the server behind it acknowledges.

    ``id`` tells several uplinks apart. ``bytes_a_second`` bounds the pace over a minute's time.
    """

    id: Identifier = "server"
    server_key: Annotated[str, Checked(_public_key)]
    window_records: int = setting(default=256, ge=1, le=MAXIMUM_WINDOW_RECORDS)
    window_bytes: Size = 1_048_576
    bytes_a_second: Size | None = None

    @property
    def key(self) -> VerifyingKey:
        """The key that verifies the server's acknowledgements."""
        return VerifyingKey.from_text(self.server_key)


def _sparkplug_name(value: str) -> str:
    if not 1 <= len(value.encode()) <= MAXIMUM_SPARKPLUG_NAME_BYTES or any(c in "+/#" or ord(c) < 0x20 for c in value):
        raise ValueError(
            f"write 1 to {MAXIMUM_SPARKPLUG_NAME_BYTES} bytes of text without '+', '/', '#' and control codes"
        )
    return value


SparkplugName = Annotated[str, Checked(_sparkplug_name)]
"""A part of a topic (Sparkplug 3.0, tck-id-topic-structure-namespace-valid-group-id and its likes)."""


@settings
class SparkplugConfig(BrokerConfig):
    """The enterprise's own SCADA: a broker to which current values go as Sparkplug B messages.

    ``edge_node_id`` is the gateway's id where it is absent. With ``primary_host_id`` nothing is told unless that host
    application says that it is there. ``interval`` is how often what has changed is sent.
    """

    group_id: SparkplugName
    edge_node_id: SparkplugName | None = None
    primary_host_id: SparkplugName | None = None
    interval: Duration = setting(default=1_000, ge=100, le=3_600_000, description="How often what has changed is sent.")


@settings
class LimitsOverride(FileSettings):
    """Limits of one device that differ from those of its model; see `agent.models.Limits`."""

    maximum_registers: int | None = setting(default=None, ge=1, le=MAXIMUM_REGISTERS)
    maximum_gap: int | None = setting(default=None, ge=0, le=MAXIMUM_REGISTERS)
    even_addresses: bool | None = None


@settings
class SeriesOverride(FileSettings):
    """Fields of one series that differ from those of the model; see `agent.models.SeriesModel`."""

    quantity: str | None = None
    unit: str | None = None
    kind: SeriesKind | None = None
    function: Literal[1, 2, 3, 4] | None = None
    address: int | None = setting(default=None, ge=0, le=0xFFFF)
    request: Octets | None = None
    start: int | None = setting(default=None, ge=0, lt=MAXIMUM_ANSWER_BYTES)
    length: int | None = setting(default=None, ge=0, le=MAXIMUM_ANSWER_BYTES)
    bit: int | None = setting(default=None, ge=0, le=15)
    node: str | None = None
    type: WordType | None = None
    order: WordOrder | None = None
    scale: float | None = None
    offset: float | None = None
    invalid: tuple[Annotated[int, Within(ge=0)], ...] | None = None
    modulus: float | None = setting(default=None, gt=0)
    maximum_rate: float | None = setting(default=None, gt=0)
    ratio: Ratio | None = None


@lru_cache(maxsize=MAXIMUM_SERIES)
def _held_once(series: SeriesModel) -> SeriesModel:
    return series


def _alike_are_one(value: dict[str, SeriesModel]) -> dict[str, SeriesModel]:
    """Devices alike (in YAML an anchor and its aliases) say the same again and again: it is held once."""
    return {name: _held_once(series) for name, series in value.items()}


def _known_model(value: str) -> str:
    if value not in model_names():
        raise ValueError(f"no such device model{suggestion(value, list(model_names()))}")
    return value


def _poll_interval(value: int) -> int:
    if _DAY_MS % value:
        raise ValueError("a poll interval must divide a day without remainder, so that polls keep to the wall clock")
    return value


@settings
class DeviceConfig(FileSettings):
    """One device on a connection.

    ``series`` names those of the model that are polled (all, when absent); ``overrides`` changes fields of single
    series; ``extra_series`` adds series that the model does not have. What the model has to be read daily (transformer
    ratios, settings, stored readings) is read besides.
    """

    id: Identifier
    model: Annotated[str, Checked(_known_model)]
    unit: int = setting(default=1, ge=0, le=255)
    address: str = setting(
        default="", description="Of meters with a number instead of a unit (DL/T 645, CJ/T 188): the number, quoted."
    )
    interval: Annotated[Duration, Checked(_poll_interval)] = setting(ge=100, le=_DAY_MS)
    serial_number: str = ""
    ct_ratio: Annotated[float | None, Stated()] = setting(default=None, gt=0)
    pt_ratio: Annotated[float | None, Stated()] = setting(default=None, gt=0)
    maximum_power: float | None = setting(
        default=None,
        gt=0,
        description="Largest power behind the meter, kW: no energy counter is believed to rise faster.",
    )
    history: bool = setting(
        default=True, description="Read what the meter stored before (once after start, then daily), where it does."
    )
    limits: LimitsOverride = LimitsOverride()
    series: tuple[str, ...] | None = None
    overrides: dict[str, SeriesOverride] = setting(default_factory=dict)
    extra_series: Annotated[dict[Identifier, SeriesModel], Checked(_alike_are_one)] = setting(default_factory=dict)

    @property
    def current_ratio(self) -> float:
        """The ratio of the current transformers, 1 where it is not stated."""
        return 1.0 if self.ct_ratio is None else self.ct_ratio

    @property
    def voltage_ratio(self) -> float:
        """The ratio of the voltage transformers, 1 where it is not stated."""
        return 1.0 if self.pt_ratio is None else self.pt_ratio

    def effective_limits(self) -> Limits:
        """Return the limits of the model with this device's changes."""
        return replace(load_template(self.model).model.limits, **_changes(self.limits))

    def effective_series(self) -> dict[str, SeriesModel]:
        """Return every series that is read, by name, with this device's changes.

        Raises `ValueError` when a change contradicts the rest of the series.
        """
        model = load_template(self.model).model
        names = self.series if self.series is not None else tuple(model.series)
        selected = {name: self._changed(name, model.series[name]) for name in names}
        return selected | self.extra_series

    def daily_series(self) -> dict[str, SeriesModel]:
        """Return what is read once after start and then daily: ratios and settings, and the newest stored readings."""
        model = load_template(self.model).model
        found = model.watched()
        for stored in model.stored().values() if self.history else ():
            found |= stored
        return {name: one for name, one in found.items() if name not in self.extra_series}

    def _changed(self, name: str, series: SeriesModel) -> SeriesModel:
        change = self.overrides.get(name)
        return series if change is None else replace(series, **_changes(change))


def _changes(override: LimitsOverride | SeriesOverride) -> dict[str, Any]:
    stated = {field.name: getattr(override, field.name) for field in fields(override)}
    return {name: value for name, value in stated.items() if value is not None}


def _known_protocol(value: str) -> str:
    known = drivers.protocols()
    if value not in known:
        raise ValueError(f"no such protocol{suggestion(value, list(known))}")
    return value


@settings
class ConnectionConfig(FileSettings):
    """One physical way to devices: a network connection or a serial bus. One request at a time travels on it.

    What every protocol has; where the devices are is said by the fields that each protocol adds (``Settings`` in its
    module of `agent.drivers`).
    """

    id: Identifier
    protocol: Annotated[str, Checked(_known_protocol)]
    timeout: Duration = setting(default=3_000, ge=10, le=60_000)
    devices: tuple[DeviceConfig, ...]

    @property
    def address(self) -> str:
        """Where the devices are, for people: a host and port, a serial port."""
        return self.id

    @property
    def sends_every_ms(self) -> int | None:
        """How often devices send what has changed, by themselves; ``None`` when they are polled."""
        return None

    @property
    def exclusive(self) -> str | None:
        """The path of what only one connection can hold at a time, a serial port; ``None`` when there is no such."""
        return None


def of_its_protocol(written: dict[str, Any]) -> type[ConnectionConfig] | None:
    """Return what the protocol makes of a connection; only the protocols that are named are imported."""
    protocol = written.get("protocol")
    return drivers.settings(protocol) if protocol in drivers.protocols() else None


AnyConnection = Annotated[ConnectionConfig, Kind(of_its_protocol)]


def _time_zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("no such time zone; use an IANA name such as Asia/Shanghai") from error
    return value


def _flush_interval(value: int) -> int:
    if _DAY_MS % value:
        raise ValueError("the flush interval must divide a day without remainder")
    return value


@settings
class GatewayConfig(FileSettings):
    """A whole gateway file. Paths are absolute once read by `load_config` or `parse_config`."""

    gateway: Identifier
    timezone: Annotated[str, Checked(_time_zone)] = "Asia/Shanghai"
    key_file: Path
    data_directory: Path
    flush: Annotated[Duration, Checked(_flush_interval)] = setting(default=10_000, ge=1_000, le=_DAY_MS)
    spool_bytes: Size = setting(default=256 * 2**20, ge=MINIMUM_SPOOL_BYTES)
    head_interval: Duration = setting(default=3_600_000, ge=1_000)
    health_interval: Duration = setting(default=60_000, ge=1_000)
    uplink: UplinkConfig | None = None
    uplinks: tuple[UplinkConfig, ...] = setting(default=(), max_length=MAXIMUM_UPLINKS)
    sparkplug: SparkplugConfig | None = None
    connections: tuple[AnyConnection, ...]

    @property
    def all_uplinks(self) -> tuple[UplinkConfig, ...]:
        """The uplinks, however they are written."""
        return self.uplinks if self.uplink is None else (self.uplink,)

    def placed_in(self, directory: Path) -> Self:
        """Return the configuration with the relative paths in it taken as relative to ``directory``."""
        return replace(
            super().placed_in(directory),
            uplink=None if self.uplink is None else self.uplink.placed_in(directory),
            uplinks=tuple(uplink.placed_in(directory) for uplink in self.uplinks),
            sparkplug=None if self.sparkplug is None else self.sparkplug.placed_in(directory),
            connections=tuple(connection.placed_in(directory) for connection in self.connections),
        )

    def devices(self) -> Iterator[tuple[ConnectionConfig, DeviceConfig]]:
        """Yield every device with its connection, in the order of the file: the order of the descriptor."""
        for connection in self.connections:
            for device in connection.devices:
                yield connection, device


def load_config(path: Path) -> GatewayConfig:
    """Read and check a gateway file; relative paths in it are relative to the file.

    Raises `ConfigurationError` when the file cannot be read, `DocumentError` naming every problem with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {fault_text(error)}") from error
    return parse_config(text, str(path), path.resolve().parent)


def parse_config(text: str, source: str, directory: Path) -> GatewayConfig:
    """Check the text of a gateway file; relative paths in it are relative to ``directory``.

    Raises `DocumentError` naming every problem with its line.
    """
    from agent.gateway_rules import checked  # noqa: PLC0415 - a running agent has its file read by another process

    return checked(text, source).placed_in(directory)
