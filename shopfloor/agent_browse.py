"""``shopfloor agent browse``: what an OPC UA server has, and series for the gateway file made of it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from shopfloor.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.config import GatewayConfig
    from agent.drivers.opc_ua import Settings
    from agent.opc_ua.tree import VariableFound


def add_parser(commands: Any) -> None:
    """Add ``browse`` to the commands of ``shopfloor agent``."""
    browse = commands.add_parser(
        "browse",
        help="show the variables of an OPC UA server, and write them as series",
        description="Walks the tree of the server and prints NodeId, type, value, unit and path of every variable. "
        "With --write-series those shown are added to extra_series of a device in CONFIG; every other line stays as it "
        "is. Exit code 1 when the server cannot be read or nothing matches.",
    )
    browse.add_argument("config", type=Path, nargs="?", metavar="CONFIG", help="the gateway file (YAML)")
    browse.add_argument("--endpoint", metavar="URL", help="instead of CONFIG: opc.tcp://host:port/path, no security")
    browse.add_argument("--connection", metavar="ID", help="which connection of CONFIG, where it has several of OPC UA")
    browse.add_argument("--filter", default="*", metavar="GLOB", help="only these paths or NodeIds: '*Power*'")
    browse.add_argument("--start", metavar="NODE", help="walk below this NodeId (default: the folder Objects)")
    browse.add_argument("--write-series", metavar="DEVICE", help="add what is shown to this device of CONFIG")
    browse.add_argument("--json", action="store_true", help="print JSON")
    browse.set_defaults(func=_browse)


def _browse(options: argparse.Namespace) -> int:
    import asyncio

    from agent.config import load_config
    from agent.errors import ConfigurationError
    from agent.series_file import add_series

    if (options.config is None) == (options.endpoint is None):
        raise ConfigurationError("name either CONFIG or --endpoint")
    config = None if options.config is None else load_config(options.config)
    if config is None and options.write_series:
        raise ConfigurationError("--write-series needs CONFIG")
    settings = _settings(config, options)
    found = asyncio.run(_variables(settings, options))
    if options.json:
        print(json.dumps([asdict(one) | {"variant": one.variant.name} for one in found], ensure_ascii=False, indent=2))
    else:
        _print(found)
    if options.write_series and config is not None:
        series = _series(config, options.write_series, found)
        if series:
            add_series(options.config, options.write_series, series)
        print(
            f"{len(series)} series added to {options.write_series} in {options.config}; check units and kinds there",
            file=sys.stderr,
        )
    return 0 if found else 1


def _settings(config: GatewayConfig | None, options: argparse.Namespace) -> Settings:
    from pydantic import ValidationError

    from agent import drivers
    from agent.errors import ConfigurationError
    from wire.document import suggestion, validated

    if config is None:
        described = {"id": "browse", "protocol": "opc-ua", "url": options.endpoint, "security": "None", "devices": ()}
        try:
            return cast("Settings", validated(drivers.settings("opc-ua"), described))
        except ValidationError as error:
            raise ConfigurationError(f"{options.endpoint}: {error.errors()[0]['msg']}") from error
    servers = {one.id: one for one in config.connections if one.protocol == "opc-ua"}
    if options.connection is None and len(servers) == 1:
        return cast("Settings", next(iter(servers.values())))
    if options.connection not in servers:
        named = f"no OPC UA connection '{options.connection}'" if options.connection else "name one with --connection"
        raise ConfigurationError(f"{options.config}: {named}{suggestion(options.connection or '', list(servers))}")
    return cast("Settings", servers[options.connection])


async def _variables(settings: Settings, options: argparse.Namespace) -> list[VariableFound]:
    from agent.clock import SystemClock
    from agent.errors import AgentError, UnreachableError
    from agent.opc_ua.session import open_session, text_of
    from agent.opc_ua.tree import OBJECTS, walk

    try:
        session = await open_session(settings)
        try:
            with Progress("browsing") as progress:
                return await walk(
                    session,
                    SystemClock(),
                    start=options.start or OBJECTS,
                    pattern=options.filter,
                    tell=lambda visited, path: progress.show(None, f"{visited} nodes, {path}"),
                )
        finally:
            await session.close()
    except AgentError:
        raise
    except Exception as error:
        # What a server can do to the protocol stack is more than what the stack says it raises.
        raise UnreachableError(f"{settings.url}: {text_of(error)}") from error


def _series(config: GatewayConfig, device: str, found: Sequence[VariableFound]) -> dict[str, dict[str, Any]]:
    """Return series for what was found, as they stand in a gateway file; nothing for what the device reads already."""
    from agent.series_file import series_name
    from wire.node import Variant

    known = next((one.effective_series() for _, one in config.devices() if one.id == device), {})
    nodes = {one.node for one in known.values()}
    series: dict[str, dict[str, Any]] = {}
    for one in found:
        if one.node in nodes or one.variant is Variant.NULL:
            continue
        name = series_name(one.path, [*known, *series])
        kind = "state" if one.variant in (Variant.BOOLEAN, Variant.STRING) else "gauge"
        series[name] = {"quantity": name, "unit": one.unit or "1", "kind": kind, "node": one.node}
    return series


def _print(found: Sequence[VariableFound]) -> None:
    node = max((len(one.node) for one in found), default=0)
    variant = max((len(one.variant.name) for one in found), default=0)
    for one in found:
        value = f"status 0x{one.status:08X}" if one.value is None else f"{one.value}{one.unit and ' ' + one.unit}"
        print(f"{one.node:{node}}  {one.variant.name.lower():{variant}}  {one.path}  {value}")
    print(f"{len(found)} variables")
