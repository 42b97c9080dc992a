"""The gateway file is read by a process of its own: it tells the same, and what it needs stays out of the agent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, get_origin, get_type_hints

import cbor2
import pytest

from agent import drivers, gateway_reader
from agent.config import load_config
from agent.errors import ConfigurationError, ReadingError
from agent.keyfile import write_key
from agent.models import Template, load_template, model_names
from agent.plain_data import from_plain, to_plain
from agent.reading import Reading, read_apart
from agent.setting import FileSettings
from wire.errors import DocumentError
from wire.keys import SigningKey

Until = Callable[..., Awaitable[None]]
CONFIGS = Path(__file__).parents[2] / "gateway_configs"
FAULTY = sorted((Path(__file__).parent / "configurations").glob("*.yaml"))
ALIKE = """
gateway: gw-01
key_file: gw.key
data_directory: data
connections:
  - id: line
    protocol: modbus-tcp
    host: 127.0.0.1
    port: 1
    devices:
      - id: plc-1
        model: generic-modbus-plc
        interval: 1s
        extra_series: &more
          pressure: {quantity: pressure, unit: bar, kind: gauge, function: 3, address: 7, type: float32}
      - {id: plc-2, model: generic-modbus-plc, unit: 2, interval: 1s, extra_series: *more}
"""


def loaded(process: int) -> set[str]:
    """The names of the native modules in a process."""
    lines = Path(f"/proc/{process}/maps").read_text(encoding="utf-8").splitlines()
    return {Path(line.split(maxsplit=5)[5]).name.partition(".")[0] for line in lines if line.count(" ") > 5}


def test_a_running_agent_holds_neither_pydantic_nor_yaml(tmp_path: Path, modbus_site: Any, until: Until) -> None:
    """Both have a native part, which a process cannot hide. The file is also read anew before the second look."""
    load_config(CONFIGS / "example.yaml")
    assert {"_pydantic_core", "_yaml", "_cbor2"} <= loaded(os.getpid()), "which a process that reads a file shows"

    async def run() -> None:
        async with modbus_site({1: dict.fromkeys(range(20), 1)}) as site:
            path = tmp_path / "gateway.yaml"
            path.write_text(ALIKE.replace("port: 1", f"port: {site.port}"))
            write_key(tmp_path / "gw.key", SigningKey.generate())
            command = [sys.executable, "-m", "shopfloor", "agent", "run", str(path)]
            with subprocess.Popen(command, stderr=subprocess.PIPE) as agent:
                try:
                    await until(lambda: len(site.requests) >= 2)
                    started = loaded(agent.pid)
                    path.write_text(path.read_text().replace("interval: 1s", "interval: 500ms"))
                    assert agent.stderr is not None
                    async with asyncio.timeout(30):
                        while b"was read again" not in await asyncio.to_thread(agent.stderr.readline):
                            pass
                    changed = loaded(agent.pid)
                finally:
                    agent.terminate()
        for modules in (started, changed):
            assert {"_cbor2", "_sqlite3"} <= modules
            assert modules & {"_pydantic_core", "_yaml"} == set()

    asyncio.run(run())


def test_what_is_read_apart_is_what_is_read_here() -> None:
    assert read_apart(CONFIGS / "example.yaml") == load_config(CONFIGS / "example.yaml")


def test_what_is_held_once_is_held_once_again(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(ALIKE)
    one, two = read_apart(path).connections[0].devices
    assert one.extra_series["pressure"] is two.extra_series["pressure"]


@pytest.mark.parametrize("name", model_names())
def test_a_device_model_travels_whole(name: str) -> None:
    template = load_template(name)
    assert from_plain(Template, cbor2.loads(cbor2.dumps(to_plain(template), value_sharing=True))) == template


def test_the_answer_is_the_same_every_time() -> None:
    answers = {cbor2.dumps(gateway_reader.answer(CONFIGS / "example.yaml"), value_sharing=True) for _ in range(2)}
    assert len(answers) == 1


@pytest.mark.parametrize("path", FAULTY, ids=lambda path: path.stem)
def test_the_answer_to_a_mistake_is_every_line_about_it(path: Path) -> None:
    with pytest.raises(DocumentError) as here:
        load_config(path)
    assert gateway_reader.answer(path) == {"problems": here.value.problems}


def test_a_mistake_is_told_as_by_check(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(ALIKE.replace("interval: 1s", "intervall: 1s"))
    told = [
        subprocess.run(
            [sys.executable, "-m", "shopfloor", "agent", command, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        for command in ("check", "run")
    ]
    assert [one.returncode for one in told] == [2, 2]
    assert told[0].stderr == told[1].stderr
    assert f"{path}:13: connections[0].devices[0].intervall: unknown key; did you mean 'interval'?" in told[1].stderr


def test_limits_that_forbid_a_value_are_told_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(
        ALIKE.replace(
            "model: generic-modbus-plc\n", "model: generic-modbus-plc\n        limits: {maximum_registers: 1}\n"
        )
    )
    with pytest.raises(ConfigurationError, match=r"raise limits\.maximum_registers"):
        read_apart(path)


@pytest.mark.parametrize(
    ("program", "told"), [("/bin/false", "ended with 1"), ("/nowhere/python", "no process can be started")]
)
def test_a_reader_that_fails_is_no_mistake_in_the_file(
    program: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(ReadingError, match=told) as caught:
        read_apart(tmp_path / "gateway.yaml")
    assert caught.value.exit_code == 3


def test_a_reader_that_nobody_waits_for_any_more_is_ended() -> None:
    with Reading(CONFIGS / "example.yaml") as reading:
        process = reading._process
    assert process.poll() is not None


def every_class(of: type[FileSettings]) -> Iterator[type[FileSettings]]:
    for one in of.__subclasses__():
        yield one
        yield from every_class(one)


def test_every_annotated_setting_is_a_field() -> None:
    """A class of settings without its decorator would lose its fields, and nobody would be told."""
    for protocol in drivers.protocols():
        drivers.settings(protocol)
    classes = list(every_class(FileSettings))
    assert len(classes) > 20
    for one in classes:
        if one.__module__.startswith("agent."):
            annotations = get_type_hints(one, include_extras=True)
            fields = {name for name, annotation in annotations.items() if get_origin(annotation) is not ClassVar}
            assert fields == set(one.__dataclass_fields__) - (annotations.keys() - fields), one
