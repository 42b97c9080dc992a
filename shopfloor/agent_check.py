"""``shopfloor agent check``: is the gateway file right, what will be read, how much will be sent."""

from __future__ import annotations

import argparse
import json
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.commissioning import DevicePlan, DeviceRead
    from agent.config import GatewayConfig


def add_parser(commands: Any) -> None:
    """Add ``check`` to the commands of ``agent``."""
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


def _check(options: argparse.Namespace) -> int:
    import asyncio

    from agent.commissioning import estimated_bytes_a_day, notes, plans, read_once
    from agent.config import load_config
    from agent.tls import client_context

    config = load_config(options.config)
    for broker in (*config.all_uplinks, config.sparkplug):
        if broker is not None and broker.tls:
            client_context(broker)
    planned, size = plans(config), estimated_bytes_a_day(config)
    noted = notes(config)
    reads = asyncio.run(read_once(config)) if options.read else []
    if options.json:
        print(json.dumps(_check_document(config, planned, size, noted, reads), ensure_ascii=False, indent=2))
    else:
        _print_check(config, planned, size, noted, reads)
    return 1 if any(read.faults for read in reads) else 0


def _check_document(
    config: GatewayConfig, planned: list[DevicePlan], size: int, noted: list[tuple[str, str]], reads: list[DeviceRead]
) -> dict[str, Any]:
    from agent.planner import Block
    from agent.sizing import sizing

    sized = sizing(config, size)
    document: dict[str, Any] = {
        "gateway": config.gateway,
        "bytes_a_day": size,
        "spool": {
            "budget": config.spool_bytes,
            "days": round(sized.spool_days, 1),
            "six_months_bytes": sized.six_months_bytes,
        },
        "uplink_bytes_a_day": dict(sized.uplinks),
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
                    {"function": one.function, "address": one.address, "count": one.count}
                    if isinstance(one, Block)
                    else {"meter": one.address, "request": one.request.hex()}
                    for one in plan.requests
                ],
                "nodes": list(plan.nodes),
                "daily_requests": plan.daily_requests,
                "stored_readings": dict(plan.stored),
            }
            for plan in planned
        ],
        "notes": [{"device": device, "text": text} for device, text in noted],
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


def _print_check(
    config: GatewayConfig, planned: list[DevicePlan], size: int, noted: list[tuple[str, str]], reads: list[DeviceRead]
) -> None:
    from agent.planner import Block

    print(
        f"gateway {config.gateway}: {_counted(len(planned), 'device')}, {sum(plan.series for plan in planned)} series"
    )
    for plan in planned:
        print(f"\n{plan.device}  {plan.model}")
        station = f"meter {plan.meter}" if plan.meter else f"unit {plan.unit}"
        print(f"  {plan.address}, {station}, every {plan.interval_ms / 1000:g} s, {plan.series} series")
        for one in plan.requests:
            if isinstance(one, Block):
                print(f"  read function {one.function}, registers {one.address} to {one.end - 1} ({one.count})")
            else:
                print(f"  {one}, {len(one.fields)} values")
        if plan.daily_requests:
            kept = "".join(
                f", {entries} {name} readings that the meter stored" for name, entries in plan.stored.items()
            )
            print(f"  once a day {_counted(plan.daily_requests, 'request')} more: ratios and settings{kept}")
        if plan.nodes:
            how = f"sent every {plan.sends_every_ms / 1000:g} s when changed" if plan.sends_every_ms else "polled"
            print(f"  {len(plan.nodes)} nodes, {how}: {', '.join(plan.nodes)}")
    print(f"\nabout {size / 1e6:.2f} MB of records a day (values that drift a little from poll to poll)")
    _print_sizing(config, size)
    for device, text in noted:
        print(f"note: {device} {text}")
    for read in reads:
        print(f"\n{read.device}: {'FAILED' if read.faults else f'answers within {read.round_trip_ms} ms'}")
        for fault in read.faults:
            print(f"  {fault}")
        for name, (value, unit) in read.values.items():
            print(f"  {name} = {'not available' if value is None else f'{value:,.10g} {unit}'}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _print_sizing(config: GatewayConfig, size: int) -> None:
    from agent.sizing import SIX_MONTHS_DAYS, sizing

    sized = sizing(config, size)
    kept = f"the spool of {config.spool_bytes / 1e6:.0f} MB keeps about {sized.spool_days:.0f} days of them"
    if sized.spool_days < SIX_MONTHS_DAYS:
        kept += f"; six months need spool_bytes: {ceil(sized.six_months_bytes / 1e6)}MB"
    print(kept)
    for name, line in sized.uplinks.items():
        print(f"uplink {name}: about {line / 1e6:.2f} MB a day on the line, MQTT, TLS and TCP/IP included")
