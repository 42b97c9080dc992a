"""The server's side on this machine: database, broker and ingestion, which acknowledges what it has committed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ingest.broker import EmbeddedBroker
from ingest.server_key import load_server_key
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.migrations import migrate
from wire.keys import VerifyingKey


@contextlib.contextmanager
def server(directory: Path, gateways: Mapping[str, VerifyingKey]) -> Iterator[dict[str, Any]]:
    """Run a server that trusts ``gateways`` while the block lasts; yields the ``uplink`` of their gateway files."""
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(directory / "postgres"))
        broker = stack.enter_context(EmbeddedBroker(directory / "broker"))
        with connect(postgres.url) as connection:
            migrate(connection)
            for gateway, key in gateways.items():
                add_gateway(connection, gateway, key.raw)
        key_file, log = directory / "server.key", directory / "ingest.log"
        key = load_server_key(key_file).public
        command = [sys.executable, "-m", "shopfloor", "ingest", "run", "--database", postgres.url]
        with log.open("w") as said:
            process = subprocess.Popen(
                [*command, "--broker", broker.url, "--server-key", str(key_file)],
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
            try:
                if process.stdout is None or not process.stdout.readline():
                    raise RuntimeError(f"ingestion did not start: {log.read_text()}")
                yield {"url": broker.url, "server_key": key.text, "version": "3.1.1"}
            finally:
                process.kill()
                process.wait()
