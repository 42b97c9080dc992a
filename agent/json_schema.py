"""JSON Schemas of device models and gateway files: what editors complete, explain and check while one is written.

Both are made from the classes that the agent reads the files with (JSON Schema 2020-12). What lies between
fields (ids used twice, series that a model does not have) is told by ``shopfloor agent check`` alone.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Literal

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from agent import config, drivers
from agent.models import DeviceModel, Limits, SeriesModel, model_names
from wire.document import adapter

Kind = Literal["device", "gateway"]

_DESCRIPTIONS = {
    "gateway": "Id of the gateway, part of every series id: gw-01/meter-1/active_energy_import.",
    "timezone": "IANA time zone, for people and for daily work; records carry UTC.",
    "key_file": "The gateway's private key, made by 'shopfloor agent key'; relative to this file.",
    "data_directory": "Where the spool is kept; relative to this file.",
    "flush": "How often a signed record is closed.",
    "spool_bytes": "What the spool may take on disk.",
    "head_interval": "How often a record states the head of the chain.",
    "health_interval": "How often the state of the gateway is published when nothing has changed.",
    "uplink": "Where records go; without one the gateway only records.",
    "uplinks": "Several servers, each with its own acknowledgement and pace.",
    "sparkplug": "The factory's own SCADA: current values as a Sparkplug B edge node; without it there is none.",
    "group_id": "Sparkplug group of the edge node, as the SCADA has it.",
    "edge_node_id": "Name of the edge node, unique in its group; the gateway's id when absent.",
    "primary_host_id": "The host application that must be there; without it the edge node waits for nobody.",
    "connections": "One connection is one cable: requests on it are made one after the other.",
    "id": "Id, unique in this file: a-z, 0-9, '-' and '_'.",
    "protocol": "How the devices are spoken to.",
    "timeout": "What a request may take.",
    "devices": "The devices behind this connection.",
    "host": "Name or address of the device or converter.",
    "port": "TCP port.",
    "pause_after_connect": "Time a device or converter needs after it was connected.",
    "pause_between_requests": "Time a device or converter needs between two requests.",
    "serial_port": "The serial port, such as /dev/ttyUSB0.",
    "baud_rate": "Bits a second, as set in the devices.",
    "data_bits": "Data bits of a character.",
    "parity": "Parity, as set in the devices.",
    "stop_bits": "Stop bits, as set in the devices.",
    "local_echo": "For two-wire adapters that hear what they send.",
    "server_name": "The name in the server's certificate; the host when absent.",
    "certificate_file": "The gateway's own certificate, PEM, for servers that ask for one.",
    "private_key_file": "The key of the gateway's certificate, PEM.",
    "ca_file": "The authorities that vouch for the other side, PEM; no others are trusted.",
    "url": "mqtts://host:port of the broker; mqtt:// without encryption.",
    "server_key": "Public key of the server: records are kept until its owner acknowledges them.",
    "version": "Version of MQTT: auto is 5, or 3.1.1 with a broker that does not know 5.",
    "username": "User name at the broker.",
    "password": "Password at the broker.",
    "certificate_sha256": "SHA-256 of the broker's certificate, to pin it.",
    "client_certificate": "The gateway's own certificate for the broker, PEM.",
    "client_key": "The key of the gateway's certificate, PEM.",
    "keepalive": "How often the link is kept alive when nothing is sent.",
    "window_records": "Records that may be on their way without acknowledgement.",
    "window_bytes": "Bytes that may be on their way without acknowledgement.",
    "bytes_a_second": "Upper bound of the pace, for metered links.",
    "model": "Name of a file in gateway_configs/devices/.",
    "unit": "Modbus unit identifier.",
    "interval": "How often the device is polled; divides a day, polls keep to multiples of it on the wall clock.",
    "serial_number": "Serial number; another one is another meter, which the records say.",
    "ct_ratio": "Current transformer ratio, such as 60 for 300/5; 1 without. State it even where the meter applies it.",
    "pt_ratio": "Voltage transformer ratio; 1 without. State it even where the meter applies it.",
    "limits": "Limits of this very device, where they differ from its model.",
    "series": "Only these series are polled; without the key all of the model.",
    "overrides": "Fields of single series that differ from the model.",
    "extra_series": "Series that the model does not have.",
}
"""Of the fields that say nothing about themselves; a name means the same wherever it stands."""

_AS_IN: dict[str, type[Any]] = {"SeriesOverride": SeriesModel, "LimitsOverride": Limits}
"""Definitions whose fields are described where they come from."""

_PLACES = (["function", "address", "type"], ["request", "length", "type"], ["node"])
"""What says where a value stands: in registers, in an answer, in an OPC UA node."""

_TEXTS: dict[Any, tuple[str, list[str]]] = {
    config.parse_duration: ("ms|s|min|h|d", ["10s", "5min", "1h"]),
    config.parse_size: ("B|kB|MB|GB|KiB|MiB|GiB", ["64MiB", "2GB"]),
}


class _Generator(GenerateJsonSchema):
    """Describes what may be written, where that is not what it becomes when read."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Durations and sizes are written with their unit."""
        if schema["schema"]["type"] == "bytes":
            return {"type": "string", "pattern": r"^([0-9A-Fa-f]{2}\s*)*$", "examples": ["11 00 00 01 00"]}
        written = _TEXTS.get(schema["function"]["function"])
        if written is None:
            return super().function_before_schema(schema)
        units, examples = written
        return {"type": "string", "pattern": rf"^\d+(\.\d+)?\s*({units})$", "examples": examples}

    def function_wrap_schema(self, schema: core_schema.WrapValidatorFunctionSchema) -> JsonSchemaValue:
        """Which keys a connection has depends on its protocol."""
        function: Any = schema["function"]["function"]  # of an `agent.setting.Kind`
        if function.func.__self__.of is not config.of_its_protocol:
            return super().function_wrap_schema(schema)
        names = list(drivers.protocols())
        cases = [
            {
                "if": {"properties": {"protocol": {"const": name}}},
                "then": self.generate_inner(_schema_of(name)),
            }
            for name in names
        ]
        return {"type": "object", "properties": {"protocol": {"enum": names}}, "required": ["protocol"], "allOf": cases}


def _schema_of(protocol: str) -> core_schema.CoreSchema:
    settings: Any = drivers.settings(protocol)
    return adapter(settings).core_schema


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the schema of a device model or of a gateway file."""
    model = DeviceModel if kind == "device" else config.GatewayConfig
    schema = adapter(model).json_schema(schema_generator=_Generator)
    definitions = schema.get("$defs", {})
    if kind == "gateway":
        definitions["DeviceConfig"]["properties"]["model"]["enum"] = list(model_names())
    series = definitions["SeriesModel"]
    series["required"].remove("type")
    series["anyOf"] = [{"required": keys} for keys in _PLACES]
    for name, one in (("", schema), *definitions.items()):
        described = {one.name: one for one in fields(_AS_IN[name])} if name in _AS_IN else {}
        for key, field in one.get("properties", {}).items():
            source = described.get(key)
            _finish(field, (source and source.metadata.get("description")) or _DESCRIPTIONS.get(key))
    title = "Device model" if kind == "device" else "Gateway file"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


def _finish(field: dict[str, Any], description: str | None) -> None:
    """Describe a field that does not describe itself, and take out what is not about what may be written."""
    if description is not None:
        field.setdefault("description", description)
    field.pop("title", None)
    if field.get("type") == "number" and field.get("default", 0) is None:
        field.pop("default")
    if "pattern" in field:
        for key in ("ge", "le", "default"):
            field.pop(key, None)


def json_schema_text(kind: Kind) -> str:
    """Return the schema as it stands in ``gateway_configs/schema/``."""
    return json.dumps(json_schema(kind), ensure_ascii=False, indent=2) + "\n"
