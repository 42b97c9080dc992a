"""Adds an uplink to a gateway file, and leaves every other line of the file as its owner wrote it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from agent.config import GatewayConfig, UplinkConfig, load_config, parse_config
from agent.errors import ConfigurationError
from agent.gateway_file import one_line, write_gateway_file
from wire.document import read_document
from wire.errors import DocumentError

_KEYS = ("id", "url", "server_key", "ca_file", "client_certificate", "client_key")


def add_uplink(path: Path, uplink: UplinkConfig) -> bool:
    """Write ``uplink`` into ``uplinks`` of the gateway file ``path``; tell whether the file was changed.

    Nothing is changed where the file has it already. Raises `ConfigurationError` with the lines to write by hand when
    it says something else about this uplink, or is not written one key a line; `DocumentError` when the file is wrong.
    """
    config = load_config(path)
    known = {one.id: one for one in config.all_uplinks}.get(uplink.id)
    if known is not None and all(getattr(known, key) == getattr(uplink, key) for key in _KEYS):
        return False
    item = _lines(path, uplink)
    text = path.read_text(encoding="utf-8")
    document = read_document(text, str(path))
    lines = text.splitlines()
    if ("uplinks", 0) in document.lines:
        at = document.lines["uplinks", 0] - 1
        indent = re.match(r" *", lines[at])
        lines[at:at] = [(indent.group() if indent else "") + line for line in item]
    else:
        lines += ["", "uplinks:", *(f"  {line}" for line in item)]
    changed = "\n".join(lines) + "\n"
    try:
        understood = known is None and _same(parse_config(changed, str(path), path.resolve().parent), config, uplink)
    except DocumentError:
        understood = False
    shown = "uplinks:\n" + "\n".join(f"  {line}" for line in item)
    if not understood:
        raise ConfigurationError(f"{path}: says something else about uplinks; write there:\n{shown}")
    try:
        write_gateway_file(path, changed, replace=True)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; have somebody who may write it add:\n{shown}") from error
    return True


def _lines(path: Path, uplink: UplinkConfig) -> list[str]:
    base = path.resolve().parent
    values = {key: getattr(uplink, key) for key in _KEYS}
    written = {key: _shown(value, base) if isinstance(value, Path) else value for key, value in values.items()}
    return [f"{'  ' if index else '- '}{key}: {one_line(value)}" for index, (key, value) in enumerate(written.items())]


def _shown(file: Path, base: Path) -> str:
    """``file`` as a gateway file in ``base`` names it: by a path from there only where it lies below."""
    return str(file.relative_to(base) if file.is_relative_to(base) else file)


def _same(changed: GatewayConfig, before: GatewayConfig, uplink: UplinkConfig) -> bool:
    """Tell whether the changed file says the same as before, and the uplink besides."""
    added = {one.id: one for one in changed.all_uplinks}
    one = added.pop(uplink.id, None)
    return (
        one is not None
        and all(getattr(one, key) == getattr(uplink, key) for key in _KEYS)
        and added == {other.id: other for other in before.all_uplinks}
        and replace(changed, uplink=None, uplinks=()) == replace(before, uplink=None, uplinks=())
    )
