"""Bits, decimals and texts, from a device model to the value: coils, inputs, bits of registers, BCD, strings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.clock import DrivenClock
from agent.config import parse_config
from agent.keyfile import ensure_key
from agent.models import SeriesModel
from agent.runtime import run_agent
from agent.spool import Spool
from wire.descriptor import Descriptor
from wire.document import validated
from wire.record import open_record
from wire.words import WordType, decode_text, decode_words

START = 1_751_299_200_000
SERIES = """
          pump: {quantity: pump, unit: "1", kind: state, function: 1, address: 17, type: bit},
          valve: {quantity: valve, unit: "1", kind: state, function: 1, address: 18, type: bit},
          alarm: {quantity: alarm, unit: "1", kind: state, function: 2, address: 40, type: bit},
          door: {quantity: door, unit: "1", kind: state, function: 3, address: 100, type: bit, bit: 3},
          light: {quantity: light, unit: "1", kind: state, function: 3, address: 100, type: bit, bit: 4},
          pieces: {quantity: pieces, unit: piece, kind: counter, function: 3, address: 101, type: bcd32, order: CDAB},
          name: {quantity: name, unit: "1", kind: state, function: 3, address: 103, type: string, length: 3}"""


def test_bits_decimals_and_texts_are_read_and_decoded(tmp_path: Path) -> None:
    async def run() -> None:
        device = SimDevice(
            id=1,
            simdata=(
                [SimData(16, values=[False, True, False, True] * 4, datatype=DataType.BITS)],
                [SimData(32, values=[False] * 8 + [True] + [False] * 7, datatype=DataType.BITS)],
                [SimData(100, values=[0b1000, 0x5678, 0x1234, 0x4144, 0x4C20, 0x0000], datatype=DataType.REGISTERS)],
                [SimData(0, values=[0], datatype=DataType.REGISTERS)],
            ),
        )
        server = ModbusTcpServer([device], address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        text = (
            "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n  - id: line\n    protocol: modbus-tcp\n"
            f"    host: 127.0.0.1\n    port: {server.transport.sockets[0].getsockname()[1]}\n    devices:\n"
            "      - {id: plc, model: generic-modbus-plc, interval: 10s, series: [], extra_series: {"
            f"{SERIES}}}}}\n"
        )
        config = parse_config(text, "gateway.yaml", tmp_path)
        key = ensure_key(config.key_file)
        await run_agent(config, DrivenClock(START), START + 5_000)
        await server.shutdown()

        spool = Spool(config.data_directory, config.gateway, key.public.key_id, config.spool_bytes)
        records = [open_record(one.data, key.public) for one in spool.outgoing(0, 100, 2**30)]
        spool.close()
        descriptor = next(r.payload.body for r in records if isinstance(r.payload.body, Descriptor))
        values: dict[str, object] = {}
        for series in descriptor.devices[0].series:
            for record in records:
                for frame in record.payload.frames:
                    if series.in_registers(frame.function, frame.address, frame.count):
                        ((_, _, words),) = frame.samples()
                        assert words is not None
                        mine = words[series.address - frame.address :][: series.words]
                        if series.type is WordType.STRING:
                            values[series.name] = decode_text(mine, series.order)
                        else:
                            values[series.name] = decode_words(mine, series.type, series.order, bit=series.bit)
        assert values == {
            "pump": 1,
            "valve": 0,
            "alarm": 1,
            "door": 1,
            "light": 0,
            "pieces": 12345678,
            "name": "ADL",
        }

    asyncio.run(run())


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"function": 1, "type": "uint16"}, "coils and discrete inputs"),
        ({"function": 2, "type": "bit", "bit": 1}, "coils and discrete inputs"),
        ({"function": 3, "type": "uint16", "bit": 1}, "bit belongs to the type bit"),
        ({"function": 3, "type": "string"}, "how many registers the text takes"),
        ({"function": 3, "type": "string", "length": 126}, "how many registers the text takes"),
        ({"function": 3, "type": "string", "length": 4, "address": 65533}, "leaves no room for the 4 registers"),
        ({"function": 3, "type": "uint16", "length": 1}, "start and length belong to a request"),
        ({"function": 3, "type": "variant"}, "is no type of registers"),
    ],
)
def test_a_place_that_does_not_fit_the_type_is_explained(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        validated(SeriesModel, {"quantity": "q", "unit": "1", "kind": "state", "address": 0} | fields)
