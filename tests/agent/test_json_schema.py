"""The JSON Schemas for editors: up to date, valid by an independent library, and right about our own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from agent.json_schema import Kind, json_schema, json_schema_text

CONFIGS = Path(__file__).parents[2] / "gateway_configs"
KINDS: tuple[Kind, ...] = ("device", "gateway")
FILES = [
    *(("device", path) for path in sorted((CONFIGS / "devices").glob("*.yaml"))),
    *(("gateway", path) for path in sorted(CONFIGS.glob("*.yaml"))),
]

GATEWAY = """
gateway: gw-01
key_file: k
data_directory: d
connections:
  - {id: line, protocol: modbus-tcp, host: 192.0.2.1, devices: [{id: m, model: acrel-adl400, interval: 10s}]}
"""


def complaints(kind: Kind, text: str) -> list[str]:
    validator = Draft202012Validator(json_schema(kind))
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("kind", KINDS)
def test_the_stored_schema_is_up_to_date(kind: Kind) -> None:
    stored = (CONFIGS / "schema" / f"{kind}.json").read_text(encoding="utf-8")
    remedy = f"run: shopfloor agent schema {kind} > gateway_configs/schema/{kind}.json"
    assert stored == json_schema_text(kind), remedy


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_one_and_describes_every_field(kind: Kind) -> None:
    schema = json.loads(json_schema_text(kind))
    Draft202012Validator.check_schema(schema)
    silent = [
        f"{name}.{key}"
        for name, one in ({"": schema} | schema["$defs"]).items()
        for key, field in one.get("properties", {}).items()
        if not field.get("description")
    ]
    assert silent == [], "give the field a description: Field(description=...) or a line in agent/json_schema.py"


@pytest.mark.parametrize(("kind", "path"), FILES, ids=lambda value: getattr(value, "stem", value))
def test_our_own_files_fit_and_name_their_schema(kind: Kind, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert complaints(kind, text) == []
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == CONFIGS / "schema" / f"{kind}.json"


def test_a_minimal_gateway_file_fits() -> None:
    assert complaints("gateway", GATEWAY) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("interval: 10s", "interval: 10"), "10 is not of type 'string'"),
        (("interval: 10s", "interval: 10 seconds"), "does not match"),
        (("acrel-adl400", "acrel-adl40"), "'acrel-adl40' is not one of"),
        (("modbus-tcp", "modbus-udp"), "'modbus-udp' is not one of"),
        (("protocol: modbus-tcp, ", ""), "'protocol' is a required property"),
        (("host: 192.0.2.1, ", ""), "'host' is a required property"),
        (("key_file: k", "keyfile: k"), "'keyfile' was unexpected"),
        (
            (
                "interval: 10s",
                "interval: 10s, extra_series: {x: {quantity: x, unit: V, kind: gauge, function: 3, type: int16}}",
            ),
            "is not valid under any of the given schemas",
        ),
        (("interval: 10s", "interval: 10s, overrides: {voltage_l1: {scal: 2}}"), "'scal' was unexpected"),
    ],
)
def test_an_editor_shows_a_mistake(change: tuple[str, str], message: str) -> None:
    assert change[0] in GATEWAY
    found: list[Any] = complaints("gateway", GATEWAY.replace(*change))
    assert any(message in one for one in found), found
