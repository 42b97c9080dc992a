"""``shopfloor agent scan``: which units or meters answer on a bus or in a network, and which device models fit them."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopfloor.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.meter_scan import LineFound
    from agent.scan import BusFound, Fit

_UNITS = "1-247"
_PORT = 502
_LAST_UNIT = 255


def add_parser(commands: Any) -> None:
    """Add ``scan`` to the commands of ``shopfloor agent``."""
    scan = commands.add_parser(
        "scan",
        help="find Modbus units and meters on a bus or in a network, and the device models that fit them",
        description="Asks every Modbus unit for one register; those that answer are asked for the registers that "
        "identify each device model. Meters that speak DL/T 645 or CJ/T 188 are asked all at once (address AA...AA), "
        "and when several answer by parts of their number, two digits at a time. Shows what was read: several models "
        "may fit, then the name plate decides. Only read functions are sent. Nothing else may use a serial port or "
        "converter meanwhile. Exit code 1 when nothing answers.",
    )
    scan.add_argument("--protocol", choices=("modbus", "dlt645", "cjt188"), default="modbus", help="default modbus")
    place = scan.add_mutually_exclusive_group(required=True)
    place.add_argument("--host", action="append", metavar="HOST[:PORT]", help="over TCP; may be repeated")
    place.add_argument("--network", metavar="CIDR", help="every host of a network, such as 192.0.2.0/24")
    place.add_argument("--serial", action="append", metavar="DEVICE", help="a serial port; may be repeated")
    scan.add_argument("--port", type=int, default=_PORT, help=f"TCP port where none is named (default {_PORT})")
    scan.add_argument("--rtu", action="store_true", help="RTU frames over TCP: transparent serial converters")
    scan.add_argument("--baud-rate", type=int, metavar="N", help="of the serial ports (default 9600, of meters 2400)")
    scan.add_argument("--parity", choices=("none", "even", "odd"), help="default none, of meters even")
    scan.add_argument("--stop-bits", type=int, choices=(1, 2), help="default 1")
    scan.add_argument("--units", type=_units, metavar="LIST", help=f"as 1-10,20 (default {_UNITS}; 1 of a network)")
    scan.add_argument("--models", type=_names, metavar="LIST", help="device models to try (default: all meters)")
    scan.add_argument("--timeout", metavar="TIME", help="for an answer (default 300ms, of meters 800ms)")
    scan.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="write what fits to FILE, new, for shopfloor agent init --answers FILE",
    )
    scan.add_argument("--json", action="store_true", help="print JSON")
    scan.set_defaults(func=_scan)


def _scan(options: argparse.Namespace) -> int:
    import asyncio

    from pydantic import ValidationError

    from agent.errors import ConfigurationError

    try:
        with Progress("scanning") as progress:
            found = asyncio.run(_look(options, progress.show))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigurationError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if options.json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=2))
    else:
        _print(found, only_open=options.network is not None)
    if options.answers is not None:
        _write_answers(options.answers, found)
    return 0 if any(_stations(one) for one in found) else 1


async def _look(options: argparse.Namespace, tell: Callable[[float, str], None]) -> Sequence[BusFound | LineFound]:
    connections = _connections(options)
    if options.protocol == "modbus":
        from agent.scan import chosen, scan

        units = options.units or _units("1" if options.network else _UNITS)
        return await scan(connections, units, chosen(options.models), tell)
    from agent import meter_scan

    if options.units or options.rtu:
        from agent.errors import ConfigurationError

        raise ConfigurationError(f"--units and --rtu belong to Modbus; meters of {options.protocol} have a number")
    return await meter_scan.scan_lines(connections, meter_scan.chosen(options.protocol, options.models), tell)


def _write_answers(path: Path, found: Sequence[BusFound | LineFound]) -> None:
    import sys

    from agent.errors import ConfigurationError
    from agent.scan_answers import scan_answers

    answers = scan_answers(found)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(answers.text)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error
    print(
        f"{path}: {answers.devices} devices. Compare models with the name plates, then:\n"
        f"  shopfloor agent init --answers {path} --gateway ID",
        file=sys.stderr,
    )


def _stations(found: BusFound | LineFound) -> Sequence[object]:
    from agent.scan import BusFound

    return found.units if isinstance(found, BusFound) else found.meters


def _connections(options: argparse.Namespace) -> list[dict[str, Any]]:
    from agent.scan import hosts_of

    modbus = options.protocol == "modbus"
    common = {"timeout": options.timeout or ("300ms" if modbus else "800ms")}
    if options.serial:
        said = {"baud_rate": options.baud_rate, "parity": options.parity, "stop_bits": options.stop_bits}
        line = {key: value for key, value in said.items() if value is not None}
        protocol = "modbus-rtu" if modbus else options.protocol
        return [{"protocol": protocol, "serial_port": port, **line, **common} for port in options.serial]
    frames = "modbus-rtu" if modbus else options.protocol
    protocol = f"{frames}-over-tcp" if options.rtu or not modbus else "modbus-tcp"
    hosts = [(host, options.port) for host in hosts_of(options.network)] if options.network else []
    hosts += [_host(text, options.port) for text in options.host or ()]
    return [{"protocol": protocol, "host": host, "port": port, **common} for host, port in hosts]


def _host(text: str, port: int) -> tuple[str, int]:
    host, colon, number = text.rpartition(":")
    return (host.strip("[]"), int(number)) if colon and number.isdigit() and not host.count(":") else (text, port)


def _print(found: Sequence[BusFound | LineFound], *, only_open: bool) -> None:
    from agent.scan import BusFound

    for bus in found:
        if not bus.opened:
            if not only_open:
                print(f"{bus.address}: no connection")
        elif isinstance(bus, BusFound):
            _print_units(bus)
        else:
            _print_meters(bus)
    if only_open:
        print(f"{len(found)} hosts asked, {sum(bus.opened for bus in found)} with an open port")


def _print_units(bus: BusFound) -> None:
    print(f"{bus.address}: {'no unit answers' if not bus.units else f'{len(bus.units)} looked at'}")
    if bus.alike:
        print("  every unit answers: the host ignores the unit identifier, one was looked at")
    for unit in bus.units:
        print(f"  unit {unit.unit}: {unit.answer}")
        _print_fits(unit.fits)


def _print_meters(line: LineFound) -> None:
    print(f"{line.address}: {'no meter answers' if not line.meters else f'{len(line.meters)} looked at'}")
    for meter in line.meters:
        print(f"  meter {meter.address}")
        _print_fits(meter.fits)
    if line.noisy:
        print("  the line makes noise by itself: check its speed and parity, its termination, and who else is on it")
    for address in line.unresolved:
        print(f"  {address}: several meters answer at once, but none to a part of its number: read the name plates")


def _print_fits(fits: Sequence[Fit]) -> None:
    for fit in fits:
        _print_fit(fit)
    if not any(fit.plausible for fit in fits):
        print("    no model fits")


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
