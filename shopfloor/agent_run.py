"""``shopfloor agent run``: the agent itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from shopfloor.arguments import add_log_format


def add_parser(commands: Any) -> None:
    """Add ``run`` to the commands of ``agent``."""
    run = commands.add_parser(
        "run",
        help="run the gateway until it is stopped (SIGTERM, Ctrl-C)",
        description="Polls the devices of CONFIG, signs what they answer, keeps it in the spool and sends it until the "
        "server has acknowledged it. The key must exist (shopfloor agent key). Safe to kill at any moment: the chain "
        "goes on behind the last record on disk. When CONFIG or a device model that it uses changes, or on SIGHUP, it "
        "is read again; a file with a mistake changes nothing.",
    )
    run.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    run.add_argument("--verbose", action="store_true", help="log more")
    add_log_format(run)
    run.set_defaults(func=_run)


def _run(options: argparse.Namespace) -> int:
    import asyncio
    import logging

    from agent.reading import Reading
    from shopfloor.logs import log_to_stderr

    log_to_stderr(options.log_format, logging.DEBUG if options.verbose else logging.INFO)
    with Reading(options.config) as reading:
        from agent.runtime import run_agent  # while the file is read

        config = reading.result()
    statistics = asyncio.run(run_agent(config, config_file=options.config, handle_signals=True))
    print(
        f"stopped: {statistics.records} records with {statistics.samples} reads made, chain at {statistics.last_seq}, "
        f"acknowledged up to {statistics.acknowledged_seq}"
    )
    return 0
