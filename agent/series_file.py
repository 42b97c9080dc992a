"""Adds series to a device in a gateway file, and leaves every other line of the file as its owner wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.config import GatewayConfig, load_config, parse_config
from agent.errors import ConfigurationError
from agent.gateway_file import one_line
from agent.models import SeriesModel
from wire.document import read_document, validated
from wire.errors import DocumentError

_LONGEST_NAME = 64


def series_name(path: str, taken: Iterable[str]) -> str:
    """Return a series name for the browse path ``path`` that is not ``taken``: from its last part, or more of it."""
    parts = [re.sub("[^a-z0-9]+", "_", part.lower()).strip("_") for part in path.split("/")]
    known = set(taken)
    for length in range(1, len(parts) + 1):
        name = "_".join(part for part in parts[-length:] if part)[-_LONGEST_NAME:].strip("_")
        if name and name not in known:
            return name
    number = 2
    while (name := f"series_{number}") in known:
        number += 1
    return name


def add_series(path: Path, device: str, series: Mapping[str, Mapping[str, Any]]) -> None:
    """Write ``series`` into ``extra_series`` of ``device`` in the gateway file ``path``.

    Raises `ConfigurationError` when there is no such device or it is not written one key a line, `DocumentError` when
    the file is wrong; the file is then as it was.
    """
    config = load_config(path)
    text = path.read_text(encoding="utf-8")
    document = read_document(text, str(path))
    place = _place(config, device)
    lines = text.splitlines()
    known = (*place, "extra_series") in document.lines
    at = document.lines[(*place, "extra_series" if known else "id")] - 1
    column = re.match(r"[\s-]*", lines[at])
    indent = " " * (column.end() if column else 0)
    added = [f"{indent}  {name}: {one_line(dict(one))}" for name, one in series.items()]
    lines[at + 1 : at + 1] = added if known else [f"{indent}extra_series:", *added]
    changed = "\n".join(lines) + "\n"
    wanted = _with_series(config, device, series)
    try:
        understood = parse_config(changed, str(path), path.resolve().parent) == wanted
    except DocumentError:
        understood = False
    if not understood:
        shown = "\n".join(f"  {name}: {one_line(dict(one))}" for name, one in series.items())
        raise ConfigurationError(
            f"{path}: device {device} is not written one key a line; add under extra_series:\n{shown}"
        )
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(changed, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error}") from error


def _place(config: GatewayConfig, device: str) -> tuple[str | int, ...]:
    for c, connection in enumerate(config.connections):
        for d, one in enumerate(connection.devices):
            if one.id == device:
                return "connections", c, "devices", d
    raise ConfigurationError(f"no device '{device}' in the gateway file")


def _with_series(config: GatewayConfig, device: str, series: Mapping[str, Mapping[str, Any]]) -> GatewayConfig:
    """Return what the changed file must say: ``config`` and nothing else changed."""
    models = {name: validated(SeriesModel, dict(one)) for name, one in series.items()}
    connections = []
    for connection in config.connections:
        devices = [
            replace(one, extra_series=one.extra_series | models) if one.id == device else one
            for one in connection.devices
        ]
        connections.append(replace(connection, devices=tuple(devices)))
    return replace(config, connections=tuple(connections))
