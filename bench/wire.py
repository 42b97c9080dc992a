"""The cost of a record: bytes a sample, time to open it, and to verify a run by its hashes and one signature.

Bytes a sample are those of everything that a gateway signs, descriptor, events and heads included, divided by the good
values of series, in an hour of a working morning of the demonstration's factory. Its devices are real Modbus servers,
read every second by the real agent, whose clock is driven.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from agent.clock import DrivenClock
from agent.config import parse_config
from agent.keyfile import ensure_key
from agent.runtime import run_agent
from bench.records import SAMPLES, chain, descriptor
from demo.almanac import ZONE
from demo.gateway import Installation, Rhythm, factory_gateway
from demo.supervision import Child
from demo.timebase import Timebase
from wire.chain import verify_run
from wire.descriptor import Device
from wire.keys import SigningKey
from wire.record import Record, open_record
from wire.words import decode_words

LIMITS = {"bytes_per_sample_60s": 1.5, "bytes_per_sample_10s": 3.0}

RECORDS = 300
FACTORY_FROM_MS = int(datetime(2025, 7, 2, 9, tzinfo=ZONE).timestamp() * 1000)
FACTORY_MS = 3_600_000


def measure() -> dict[str, float]:
    """Return bytes a sample (and that of JSON for the same samples), and microseconds a record."""
    key = SigningKey.generate()
    records = list(chain("bench-01", key, RECORDS))[2:]
    made = time.perf_counter()
    for record in records:
        open_record(record.data, key.public)
    opened = time.perf_counter()
    first = records[0].payload
    run = verify_run(
        [r.data for r in records], key.public, gateway="bench-01", prev_seq=first.seq - 1, prev_hash=first.prev
    )
    verified = time.perf_counter()
    if not run.intact:
        raise AssertionError(run.faults)
    return {
        "bytes_per_sample_60s": _of_the_factory(Rhythm(interval="1s", flush="1min", head_interval="1h")),
        "bytes_per_sample_10s": _of_the_factory(Rhythm(interval="1s", flush="10s", head_interval="1h")),
        "bytes_per_sample": sum(len(record.data) for record in records) / (RECORDS * SAMPLES),
        "json_bytes_per_sample": len(_as_json(records[0])) / SAMPLES,
        "open_us_per_record": (opened - made) / RECORDS * 1e6,
        "verify_run_us_per_record": (verified - opened) / RECORDS * 1e6,
    }


def _of_the_factory(rhythm: Rhythm) -> float:
    """Return bytes a sample of the demonstration's factory in a rhythm."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        with Timebase.create(directory / "clock") as timebase:
            timebase.show(FACTORY_FROM_MS)
            plant = Child("plant", "demo.servers", ("--clock", str(directory / "clock")), directory / "plant.log")
            try:
                installation = Installation(
                    ports=json.loads(plant.expect_line()),
                    broker_url="mqtt://127.0.0.1",
                    server_key=SigningKey.generate().public,
                    key_file=directory / "gateway.key",
                    data_directory=directory / "gateway",
                )
                ensure_key(installation.key_file)
                config = parse_config(factory_gateway(installation, rhythm), "gateway.yaml", directory)
                clock = DrivenClock(FACTORY_FROM_MS, timebase.show)
                # It only records: nothing on the line changes what is signed.
                offline = replace(config, uplink=None)
                made = asyncio.run(run_agent(offline, clock, FACTORY_FROM_MS + FACTORY_MS))
            finally:
                plant.stop()
    return made.bytes / made.values


def _as_json(record: Record) -> bytes:
    """The same samples as the usual JSON of other agents: one object a read with a time and named values."""
    device: Device = descriptor(record.payload.gateway).devices[0]
    rows = []
    for frame in record.payload.register_frames:
        for time_ms, _, words in frame.samples():
            row: dict[str, object] = {"ts": time_ms}
            for one in device.series:
                raw = (words or ())[one.address : one.address + one.type.words]
                row[one.name] = round(decode_words(raw, one.type, one.order, scale=one.scale) or 0, 2)
            rows.append(row)
    return json.dumps(rows).encode()
