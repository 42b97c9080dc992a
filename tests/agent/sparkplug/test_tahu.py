"""Every data type read by the payload library of Eclipse Tahu, the project of the specification's authors."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.sparkplug_payload import QUALITY, DataType, Metric, Property, Quality, SparkplugValue, encode_payload

HERE = Path(__file__).parent / "tahu_node"
VALUES: dict[DataType, tuple[SparkplugValue, ...]] = {
    DataType.INT32: (-(2**31), -1, 2**31 - 1),
    DataType.INT64: (-(2**52), -1, 2**52),
    DataType.UINT8: (0, 255),
    DataType.UINT16: (0, 65535),
    DataType.UINT64: (0, 2**52),
    DataType.FLOAT: (-0.5, 1.5e30),
    DataType.DOUBLE: (0.1, -1e300),
    DataType.BOOLEAN: (False, True),
    DataType.STRING: ("", "有功电能 kWh"),
}
NAMES = {DataType.UINT8: "UInt8", DataType.UINT16: "UInt16", DataType.UINT64: "UInt64"}


@pytest.mark.registry
def test_every_data_type(npm_packages: Callable[[Path], Path]) -> None:
    sent = [(datatype, value) for datatype, values in VALUES.items() for value in values]
    assert {datatype for datatype, _ in sent} == set(DataType)
    metrics = [
        Metric(datatype, value, 5, name=f"m{number}", alias=number) for number, (datatype, value) in enumerate(sent)
    ]
    quality = Property(QUALITY, DataType.INT32, int(Quality.STALE))
    absent = Metric(DataType.DOUBLE, None, 6, name="absent", alias=99, properties=(quality,))
    payload = encode_payload([*metrics, absent], time_ms=7, seq=255)
    environment = os.environ | {"NODE_PATH": str(npm_packages(HERE))}
    command = ["node", str(HERE / "reader.js")]
    done = subprocess.run(
        command, input=payload.hex(), env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    assert (read["timestamp"], read["seq"]) == (7, 255)
    *present, null = read["metrics"]
    assert [one["name"] for one in present] == [f"m{number}" for number in range(len(sent))]
    for one, (datatype, value) in zip(present, sent, strict=True):
        assert one["type"] == NAMES.get(datatype, datatype.name.capitalize())
        assert one["value"] == (pytest.approx(value, rel=1e-6) if datatype is DataType.FLOAT else value)
        assert one["timestamp"] == 5
    assert null["value"] is None
    assert null["properties"] == {"Quality": {"value": 500, "type": "Int32"}}
