"""A small factory whose signed records, intervals and plan stand in a real database."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from fastapi.testclient import TestClient

from dashboards.application import create_application
from evidence.intervals import build_intervals
from ingest.worker import interval_rows
from store.database import Connection, connect
from store.gateways import add_gateway
from store.intervals import replace_intervals
from store.latest import LatestValue, upsert_latest
from store.projects import put_project
from store.records import ChainHead, NewRecord, advance_head, insert_records, lock_head, newest_descriptor
from wire.chain import ChainWriter
from wire.descriptor import AnswerPlace, Descriptor, Device, Series, SeriesKind
from wire.event import Event
from wire.frame import AnswerFrameBuilder
from wire.keys import SigningKey
from wire.record import STATUS_OK, Body, ClockState, FrameBuilder, Kind, Record
from wire.words import WordOrder, WordType, encode_words

PLAN = (Path(__file__).parent / "plan.yaml").read_text(encoding="utf-8")
PROJECT = "PL-TEST-001"
GATEWAY = "gw-01"
HOUR_MS = 3_600_000
START_MS = int(datetime(2025, 6, 30, 16, tzinfo=UTC).timestamp()) * 1000  # midnight of 2025-07-01 in Shanghai
DAYS = 40 + 7 + 30
RETROFIT_DAY = 47
LOST_DAYS = (12, 60)
TRUE_SAVING = 0.15
FILLED = "dashboards_filled"
REGISTERED_MS = START_MS - 3 * 24 * HOUR_MS


@dataclass(frozen=True)
class Factory:
    """Where the data are, and who signed them."""

    database_url: str
    key: SigningKey
    records: int


def make_descriptor() -> Descriptor:
    def series(name: str, quantity: str, unit: str, kind: SeriesKind, type_: WordType, *, scale: float) -> Series:
        return Series(name, quantity, unit, kind, 3, 0, type_, WordOrder.ABCD, scale=scale)

    def device(id_: str, unit: int, *contents: Series) -> Device:
        digest = hashlib.sha256(id_.encode()).digest()
        return Device(
            id_, f"model of {id_}", digest, f"SN-{unit}", "modbus-tcp", unit, 1.0, 1.0, True, HOUR_MS, contents
        )

    energy = series("active_energy_import", "active_energy_import", "kWh", "counter", WordType.UINT32, scale=0.01)
    count = series("good_count", "good_count", "piece", "counter", WordType.UINT32, scale=1.0)
    warmth = series("outdoor_temperature", "temperature", "degC", "gauge", WordType.INT16, scale=0.1)
    meters = (device("meter-1", 1, energy), device("plc-1", 2, count), device("plc-2", 3, warmth))
    return Descriptor(GATEWAY, "test", "Asia/Shanghai", meters)


def make_records(key: SigningKey) -> list[Record]:
    """Hourly reads, a record a day; energy follows pieces and warmth, and falls by TRUE_SAVING after the retrofit."""
    chance = random.Random(20_250_701)
    descriptor = make_descriptor()
    chain = ChainWriter(GATEWAY, key, boot_id=bytes(16))
    clock = ClockState(True, 0, 1000)
    records = [
        chain.append(descriptor, time_ms=START_MS - 2000, clock=clock),
        chain.append(Event("start", {"software": "test"}), time_ms=START_MS - 1000, clock=clock),
    ]
    energy, pieces = 1_000_000.0, 0.0
    for day in range(DAYS):
        builders = [
            FrameBuilder(index, device.unit, 3, 0, 1 if index == 2 else 2)
            for index, device in enumerate(descriptor.devices)
        ]
        weekday = (day + 1) % 7
        pace = (0.1 if weekday == 6 else 1.0) * chance.uniform(150, 250)
        warmth = 28 - 12 * day / DAYS + chance.gauss(0, 1.5)
        for hour in range(24 if day < DAYS - 1 else 25):
            time_ms = START_MS + (day * 24 + hour) * HOUR_MS
            degrees = warmth + 4 * math.sin(hour / 24 * 2 * math.pi)
            values = (
                encode_words(round(energy), WordType.UINT32, WordOrder.ABCD),
                encode_words(round(pieces), WordType.UINT32, WordOrder.ABCD),
                encode_words(round(degrees * 10), WordType.INT16, WordOrder.ABCD),
            )
            for builder, words in zip(builders, values, strict=True):
                builder.add(time_ms, STATUS_OK, words, 12)
            used = 25 + 0.6 * pace + 0.8 * max(degrees - 18, 0) + chance.gauss(0, 4)
            energy += 100 * used * (1 - TRUE_SAVING if day >= RETROFIT_DAY else 1)
            pieces += pace
        if day not in LOST_DAYS:
            frames = tuple(builder.build() for builder in builders)
            records.append(chain.append(frames, time_ms=START_MS + (day + 1) * 24 * HOUR_MS, clock=clock))
    return records


def _new_record(record: Record) -> NewRecord:
    payload = record.payload
    times = [time for frame in payload.body for time in frame.times_ms] if isinstance(payload.body, tuple) else []
    return NewRecord(
        gateway=payload.gateway,
        seq=payload.seq,
        time_ms=payload.time_ms,
        first_sample_ms=min(times, default=None),
        last_sample_ms=max(times, default=None),
        kind=int(payload.kind),
        hash=record.hash,
        descriptor_hash=payload.descriptor,
        samples=len(times),
        data=record.data,
        received_ms=payload.time_ms,
    )


def fill(connection: Connection, key: SigningKey, plan: str = PLAN) -> int:
    """Store gateway, records, intervals, latest values and plan; returns the number of records."""
    add_gateway(connection, GATEWAY, key.public.raw, "测试网关")
    records = make_records(key)
    lock_head(connection, GATEWAY)
    insert_records(connection, [_new_record(record) for record in records])
    advance_head(connection, GATEWAY, ChainHead(records[-1].payload.seq, records[-1].hash))
    to_ms = START_MS + DAYS * 24 * HOUR_MS
    descriptors = {record.hash: record.payload.body for record in records if record.payload.kind is Kind.DESCRIPTOR}
    made = build_intervals([record.payload for record in records], descriptors, START_MS, to_ms)  # type: ignore[arg-type]
    replace_intervals(connection, GATEWAY, START_MS, to_ms, interval_rows(made))
    latest = [
        LatestValue(f"{GATEWAY}/meter-1/active_energy_import", to_ms, 12345.67, "kWh", 0, to_ms),
        LatestValue(f"{GATEWAY}/plc-1/good_count", to_ms, None, "piece", 0xF0, to_ms),
    ]
    upsert_latest(connection, latest)
    put_project(connection, PROJECT, plan, hashlib.sha256(plan.encode()).digest(), REGISTERED_MS)
    return len(records)


def _database(postgres_server: str, name: str, template: str) -> str:
    with connect(postgres_server, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def filled_template(postgres_server: str, migrated_template: str) -> Factory:
    """A filled database that nobody writes to or stays connected to: others are copied from it."""
    key = SigningKey.from_bytes(bytes(range(32)))
    url = _database(postgres_server, FILLED, migrated_template)
    with connect(url) as connection:
        records = fill(connection, key)
    return Factory(url, key, records)


@pytest.fixture
def factory(postgres_server: str, filled_template: Factory) -> Factory:
    """A filled database of the test's own, to be changed at will."""
    return replace(filled_template, database_url=_database(postgres_server, "dashboards_own", FILLED))


@pytest.fixture
def plan_text() -> str:
    """The plan of the small factory."""
    return PLAN


@pytest.fixture(scope="session")
def untouched_client(postgres_server: str, filled_template: Factory) -> Iterator[TestClient]:
    """The application over a filled database that no test changes."""
    untouched = replace(filled_template, database_url=_database(postgres_server, "dashboards_untouched", FILLED))
    with TestClient(create_application(untouched.database_url)) as client:
        yield client


@pytest.fixture
def client(factory: Factory) -> Iterator[TestClient]:
    """The application over the test's own database."""
    with TestClient(create_application(factory.database_url)) as client:
        yield client


@pytest.fixture
def continue_chain() -> Callable[..., None]:
    """Append records to the chain of a small factory, signed by its gateway unless another ``key`` is given."""

    def append(factory: Factory, bodies: Sequence[Body], key: SigningKey | None = None) -> None:
        with connect(factory.database_url) as connection:
            head = lock_head(connection, GATEWAY)
            described = newest_descriptor(connection, GATEWAY)
            assert described is not None
            chain = ChainWriter(
                GATEWAY,
                key or factory.key,
                seq=head.seq,
                hash=head.hash,
                descriptor=described.hash,
                boot_id=bytes(16),
            )
            clock = ClockState(True, 0, 1000)
            rows = [_new_record(chain.append(body, time_ms=START_MS + 60_000, clock=clock)) for body in bodies]
            insert_records(connection, rows)
            advance_head(connection, GATEWAY, ChainHead(rows[-1].seq, rows[-1].hash))

    return append


@pytest.fixture
def stored_days() -> Callable[[int], list[Body]]:
    """A meter that answers by identifier, with its newest midnights, as many as asked for: 1000 kWh on the first of
    July, and 10 less each day back."""

    def make(days: int) -> list[Body]:
        energy = Series(
            "daily_energy", "active_energy_import", "kWh", "gauge", 0, 0, WordType.BCD, WordOrder.DCBA, 0.01,
            place=AnswerPlace(bytes.fromhex("1101010605"), 0, 4),
        )  # fmt: skip
        meter = Device("meter-9", "m", bytes(32), "", "dlt645", 1, 1.0, 1.0, False, 60_000, (energy,))
        frames = []
        for entry in range(1, days + 1):
            builder = AnswerFrameBuilder(0, bytes([0x11, entry, 0x01, 0x06, 0x05]))
            digits = f"{100_000 - 1_000 * (entry - 1):08d}"
            builder.add(START_MS + entry, STATUS_OK, bytes.fromhex(digits)[::-1], 5)
            frames.append(builder.build())
        detail = {
            "device": "meter-9", "name": "daily", "period": "day", "entry_byte": 1, "entries": 62, "good": days,
            "time_ms": START_MS + days,
        }  # fmt: skip
        return [Descriptor(GATEWAY, "test", "Asia/Shanghai", (meter,)), tuple(frames), Event("history", detail)]

    return make
