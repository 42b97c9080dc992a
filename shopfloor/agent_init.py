"""``shopfloor agent init``: asks what a gateway shall read, and writes its gateway file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

_OUTPUT = Path("gateway.yaml")
_ASKED_BEFORE = frozenset({"id", "protocol", "devices"})
_ASKED_WITH_DEFAULT = ("port", "baud_rate", "parity", "stop_bits", "security")


def add_parser(commands: Any) -> None:
    """Add ``init`` to the commands of ``shopfloor agent``."""
    init = commands.add_parser(
        "init",
        help="ask what to read and write a gateway file",
        description="Asks for gateway, uplink, connections and devices, checks every answer at once, and writes a "
        "commented gateway file. An answer in brackets is taken when you press Enter; ? shows what can be answered. "
        "With --answers nothing is asked.",
    )
    init.add_argument("--output", type=Path, default=_OUTPUT, metavar="FILE", help=f"default {_OUTPUT}")
    init.add_argument("--force", action="store_true", help="replace an existing file")
    init.add_argument(
        "--answers", type=Path, metavar="FILE", help="YAML with the keys of a gateway file; key_file and such are added"
    )
    init.add_argument("--gateway", metavar="ID", help="the gateway's id, not asked then")
    init.add_argument("--timezone", metavar="ZONE", help="an IANA time zone, not asked then")
    init.add_argument("--uplink-url", metavar="URL", help="mqtts://host:port, or empty for none; not asked then")
    init.add_argument("--server-key", metavar="KEY", help="the server's public key, not asked then")
    init.set_defaults(func=_init)


def _init(options: argparse.Namespace) -> int:
    from agent.errors import ConfigurationError
    from agent.gateway_file import gateway_file, read_answers, write_gateway_file

    if options.output.exists() and not options.force:
        raise ConfigurationError(f"{options.output}: exists; give --force to replace it, or --output another")
    if options.answers is not None:
        answers = read_answers(options.answers, _given(options))
    else:
        try:
            answers = _Interview(_given(options)).run()
        except EOFError as error:
            raise ConfigurationError("the input ended before the last question; nothing was written") from error
    text = gateway_file(answers, str(options.output))
    config = write_gateway_file(options.output, text, replace=options.force)
    devices = sum(1 for _ in config.devices())
    print(
        f"\n{options.output}: gateway {config.gateway}, {devices} devices. What comes next:\n"
        f"  shopfloor agent check {options.output}\n"
        f"  shopfloor agent key {options.output}\n"
        f"  shopfloor agent read {options.output}\n"
        f"  shopfloor agent commission {options.output} --operator NAME\n"
        f"  shopfloor agent run {options.output}"
    )
    return 0


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says already, in the shape of a gateway file."""
    given: dict[str, Any] = {}
    for name in ("gateway", "timezone"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    if options.uplink_url or options.server_key:
        uplink = {"url": options.uplink_url, "server_key": options.server_key}
        given["uplink"] = {name: value for name, value in uplink.items() if value}
    elif options.uplink_url == "":
        given["uplink"] = None
    return given


class _Interview:
    """Asks one question after the other; what was ``given`` is checked and not asked."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._names: set[str] = set()

    def run(self) -> dict[str, Any]:
        from agent.config import GatewayConfig

        answers: dict[str, Any] = {}
        answers["gateway"] = self._field(GatewayConfig, {}, "gateway", "Gateway id", "gw-01", given=self._given)
        answers["timezone"] = self._field(
            GatewayConfig, {}, "timezone", "Time zone, for people", "Asia/Shanghai", given=self._given
        )
        if (uplink := self._uplink()) is not None:
            answers["uplink"] = uplink
        connections: list[dict[str, Any]] = []
        while not connections or self._yes("Another connection?"):
            connections.append(self._connection(answers, connections))
        return answers | {"connections": connections}

    def _uplink(self) -> dict[str, Any] | None:
        from agent.config import UplinkConfig

        if "uplink" in self._given and self._given["uplink"] is None:
            return None
        given = self._given.get("uplink") or {}
        if not given and not self._yes("Does the gateway send its records to a server?", default=True):
            return None
        uplink: dict[str, Any] = {}
        uplink["url"] = self._field(
            UplinkConfig, uplink, "url", "Address of the broker, mqtts://host:port", None, given=given
        )
        uplink["server_key"] = self._field(
            UplinkConfig, uplink, "server_key", "Public key of the server, ed25519:...", None, given=given
        )
        return uplink

    def _connection(self, answers: Mapping[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
        """Ask for a connection until it goes with those asked for ``before``."""
        from agent.gateway_file import gateway_file
        from wire.errors import DocumentError

        while True:
            names = set(self._names)
            connection = self._one_connection()
            try:
                gateway_file({**answers, "connections": [*before, connection]}, "this connection")
            except DocumentError as error:
                print(f"  {error}")
                self._names = names
            else:
                return connection

    def _one_connection(self) -> dict[str, Any]:
        from agent import drivers
        from agent.config import ConnectionConfig

        number = 1 + sum(name.startswith("line-") for name in self._names)
        connection: dict[str, Any] = {"id": self._name(ConnectionConfig, "Id of the connection", f"line-{number}")}
        protocols = list(drivers.protocols())
        connection["protocol"] = self._field(
            ConnectionConfig, {}, "protocol", "Protocol (? lists them)", "modbus-tcp", choices=lambda: protocols
        )
        settings = drivers.settings(connection["protocol"])
        for field in fields(settings):
            name, required = field.name, field.default is MISSING and field.default_factory is MISSING
            if name in _ASKED_BEFORE or not (required or name in _ASKED_WITH_DEFAULT):
                continue
            title = field.metadata.get("description") or name.replace("_", " ").capitalize()
            default = None if required else str(field.default)
            known = connection | {"devices": ()}
            connection[name] = self._field(settings, known, name, title, default)
        devices = [self._device(settings, connection, [])]
        while self._yes("Another device on this connection?"):
            devices.append(self._device(settings, connection, devices))
        return connection | {"devices": devices}

    def _device(
        self, settings: type[Any], connection: Mapping[str, Any], before: list[dict[str, Any]]
    ) -> dict[str, Any]:
        from agent.config import DeviceConfig
        from agent.gateway_file import problems_of, wants_address, wants_ratios, wants_unit
        from agent.models import load_template

        while True:
            number = 1 + sum(name.startswith("meter-") for name in self._names)
            device: dict[str, Any] = {"id": self._name(DeviceConfig, "Id of the device", f"meter-{number}")}
            device["model"] = self._field(
                DeviceConfig, {}, "model", "Device model (? lists them)", None, choices=_models
            )
            model = load_template(device["model"]).model
            questions: list[tuple[str, str, str | None]] = []
            if wants_address(model):
                questions.append(("address", "Number of the meter, as on its plate", None))
            if wants_unit(model):
                questions.append(("unit", "Modbus unit", "1"))
            questions += [("interval", "Read every", "10s"), ("serial_number", "Serial number", "")]
            if wants_ratios(model):
                questions += [
                    ("ct_ratio", "Ratio of the current transformers (1 = none)", "1"),
                    ("pt_ratio", "Ratio of the voltage transformers (1 = none)", "1"),
                ]
            for name, title, default in questions:
                answer = self._field(DeviceConfig, {}, name, title, default)
                if answer != "":
                    device[name] = answer
            problems = problems_of(settings, dict(connection) | {"devices": [*before, device]})
            if not problems:
                return device
            self._names.discard(device["id"])
            print(f"  this device does not go: {'; '.join(problems)}")

    def _name(self, model: type[Any], title: str, default: str) -> str:
        while (name := str(self._field(model, {}, "id", title, default))) in self._names:
            print(f"  '{name}' is used already")
        self._names.add(name)
        return name

    def _field(
        self,
        model: type[Any],
        known: Mapping[str, Any],
        name: str,
        title: str,
        default: str | None,
        *,
        given: Mapping[str, Any] | None = None,
        choices: Callable[[], list[str]] | None = None,
    ) -> Any:
        """Ask until ``model`` accepts the answer as its field ``name``."""
        from agent.errors import ConfigurationError
        from agent.gateway_file import accepted

        if given is not None and name in given:
            return accepted(model, known, name, str(given[name]))
        while True:
            answer = input(f"{title}{f' [{default}]' if default else ''}: ").strip()
            if answer == "?" and choices is not None:
                print("\n".join(f"  {choice}" for choice in choices()))
                continue
            if not answer and default is None:
                print("  an answer is needed")
                continue
            try:
                return accepted(model, known, name, answer or default or "")
            except ConfigurationError as error:
                print(f"  {error}")

    def _yes(self, question: str, *, default: bool = False) -> bool:
        while True:
            answer = input(f"{question} [{'Y/n' if default else 'y/N'}]: ").strip().lower()
            if answer in ("", "y", "yes", "n", "no"):
                return answer.startswith("y") if answer else default
            print("  answer y or n")


def _models() -> list[str]:
    from agent.models import load_template, model_names

    names = model_names()
    width = max(map(len, names))
    return [f"{name:{width}}  {load_template(name).model.title}" for name in names]
