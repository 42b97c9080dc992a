"""``shopfloor demo``: a factory, a gateway, a server and a verdict on this machine, from nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from shopfloor.arguments import port_number, positive_number


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="show everything on this machine, from nothing",
        description="A simulated factory is read by the real agent, 90 days before and 45 after a retrofit; records "
        "are signed, sent, stored and evaluated, then the factory goes live. Everything listens on 127.0.0.1 only and "
        "is gone after Ctrl-C.",
    )
    parser.add_argument("--once", action="store_true", help="end when the evidence is there, without pages")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the outcome as JSON to FILE")
    parser.add_argument(
        "--data", metavar="DIR", type=Path, help="replay the steel works' year from DIR instead of the factory"
    )
    parser.add_argument("--port", type=port_number, help="port of the pages (default: 8000, or any free one)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulated factory (default: 1)")
    parser.add_argument("--effect", type=float, help="true effect of the retrofit on a piece and on idling, 0 to 1")
    parser.add_argument("--days", type=positive_number, help="only the first days of the history")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="keep everything that is made in DIR, a new folder")
    parser.set_defaults(func=_demo)


def _demo(options: argparse.Namespace) -> int:
    from demo.factory import DEFAULT_EFFECT
    from demo.run import Options, run_demo
    from demo.scenario import FactoryScenario, Scenario, SteelScenario

    scenario: Scenario
    if options.data is not None:
        scenario = SteelScenario(options.data, options.days)
    else:
        effect = DEFAULT_EFFECT if options.effect is None else options.effect
        scenario = FactoryScenario(options.seed, effect, options.days)
    return run_demo(Options(scenario, options.once, options.json, options.port, options.keep))
