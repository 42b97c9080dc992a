"""What no single field of a gateway file can see: ids used twice, series that a model does not have."""

from __future__ import annotations

from collections.abc import Iterator

from agent.config import BrokerConfig, DeviceConfig, GatewayConfig
from agent.models import StoredRegisters, load_template
from wire.document import Document, problem, read_document, validate_document
from wire.errors import DocumentError, suggestion
from wire.limits import MAXIMUM_DEVICES, MAXIMUM_SERIES


def checked(text: str, source: str) -> GatewayConfig:
    """Return what the text of a gateway file says, with its paths as they are written.

    Raises `DocumentError` under the name ``source``, naming every problem with its line.
    """
    document = read_document(text, source)
    config = validate_document(GatewayConfig, document)
    if problems := list(_problems(document, config)):
        raise DocumentError(problems)
    return config


def _problems(document: Document, config: GatewayConfig) -> Iterator[str]:
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
