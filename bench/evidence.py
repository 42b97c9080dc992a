"""The evidence engine: a year of signed records to the final result, the result of days that are intervals already, and
a night's refresh of 500 projects.

The year is that of `bench.factory_year`, in the embedded database as ingestion stores it. Each figure is measured in a
process of its own that is held on one core together with the database (the refresh: on two), in seconds of processor
time, that of the database included: other work on the machine hardly changes it, and on a free core it is the time on
the clock.

``cold_s``: what opens a project's page for the first time: every record of the plan's span is read, its hash compared
with the one that the next record names, the signature on the last record of each block checked, every sample decoded,
every interval computed and compared with the stored one, and the plan evaluated. ``warm_s``: the same evaluation, byte
for byte, from the stored intervals. ``refresh_500_s``: what the nightly job does.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from bench.factory_year import DAY_MS, READ_MS, SERIES, FactoryYear
from demo.factory import FIRST_DAY, START_MS
from ingest.worker import IntervalWorker
from store.database import Connection, Pool, connect, pool, transaction
from store.dirty import mark_dirty
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.migrations import migrate
from store.projects import put_project
from store.records import ChainHead, NewRecord, advance_head, insert_records, lock_head
from wire.keys import SigningKey
from wire.record import Record

LIMITS = {"cold_s": 60.0, "warm_s": 1.0, "rss_mb": 500.0, "refresh_500_s": 600.0}
YEAR_DAYS = 365
DAYS = 365
"""How much of the year is run; ``scale`` says what seconds were multiplied by when it is less."""

PROJECTS = 500
PROJECTS_RUN = 50
CORES = 2
GATEWAY = "gw-01"
_BATCH = 1_000

PLAN = """\
plan: 1
project: {project}
programme: pingluo-2025
enterprise: 示例新材料有限公司
boundary: 2# 生产线
timezone: Asia/Shanghai
baseline:  {{from: {begin}, to: {border}}}
reporting: {{from: {border}, to: {end}}}
series:
  energy: {{quantity: active_energy_import, unit: kWh, from: [gw-01/meter-1/active_energy_import]}}
  compressor: {{quantity: active_energy_import, unit: kWh, from: [gw-01/meter-2/active_energy_import]}}
  output: {{quantity: good_count, unit: piece, from: [gw-01/plc-1/good_count]}}
  scrap: {{quantity: scrap_count, unit: piece, from: [gw-01/plc-1/scrap_count]}}
  outdoor_temperature: {{quantity: temperature, unit: degC, from: [gw-01/plc-1/outdoor_temperature]}}
kpis:
  - {{id: intensity, kind: energy_intensity, energy: energy, output: output, target: {{change: -0.08}}}}
  - id: saving
    kind: adjusted_saving
    energy: energy
    model: linear
    variables: [output, outdoor_temperature]
    target: {{saving: 0.08}}
  - {{id: compressor, kind: adjusted_saving, energy: compressor, model: linear, variables: [output]}}
  - {{id: peak, kind: peak_demand, energy: energy}}
  - {{id: load, kind: load_factor, energy: energy}}
  - {{id: scrap, kind: scrap_ratio, scrap: scrap, produced: output + scrap}}
"""
"""The baseline is more than twice as long as the reporting period, so that the placebo test has windows."""


def measure() -> dict[str, float]:
    """Return the figures named in ``LIMITS``, what they were multiplied by, and seconds on the clock beside them."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as postgres:
        with connect(postgres.url) as conn:
            migrate(conn)
        with pool(postgres.url, 3) as connections:
            records = store_year(connections, DAYS)
            with transaction(connections) as conn:
                for number in range(PROJECTS_RUN):
                    register(conn, f"P-{number:03}", DAYS)
        with connect(postgres.url, autocommit=True) as conn:
            # What the database puts off while it is being filled is not part of what is measured.
            conn.execute("VACUUM (ANALYZE)")
            conn.execute("CHECKPOINT")
        cold, warm = (_process(kind, postgres, "P-000") for kind in ("cold", "warm"))
        refreshed = _process("refresh", postgres, str(CORES))
    if not cold["proven"] or cold["records"] < records:
        raise AssertionError(f"{cold['records']} of {records} records were checked, proven: {cold['proven']}")
    if cold["evaluation"] != warm["evaluation"]:
        raise AssertionError("the results from records and from intervals differ")
    if "insufficient_data" in cold["verdicts"] or refreshed["refreshed"] != PROJECTS_RUN:
        raise AssertionError(f"not everything was evaluated: {cold['verdicts']}, {refreshed['refreshed']} refreshed")
    scale, projects = YEAR_DAYS / DAYS, PROJECTS / PROJECTS_RUN
    return {
        "cold_s": scale * cold["cpu_s"],
        "cold_clock_s": scale * cold["clock_s"],
        "warm_s": scale * warm["cpu_s"],
        "rss_mb": cold["rss_mb"],
        "refresh_500_s": projects * scale * refreshed["cpu_s"] / CORES,
        "refresh_500_clock_s": projects * scale * refreshed["clock_s"],
        "samples": DAYS * DAY_MS / READ_MS * SERIES,
        "scale": scale,
        "refresh_scale": projects,
    }


def store_year(connections: Pool, days: int) -> int:
    """Make and store the records of ``days`` days, and their intervals through the worker; returns how many records."""
    key = SigningKey.generate()
    with transaction(connections) as conn:
        add_gateway(conn, GATEWAY, key.public.raw)
    records = FactoryYear(GATEWAY).chain(key, days)
    stored = 0
    while batch := list(islice(records, _BATCH)):
        with transaction(connections) as conn:
            lock_head(conn, GATEWAY)
            insert_records(conn, [_row(record) for record in batch])
            advance_head(conn, GATEWAY, ChainHead(batch[-1].seq, batch[-1].hash))
        stored += len(batch)
    first_day = START_MS // DAY_MS * DAY_MS
    with transaction(connections) as conn:
        mark_dirty(conn, GATEWAY, [first_day + DAY_MS * day for day in range(days + 1)])
    worker = IntervalWorker(connections)
    while worker.compute_next():
        pass
    return stored


def register(conn: Connection, project: str, days: int) -> None:
    """Register the plan of one project over the first ``days`` days."""
    border = FIRST_DAY + timedelta(days=2 * days // 3)
    text = PLAN.format(project=project, begin=FIRST_DAY, border=border, end=FIRST_DAY + timedelta(days=days))
    put_project(conn, project, text, hashlib.sha256(text.encode()).digest(), START_MS - DAY_MS)


def _process(kind: str, postgres: EmbeddedPostgres, name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.evidence_process", kind, postgres.url, str(postgres.pid), name]
    measured: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return measured


def _row(record: Record) -> NewRecord:
    payload = record.payload
    frames = payload.register_frames
    return NewRecord(
        gateway=payload.gateway,
        seq=payload.seq,
        time_ms=payload.time_ms,
        first_sample_ms=min((frame.times_ms[0] for frame in frames), default=None),
        last_sample_ms=max((frame.times_ms[-1] for frame in frames), default=None),
        kind=int(payload.kind),
        hash=record.hash,
        descriptor_hash=payload.descriptor,
        samples=SERIES * frames[0].n if frames else 0,
        data=record.data,
        received_ms=payload.time_ms + 350,
    )
