"""A long range is streamed in memory that does not depend on its length: measured on a server process."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import psutil
import pytest

from ingest.api.parameters import instant_text
from ingest.api.router import PREFIX
from ingest.authentication import Message
from ingest.transaction import AdmissionTransactions
from store.database import connect, pool
from store.gateways import add_gateway
from wire.topics import record_topic

HOUR_MS = 3_600_000
START_MS = 1_760_054_400_000  # 2025-10-10T00:00:00Z
FEW_DAYS, DAYS = 4, 20
ROWS_A_DAY = 2 * 86_400
ALLOWED_BYTES = 40 * 1024 * 1024
CHUNK = 1 << 20


@pytest.fixture
def filled(database_url: str, gateway: Any) -> str:
    """Twenty days of two series at 1 s, an hour in each record."""
    chain = gateway.chain
    frame = gateway.frame()
    hour = replace(
        frame,
        status=bytes(3600),
        words=b"".join(frame.words[plane * 10 : plane * 10 + 10] * 360 for plane in range(6)),
    )
    made = [chain.append(gateway.descriptor(), time_ms=START_MS)]
    for index in range(24 * DAYS):
        begin = START_MS + index * HOUR_MS
        body = (replace(hour, times_ms=tuple(range(begin, begin + HOUR_MS, 1000))),)
        made.append(chain.append(body, time_ms=begin + HOUR_MS))
    with connect(database_url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    topic, received_ms = record_topic("gw-01"), START_MS + DAYS * 24 * HOUR_MS
    with pool(database_url, 2) as connections:
        transactions = AdmissionTransactions(connections)
        committed = [
            transactions.commit([Message(topic, one.data, received_ms) for one in made[first : first + 100]])
            for first in range(0, len(made), 100)
        ]
    assert sum(one.tally.samples for one in committed) == DAYS * ROWS_A_DAY
    return database_url


@pytest.fixture
def server(filled: str) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a server over those records, and its process."""
    command = [sys.executable, "-m", "shopfloor", "dashboards", "run", "--port", "0", "--database", filled]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().removeprefix("dashboards at ").strip(), psutil.Process(process.pid)
        process.terminate()


def read(address: str, days: int, format_: str) -> int:
    """The bytes of the samples of so many days, thrown away as they come."""
    query = [("series", "gw-01/meter-1/energy"), ("series", "gw-01/meter-1/power"), ("format", format_)]
    query += [("from", instant_text(START_MS)), ("to", instant_text(START_MS + days * 24 * HOUR_MS))]
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    connection.request("GET", f"{PREFIX}/samples?{urlencode(query)}")
    answer, size = connection.getresponse(), 0
    assert answer.status == 200
    while piece := answer.read(CHUNK):
        size += len(piece)
    connection.close()
    return size


def peak(process: psutil.Process) -> int:
    """The most memory that the process has held at once, in bytes (VmHWM of proc(5))."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


@pytest.mark.parametrize("format_", ["arrow", "csv"])
def test_memory_does_not_grow_with_the_range(server: tuple[str, psutil.Process], format_: str) -> None:
    address, process = server
    size = read(address, FEW_DAYS, format_)
    before = peak(process)
    more = read(address, DAYS, format_) - size
    grown = peak(process) - before
    assert more > 2 * ALLOWED_BYTES, "too little is read to tell"
    assert grown < ALLOWED_BYTES, f"{grown / 1e6:.0f} MB more for {more / 1e6:.0f} MB more"
