"""``shopfloor agent``: check a gateway file, make the gateway's key, run the gateway."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.commissioning import DevicePlan, DeviceRead
    from agent.config import GatewayConfig


def add_parser(subparsers: Any) -> None:
    """Add ``agent`` with its commands to the command line."""
    parser = subparsers.add_parser("agent", help="the edge agent on a gateway", description=__doc__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    check = commands.add_parser(
        "check",
        help="check a gateway file and show what it makes the agent do",
        description="Checks CONFIG and names every mistake with file, line and field. Then shows which requests go to "
        "which device how often, and about how many bytes of records a day that makes. Nothing is read from the devices"
        " unless --read is given, and nothing is ever written to them.",
    )
    check.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    check.add_argument(
        "--read", action="store_true", help="read every device once; exit code 1 when one cannot be read"
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(func=_check)

    run = commands.add_parser(
        "run",
        help="run the gateway until it is stopped (SIGTERM, Ctrl-C)",
        description="Polls the devices of CONFIG, signs what they answer, keeps it in the spool and sends it until the "
        "server has acknowledged it. The key must exist (shopfloor agent key). Safe to kill at any moment: the chain "
        "goes on behind the last record on disk.",
    )
    run.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    run.add_argument("--verbose", action="store_true", help="log more")
    run.set_defaults(func=_run)

    key = commands.add_parser(
        "key",
        help="make the gateway's key if there is none, and print its public part",
        description="The private key never leaves the gateway. Register the public line at the server with: shopfloor "
        "ingest trust GATEWAY PUBLIC_KEY. Compare the fingerprint that both sides print.",
    )
    key.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    key.add_argument("--json", action="store_true", help="print JSON")
    key.set_defaults(func=_key)


def _check(options: argparse.Namespace) -> int:
    import asyncio

    from agent.commissioning import estimated_bytes_a_day, plans, read_once
    from agent.config import load_config

    config = load_config(options.config)
    planned, size = plans(config), estimated_bytes_a_day(config)
    reads = asyncio.run(read_once(config)) if options.read else []
    if options.json:
        print(json.dumps(_check_document(config, planned, size, reads), ensure_ascii=False, indent=2))
    else:
        _print_check(config, planned, size, reads)
    return 1 if any(read.faults for read in reads) else 0


def _check_document(
    config: GatewayConfig, planned: list[DevicePlan], size: int, reads: list[DeviceRead]
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "gateway": config.gateway,
        "bytes_a_day": size,
        "devices": [
            {
                "id": plan.device,
                "connection": plan.connection,
                "address": plan.address,
                "model": plan.model,
                "unit": plan.unit,
                "interval_ms": plan.interval_ms,
                "series": plan.series,
                "requests": [
                    {"function": block.function, "address": block.address, "count": block.count}
                    for block in plan.requests
                ],
            }
            for plan in planned
        ],
    }
    if reads:
        document["reads"] = [
            {
                "device": read.device,
                "faults": list(read.faults),
                "round_trip_ms": read.round_trip_ms,
                "values": {name: {"value": value, "unit": unit} for name, (value, unit) in read.values.items()},
            }
            for read in reads
        ]
    return document


def _print_check(config: GatewayConfig, planned: list[DevicePlan], size: int, reads: list[DeviceRead]) -> None:
    print(
        f"gateway {config.gateway}: {_counted(len(planned), 'device')}, {sum(plan.series for plan in planned)} series"
    )
    for plan in planned:
        print(f"\n{plan.device}  {plan.model}")
        print(f"  {plan.address}, unit {plan.unit}, every {plan.interval_ms / 1000:g} s, {plan.series} series")
        for block in plan.requests:
            print(f"  read function {block.function}, registers {block.address} to {block.end - 1} ({block.count})")
    print(f"\nabout {size / 1e6:.2f} MB of records a day (values that drift a little from poll to poll)")
    for read in reads:
        print(f"\n{read.device}: {'FAILED' if read.faults else f'answers within {read.round_trip_ms} ms'}")
        for fault in read.faults:
            print(f"  {fault}")
        for name, (value, unit) in read.values.items():
            print(f"  {name} = {'not available' if value is None else f'{value:,.10g} {unit}'}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _run(options: argparse.Namespace) -> int:
    import asyncio
    import logging

    from agent.config import load_config
    from agent.runtime import run_agent

    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    statistics = asyncio.run(run_agent(load_config(options.config), handle_signals=True))
    print(
        f"stopped: {statistics.records} records with {statistics.samples} reads made, chain at {statistics.last_seq}, "
        f"acknowledged up to {statistics.acknowledged_seq}"
    )
    return 0


def _key(options: argparse.Namespace) -> int:
    from agent.config import load_config
    from agent.keyfile import ensure_key

    config = load_config(options.config)
    public = ensure_key(config.key_file).public
    if options.json:
        print(json.dumps({"gateway": config.gateway, "key": public.text, "fingerprint": public.fingerprint}))
    else:
        print(f"gateway:     {config.gateway}\npublic key:  {public.text}\nfingerprint: {public.fingerprint}")
    return 0
