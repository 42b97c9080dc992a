"""The gateway file: one YAML document that says what a gateway reads, how often, and where it sends it.

See ``gateway_configs/example.yaml`` for a file with every key explained.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from agent import drivers
from agent.errors import ConfigurationError
from agent.models import (
    Limits,
    Octets,
    Ratio,
    SeriesKind,
    SeriesModel,
    StoredRegisters,
    load_template,
    model_names,
)
from wire.document import Document, DocumentModel, problem, read_document, suggestion, validate_document
from wire.errors import DocumentError, KeyFormatError, fault_text
from wire.keys import VerifyingKey
from wire.limits import (
    MAXIMUM_ANSWER_BYTES,
    MAXIMUM_DEVICES,
    MAXIMUM_REGISTERS,
    MAXIMUM_SERIES,
    MAXIMUM_WINDOW_RECORDS,
)
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
_POLL_GRID = "a poll interval must divide a day without remainder, so that polls keep to the wall clock"


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


Duration = Annotated[int, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]


def _identifier(value: str) -> str:
    if not valid_identifier(value):
        raise ValueError("use 1 to 64 of a-z, 0-9, '-' and '_', beginning and ending with a letter or digit")
    return value


Identifier = Annotated[str, BeforeValidator(lambda value: _identifier(value) if isinstance(value, str) else value)]


class BrokerConfig(DocumentModel):
    """An MQTT broker, and who the gateway is there.

    ``version`` is that of MQTT; ``auto`` is 5, and 3.1.1 with a broker that does not know 5. With ``mqtts://`` the
    broker must prove itself: by the authorities of ``ca_file`` and no others, where it is given, and by the SHA-256 of
    its certificate, where ``certificate_sha256`` is.
    """

    url: str
    version: Literal["auto", "5", "3.1.1"] = "auto"
    username: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None
    ca_file: Path | None = None
    certificate_sha256: str | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    keepalive: Annotated[Duration, Field(ge=5_000, le=65_535_000)] = 30_000

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @field_validator("url")
    @classmethod
    def _url_is_mqtt(cls, value: str) -> str:
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

    @field_validator("certificate_sha256")
    @classmethod
    def _digest_is_digest(cls, value: str | None) -> str | None:
        digest = None if value is None else value.replace(":", "").lower()
        if digest is not None and re.fullmatch("[0-9a-f]{64}", digest) is None:
            raise ValueError("write the SHA-256 of the certificate, 64 hexadecimal digits, colons allowed")
        return digest

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

    def placed_in(self, directory: Path) -> Self:
        """Return the broker with the relative paths in it taken as relative to ``directory``."""
        paths = {name: getattr(self, name) for name in ("ca_file", "client_certificate", "client_key")}
        return self.model_copy(update={name: directory / path for name, path in paths.items() if path is not None})


class UplinkConfig(BrokerConfig):
    """Where records go: an MQTT broker, and the key with which the server behind it acknowledges.

    ``id`` tells several uplinks apart. ``bytes_a_second`` bounds the pace over a minute's time.
    """

    id: Identifier = "server"
    server_key: str
    window_records: Annotated[int, Field(ge=1, le=MAXIMUM_WINDOW_RECORDS)] = 256
    window_bytes: Size = 1_048_576
    bytes_a_second: Size | None = None

    @field_validator("server_key")
    @classmethod
    def _server_key_is_key(cls, value: str) -> str:
        try:
            VerifyingKey.from_text(value)
        except KeyFormatError as error:
            raise ValueError(str(error)) from error
        return value

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


SparkplugName = Annotated[str, AfterValidator(_sparkplug_name)]
"""A part of a topic (Sparkplug 3.0, tck-id-topic-structure-namespace-valid-group-id and its likes)."""


class SparkplugConfig(BrokerConfig):
    """The enterprise's own SCADA: a broker to which current values go as Sparkplug B messages.

    ``edge_node_id`` is the gateway's id where it is absent. With ``primary_host_id`` nothing is told unless that host
    application says that it is there. ``interval`` is how often what has changed is sent.
    """

    group_id: SparkplugName
    edge_node_id: SparkplugName | None = None
    primary_host_id: SparkplugName | None = None
    interval: Annotated[Duration, Field(ge=100, le=3_600_000, description="How often what has changed is sent.")] = (
        1_000
    )


class LimitsOverride(DocumentModel):
    """Limits of one device that differ from those of its model; see `agent.models.Limits`."""

    maximum_registers: Annotated[int, Field(ge=1, le=MAXIMUM_REGISTERS)] | None = None
    maximum_gap: Annotated[int, Field(ge=0, le=MAXIMUM_REGISTERS)] | None = None
    even_addresses: bool | None = None


class SeriesOverride(DocumentModel):
    """Fields of one series that differ from those of the model; see `agent.models.SeriesModel`."""

    quantity: str | None = None
    unit: str | None = None
    kind: SeriesKind | None = None
    function: Literal[1, 2, 3, 4] | None = None
    address: Annotated[int, Field(ge=0, le=0xFFFF)] | None = None
    request: Octets | None = None
    start: Annotated[int, Field(ge=0, lt=MAXIMUM_ANSWER_BYTES)] | None = None
    length: Annotated[int, Field(ge=0, le=MAXIMUM_ANSWER_BYTES)] | None = None
    bit: Annotated[int, Field(ge=0, le=15)] | None = None
    node: str | None = None
    type: WordType | None = None
    order: WordOrder | None = None
    scale: float | None = None
    offset: float | None = None
    invalid: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    modulus: Annotated[float, Field(gt=0)] | None = None
    maximum_rate: Annotated[float, Field(gt=0)] | None = None
    ratio: Ratio | None = None


@lru_cache(maxsize=MAXIMUM_SERIES)
def _held_once(series: SeriesModel) -> SeriesModel:
    return series


class DeviceConfig(DocumentModel):
    """One device on a connection.

    ``series`` names those of the model that are polled (all, when absent); ``overrides`` changes fields of single
    series; ``extra_series`` adds series that the model does not have. What the model has to be read daily (transformer
    ratios, settings, stored readings) is read besides.
    """

    id: Identifier
    model: str
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    address: Annotated[
        str, Field(description="Of meters with a number instead of a unit (DL/T 645, CJ/T 188): the number, quoted.")
    ] = ""
    interval: Annotated[Duration, Field(ge=100, le=_DAY_MS)]
    serial_number: str = ""
    ct_ratio: Annotated[float, Field(gt=0)] = 1.0
    pt_ratio: Annotated[float, Field(gt=0)] = 1.0
    maximum_power: Annotated[
        float | None,
        Field(gt=0, description="Largest power behind the meter, kW: no energy counter is believed to rise faster."),
    ] = None
    history: Annotated[
        bool, Field(description="Read what the meter stored before (once after start, then daily), where it does.")
    ] = True
    limits: LimitsOverride = LimitsOverride()
    series: tuple[str, ...] | None = None
    overrides: dict[str, SeriesOverride] = Field(default_factory=dict)
    extra_series: dict[Identifier, SeriesModel] = Field(default_factory=dict)

    @field_validator("model")
    @classmethod
    def _model_exists(cls, value: str) -> str:
        if value not in model_names():
            raise ValueError(f"no such device model{suggestion(value, list(model_names()))}")
        return value

    @field_validator("interval")
    @classmethod
    def _interval_divides_day(cls, value: int) -> int:
        if _DAY_MS % value:
            raise ValueError(_POLL_GRID)
        return value

    @field_validator("extra_series")
    @classmethod
    def _alike_are_one(cls, value: dict[str, SeriesModel]) -> dict[str, SeriesModel]:
        """Devices alike (in YAML an anchor and its aliases) say the same again and again: it is held once."""
        return {name: _held_once(series) for name, series in value.items()}

    def effective_limits(self) -> Limits:
        """Return the limits of the model with this device's changes."""
        changes = self.limits.model_dump(exclude_none=True)
        return load_template(self.model).model.limits.model_copy(update=changes)

    def effective_series(self) -> dict[str, SeriesModel]:
        """Return every series that is read, by name, with this device's changes.

        Raises `ValueError` (pydantic's) when a change contradicts the rest of the series.
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
        if change is None:
            return series
        return SeriesModel.model_validate(series.model_dump() | change.model_dump(exclude_none=True))


class ConnectionConfig(DocumentModel):
    """One physical way to devices: a network connection or a serial bus. One request at a time travels on it.

    What every protocol has; where the devices are is said by the fields that each protocol adds (``Settings`` in its
    module of `agent.drivers`).
    """

    id: Identifier
    protocol: str
    timeout: Annotated[Duration, Field(ge=10, le=60_000)] = 3_000
    devices: tuple[DeviceConfig, ...]

    @field_validator("protocol")
    @classmethod
    def _protocol_exists(cls, value: str) -> str:
        known = drivers.protocols()
        if value not in known:
            raise ValueError(f"no such protocol{suggestion(value, list(known))}")
        return value

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

    def placed_in(self, directory: Path) -> Self:  # noqa: ARG002 - this class has no paths, some protocols have
        """Return the connection with the relative paths in it taken as relative to ``directory``."""
        return self


def of_its_protocol(value: Any, handler: ValidatorFunctionWrapHandler) -> ConnectionConfig:
    """Validate a connection as what its protocol makes of it; only the protocols that are named are imported."""
    if isinstance(value, dict):
        if value.get("protocol") in drivers.protocols():
            return drivers.settings(value["protocol"]).model_validate(value)
        # Which further keys are right depends on the protocol: nothing can be said about them.
        value = {key: item for key, item in value.items() if key in ConnectionConfig.model_fields}
    connection: ConnectionConfig = handler(value)
    return connection


AnyConnection = Annotated[ConnectionConfig, WrapValidator(of_its_protocol)]


class GatewayConfig(DocumentModel):
    """A whole gateway file. Paths are absolute once read by `load_config` or `parse_config`."""

    gateway: Identifier
    timezone: str = "Asia/Shanghai"
    key_file: Path
    data_directory: Path
    flush: Annotated[Duration, Field(ge=1_000, le=_DAY_MS)] = 10_000
    spool_bytes: Annotated[Size, Field(ge=MINIMUM_SPOOL_BYTES)] = 256 * 2**20
    head_interval: Annotated[Duration, Field(ge=1_000)] = 3_600_000
    health_interval: Annotated[Duration, Field(ge=1_000)] = 60_000
    uplink: UplinkConfig | None = None
    uplinks: Annotated[tuple[UplinkConfig, ...], Field(max_length=MAXIMUM_UPLINKS)] = ()
    sparkplug: SparkplugConfig | None = None
    connections: tuple[AnyConnection, ...]

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("no such time zone; use an IANA name such as Asia/Shanghai") from error
        return value

    @field_validator("flush")
    @classmethod
    def _flush_divides_day(cls, value: int) -> int:
        if _DAY_MS % value:
            raise ValueError("the flush interval must divide a day without remainder")
        return value

    @property
    def all_uplinks(self) -> tuple[UplinkConfig, ...]:
        """The uplinks, however they are written."""
        return self.uplinks if self.uplink is None else (self.uplink,)

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
    """Check the text of a gateway file; relative paths in it are relative to ``directory``."""
    document = read_document(text, source)
    config = validate_document(GatewayConfig, document)
    if problems := list(_problems(document, config)):
        raise DocumentError(problems)
    return config.model_copy(
        update={
            "key_file": directory / config.key_file,
            "data_directory": directory / config.data_directory,
            "uplink": None if config.uplink is None else config.uplink.placed_in(directory),
            "uplinks": tuple(uplink.placed_in(directory) for uplink in config.uplinks),
            "sparkplug": None if config.sparkplug is None else config.sparkplug.placed_in(directory),
            "connections": tuple(connection.placed_in(directory) for connection in config.connections),
        }
    )


def _problems(document: Document, config: GatewayConfig) -> Iterator[str]:
    """Find what no single field can see: ids used twice, series that the model does not have."""
    yield from _uplink_problems(document, config)
    connections: dict[str, int] = {}
    buses: dict[str, int] = {}
    devices: dict[str, int] = {}
    if not config.connections:
        yield problem(document, ("connections",), "is empty; name at least one connection")
    for c, connection in enumerate(config.connections):
        where: tuple[str | int, ...] = ("connections", c)
        yield from _duplicate(document, (*where, "id"), connection.id, connections)
        if (bus := connection.exclusive) is not None:
            if bus in buses:
                text = f"{bus} is already used by the connection on line {buses[bus]}; name all its devices there"
                yield problem(document, where, text)
            buses.setdefault(bus, document.line_of(where))
        if not connection.devices:
            yield problem(document, (*where, "devices"), "is empty; name at least one device")
        for d, device in enumerate(connection.devices):
            here = (*where, "devices", d)
            yield from _duplicate(document, (*here, "id"), device.id, devices)
            yield from _series_problems(document, here, device)
            yield from _history_problems(document, here, device)
    if len(devices) > MAXIMUM_DEVICES:
        yield problem(document, ("connections",), f"{len(devices)} devices; a gateway takes {MAXIMUM_DEVICES}")


def _uplink_problems(document: Document, config: GatewayConfig) -> Iterator[str]:
    if config.uplink is not None and config.uplinks:
        yield problem(document, ("uplink",), "stands beside uplinks; write it as one of them")
    seen: dict[str, int] = {}
    places: list[tuple[str | int, ...]] = [("uplink",)] if config.uplink is not None else []
    places = places or [("uplinks", index) for index in range(len(config.uplinks))]
    for where, uplink in zip(places, config.all_uplinks, strict=True):
        yield from _duplicate(document, (*where, "id"), uplink.id, seen)
        yield from _broker_problems(document, where, uplink)
    if config.sparkplug is not None:
        yield from _broker_problems(document, ("sparkplug",), config.sparkplug)


def _broker_problems(document: Document, where: tuple[str | int, ...], broker: BrokerConfig) -> Iterator[str]:
    if not broker.tls and (broker.ca_file or broker.certificate_sha256 or broker.client_certificate):
        yield problem(document, (*where, "url"), "has certificates beside it but no encryption; write mqtts://")
    if (broker.client_certificate is None) != (broker.client_key is None):
        yield problem(document, where, "client_certificate and client_key belong together; write both or none")


def _duplicate(document: Document, where: tuple[str | int, ...], name: str, seen: dict[str, int]) -> Iterator[str]:
    if name in seen:
        yield problem(document, where, f"'{name}' is used twice, first on line {seen[name]}; every id must be unique")
    seen.setdefault(name, document.line_of(where))


def _history_problems(document: Document, here: tuple[str | int, ...], device: DeviceConfig) -> Iterator[str]:
    limit = device.effective_limits().maximum_registers
    for name, stored in load_template(device.model).model.history.items() if device.history else ():
        if isinstance(stored, StoredRegisters) and stored.registers > limit:
            text = f"{name} readings have {stored.registers} registers an entry; allow as many, or write history: false"
            yield problem(document, (*here, "limits", "maximum_registers"), text)


def _series_problems(document: Document, here: tuple[str | int, ...], device: DeviceConfig) -> Iterator[str]:
    known = list(load_template(device.model).model.series)
    found = False
    for index, name in enumerate(device.series or ()):
        if name not in known:
            found = True
            yield problem(
                document, (*here, "series", index), f"{device.model} has no series '{name}'{suggestion(name, known)}"
            )
        elif name in (device.series or ())[:index]:
            yield problem(document, (*here, "series", index), f"'{name}' is named twice; keep one")
    selected = known if device.series is None else [name for name in device.series if name in known]
    for name in device.overrides:
        if name not in selected:
            found = True
            yield problem(document, (*here, "overrides", name), f"no such series is read{suggestion(name, selected)}")
    for name in device.extra_series:
        if name in selected:
            yield problem(
                document, (*here, "extra_series", name), f"{device.model} has this series; change it in overrides"
            )
    if found:
        return
    try:
        series = device.effective_series()
    except ValueError as error:
        yield problem(document, (*here, "overrides"), f"does not fit the model: {error}")
        return
    if not series:
        yield problem(document, here, "reads no series; name at least one")
    if len(series) > MAXIMUM_SERIES:
        yield problem(document, here, f"{len(series)} series; a device takes {MAXIMUM_SERIES}")
