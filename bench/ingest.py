"""From MQTT publish to signed acknowledgement, with broker, database and ingestion on this machine; and the row limit.

The row limit is what a design of one database row a sample cannot exceed: binary COPY of the same samples, decoded
beforehand, into a table with one index, in the same database and run.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bench.process import resident_mb
from bench.records import SAMPLES, chain, descriptor
from ingest.broker import EmbeddedBroker
from ingest.server_key import load_server_key
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.migrations import migrate
from wire.keys import SigningKey, VerifyingKey
from wire.receipt import open_acknowledgement
from wire.record import Record
from wire.topics import ack_topic, record_topic
from wire.words import decode_words

GATEWAYS = 10
RECORDS_EACH = 400
ROWS = 600_000
IN_FLIGHT = 400
DEADLINE_S = 300.0

_EPOCH_2000_US = 946_684_800_000_000


def measure() -> dict[str, float]:
    """Return records/s and samples/s until acknowledged, growth of the service's memory, and rows/s of the limit."""
    keys = {f"bench-{n:02}": SigningKey.generate() for n in range(GATEWAYS)}
    chains = {gateway: list(chain(gateway, key, RECORDS_EACH)) for gateway, key in keys.items()}
    # The spread of gateways is what an ingestion service sees: their records arrive interleaved.
    order = [(gateway, records[n]) for n in range(RECORDS_EACH + 2) for gateway, records in chains.items()]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        directory = Path(folder)
        postgres = stack.enter_context(EmbeddedPostgres(directory / "postgres"))
        broker = stack.enter_context(EmbeddedBroker(directory / "broker"))
        with connect(postgres.url) as conn:
            migrate(conn)
            for gateway, key in keys.items():
                add_gateway(conn, gateway, key.public.raw)
        server = load_server_key(directory / "server.key").public
        service = stack.enter_context(_ingestion(directory, postgres.url, broker.url))
        before_mb = resident_mb(service.pid)
        seconds = _publish(broker, order, {gateway: len(records) for gateway, records in chains.items()}, server)
        after_mb = resident_mb(service.pid)
        service.terminate()
        service.wait()
        row_limit = _rows_per_second(postgres.url, chains)
    records, samples = len(order), GATEWAYS * RECORDS_EACH * SAMPLES
    return {
        "records_per_s": records / seconds,
        "samples_per_s": samples / seconds,
        "row_limit_per_s": row_limit,
        "ratio": samples / seconds / row_limit,
        "rss_growth_mb": after_mb - before_mb,
    }


@contextlib.contextmanager
def _ingestion(directory: Path, database: str, broker: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "shopfloor", "ingest", "run", "--database", database, "--broker", broker]
    log = (directory / "ingest.log").open("w")
    process = subprocess.Popen(
        [*command, "--server-key", str(directory / "server.key")], stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError(f"ingestion did not start: {(directory / 'ingest.log').read_text()}")
        yield process
    finally:
        process.kill()
        process.wait()
        log.close()


def _publish(
    broker: EmbeddedBroker, order: Sequence[tuple[str, Record]], last: dict[str, int], server: VerifyingKey
) -> float:
    """Publish everything and return the seconds until the last record of every gateway is acknowledged."""
    open_gateways, done, connected = set(last), threading.Event(), threading.Event()
    acknowledged = dict.fromkeys(last, 0)
    room = threading.Condition()

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        word = open_acknowledgement(message.payload, server)
        with room:
            acknowledged[word.gateway] = max(acknowledged[word.gateway], word.seq)
            room.notify()
        if word.seq == last[word.gateway]:
            open_gateways.discard(word.gateway)
            if not open_gateways:
                done.set()

    client = Client(CallbackAPIVersion.VERSION2, "bench", protocol=MQTTProtocolVersion.MQTTv311)
    client.on_message = on_message
    client.on_connect = lambda *_: connected.set()
    client.max_inflight_messages_set(IN_FLIGHT)
    client.connect("127.0.0.1", broker.mqtt_port)
    client.loop_start()
    connected.wait(10)
    for gateway in last:
        client.subscribe(ack_topic(gateway), qos=1)
    began = time.perf_counter()
    for sent, (gateway, record) in enumerate(order):
        with room:
            # A gateway keeps a window, too: what is not acknowledged is not overtaken for ever.
            room.wait_for(lambda sent=sent: sent - sum(acknowledged.values()) < 5 * IN_FLIGHT, timeout=DEADLINE_S)
        client.publish(record_topic(gateway), record.data, qos=1)
    if not done.wait(DEADLINE_S):
        raise RuntimeError(f"not acknowledged within {DEADLINE_S:.0f} s: {sorted(open_gateways)}")
    seconds = time.perf_counter() - began
    client.disconnect()
    client.loop_stop()
    return seconds


def _rows_per_second(url: str, chains: dict[str, list[Record]]) -> float:
    rows = [row for number, records in enumerate(chains.values()) for row in _rows(number, records[2:])][:ROWS]
    with connect(url) as conn:
        conn.execute("CREATE TABLE sample (time timestamptz NOT NULL, series int4 NOT NULL, value float8 NOT NULL)")
        conn.execute("CREATE INDEX ON sample (series, time)")
        conn.commit()
        began = time.perf_counter()
        with conn.cursor() as cursor, cursor.copy("COPY sample FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["timestamptz", "int4", "float8"])
            # Packed here and not by write_row: the limit of the database is wanted, not that of Python.
            for start in range(0, len(rows), 20_000):
                copy.write(_packed(rows[start : start + 20_000], first=start == 0))
            copy.write(b"\xff\xff")
        conn.commit()
        return len(rows) / (time.perf_counter() - began)


def _packed(rows: Sequence[tuple[int, int, float]], *, first: bool) -> bytes:
    form = np.dtype(
        [("n", ">i2"), ("a", ">i4"), ("time", ">i8"), ("b", ">i4"), ("series", ">i4"), ("c", ">i4"), ("value", ">f8")]
    )
    packed = np.empty(len(rows), form)
    packed["n"], packed["a"], packed["b"], packed["c"] = 3, 8, 4, 8
    times, series, values = zip(*rows, strict=True)
    packed["time"] = np.asarray(times, dtype=np.int64) * 1000 - _EPOCH_2000_US
    packed["series"], packed["value"] = series, values
    header = b"PGCOPY\n\xff\r\n\x00" + bytes(8) if first else b""
    return header + packed.tobytes()


def _rows(gateway: int, records: Sequence[Record]) -> Iterator[tuple[int, int, float]]:
    series = descriptor("bench-00").devices[0].series
    for record in records:
        for frame in record.payload.register_frames:
            for time_ms, _, words in frame.samples():
                for index, one in enumerate(series):
                    raw = (words or ())[one.address : one.address + one.type.words]
                    value = decode_words(raw, one.type, one.order, scale=one.scale)
                    yield time_ms, gateway * 100 + index, float(value or 0)
