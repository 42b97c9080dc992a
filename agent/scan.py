"""Finds Modbus units that answer, and which device models fit what they answer. Reads only, as all of the agent does.

A unit is there when it answers anything to one small read, an exception too. A model fits when the unit has the
registers that identify it (voltages and frequency) and what stands in them is a voltage and a frequency of a power
network; then everything of the model is read once and checked. Several models may fit: many meters share their layout,
and only the name plate decides. What is reported is what was read.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from agent import drivers
from agent.clock import Clock, SystemClock
from agent.config import ConnectionConfig, DeviceConfig, GatewayConfig
from agent.description import describe
from agent.devices import status_text
from agent.drivers import Connection
from agent.errors import ConfigurationError
from agent.models import DeviceModel, load_template, model_names
from agent.plain_data import to_plain
from agent.planner import Value, plan
from agent.plausibility import FREQUENCIES, Check, Outcome, checks, plausible_voltage
from agent.readout import DeviceReadout, read_device
from wire.document import validated
from wire.frame import STATUS_CONNECTION, STATUS_OK, STATUS_TIMEOUT

MAXIMUM_HOSTS = 4096
HOSTS_AT_A_TIME = 32

_ABSENT = frozenset({STATUS_TIMEOUT, STATUS_CONNECTION, 10, 11})
_ALIKE = 8
"""A host that answers to so many units, and to all that were asked, ignores the unit identifier."""

_VOLTAGES = ("voltage_l1", "voltage_l2", "voltage_l3")

R = TypeVar("R")

Tell = Callable[[float, str], None]
"""Called with the share that is done and what is being done."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A model whose identifying registers a unit answered.

    ``plausible``: voltages and frequency are those of a power network. ``evidence`` says what was read, ``checks`` what
    the values of the whole model say together, empty unless plausible.
    """

    model: str
    plausible: bool
    evidence: str
    checks: tuple[Check, ...] = ()

    def count(self, outcome: Outcome) -> int:
        """Return how many checks ended with ``outcome``."""
        return sum(check.outcome is outcome for check in self.checks)


@dataclass(frozen=True, slots=True)
class UnitFound:
    """A unit that answers: what it said to the first read, and the models whose registers it has, best first."""

    unit: int
    answer: str
    fits: tuple[Fit, ...]


@dataclass
class BusFound:
    """One connection: whether it opened, and its units. ``alike``: it answers to every unit, so one was looked at."""

    address: str
    connection: dict[str, Any]
    opened: bool = False
    alike: bool = False
    units: list[UnitFound] = field(default_factory=list)


def hosts_of(network: str) -> list[str]:
    """Return the host addresses of ``network``, such as 192.0.2.0/24.

    Raises `ConfigurationError` when it is none or too large.
    """
    try:
        found = ipaddress.ip_network(network, strict=False)
    except ValueError as error:
        raise ConfigurationError(f"{network}: is no network; write one such as 192.0.2.0/24") from error
    if found.num_addresses > MAXIMUM_HOSTS:
        raise ConfigurationError(f"{network}: has more than {MAXIMUM_HOSTS} addresses; scan it in parts")
    return [str(host) for host in found.hosts()]


def identifiable() -> tuple[str, ...]:
    """Return the models that can be told by their values: Modbus meters with voltages."""
    return tuple(name for name in model_names() if _identifying(load_template(name).model))


def chosen(models: Sequence[str] | None) -> tuple[str, ...]:
    """Return ``models``, or all that are `identifiable`; raise `ConfigurationError` for one that is not."""
    known = identifiable()
    for name in models or ():
        load_template(name)
        if name not in known:
            raise ConfigurationError(f"{name}: has no Modbus registers of voltages, by which a scan tells models")
    return tuple(models) if models else known


async def scan(
    connections: Iterable[Mapping[str, Any]], units: Sequence[int], models: Sequence[str], tell: Tell
) -> list[BusFound]:
    """Look for ``units`` on all ``connections``, up to `HOSTS_AT_A_TIME` of them at a time.

    A connection is described as in a gateway file, without id and devices; raises pydantic's `ValidationError` for one
    that is wrong. Those that do not open are in the result, too.
    """

    async def look(settings: ConnectionConfig, described: dict[str, Any], share: Tell) -> BusFound:
        found = BusFound(settings.address, described)
        await _scan_bus(found, settings, units, models, share)
        return found

    return await on_each(connections, look, tell)


async def on_each(
    connections: Iterable[Mapping[str, Any]],
    look: Callable[[ConnectionConfig, dict[str, Any], Tell], Awaitable[R]],
    tell: Tell,
) -> list[R]:
    """Return what ``look`` finds on each of the ``connections``, as `scan` takes them, in their order.

    It is given the connection, and what of it was described.
    """
    given = list(connections)
    settings = [_settings(one) for one in given]
    limit = asyncio.Semaphore(HOSTS_AT_A_TIME)
    shares = [0.0] * len(settings)

    async def one(index: int) -> R:
        def share(part: float, remark: str) -> None:
            shares[index] = part
            tell(sum(shares) / len(shares), remark)

        async with limit:
            described = {name: to_plain(getattr(settings[index], name)) for name in given[index]}
            found = await look(settings[index], described, share)
        share(1.0, settings[index].address)
        return found

    return list(await asyncio.gather(*(one(index) for index in range(len(settings)))))


def candidate(settings: ConnectionConfig, model: str, **place: Any) -> DeviceReadout:
    """Return a device of ``model`` with the unit or address of ``place``, not yet read."""
    device = validated(DeviceConfig, {"id": "unit", "model": model, "interval": "10s", **place})
    connection = replace(settings, devices=(device,))
    scanned: dict[str, Any] = {"gateway": "scan", "key_file": "none", "data_directory": "none", "connections": ()}
    gateway = replace(validated(GatewayConfig, scanned), connections=(connection,))
    (one,) = describe(gateway).devices
    return DeviceReadout(settings.address, device, one)


def _settings(connection: Mapping[str, Any]) -> ConnectionConfig:
    described = {**connection, "id": "scan", "devices": ()}
    return validated(drivers.settings(connection["protocol"]), described)


async def _scan_bus(
    found: BusFound, settings: ConnectionConfig, units: Sequence[int], models: Sequence[str], tell: Tell
) -> None:
    clock = SystemClock()
    link = cast("Connection", drivers.connect(settings, clock))
    try:
        found.opened = await link.open()
        if found.opened:
            answers = await _answering(link, settings.address, units, tell)
            found.alike = len(answers) == len(units) > _ALIKE
            asked = dict(list(answers.items())[:1]) if found.alike else answers
            for number, (unit, answer) in enumerate(asked.items()):
                tell((1 + number / len(asked)) / 2, f"{settings.address}, models of unit {unit}")
                found.units.append(UnitFound(unit, answer, await _fits(link, settings, unit, models, clock)))
    finally:
        link.close()


async def _answering(link: Connection, address: str, units: Sequence[int], tell: Tell) -> dict[int, str]:
    answers: dict[int, str] = {}
    for number, unit in enumerate(units):
        tell(number / len(units) / 2, f"{address}, unit {unit}, {len(answers)} found")
        if not link.is_open and not await link.open():
            break
        reading = await link.read(unit, 3, 0, 1)
        if reading.status == STATUS_OK and reading.words is not None:
            answers[unit] = f"holding register 0 is {reading.words[0]:04X}"
        elif reading.status not in _ABSENT:
            answers[unit] = status_text(reading.status)
    return answers


async def _fits(
    link: Connection, settings: ConnectionConfig, unit: int, models: Sequence[str], clock: Clock
) -> tuple[Fit, ...]:
    found = []
    for name in models:
        values = await _identify(link, unit, load_template(name).model)
        if values is None:
            continue
        evidence = ", ".join(f"{one} {value}" for one, value in _worded(name, values))
        if not _plausible(values):
            found.append(Fit(name, False, evidence))
            continue
        device = candidate(settings, name, unit=unit)
        await read_device(link, device, clock)
        found.append(Fit(name, True, evidence, tuple(checks(device))))
    return tuple(sorted(found, key=lambda fit: (not fit.plausible, fit.count(Outcome.FAIL), -fit.count(Outcome.PASS))))


def _identifying(model: DeviceModel) -> list[str]:
    """Return the series that identify a model: nothing when it is no Modbus meter of voltages."""
    names = [name for name in (*_VOLTAGES, "frequency") if name in model.series and model.series[name].function]
    return names if _VOLTAGES[0] in names else []


async def _identify(link: Connection, unit: int, model: DeviceModel) -> dict[str, float | None] | None:
    """Return the identifying values of ``model``; ``None`` when the unit does not have their registers."""
    series = {name: model.series[name] for name in _identifying(model)}
    values: dict[str, float | None] = {}
    for block in plan([Value(one.function, one.address, one.words) for one in series.values()], model.limits):
        if not link.is_open and not await link.open():
            return None
        reading = await link.read(unit, block.function, block.address, block.count)
        if reading.words is None:
            return None
        for name, one in series.items():
            first = one.address - block.address
            if one.function == block.function and first >= 0 and first + one.words <= block.count:
                values[name] = one.decode(tuple(reading.words[first : first + one.words]))
    return values


def _plausible(values: Mapping[str, float | None]) -> bool:
    """Whether at least one voltage is usual, the others too or absent, and the frequency is one of power networks."""
    volts = [values[name] for name in _VOLTAGES if values.get(name) is not None]
    usual = [one for one in volts if one is not None and plausible_voltage(one)]
    hertz = values.get("frequency")
    low, high = FREQUENCIES
    frequency_fits = "frequency" not in values or (hertz is not None and low <= hertz <= high)
    return bool(usual) and all(one == 0 or one in usual for one in volts) and frequency_fits


def _worded(model: str, values: Mapping[str, float | None]) -> Iterator[tuple[str, str]]:
    series = load_template(model).model.series
    for name, value in values.items():
        yield name, "not available" if value is None else f"{value:.4g} {series[name].unit}"
