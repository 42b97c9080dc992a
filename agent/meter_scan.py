"""Finds meters that speak DL/T 645 or CJ/T 188 on lines, and which device models fit them. Reads only.

The numbers are found as `agent.meter_search` says. A model fits when the meter answers anything that the model asks
for; then everything of the model is read once and checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, cast

from agent import drivers
from agent.cjt188 import Cjt188Connection
from agent.clock import Clock, SystemClock
from agent.config import ConnectionConfig
from agent.dlt645 import Dlt645Connection
from agent.errors import ConfigurationError
from agent.meter_search import find_meters
from agent.models import load_template
from agent.plausibility import checks
from agent.readout import read_device
from agent.scan import Fit, Tell, candidate, on_each

MeterProtocol = Literal["dlt645", "cjt188"]

_MODELS = {
    "dlt645": {"": "dlt645-2007-three-phase"},
    "cjt188": {"1": "cjt188-water", "2": "cjt188-heat", "3": "cjt188-gas"},
}
"""The models of a protocol by how addresses begin: of CJ/T 188 with the type, 10-19 water, 20-29 heat, 30-39 gas."""

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class MeterFound:
    """A meter that answers alone, and the models that were tried on it."""

    address: str
    fits: tuple[Fit, ...]


@dataclass
class LineFound:
    """One line: whether it opened, its meters, and what `agent.meter_search.Found` says about the others."""

    address: str
    connection: dict[str, Any]
    opened: bool = False
    meters: list[MeterFound] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    noisy: bool = False


def chosen(protocol: MeterProtocol, models: Sequence[str] | None) -> tuple[str, ...]:
    """Return ``models``, or those of ``protocol``; raise `ConfigurationError` for one that is not of it."""
    known = tuple(_MODELS[protocol].values())
    for name in models or ():
        load_template(name)
        if name not in known:
            raise ConfigurationError(f"{name}: is not tried by a scan of {protocol}; its models are {', '.join(known)}")
    return tuple(models) if models else known


async def scan_lines(connections: Iterable[Mapping[str, Any]], models: Sequence[str], tell: Tell) -> list[LineFound]:
    """Look for all meters on all ``connections``; these and the errors are as `agent.scan.scan` has them."""
    clock = SystemClock()

    async def look(settings: ConnectionConfig, described: dict[str, Any], share: Tell) -> LineFound:
        return await _scan_line(settings, described, models, clock, share)

    return await on_each(connections, look, tell)


async def _scan_line(
    settings: ConnectionConfig, described: dict[str, Any], models: Sequence[str], clock: Clock, tell: Tell
) -> LineFound:
    line = LineFound(settings.address, described)
    link = cast("Dlt645Connection | Cjt188Connection", drivers.connect(settings, clock))
    try:
        line.opened = await link.open()
        if line.opened:
            found = await find_meters(link, lambda share, remark: tell(share / 2, f"{settings.address}, {remark}"))
            line.unresolved, line.noisy = found.unresolved, found.noisy
            for number, address in enumerate(found.addresses):
                tell((1 + number / len(found.addresses)) / 2, f"{settings.address}, models of meter {address}")
                line.meters.append(MeterFound(address, await _fits(link, settings, address, models, clock)))
    except ConnectionError:
        line.opened = False
    finally:
        link.close()
    return line


async def _fits(
    link: Dlt645Connection | Cjt188Connection,
    settings: ConnectionConfig,
    address: str,
    models: Sequence[str],
    clock: Clock,
) -> tuple[Fit, ...]:
    protocol = settings.protocol.removesuffix("-over-tcp")
    fits = []
    for beginning, name in _MODELS[protocol].items():
        if name in models and address.startswith(beginning):
            device = candidate(settings, name, address=address)
            await read_device(link, device, clock)
            given = [(key, one) for key, one in device.values.items() if one.value is not None]
            evidence = ", ".join(f"{key} {one.value:.6g} {one.unit}" for key, one in islice(given, _SHOWN))
            fits.append(Fit(name, bool(given), evidence or "no value", tuple(checks(device)) if given else ()))
    return tuple(fits)
