"""What pysparkplug makes of the edge node: an implementation that has nothing in common with ours.

It wants an older paho-mqtt than the agent, so that it cannot stand among the development packages: its wheel alone is
fetched from the package index, and what it has for payloads is used.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from agent.newest import RegisterRead
from agent.sparkplug_node import EdgeNode, Names, commands_rebirth, death
from agent.sparkplug_payload import Command, decode_commands
from wire.descriptor import Descriptor, Device, Series
from wire.words import WordOrder, WordType, encode_words

pytestmark = pytest.mark.registry
VERSION = "0.6.1"


@pytest.fixture(scope="module")
def pysparkplug(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("pysparkplug")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--target", folder, f"pysparkplug=={VERSION}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("pysparkplug")
    finally:
        sys.path.remove(str(folder))


def test_the_fields_are_those_of_the_official_schema(
    pysparkplug: Any, payload_fields: list[tuple[str, int, str, str, str]]
) -> None:
    """Number, type and name of every field that our tests read payloads with are those that it was built from."""
    schema = pysparkplug._protobuf.Payload.DESCRIPTOR
    kinds = {getattr(schema.fields[0], f"TYPE_{name}"): name.lower() for name in (
        "DOUBLE", "FLOAT", "UINT64", "UINT32", "BOOL", "STRING", "BYTES"
    )}  # fmt: skip
    for message, number, label, kind, name in payload_fields:
        official = schema if message == "Payload" else schema.nested_types_by_name[message]
        field = official.fields_by_number[number]
        assert field.name == name
        assert (field.message_type.name if field.message_type else kinds[field.type]) == kind
        assert field.is_repeated == (label == "repeated")
        assert (field.containing_oneof is not None) == (label == "value")


def test_births_changes_and_deaths(pysparkplug: Any) -> None:
    types = {
        "small": (WordType.INT16, -7), "whole": (WordType.UINT32, 4_000_000_000), "long": (WordType.INT64, -(2**40)),
        "float": (WordType.FLOAT32, 0.5), "double": (WordType.FLOAT64, 0.1), "flag": (WordType.BIT, 1),
    }  # fmt: skip
    series, words = [], []
    for name, (type_, raw) in types.items():
        series.append(Series(name, name, "1", "gauge", 3, len(words), type_, WordOrder.ABCD))
        words += encode_words(raw, type_, WordOrder.ABCD)
    device = Device("d", "m", bytes(32), "S", "modbus-tcp", 1, 1.0, 1.0, True, 1000, tuple(series))
    node = EdgeNode(Names("g", "n"), Descriptor("n", "software", "Asia/Shanghai", (device,)))
    node.take([RegisterRead(0, 3, 0, len(words), 5, 0, words)])
    first, second = node.birth(3, 9)
    node_birth = pysparkplug.NBirth.decode(first.payload)
    assert {one.name: one.value for one in node_birth.metrics} == {
        "bdSeq": 3,
        "Node Control/Rebirth": False,
        "Properties/Gateway": "n",
        "Properties/Software": "software",
        "Properties/Time Zone": "Asia/Shanghai",
    }
    device_birth = pysparkplug.DBirth.decode(second.payload)
    told = {one.name: one.value for one in device_birth.metrics}
    assert {name: told[name] for name in types} == {name: raw for name, (_, raw) in types.items()}
    assert (node_birth.seq, device_birth.seq, device_birth.timestamp) == (0, 1, 9)
    node.take(
        [RegisterRead(0, 3, 0, len(words), 6, 0, [*encode_words(-8, WordType.INT16, WordOrder.ABCD), *words[1:]])]
    )
    [change] = node.changes(10)
    data = pysparkplug.DData.decode(change.payload, birth=device_birth)
    assert [(one.name, one.value, one.timestamp) for one in data.metrics] == [("small", -8, 6)]
    assert pysparkplug.NDeath.decode(death(Names("g", "n"), 3, 1).payload).bd_seq_metric.value == 3
    node.take([RegisterRead(0, 3, 0, len(words), 7, 0xF0, None)])
    [gone] = node.changes(11)
    assert pysparkplug.DDeath.decode(gone.payload).seq == 3


def test_its_commands(pysparkplug: Any) -> None:
    metric = pysparkplug.Metric(
        timestamp=1, name="Node Control/Rebirth", datatype=pysparkplug.DataType.BOOLEAN, value=True
    )
    command = pysparkplug.NCmd(timestamp=1, metrics=(metric,)).encode(include_dtypes=True)
    assert commands_rebirth(command) == (True, ())
    metric = pysparkplug.Metric(timestamp=1, name="x", datatype=pysparkplug.DataType.DOUBLE, value=1.5)
    assert decode_commands(pysparkplug.DCmd(timestamp=1, metrics=(metric,)).encode()) == (Command("x", None, 1.5),)
