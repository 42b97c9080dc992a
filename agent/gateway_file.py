"""Makes gateway files: checks single answers as the whole file will be checked, and writes them with comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from agent.config import GatewayConfig, load_config, parse_config
from agent.errors import ConfigurationError
from agent.models import DeviceModel, load_template
from wire.document import Document, read_document, validate_document, validated

_COMMENTS = {
    "gateway": "Part of every series id: gateway/device/series. It stays as it is once there are records.",
    "timezone": "Only for people: records carry UTC.",
    "key_file": "Made by `shopfloor agent key`; never leaves the gateway. Paths are relative to this file.",
    "data_directory": "The records of this gateway, kept until their space is needed.",
    "flush": "How often a signed record is closed.",
    "spool_bytes": "What the records may take on this disk.",
    "uplink": "Where records are sent. They are kept until the server that owns server_key acknowledges them.",
    "connections": "One connection is one cable or bus: what is on it is read one after the other.",
}
_DEFAULTS = {"timezone": "Asia/Shanghai", "flush": "10s", "spool_bytes": "256MiB"}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def accepted(model: type[Any], known: Mapping[str, Any], field: str, text: str) -> Any:
    """Return the value that ``text`` means for ``field`` of ``model``, whose other fields ``known`` may hold.

    Raises `ConfigurationError` with what the model says against it.
    """
    problems: list[str] = []
    for value in _meanings(text):
        problems = problems_of(model, {**known, field: value}, field)
        if not problems:
            return value
    raise ConfigurationError("; ".join(problems))


def problems_of(model: type[Any], data: Mapping[str, Any], field: str | None = None) -> list[str]:
    """Return what ``model`` has against ``data``, or only what concerns ``field``: then missing keys do not count."""
    try:
        validated(model, dict(data))
    except ValidationError as error:
        return [
            item["msg"].removeprefix("Value error, ")
            for item in error.errors(include_url=False)
            if field is None or (item["loc"][:1] == (field,) and item["type"] != "missing")
        ]
    return []


def _meanings(text: str) -> Iterator[Any]:
    """A number where the field takes one, else the text: serial numbers keep their zeros."""
    if _NUMBER.fullmatch(text):
        yield float(text) if "." in text else int(text)
    yield text


def completed(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``answers``, which may be any keys of a gateway file, with the keys that nobody needs to be asked for."""
    gateway = answers.get("gateway")
    places = {"key_file": f"{gateway}.key", "data_directory": f"{gateway}-data"}
    merged = {**_DEFAULTS, **places, **answers}
    order = [field.name for field in fields(GatewayConfig) if field.name in merged]
    return {name: merged[name] for name in [*order, *(name for name in merged if name not in order)]}


def read_answers(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Read answers from a YAML file and check them together with those ``given``, which go first.

    Raises `DocumentError` naming file, line and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    document = read_document(text, str(path))
    if not isinstance(document.data, dict):
        raise ConfigurationError(f"{path}: must hold keys of a gateway file, such as gateway and connections")
    data = completed({**document.data, **given})
    validate_document(GatewayConfig, Document(data, document.lines, document.source))
    return data


def gateway_file(answers: Mapping[str, Any], source: str) -> str:
    """Return the text of the gateway file that ``answers`` make, with comments.

    Raises `DocumentError` under the name ``source`` when they contradict each other.
    """
    data = completed(answers)
    lines = [
        f"# What gateway {data.get('gateway')} reads, how often, and where it sends it.",
        "# Every key is explained in gateway_configs/example.yaml.",
    ]
    for name, value in data.items():
        lines.append("")
        if name in _COMMENTS:
            lines.append(f"# {_COMMENTS[name]}")
        lines.extend(_connections(value) if name == "connections" and isinstance(value, list) else _entry(name, value))
        if name == "spool_bytes" and not data.get("uplink") and not data.get("uplinks"):
            lines.append("\n# There is no uplink: this gateway only records. `shopfloor agent export` writes files.")
    text = "\n".join(lines) + "\n"
    parse_config(text, source, Path.cwd())
    return text


def write_gateway_file(path: Path, text: str, *, replace: bool) -> GatewayConfig:
    """Write ``text`` to ``path``, over an existing file only with ``replace``; return what the file says.

    Raises `ConfigurationError` when the file exists or cannot be written.
    """
    new = path.with_name(path.name + ".new")
    try:
        if replace:
            new.write_text(text, encoding="utf-8")
            new.replace(path)
        else:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except FileExistsError as error:
        raise ConfigurationError(f"{path}: exists; give --force to replace it") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error}") from error
    return load_config(path)


def wants_address(model: DeviceModel) -> bool:
    """Whether devices of ``model`` have a meter number instead of a unit."""
    return any(series.request for series in model.series.values())


def wants_unit(model: DeviceModel) -> bool:
    """Whether devices of ``model`` are Modbus units."""
    return any(series.function for series in model.series.values())


def wants_ratios(model: DeviceModel) -> bool:
    """Whether there may be transformers before devices of ``model``."""
    return model.rating is not None or any(series.ratio != "none" for series in model.series.values())


def _connections(connections: list[Any]) -> Iterator[str]:
    yield "connections:"
    for connection in connections:
        start = "  - "
        for name, value in connection.items() if isinstance(connection, dict) else ():
            if name == "devices" and isinstance(value, list):
                yield f"{start}devices:"
                for device in value:
                    yield from _device(device)
            else:
                yield f"{start}{name}: {one_line(value)}"
            start = "    "


def _device(device: Any) -> Iterator[str]:
    start = "      - "
    for name, value in device.items() if isinstance(device, dict) else ():
        note = f" # {load_template(value).model.title}" if name == "model" else ""
        yield f"{start}{name}: {one_line(value)}{note}"
        start = "        "


def _entry(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield f"{name}:"
        for key, item in value.items():
            yield f"  {key}: {one_line(item)}"
    else:
        yield f"{name}: {one_line(value)}"


def one_line(value: Any) -> str:
    """Return ``value`` as YAML on one line; digits that are a text are quoted, for readers of every version of YAML."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return f'"{value}"'
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1_000_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()
