"""Everything that must run before a gateway can speak: database, broker, ingestion, plant, keys, and the plan on
file.
"""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from agent.config import GatewayConfig, load_config
from agent.keyfile import ensure_key
from demo.errors import DemoError, SurroundingsError
from demo.gateway import GATEWAY, Installation, Rhythm
from demo.scenario import Scenario, plan_text
from demo.servers import LOOPBACK
from demo.supervision import Child
from demo.timebase import Timebase
from evidence.plan import load_plan
from ingest.broker import EmbeddedBroker
from ingest.server_key import load_server_key
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.migrations import migrate
from store.projects import put_project
from wire.keys import SigningKey, VerifyingKey

_READY_S = 30.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Stage:
    """The surroundings of a gateway, all running."""

    scenario: Scenario
    folder: Path
    database_url: str
    timebase: Timebase
    installation: Installation
    gateway_key: VerifyingKey
    children: tuple[Child, ...]

    def configure(self, name: str, rhythm: Rhythm) -> GatewayConfig:
        """Write the gateway file ``name`` for a rhythm and read it as the agent does."""
        path = self.folder / name
        path.write_text(self.scenario.gateway_file(self.installation, rhythm), encoding="utf-8")
        return load_config(path)

    def check(self) -> None:
        """Raise `SurroundingsError` when a child process has ended by itself."""
        for child in self.children:
            child.check()


@contextmanager
def set_stage(scenario: Scenario, keep: Path | None) -> Iterator[Stage]:
    """Start everything in ``keep``, or in a temporary folder that is removed at the end; stop everything afterwards.

    Raises `DemoError` when ``keep`` is not empty, and what database and broker raise when they do not start.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(keep))
        timebase = stack.enter_context(Timebase.create(folder / "clock"))
        timebase.show(scenario.history_ms[0])
        database_url = stack.enter_context(EmbeddedPostgres(folder / "database")).url
        broker_url = stack.enter_context(EmbeddedBroker(folder / "broker")).url
        server_key = load_server_key(folder / "server.key")
        gateway_key = ensure_key(folder / "gateway.key")
        _register(database_url, scenario, gateway_key)

        def child(name: str, module: str, *arguments: str) -> Child:
            started = Child(name, module, arguments, folder / f"{name}.log")
            stack.callback(started.stop)
            return started

        status_port = _free_port()
        ingestion = child(
            *("ingestion", "shopfloor", "ingest", "run"),
            *("--database", database_url, "--broker", broker_url, "--server-key", str(folder / "server.key")),
            *("--http", str(status_port)),
        )
        plant = child("plant", "demo.servers", "--clock", str(folder / "clock"), *scenario.server_arguments)
        ports = json.loads(plant.expect_line())
        _await_ready(ingestion, status_port)
        installation = Installation(
            ports=ports,
            broker_url=broker_url,
            server_key=server_key.public,
            key_file=folder / "gateway.key",
            data_directory=folder / "gateway",
        )
        yield Stage(scenario, folder, database_url, timebase, installation, gateway_key.public, (ingestion, plant))


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])


def _await_ready(ingestion: Child, port: int) -> None:
    """Wait until ingestion has subscribed: a broker keeps nothing for a subscriber that was never there."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        ingestion.check()
        try:
            with urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=_READY_S):
                return
        except OSError:
            time.sleep(_POLL_S)
    raise SurroundingsError(f"ingestion is not ready after {_READY_S:.0f} s; see {ingestion.log}")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="shopfloor-demo-") as temporary:
            yield Path(temporary)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise DemoError(f"{keep}: is not an empty folder; a demonstration begins from nothing, name a new one")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.absolute()


def _register(database_url: str, scenario: Scenario, gateway_key: SigningKey) -> None:
    """Trust the gateway's key and put the evidence plan on file."""
    text = plan_text(scenario)
    plan = load_plan(text, scenario.plan_name)
    with connect(database_url) as connection:
        migrate(connection)
        add_gateway(connection, GATEWAY, gateway_key.public.raw)
        put_project(connection, plan.project, text, bytes.fromhex(plan.hash), time.time_ns() // 1_000_000)
