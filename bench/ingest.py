"""From MQTT publish to signed acknowledgement, with broker, database and ingestion on this machine; and the row limit.

The row limit is what a design of one database row a sample cannot exceed: binary COPY of the same samples, decoded
beforehand, into a table with one index, in the same database and run. What each process took of the processors is
measured besides: other work on the machine changes the rates, but hardly these figures. The publisher that stands for
all gateways runs on the same machine and is counted, too.

At the end the database is stopped while all that was sent is sent again, and more, and goes on after that: what
ingestion holds meanwhile is bounded, the rest waits at the broker.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.process import family, processor_seconds, resident_mb
from bench.publisher import Publisher
from bench.records import READS, SAMPLES, SERIES, chain, descriptor
from evidence.columns import decode_raw, scale_values, stack
from ingest.broker import EmbeddedBroker
from ingest.server_key import load_server_key
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.migrations import migrate
from wire.keys import SigningKey
from wire.record import open_record

GATEWAYS = 20
RECORDS_EACH = 1_200
WARM_UP, BACKLOG = 100, 200
"""Of the records of each gateway: sent before the clock starts, and kept for the time when the database stands."""

ROWS = 1_500_000
UNACKNOWLEDGED = 4_000
DEADLINE_S = 300.0
_LOOK_S = 0.05

_EPOCH_2000_US = 946_684_800_000_000

Samples = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]
"""Times (ms since 1970), numbers of series, values: one entry a sample."""


def measure() -> dict[str, float]:
    """Return records/s and samples/s until acknowledged, processor time a record, growth of memory, rows/s."""
    keys = {f"bench-{n:02}": SigningKey.generate() for n in range(GATEWAYS)}
    with ProcessPoolExecutor() as makers:
        made = makers.map(make, keys, (key.seed for key in keys.values()), range(GATEWAYS))
        chains = dict(zip(keys, made, strict=True))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        directory = Path(folder)
        postgres = stack.enter_context(EmbeddedPostgres(directory / "postgres"))
        broker = stack.enter_context(EmbeddedBroker(directory / "broker"))
        with connect(postgres.url) as conn:
            migrate(conn)
            for gateway, key in keys.items():
                add_gateway(conn, gateway, key.public.raw)
        server = load_server_key(directory / "server.key").public
        service = stack.enter_context(ingestion(directory, postgres.url, broker.url))
        publisher = stack.enter_context(contextlib.closing(Publisher(broker.mqtt_port, list(keys), server)))
        processes = {"": service.pid, "broker_": broker.pid, "database_": postgres.pid, "publisher_": os.getpid()}
        send(publisher, publisher.encode(interleaved(chains, 0, WARM_UP)))
        packets = publisher.encode(interleaved(chains, WARM_UP, RECORDS_EACH - BACKLOG))
        before_mb, before_s = resident_mb(service.pid), _processor_seconds(processes)
        began = time.perf_counter()
        send(publisher, packets)
        seconds = time.perf_counter() - began
        spent = {name: after - before_s[name] for name, after in _processor_seconds(processes).items()}
        later = publisher.encode(interleaved(chains, RECORDS_EACH - BACKLOG, RECORDS_EACH))
        with _highest(lambda: resident_mb(service.pid)) as highest_mb:
            with _stopped(postgres.pid):
                publisher.publish([*packets, *later], DEADLINE_S)
            publisher.wait_until_acknowledged(DEADLINE_S)
        service.terminate()
        service.wait()
        row_limit = _rows_per_second(postgres.url, chains)
    records = len(packets)
    return {
        "records_per_s": records / seconds,
        "samples_per_s": records * SAMPLES / seconds,
        "row_limit_per_s": row_limit,
        "ratio": records * SAMPLES / seconds / row_limit,
        "rss_growth_mb": highest_mb[0] - before_mb,
        "rss_mb": highest_mb[0],
        **{f"{name}cpu_us_per_record": one / records * 1e6 for name, one in spent.items()},
    }


def make(gateway: str, seed: bytes, number: int) -> list[bytes]:
    """Return the records of the gateway with this number."""
    return [record.data for record in chain(gateway, SigningKey(seed), RECORDS_EACH - 2, number)]


def interleaved(chains: Mapping[str, Sequence[bytes]], first: int, last: int) -> list[tuple[str, bytes]]:
    """The records ``first`` to before ``last`` of all gateways, as they arrive: one of each in turn."""
    return [(gateway, records[n]) for n in range(first, last) for gateway, records in chains.items()]


def send(publisher: Publisher, packets: Sequence[bytes]) -> None:
    """Publish, and wait until everything is acknowledged."""
    publisher.publish(packets, DEADLINE_S, unacknowledged=UNACKNOWLEDGED)
    publisher.wait_until_acknowledged(DEADLINE_S)


def _processor_seconds(processes: Mapping[str, int]) -> dict[str, float]:
    return {
        name: sum(map(processor_seconds, family(pid))) for name, pid in processes.items() if name != "publisher_"
    } | {"publisher_": time.process_time()}


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Let a process and its children stand still."""
    stopped = family(pid)
    for one in stopped:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in stopped:
            os.kill(one, signal.SIGCONT)


@contextlib.contextmanager
def _highest(look: Callable[[], float]) -> Iterator[list[float]]:
    """Look now and then while the block runs; the list holds the highest that was seen."""
    highest, over = [look()], threading.Event()

    def keep_looking() -> None:
        while not over.wait(_LOOK_S):
            highest[0] = max(highest[0], look())

    thread = threading.Thread(target=keep_looking)
    thread.start()
    try:
        yield highest
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def ingestion(directory: Path, database: str, broker: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``shopfloor ingest run`` as a process of its own; yield it when it is up."""
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


def _rows_per_second(url: str, chains: Mapping[str, Sequence[bytes]]) -> float:
    times, series, values = _samples(chains)
    with connect(url) as conn:
        conn.execute("CREATE TABLE sample (time timestamptz NOT NULL, series int4 NOT NULL, value float8 NOT NULL)")
        conn.execute("CREATE INDEX ON sample (series, time)")
        conn.commit()
        began = time.perf_counter()
        with conn.cursor() as cursor, cursor.copy("COPY sample FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["timestamptz", "int4", "float8"])
            copy.write(b"PGCOPY\n\xff\r\n\x00" + bytes(8))
            # Packed here and not by write_row: the limit of the database is wanted, not that of Python.
            for start in range(0, ROWS, 20_000):
                part = slice(start, start + 20_000)
                copy.write(_packed(times[part], series[part], values[part]))
            copy.write(b"\xff\xff")
        conn.commit()
        return ROWS / (time.perf_counter() - began)


def _packed(times: npt.NDArray[np.int64], series: npt.NDArray[np.int32], values: npt.NDArray[np.float64]) -> bytes:
    form = np.dtype(
        [("n", ">i2"), ("a", ">i4"), ("time", ">i8"), ("b", ">i4"), ("series", ">i4"), ("c", ">i4"), ("value", ">f8")]
    )
    packed = np.empty(len(times), form)
    packed["n"], packed["a"], packed["b"], packed["c"] = 3, 8, 4, 8
    packed["time"], packed["series"], packed["value"] = times * 1000 - _EPOCH_2000_US, series, values
    return packed.tobytes()


def _samples(chains: Mapping[str, Sequence[bytes]]) -> Samples:
    """The first `ROWS` samples in the order in which they arrive: record by record, read by read, series by series."""
    times, series, values = [], [], []
    known = descriptor("bench-00").devices[0].series
    numbers = {gateway: SERIES * number for number, gateway in enumerate(chains)}
    for gateway, data in interleaved(chains, 2, 2 + -(-ROWS // (SAMPLES * len(chains)))):
        block = stack(open_record(data, None).payload.frames)
        times.append(np.repeat(block.time_ms, SERIES))
        series.append(np.tile(numbers[gateway] + np.arange(SERIES, dtype=np.int32), READS))
        values.append(np.stack([scale_values(decode_raw(block, one), one) for one in known], axis=1).reshape(-1))
    return np.concatenate(times)[:ROWS], np.concatenate(series)[:ROWS], np.concatenate(values)[:ROWS]
