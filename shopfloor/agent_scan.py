"""``shopfloor agent scan``: which units answer on a bus or in a network, and which device models fit them."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shopfloor.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.scan import BusFound, Fit

_UNITS = "1-247"
_PORT = 502
_LAST_UNIT = 255


def add_parser(commands: Any) -> None:
    """Add ``scan`` to the commands of ``shopfloor agent``."""
    scan = commands.add_parser(
        "scan",
        help="find Modbus units on a bus or in a network, and the device models that fit them",
        description="Asks every unit for one register; those that answer are asked for the registers that identify "
        "each device model. Shows what was read: several models may fit, then the name plate decides. Only read "
        "functions are sent. Nothing else may use a serial port or converter meanwhile. Exit code 1 when no unit "
        "answers.",
    )
    place = scan.add_mutually_exclusive_group(required=True)
    place.add_argument("--host", action="append", metavar="HOST[:PORT]", help="Modbus over TCP; may be repeated")
    place.add_argument("--network", metavar="CIDR", help="every host of a network, such as 192.0.2.0/24")
    place.add_argument("--serial", action="append", metavar="DEVICE", help="Modbus RTU; may be repeated")
    scan.add_argument("--port", type=int, default=_PORT, help=f"TCP port where none is named (default {_PORT})")
    scan.add_argument("--rtu", action="store_true", help="RTU frames over TCP: transparent serial converters")
    scan.add_argument("--baud-rate", type=int, default=9600, metavar="N", help="of the serial ports (default 9600)")
    scan.add_argument("--parity", choices=("none", "even", "odd"), default="none", help="default none")
    scan.add_argument("--stop-bits", type=int, choices=(1, 2), default=1, help="default 1")
    scan.add_argument("--units", type=_units, metavar="LIST", help=f"as 1-10,20 (default {_UNITS}; 1 of a network)")
    scan.add_argument("--models", type=_names, metavar="LIST", help="device models to try (default: all meters)")
    scan.add_argument("--timeout", default="300ms", metavar="TIME", help="for an answer (default 300ms)")
    scan.add_argument("--json", action="store_true", help="print JSON")
    scan.set_defaults(func=_scan)


def _scan(options: argparse.Namespace) -> int:
    import asyncio

    from pydantic import ValidationError

    from agent.errors import ConfigurationError
    from agent.scan import chosen, scan

    models = chosen(options.models)
    units = options.units or _units("1" if options.network else _UNITS)
    try:
        with Progress("scanning") as progress:
            found = asyncio.run(scan(_connections(options), units, models, progress.show))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigurationError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if options.json:
        print(json.dumps([asdict(bus) for bus in found], ensure_ascii=False, indent=2))
    else:
        _print(found, only_open=options.network is not None)
    return 0 if any(bus.units for bus in found) else 1


def _connections(options: argparse.Namespace) -> list[dict[str, Any]]:
    from agent.scan import hosts_of

    common = {"timeout": options.timeout}
    if options.serial:
        line = {"baud_rate": options.baud_rate, "parity": options.parity, "stop_bits": options.stop_bits}
        return [{"protocol": "modbus-rtu", "serial_port": port, **line, **common} for port in options.serial]
    protocol = "modbus-rtu-over-tcp" if options.rtu else "modbus-tcp"
    hosts = [(host, options.port) for host in hosts_of(options.network)] if options.network else []
    hosts += [_host(text, options.port) for text in options.host or ()]
    return [{"protocol": protocol, "host": host, "port": port, **common} for host, port in hosts]


def _host(text: str, port: int) -> tuple[str, int]:
    host, colon, number = text.rpartition(":")
    return (host.strip("[]"), int(number)) if colon and number.isdigit() and not host.count(":") else (text, port)


def _print(found: Sequence[BusFound], *, only_open: bool) -> None:
    for bus in found:
        if not bus.opened:
            if not only_open:
                print(f"{bus.address}: no connection")
            continue
        print(f"{bus.address}: {'no unit answers' if not bus.units else f'{len(bus.units)} looked at'}")
        if bus.alike:
            print("  every unit answers: the host ignores the unit identifier, one was looked at")
        for unit in bus.units:
            print(f"  unit {unit.unit}: {unit.answer}")
            for fit in unit.fits:
                _print_fit(fit)
            if not any(fit.plausible for fit in unit.fits):
                print("    no model fits")
    if only_open:
        print(f"{len(found)} hosts asked, {sum(bus.opened for bus in found)} with an open port")


def _print_fit(fit: Fit) -> None:
    from agent.plausibility import Outcome

    if not fit.plausible:
        print(f"    not {fit.model}: {fit.evidence}")
        return
    counts = ", ".join(f"{fit.count(outcome)} {outcome}" for outcome in Outcome)
    print(f"    fits {fit.model}: {fit.evidence}; {counts}")
    for check in fit.checks:
        if check.outcome is Outcome.FAIL:
            print(f"      FAIL {check.name}: {check.text}")


def _units(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.strip().isdigit() or not (last.strip() or "0").isdigit():
            raise argparse.ArgumentTypeError("write units as 1-10,20")
        span = range(int(first), int(last or first) + 1)
        if not span or span[0] < 0 or span[-1] > _LAST_UNIT:
            raise argparse.ArgumentTypeError(f"units are 0 to {_LAST_UNIT}, lower first")
        found.extend(span)
    return list(dict.fromkeys(found))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
