"""The compose files: by the schema of the Compose Specification, and what they start is what there is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest.broker import find_nats_server
from ingest.certificate_authority import CertificateAuthority
from shopfloor.main import build_parser

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"
FOLDERS = ("site", "cluster")


def _filled_in(folder: str) -> dict[str, str]:
    """The variables of ``env.example``, with a value where an administrator has to give one."""
    lines = (COMPOSE / folder / "env.example").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value or f"secret-{number}" for number, (name, value) in enumerate(given.items())}


def _interpolated(text: str, environment: dict[str, str]) -> str:
    """``text`` as compose reads it: ``${NAME}``, ``${NAME:-default}``, ``${NAME:?must be set}``."""

    def value(match: re.Match[str]) -> str:
        name, operator, word = match.groups()
        if environment.get(name):
            return environment[name]
        assert operator == ":-", f"{name} is in no env.example"
        return str(word)

    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", value, text)


def _services(folder: str) -> dict[str, Any]:
    text = (COMPOSE / folder / "compose.yaml").read_text(encoding="utf-8")
    services: dict[str, Any] = yaml.safe_load(_interpolated(text, _filled_in(folder)))["services"]
    return services


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_follow_the_schema_of_the_specification(folder: str) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
        cwd=COMPOSE / folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_services_name_is_there(folder: str) -> None:
    text = (COMPOSE / folder / "compose.yaml").read_text(encoding="utf-8")
    volumes = yaml.safe_load(text)["volumes"]
    services = _services(folder)
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source.startswith(".") or source in volumes


@pytest.mark.parametrize(
    ("folder", "service"),
    [("site", "site"), *(("cluster", f"{kind}-{p}") for kind in ("ingest", "pages") for p in "ab")],
)
def test_commands_are_understood_by_the_program(folder: str, service: str) -> None:
    command = _services(folder)[service]["command"]
    options = build_parser(command[:1]).parse_args(command)
    if service.startswith("ingest"):
        assert options.programme == service[-1]


@pytest.mark.parametrize("tls", ["mqtt-tls.conf", "mqtt-tls-enrolled.conf"])
def test_nats_server_understands_its_configuration(tls: str, tmp_path: Path) -> None:
    for file in (COMPOSE / "cluster").glob("*.conf"):
        shutil.copy(file, tmp_path)
    shutil.copy(COMPOSE / "cluster" / tls, tmp_path / "mqtt-tls.conf")
    authority = CertificateAuthority.open_or_create(tmp_path / "authority", b"passphrase")
    for name, service in _services("cluster").items():
        if not name.startswith("nats-"):
            continue
        environment = {
            **service["environment"],
            "NATS_STORE": str(tmp_path / name),
            "NATS_CERTIFICATE": str(authority.files.server),
            "NATS_CERTIFICATE_KEY": str(authority.files.server_key),
            "NATS_AUTHORITY": str(authority.files.authority),
        }
        configuration = tmp_path / Path(service["command"][1]).name
        tested = subprocess.run(
            [str(find_nats_server()), "-t", "--config", str(configuration)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert tested.returncode == 0, tested.stderr
        routes = json.loads(environment["NATS_ROUTES"])
        assert f"nats://{name}:6222" in routes
