"""``shopfloor agent read``: one table of what the devices answer, and whether the values agree with each other."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopfloor.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agent.commission_record import Result
    from agent.config import GatewayConfig

SECONDS = 5.0


_LONG = 1e6


def add_parser(commands: Any) -> None:
    """Add ``read`` to the commands of ``shopfloor agent``."""
    read = commands.add_parser(
        "read",
        help="read the devices once and check their values against each other",
        description="Reads every device of CONFIG for some seconds and shows raw words (hexadecimal), value and unit, "
        "then what can be checked: phases against the total, voltage * current * power factor against power, energy "
        "against power, ranges, transformer ratios. PASS, FAIL or NOT CHECKED, each with its numbers. Exit code 1 when "
        "a device does not answer or a check fails. Nothing is written, neither to the devices nor to the records; on "
        "a serial line stop the agent first.",
    )
    read.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    read.add_argument("--device", action="append", metavar="ID", help="only this device; may be given several times")
    add_seconds(read)
    read.add_argument("--json", action="store_true", help="print JSON")
    read.set_defaults(func=_read)


def add_seconds(parser: argparse.ArgumentParser) -> None:
    """Add the option that says for how long is read."""
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=SECONDS,
        metavar="S",
        help=f"read every second for so long, to see energy rise (default {SECONDS:g}; 0 = once)",
    )


def read_and_check(config: GatewayConfig, devices: Collection[str] | None, seconds: float) -> list[Result]:
    """Read the ``devices`` of ``config`` (all, when ``None``) for ``seconds`` and check what they say."""
    import asyncio

    from agent.commission_record import Result
    from agent.plausibility import checks
    from agent.readout import read_devices

    started = time.monotonic()
    with Progress("reading") as progress:

        def tell(device: str) -> None:
            elapsed = time.monotonic() - started
            progress.show(min(elapsed / seconds, 1.0) if seconds else 1.0, device)

        reads = asyncio.run(read_devices(config, devices=devices, seconds=seconds, tell=tell))
    return [Result(device, checks(device)) for device in reads]


def good(results: Sequence[Result]) -> bool:
    """Whether no check of any device failed."""
    from agent.plausibility import Outcome

    return not any(result.count(Outcome.FAIL) for result in results)


def print_results(results: Sequence[Result]) -> None:
    """Print a table of values and one of checks for each device."""
    from agent.plausibility import Outcome

    for result in results:
        device = result.device
        serial = f", serial number {device.config.serial_number}" if device.config.serial_number else ""
        station = f"meter {device.config.address}" if device.config.address else f"unit {device.config.unit}"
        print(f"\n{device.config.id}  {device.config.model}, {device.connection}, {station}{serial}")
        values = device.values
        width = max((len(name) for name in values), default=0)
        raw = max((len(read.raw) for read in values.values()), default=0)
        for name, read in values.items():
            unit = "" if read.unit == "1" else f" {read.unit}"
            said = "not available" if read.value is None else f"{_shown(read.value)}{unit}"
            print(f"  {name:{width}}  {read.raw:{raw}}  {said}")
        for check in result.checks:
            print(f"  {check.outcome:11}  {check.name}: {check.text}")
    counts = {outcome: sum(result.count(outcome) for result in results) for outcome in Outcome}
    print("\n" + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))


def _read(options: argparse.Namespace) -> int:
    from agent.commission_record import report
    from agent.config import load_config

    config = load_config(options.config)
    if options.device:
        _know(config, options.device)
    results = read_and_check(config, options.device, options.seconds)
    if options.json:
        print(json.dumps(report(config, results), ensure_ascii=False, indent=2))
    else:
        print_results(results)
    return 0 if good(results) else 1


def _know(config: GatewayConfig, devices: Sequence[str]) -> None:
    from agent.errors import ConfigurationError
    from wire.document import suggestion

    known = [device.id for _, device in config.devices()]
    for name in devices:
        if name not in known:
            raise ConfigurationError(f"--device {name}: no such device in the gateway file{suggestion(name, known)}")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("must be 0 to 3600 seconds")
    return seconds


def _shown(value: float) -> str:
    """Dates and energies in full, measured values with the digits that a float32 has."""
    return f"{value:.10g}" if value == int(value) or abs(value) >= _LONG else f"{value:.7g}"
