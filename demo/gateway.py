"""The gateway file of the demonstration: what the real agent is given to read, and how often.

The same file serves history and live operation; going live means shorter polls, hence a new descriptor on record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from demo.servers import LOOPBACK
from demo.steel import PULSE_KWH
from wire.keys import VerifyingKey

GATEWAY = "gw-01"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often the agent polls, closes a record and states a head, as written in a gateway file (``5min``)."""

    interval: str
    flush: str
    head_interval: str


FACTORY_HISTORY = Rhythm(interval="5min", flush="1h", head_interval="1d")
FACTORY_LIVE = Rhythm(interval="2s", flush="6s", head_interval="1h")
STEEL_HISTORY = Rhythm(interval="15min", flush="1d", head_interval="30d")


@dataclass(frozen=True, slots=True)
class Installation:
    """Where a gateway finds its devices, its server and its own files. ``ports`` are by device id."""

    ports: Mapping[str, int]
    broker_url: str
    server_key: VerifyingKey
    key_file: Path
    data_directory: Path


def factory_gateway(installation: Installation, rhythm: Rhythm) -> str:
    """The gateway file of the simulated factory, YAML."""
    devices = [
        {
            "id": "meter-1",
            "model": "acrel-adl400",
            "unit": 1,
            "serial_number": "20250117-0042",
            "ct_ratio": 60,
            "pt_ratio": 1,
            "history": False,
        },
        {"id": "meter-2", "model": "eastron-sdm630", "unit": 1, "serial_number": "23481907"},
        {"id": "plc-1", "model": "generic-modbus-plc", "unit": 1, "serial_number": "PLC-2-01"},
    ]
    return _gateway_file(installation, rhythm, devices, timezone="Asia/Shanghai")


def steel_gateway(installation: Installation, rhythm: Rhythm) -> str:
    """The gateway file of the steel works, YAML."""
    registers = ("active_energy_import", "reactive_energy_lagging", "reactive_energy_leading")
    meter = {
        "id": "meter-1",
        "model": "pulse-meter",
        "unit": 1,
        "serial_number": "UCI-851",
        "overrides": {name: {"scale": PULSE_KWH} for name in registers},
    }
    return _gateway_file(installation, rhythm, [meter], timezone="Asia/Seoul")


def _gateway_file(installation: Installation, rhythm: Rhythm, devices: list[dict[str, Any]], timezone: str) -> str:
    document = {
        "gateway": GATEWAY,
        "timezone": timezone,
        "key_file": str(installation.key_file),
        "data_directory": str(installation.data_directory),
        "flush": rhythm.flush,
        "head_interval": rhythm.head_interval,
        "uplink": {"url": installation.broker_url, "server_key": installation.server_key.text, "version": "3.1.1"},
        "connections": [
            {
                "id": f"to-{device['id']}",
                "protocol": "modbus-tcp",
                "host": LOOPBACK,
                "port": installation.ports[device["id"]],
                "devices": [device | {"interval": rhythm.interval}],
            }
            for device in devices
        ],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
