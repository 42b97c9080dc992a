"""Records of a period, from the spool into a file: for gateways without an uplink, and for whoever asks.

Works beside a running agent, and changes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ExportError, SpoolError
from agent.rescue import FILES
from agent.spool import SPOOL_VERSION
from wire.errors import RecordError
from wire.record import open_record
from wire.record_file import write_record

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: how many records and bytes, the first and last number, and how many were too damaged."""

    records: int
    bytes: int
    first_seq: int
    last_seq: int
    damaged: int


def export_records(directory: Path, output: Path, from_ms: int | None, to_ms: int | None) -> Exported:
    """Write the records of the spool in ``directory`` that touch [``from_ms``, ``to_ms``) to the new file ``output``.

    They are a contiguous run of the chain; with it go the descriptor that its first record needs and the events that
    declare gaps in it. Raises `ExportError` when there are none or the file cannot be written, `SpoolError` when there
    is no spool to read.
    """
    path = directory / FILES[0]
    if not path.exists():
        raise SpoolError(f"{path}: there is no spool; has the agent run with this gateway file?")
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA query_only = ON")
            if database.execute("PRAGMA user_version").fetchone()[0] != SPOOL_VERSION:
                raise SpoolError(f"{path}: is of another version; start the agent once, it carries the spool over")
            database.execute("BEGIN")
            return _export(database, output, from_ms, to_ms)
    except sqlite3.Error as error:
        raise SpoolError(f"{path}: cannot be read: {error}; the agent rescues a damaged spool when it runs") from error
    except OSError as error:
        raise ExportError(f"{output}: cannot be written: {error}") from error


def _export(database: sqlite3.Connection, output: Path, from_ms: int | None, to_ms: int | None) -> Exported:
    earliest, latest = -(2**63) if from_ms is None else from_ms, 2**63 - 1 if to_ms is None else to_ms
    first, last = database.execute(
        "SELECT min(seq), max(seq) FROM record WHERE time_ms >= ? AND first_ms < ?", (earliest, latest)
    ).fetchone()
    if first is None:
        raise ExportError("the spool has no records of this period")
    partial = output.with_name(output.name + ".part")
    records = size = damaged = 0
    if output.exists():
        raise ExportError(f"{output}: exists already; name another file")
    with partial.open("wb") as file:
        for data, hash_ in _selected(database, first, last):
            if hashlib.sha256(data).digest() != hash_:
                damaged += 1
                continue
            size += write_record(file, data)
            records += 1
        file.flush()
        os.fsync(file.fileno())
    partial.rename(output)
    return Exported(records, size, first, last, damaged)


def _selected(database: sqlite3.Connection, first: int, last: int) -> Iterator[tuple[bytes, bytes]]:
    query = "SELECT data, hash FROM record WHERE seq {}"
    (data,) = database.execute("SELECT data FROM record WHERE seq = ?", (first,)).fetchone()
    try:
        descriptor = open_record(data, None).payload.descriptor
    except RecordError:
        descriptor = b""
    yield from database.execute(query.format("< ? AND kind = 1 AND hash = ?"), (first, descriptor))
    yield from database.execute(query.format("BETWEEN ? AND ? ORDER BY seq"), (first, last))
    events = "IN (SELECT event FROM gap WHERE first <= ? AND last >= ? AND event > ?) ORDER BY seq"
    yield from database.execute(query.format(events), (last, first, last))
