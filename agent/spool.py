"""The spool: signed records on disk, from the moment they are made until space is needed.

A SQLite file in WAL mode with ``synchronous=FULL``: what `Spool.commit` returned from survives kill -9 and loss of
power. A record stays after the server acknowledged it, as the device's own history, and goes first when the byte budget
is reached; after those go the oldest records that nobody has, and what is lost is returned as a `Gap` for the caller to
sign. Descriptors that the server does not have are never dropped: without one, everything after it is unreadable.

All methods are for one thread at a time; one process at a time holds the spool.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

from agent.errors import SpoolError
from wire.errors import fault_text
from wire.event import Gap
from wire.record import ZERO_HASH, Kind, Record

_SCHEMA = """
CREATE TABLE record (
    seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, hash BLOB NOT NULL, prev BLOB NOT NULL,
    samples INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE gap (
    last INTEGER PRIMARY KEY, first INTEGER NOT NULL, before BLOB NOT NULL, hash BLOB NOT NULL,
    samples INTEGER NOT NULL, reason TEXT NOT NULL, event INTEGER NOT NULL
) STRICT;
CREATE TABLE chain (
    id INTEGER PRIMARY KEY CHECK (id = 1), gateway TEXT NOT NULL, key_id BLOB NOT NULL,
    seq INTEGER NOT NULL, hash BLOB NOT NULL, descriptor_seq INTEGER NOT NULL, descriptor_hash BLOB NOT NULL,
    acknowledged INTEGER NOT NULL, acknowledged_hash BLOB NOT NULL, acknowledged_issued_ms INTEGER NOT NULL
) STRICT;
"""
_VERSION = 1
_WAL_PAGES = 64
_WAL_RESERVE = 2**20
"""What the write-ahead log may take: the pages between checkpoints, a largest record, and the one dropped for it."""

_ROW_OVERHEAD = 4096
_EVICTION_SHARE = 64
_EVICTION_RUN = 4096
_EVICTED = "evicted from the full spool before the server had acknowledged it"
_EVICTED_ACKNOWLEDGED = "evicted from the spool after the server had acknowledged it"


@dataclass(frozen=True, slots=True)
class ChainState:
    """Where the chain stands: last record, descriptor in force, and what the server has.

    ``acknowledged`` is the highest seq up to which the server has everything, ``acknowledged_hash`` that record's hash,
    ``acknowledged_issued_ms`` when the server said so.
    """

    seq: int
    hash: bytes
    descriptor_seq: int
    descriptor_hash: bytes
    acknowledged: int
    acknowledged_hash: bytes
    acknowledged_issued_ms: int


_STATE_COLUMNS = tuple(field.name for field in fields(ChainState))
_SELECT_STATE = f"SELECT {', '.join(_STATE_COLUMNS)} FROM chain"  # noqa: S608 - names of our own fields
_UPDATE_STATE = f"UPDATE chain SET {', '.join(f'{name} = ?' for name in _STATE_COLUMNS)}"  # noqa: S608 - as above


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send: the record ``seq``; once the server has it, everything up to ``covers`` is settled.

    ``covers`` is ``seq`` itself for a record in its place, and the end of a hole for the gap event that closes it.
    """

    seq: int
    covers: int
    data: bytes


class _Row(NamedTuple):
    seq: int
    hash: bytes
    prev: bytes
    samples: int


@dataclass(frozen=True, slots=True)
class Hole:
    """Records ``first`` to ``last`` that the server lost and the spool no longer has; no gap declares them yet."""

    gap: Gap


class Spool:
    """The spool of one gateway in ``directory``; see the module's text.

    ``budget`` bounds the bytes of all files together. Raises `SpoolError` when another process holds the spool, when it
    belongs to another gateway or key, or when the disk fails.
    """

    def __init__(self, directory: Path, gateway: str, key_id: bytes, budget: int) -> None:
        self._path = directory / "spool.sqlite"
        self._budget = budget - _WAL_RESERVE
        self._lock = _lock(directory)
        try:
            self._database = self._open(gateway, key_id)
            self._state = self._read_state()
        except sqlite3.Error as error:
            self._lock.close()
            raise SpoolError(
                f"{self._path}: cannot be used: {error}. Keep the file, it holds the chain; if it cannot be repaired, "
                "give the gateway a new data directory and a new key"
            ) from error
        except SpoolError:
            self._lock.close()
            raise

    @property
    def state(self) -> ChainState:
        """Where the chain stands."""
        return self._state

    def close(self) -> None:
        """Close the files and let another process have the spool."""
        self._database.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside one commit: all of it is on disk afterwards, or nothing."""
        state = self._state
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except BaseException as error:
            self._state = state
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise SpoolError(f"{self._path}: cannot be written: {error}; is the disk full or worn out?") from error
            raise

    def add(self, record: Record, samples: int) -> None:
        """Keep ``record`` as the end of the chain; ``samples`` is how many reads it holds."""
        payload, state = record.payload, self._state
        if payload.seq != state.seq + 1 or payload.prev != state.hash:
            raise SpoolError(
                f"{self._path}: record {payload.seq} does not follow {state.seq}: the chain would fork. Restart"
            )
        self._database.execute(
            "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)",
            (payload.seq, int(payload.kind), record.hash, payload.prev, samples, record.data),
        )
        state = replace(state, seq=payload.seq, hash=record.hash)
        if payload.kind is Kind.DESCRIPTOR:
            state = replace(state, descriptor_seq=payload.seq, descriptor_hash=record.hash)
        self._update(state)

    def make_room(self, size: int) -> list[Gap]:
        """Drop records until ``size`` more bytes fit the budget; return what was lost with them.

        Each `Gap` returned must be signed and handed to `declare` in the same transaction. Gaps grow: one that touches
        an earlier one contains it, so that the earlier event may itself be dropped.
        """
        needed = size + _ROW_OVERHEAD
        if self._used() + needed <= self._budget:
            return []
        goal = self._budget - max(needed, self._budget // _EVICTION_SHARE)
        self._drop_acknowledged(goal)
        lost: list[Gap] = []
        while self._used() > goal:
            gap = self._drop_oldest(goal)
            if gap is None:
                if self._used() + needed <= self._budget:
                    break
                raise SpoolError(f"{self._path}: descriptors alone fill the spool; raise spool_bytes")
            lost.append(gap)
        return lost

    def declare(self, gap: Gap, event_seq: int) -> None:
        """Note that the event record ``event_seq`` declares ``gap``."""
        self._database.execute(
            "INSERT OR REPLACE INTO gap VALUES (?, ?, ?, ?, ?, ?, ?)",
            (gap.last, gap.first, gap.before, gap.hash, gap.samples, gap.reason, event_seq),
        )

    def record(self, seq: int) -> bytes | None:
        """Return the bytes of record ``seq``, or ``None`` when the spool does not have it."""
        row = self._one("SELECT data FROM record WHERE seq = ?", seq)
        return None if row is None else bytes(row[0])

    def outgoing(self, after: int, records: int, size: int) -> list[Outgoing] | Hole:
        """Return what to send behind ``after``, oldest first: at most ``records``, and ``size`` bytes but at least one.

        Where records are lost, the event that declares the gap takes their place, ahead of its own turn: the server
        cannot go on without it. An undeclared hole right behind ``after`` is returned as such, to be declared first.
        """
        found: list[Outgoing] = []
        position, total = after, 0
        while len(found) < records and position < self._state.seq:
            row = self._one("SELECT seq, prev, data FROM record WHERE seq > ? ORDER BY seq LIMIT 1", position)
            if row is None:
                break
            seq, prev, data = row
            covers = seq
            if seq != position + 1:
                declared = self._declaration(position + 1, seq - 1)
                if declared is None:
                    return found or Hole(self._undeclared(position, seq - 1, prev))
                covers, (seq, data) = seq - 1, declared
            total += len(data)
            if found and total > size:
                break
            found.append(Outgoing(seq, covers, data))
            position = covers
        return found

    def hash_of(self, seq: int) -> bytes | None:
        """Return the hash of record ``seq`` where it is known: from the records kept, the gaps, or the server."""
        if seq == 0:
            return ZERO_HASH
        if seq == self._state.seq:
            return self._state.hash
        row = self._one("SELECT hash FROM record WHERE seq = ?", seq)
        row = row or self._one("SELECT prev FROM record WHERE seq = ?", seq + 1)
        row = row or self._one("SELECT hash FROM gap WHERE last = ?", seq)
        if row is None and seq == self._state.acknowledged:
            return self._state.acknowledged_hash
        return None if row is None else bytes(row[0])

    def acknowledge(self, seq: int, hash: bytes, issued_ms: int) -> None:
        """Note that the server has everything up to ``seq``; a lower one makes records unsent again."""
        with self.transaction():
            self._update(
                replace(self._state, acknowledged=seq, acknowledged_hash=hash, acknowledged_issued_ms=issued_ms)
            )

    def size(self) -> int:
        """Return the bytes of all files of the spool."""
        return sum(path.stat().st_size for path in self._path.parent.glob(self._path.name + "*"))

    def _open(self, gateway: str, key_id: bytes) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        database.execute(f"PRAGMA journal_size_limit = {_WAL_RESERVE // 2}")
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("PRAGMA cache_size = -512")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise SpoolError(f"{self._path}: is of version {version}, this software knows {_VERSION}; update the agent")
        database.execute(
            "INSERT OR IGNORE INTO chain VALUES (1, ?, ?, 0, ?, 0, ?, 0, ?, 0)",
            (gateway, key_id, ZERO_HASH, ZERO_HASH, ZERO_HASH),
        )
        owner = database.execute("SELECT gateway, key_id FROM chain").fetchone()
        if owner != (gateway, key_id):
            raise SpoolError(
                f"{self._path}: holds the chain of gateway '{owner[0]}' and key {owner[1].hex()}, "
                f"not that of '{gateway}' and {key_id.hex()}; use a data directory of its own for each gateway and key"
            )
        return database

    def _read_state(self) -> ChainState:
        row = self._one(_SELECT_STATE)
        if row is None:
            raise SpoolError(f"{self._path}: has lost the end of its chain; use a new data directory and a new key")
        return ChainState(*row)

    def _update(self, state: ChainState) -> None:
        self._database.execute(_UPDATE_STATE, astuple(state))
        self._state = state

    def _used(self) -> int:
        """Bytes of the database in use: the file only grows when these outgrow it."""
        pages, free, page_size = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page_size)

    def _drop_acknowledged(self, goal: int) -> None:
        """Drop the oldest records that the server has, down to ``goal``, one at a time to drop no more than needed."""
        state = self._state
        while self._used() > goal:
            deleted = self._database.execute(
                "DELETE FROM record WHERE seq IN "
                "(SELECT seq FROM record WHERE seq <= ? AND seq NOT IN (?, ?) ORDER BY seq LIMIT 1)",
                (state.acknowledged, state.descriptor_seq, state.seq),
            ).rowcount
            if deleted == 0:
                return

    def _drop_oldest(self, goal: int) -> Gap | None:
        """Drop the oldest contiguous records that the server does not have, down to ``goal``; return the gap."""
        lost: list[_Row] = []
        for row in self._oldest_run():
            self._database.execute("DELETE FROM record WHERE seq = ?", (row.seq,))
            lost.append(row)
            if self._used() <= goal:
                break
        return self._gap_of(lost) if lost else None

    def _oldest_run(self) -> list[_Row]:
        """Return the oldest contiguous records that may be dropped although the server does not have them."""
        run: list[_Row] = []
        rows = self._database.execute(
            "SELECT seq, hash, prev, samples, kind FROM record WHERE seq > ? AND seq < ? ORDER BY seq",
            (self._state.acknowledged, self._state.seq),
        )
        for seq, hash_, prev, samples, kind in rows:
            if kind != Kind.DESCRIPTOR and (not run or seq == run[-1].seq + 1):
                run.append(_Row(seq, hash_, prev, samples))
            elif run:
                break
            if len(run) >= _EVICTION_RUN:
                break
        rows.close()
        return run

    def _gap_of(self, lost: Sequence[_Row]) -> Gap:
        first, last = lost[0], lost[-1]
        gap = Gap(first.seq, last.seq, first.prev, last.hash, sum(row.samples for row in lost), _EVICTED)
        touching = self._one("SELECT first, before, samples FROM gap WHERE last = ?", first.seq - 1)
        if touching is None:
            return gap
        return replace(gap, first=touching[0], before=touching[1], samples=gap.samples + touching[2])

    def _declaration(self, first: int, last: int) -> tuple[int, bytes] | None:
        """Return seq and bytes of the kept event that declares at least ``first``..``last``."""
        row = self._one(
            "SELECT record.seq, data FROM gap JOIN record ON record.seq = gap.event WHERE last = ? AND first <= ?",
            last,
            first,
        )
        return None if row is None else (row[0], row[1])

    def _undeclared(self, before_seq: int, last: int, hash_: bytes) -> Gap:
        """Describe a hole of records that were dropped because the server once had them.

        Their reads are no longer known here; counted are those of the records that it never had.
        """
        before = self.hash_of(before_seq)
        samples = self._one(
            "SELECT coalesce(sum(most), 0) FROM "
            "(SELECT max(samples) AS most FROM gap WHERE first > ? AND last <= ? GROUP BY first)",
            before_seq,
            last,
        )
        if before is None or samples is None:
            raise SpoolError(f"{self._path}: the hash of record {before_seq} is not known; the hole cannot be declared")
        return Gap(before_seq + 1, last, before, hash_, int(samples[0]), _EVICTED_ACKNOWLEDGED)

    def _one(self, query: str, *parameters: int) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._database.execute(query, parameters).fetchone()
        return row


def _lock(directory: Path) -> IO[bytes]:
    """Take the spool for this process; two writers would fork the chain."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (directory / "lock").open("ab")
    except OSError as error:
        raise SpoolError(f"{directory}: cannot be used as data directory: {fault_text(error)}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise SpoolError(f"{directory}: another agent is running with this data directory; stop it first") from error
    return file
