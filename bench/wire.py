"""The cost of one record: bytes a sample, time to open it, and to verify a run by its hashes and one signature."""

from __future__ import annotations

import json
import time

from bench.records import SAMPLES, chain, descriptor
from wire.chain import verify_run
from wire.descriptor import Device
from wire.keys import SigningKey
from wire.record import Record, open_record
from wire.words import decode_words

RECORDS = 300


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
        "bytes_per_sample": sum(len(record.data) for record in records) / (RECORDS * SAMPLES),
        "json_bytes_per_sample": len(_as_json(records[0])) / SAMPLES,
        "open_us_per_record": (opened - made) / RECORDS * 1e6,
        "verify_run_us_per_record": (verified - opened) / RECORDS * 1e6,
    }


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
