"""What to do with a spool that is damaged: set it aside, and carry everything that can still be read into a new one.

A damaged page costs the records on it and no others. Records prove themselves by their hash, so that nothing doubtful
is carried over. The damaged files stay beside the spool until their space is needed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from agent.head_file import Acknowledged, sync_directory
from wire.errors import RecordError
from wire.limits import MAXIMUM_SEQUENCE
from wire.record import open_record

FILES = ("spool.sqlite", "spool.sqlite-wal", "spool.sqlite-shm")
_BATCH = 256
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREADABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ)
_PAGE_COUNT, _FREELIST = slice(28, 32), slice(32, 40)
"""Fields of the first page of a database file (https://www.sqlite.org/fileformat.html, 1.3)."""


class Row(NamedTuple):
    """One record as the spool keeps it. Times in milliseconds UTC: when it was closed, and its first read."""

    seq: int
    kind: int
    hash: bytes
    prev: bytes
    samples: int
    time_ms: int
    first_ms: int
    data: bytes

    @classmethod
    def of(cls, data: bytes) -> Row:
        """Return the row of a record's bytes; raise `RecordError` when they are not a record."""
        record = open_record(data, None)
        payload = record.payload
        first_ms = min((frame.times_ms[0] for frame in payload.frames), default=payload.time_ms)
        samples = sum(frame.n for frame in payload.frames)
        return cls(
            payload.seq, int(payload.kind), record.hash, payload.prev, samples, payload.time_ms, first_ms, record.data
        )


@dataclass(slots=True)
class Remains:
    """What a damaged spool still says of its chain: its end, the acknowledgements and declared gaps."""

    end: tuple[int, bytes, int, bytes] | None = None
    uplinks: dict[str, Acknowledged] = field(default_factory=dict)
    gaps: list[tuple[Any, ...]] = field(default_factory=list)


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether ``error`` means that what is on disk cannot be read any more, not that the disk is full or busy."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "Could not decode" in str(error)
    return code & 0xFF in _DAMAGE or code in _UNREADABLE


def set_aside(directory: Path) -> Path:
    """Move the files of the spool in ``directory`` to a new place below ``damaged`` and return it.

    The database goes first: when this is interrupted, the next start finds it gone and moves the rest after it.
    """
    aside = directory / "damaged"
    aside.mkdir(mode=0o700, exist_ok=True)
    newest = max((int(path.name) for path in aside.iterdir() if path.name.isdecimal()), default=0)
    place = aside / str(newest if interrupted(directory) else newest + 1)
    place.mkdir(mode=0o700, exist_ok=True)
    for name in FILES:
        with suppress(FileNotFoundError):
            (directory / name).rename(place / name)
    sync_directory(directory)
    return place


def interrupted(directory: Path) -> bool:
    """Tell whether the spool in ``directory`` was set aside and no new one has taken its place yet."""
    return not (directory / FILES[0]).exists() and any((directory / "damaged").glob(f"*/{FILES[0]}"))


def set_aside_bytes(directory: Path, seq: int, data: bytes) -> None:
    """Keep the bytes of one damaged record below ``damaged``; the disk may be too full for it, the chain goes on."""
    aside = directory / "damaged"
    with suppress(OSError):
        aside.mkdir(mode=0o700, exist_ok=True)
        (aside / f"record-{seq}").write_bytes(data)


def discard(directory: Path) -> None:
    """Remove everything that was set aside."""
    shutil.rmtree(directory / "damaged", ignore_errors=True)


def size_aside(directory: Path) -> int:
    """Return the bytes of everything that was set aside."""
    return sum(path.stat().st_size for path in (directory / "damaged").rglob("*") if path.is_file())


def open_aside(place: Path, schema: str, version: int) -> sqlite3.Connection | None:
    """Open a database that was set aside for reading; ``None`` when not even its tables can be found.

    The first page says where the tables are, always the same: when it is damaged, that of a new database serves.
    """
    path = place / FILES[0]
    if not path.exists():
        return None
    database = _opened(path)
    if database is None:
        _replace_first_page(path, schema, version)
        database = _opened(path)
    return database


def remains(database: sqlite3.Connection) -> Remains:
    """Read what ``database`` still says of its chain."""
    found = Remains()
    with suppress(sqlite3.Error, TypeError):
        found.end = database.execute("SELECT seq, hash, descriptor_seq, descriptor_hash FROM chain").fetchone()
    with suppress(sqlite3.Error, TypeError):
        for name, seq, hash_, issued_ms in database.execute("SELECT id, seq, hash, issued_ms FROM uplink"):
            found.uplinks[name] = Acknowledged(seq, hash_, issued_ms)
    with suppress(sqlite3.Error):
        found.gaps.extend(database.execute("SELECT * FROM gap"))
    return found


def readable_rows(database: sqlite3.Connection) -> Iterator[Row]:
    """Yield the records that can be read and are whole, the newest first."""
    for first, last in reversed(_readable_ranges(database)):
        position = last
        while position >= first:
            try:
                rows = database.execute(
                    "SELECT * FROM record WHERE seq BETWEEN ? AND ? ORDER BY seq DESC", (first, position)
                )
                for row in rows:
                    position = row[0] - 1
                    if (whole := _whole(row)) is not None:
                        yield whole
                break
            except sqlite3.Error:
                # The content of the record at this place cannot be read, although its number can.
                query = "SELECT max(seq) FROM record WHERE seq BETWEEN ? AND ?"
                position = (database.execute(query, (first, position)).fetchone()[0] or first) - 1


def build(path: Path, schema: str, fill: Iterator[tuple[str, tuple[Any, ...]]], maximum: int) -> int:
    """Make a new database of ``schema`` with the rows of ``fill``, (statement, values), up to ``maximum`` bytes.

    Returns how many rows it took; the rest found no room. Raises `sqlite3.Error` when not even the first ones fit.
    """
    path.unlink(missing_ok=True)
    taken = 0
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = MEMORY")
        database.executescript(f"BEGIN; {schema} COMMIT;")
        for batch in _batches(fill):
            try:
                database.execute("BEGIN")
                for statement, values in batch:
                    database.execute(statement, values)
                database.execute("COMMIT")
            except sqlite3.OperationalError:
                if not taken:
                    raise
                if database.in_transaction:
                    database.execute("ROLLBACK")
                break
            taken += len(batch)
            if path.stat().st_size >= maximum:
                break
    return taken


def finish(path: Path, target: Path) -> None:
    """Make the database ``path`` durable and put it in the place of ``target``."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    path.rename(target)
    sync_directory(target.parent)


def _batches(fill: Iterator[tuple[str, tuple[Any, ...]]]) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    batch: list[tuple[str, tuple[Any, ...]]] = []
    for entry in fill:
        batch.append(entry)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    yield batch


def _opened(path: Path) -> sqlite3.Connection | None:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute("SELECT name FROM sqlite_schema").fetchall()
        database.execute("SELECT seq FROM record WHERE seq < 0").fetchone()
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            database.execute("SELECT seq FROM chain").fetchone()
            return database
        database.close()
        return None
    return database


def _replace_first_page(path: Path, schema: str, version: int) -> None:
    fresh = path.with_name("fresh.sqlite")
    fresh.unlink(missing_ok=True)
    with closing(sqlite3.connect(fresh, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(f"BEGIN; {schema} PRAGMA user_version = {version}; COMMIT;")
        page_bytes = database.execute("PRAGMA page_size").fetchone()[0]
    page = bytearray(fresh.read_bytes()[:page_bytes])
    fresh.unlink()
    page[_PAGE_COUNT] = (path.stat().st_size // page_bytes).to_bytes(4, "big")
    page[_FREELIST] = bytes(8)
    with path.open("r+b") as file:
        path.with_name("first-page").write_bytes(file.read(page_bytes))
        file.seek(0)
        file.write(page)


def _readable_ranges(database: sqlite3.Connection) -> list[tuple[int, int]]:
    """Return the ranges of numbers whose pages can be read, ascending; there may be holes in them."""
    ranges: list[tuple[int, int]] = []
    start: int | None = 1
    while start is not None:
        first: int | None = None
        last: int | None = None
        try:
            for (seq,) in database.execute("SELECT seq FROM record WHERE seq >= ? ORDER BY seq", (start,)):
                first, last = seq if first is None else first, seq
            start = None
        except sqlite3.Error:
            start = _behind_damage(database, last + 1 if last is not None else start or 1)
        if first is not None and last is not None:
            ranges.append((first, last))
    return ranges


def _behind_damage(database: sqlite3.Connection, position: int) -> int | None:
    """Return the lowest number behind ``position``, which cannot be looked up, that can be."""
    step = 1
    while not _found(database, position + step):
        step *= 2
        if position + step > MAXIMUM_SEQUENCE:
            return None
    low, high = position + step // 2, position + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _found(database, middle) else (middle, high)
    return high


def _found(database: sqlite3.Connection, seq: int) -> bool:
    try:
        database.execute("SELECT seq FROM record WHERE seq >= ? ORDER BY seq LIMIT 1", (seq,)).fetchone()
    except sqlite3.Error:
        return False
    return True


def _whole(columns: tuple[Any, ...]) -> Row | None:
    """Return the row that the bytes of a record make, whatever else the damaged row says; ``None`` if they are not its.

    The hash that is kept with them, as third column, is what they are held against.
    """
    data = columns[-1]
    if not isinstance(data, bytes) or hashlib.sha256(data).digest() != columns[2]:
        return None
    try:
        return Row.of(data)
    except RecordError:
        return None
