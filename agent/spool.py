"""The spool: signed records on disk, from the moment they are made until space is needed.

A SQLite file in WAL mode with ``synchronous=FULL``: what `Spool.transaction` returned from survives kill -9 and loss of
power. A record stays after every server has acknowledged it, as the device's own history, and goes first when the byte
budget is reached; after those go the oldest records that not everybody has, and what is lost is returned as a `Gap` for
the caller to sign. Descriptors that a server does not have are never dropped: without one, everything after it is
unreadable.

A damaged file is set aside and what can be read of it is kept. The end of the chain is kept a second time (see
`agent.head_file`), so that no number is used twice; where even that is in doubt, numbers are skipped.

All methods are for one thread at a time; one process at a time holds the spool.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

from agent import rescue
from agent.errors import SpoolDamagedError, SpoolError, SpoolFullError
from agent.head_file import Acknowledged, ChainState, HeadFile, KnownHead
from wire.errors import fault_text
from wire.event import Gap
from wire.record import ZERO_HASH, Kind, Record

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE record (
    seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, hash BLOB NOT NULL, prev BLOB NOT NULL,
    samples INTEGER NOT NULL, time_ms INTEGER NOT NULL, first_ms INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE INDEX descriptor ON record (seq) WHERE kind = 1;
CREATE TABLE gap (
    last INTEGER PRIMARY KEY, first INTEGER NOT NULL, before BLOB NOT NULL, hash BLOB NOT NULL,
    samples INTEGER NOT NULL, reason TEXT NOT NULL, event INTEGER NOT NULL
) STRICT;
CREATE TABLE chain (
    id INTEGER PRIMARY KEY CHECK (id = 1), gateway TEXT NOT NULL, key_id BLOB NOT NULL,
    seq INTEGER NOT NULL, hash BLOB NOT NULL, descriptor_seq INTEGER NOT NULL, descriptor_hash BLOB NOT NULL
) STRICT;
CREATE TABLE uplink (
    id TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL, issued_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
SPOOL_VERSION = 2
_FIRST_VERSION = 1
_WAL_PAGES = 64
_WAL_RESERVE = 2**20
"""What the write-ahead log may take: the pages between checkpoints, a largest record, and the one dropped for it."""

_ROW_OVERHEAD = 4096
_EVICTION_SHARE = 64
_EVICTION_RUN = 4096
_EVICTED = "evicted from the full spool before every server had acknowledged it"
_EVICTED_ACKNOWLEDGED = "evicted from the spool after every server had acknowledged it"
_DAMAGED = "lost to damage of the spool; the number of reads is that of the records of which it is known"

_LEAP = 2**32
"""Numbers that are skipped when the end of the chain is in doubt: more than a gateway makes in its life."""

_COMMIT_RECORDS = 2**16
"""More records than one commit can hold."""

_NOBODY = Acknowledged(0, ZERO_HASH, 0)
_NOTHING = ChainState(0, ZERO_HASH, 0, ZERO_HASH, {})
_INSERT_RECORD = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_RESTORE_RECORD = "INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_GAP = "INSERT OR REPLACE INTO gap VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_CHAIN = "INSERT INTO chain VALUES (1, ?, ?, ?, ?, ?, ?)"
_INSERT_UPLINK = "INSERT OR REPLACE INTO uplink VALUES (?, ?, ?, ?)"


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
    """Records ``gap.first`` to ``gap.last`` that a server lacks and the spool no longer has; no gap declares them yet.

    ``damaged`` is the bytes of a record that is there and is not whole; it must be dropped with `Spool.drop_damaged`.
    """

    gap: Gap
    damaged: bytes | None = None


class Spool:
    """The spool of one gateway in ``directory``; see the module's text.

    ``budget`` bounds the bytes of all files together; ``uplinks`` are the ids of the uplinks that must have a record
    before it counts as acknowledged. Raises `SpoolError` when another process holds the spool, when it belongs to
    another gateway or key, or when the disk fails.
    """

    def __init__(
        self, directory: Path, gateway: str, key_id: bytes, budget: int, *, uplinks: Sequence[str] = ("server",)
    ) -> None:
        self._directory = directory
        self._path = directory / rescue.FILES[0]
        self._gateway = gateway
        self._key_id = key_id
        self._budget = budget - _WAL_RESERVE
        self._uplinks = tuple(uplinks)
        self._rescued = False
        self._secured = 0
        self._state = _NOTHING
        self._lock = _lock(directory)
        self._head_file = HeadFile(directory / "head", gateway, key_id)
        try:
            self._start()
        except BaseException:
            self._lock.close()
            self._head_file.close()
            raise

    @property
    def state(self) -> ChainState:
        """Where the chain stands."""
        return self._state

    def close(self) -> None:
        """Close the files and let another process have the spool."""
        self._database.close()
        self._head_file.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside one commit: all of it is on disk afterwards, or nothing.

        Raises `SpoolFullError` when there is no room on the disk, `SpoolDamagedError` when the file is damaged (see
        `rescue`), `SpoolError` for everything else that the disk can do.
        """
        state = self._state
        try:
            with self._translated():
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
        except BaseException:
            self._state = state
            with suppress(sqlite3.Error):
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                # A commit that failed on its way out may have been made all the same.
                self._state = self._read_state()
            raise
        if self._state != state:
            self._secure_head()

    def rescue(self) -> None:
        """Set a damaged file aside and go on with what can be read of it; the end of the chain stays where it is.

        What is lost with it is among the `holes` and must be declared. Raises `SpoolError` when the disk fails.
        """
        log.error("%s is damaged: it is set aside, and what can be read of it is kept", self._path)
        self._database.close()
        with self._translated():
            self._rebuild(KnownHead(self._gateway, self._key_id, self._state, certain=True), damaged=True)

    def add(self, record: Record, samples: int) -> None:
        """Keep ``record`` as the end of the chain; ``samples`` is how many reads it holds."""
        payload, state = record.payload, self._state
        if payload.seq != state.seq + 1 or payload.prev != state.hash:
            raise SpoolError(
                f"{self._path}: record {payload.seq} does not follow {state.seq}: the chain would fork. Restart"
            )
        first_ms = min((frame.times_ms[0] for frame in payload.frames), default=payload.time_ms)
        row = rescue.Row(
            payload.seq, payload.kind, record.hash, payload.prev, samples, payload.time_ms, first_ms, record.data
        )
        self._database.execute(_INSERT_RECORD, row)
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
        if self._used() + needed + rescue.size_aside(self._directory) <= self._budget:
            return []
        rescue.discard(self._directory)
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
        values = (gap.last, gap.first, gap.before, gap.hash, gap.samples, gap.reason, event_seq)
        self._database.execute(_INSERT_GAP, values)

    def free(self, size: int) -> None:
        """Drop the oldest acknowledged records for ``size`` bytes although the budget has room: the disk has none."""
        self._drop_acknowledged(self._used() - size - _ROW_OVERHEAD)

    def record(self, seq: int) -> bytes | None:
        """Return the bytes of record ``seq``, or ``None`` when the spool does not have it."""
        with self._translated():
            row = self._one("SELECT data FROM record WHERE seq = ?", seq)
        return None if row is None else bytes(row[0])

    def outgoing(self, after: int, records: int, size: int) -> list[Outgoing] | Hole:
        """Return what to send behind ``after``, oldest first: at most ``records``, and ``size`` bytes but at least one.

        Where records are lost, the event that declares the gap takes their place, ahead of its own turn: the server
        cannot go on without it. An undeclared hole right behind ``after`` is returned as such, to be declared first.
        """
        self._secure_head()
        with self._translated():
            return self._outgoing(after, records, size)

    def holes(self) -> Iterator[Gap]:
        """Yield what damage has taken from behind the acknowledged records, where no event declares it."""
        if not self._rescued:
            return
        with self._translated():
            position = self._state.acknowledged
            for seq, prev in self._database.execute(
                "SELECT seq, prev FROM record WHERE seq > ? ORDER BY seq", (position,)
            ):
                self._check_order(position, seq)
                if seq != position + 1 and self._declaration(position + 1, seq - 1) is None:
                    yield self._undeclared(position, seq - 1, prev, _DAMAGED)
                position = seq
            if position < self._state.seq and self._declaration(position + 1, self._state.seq) is None:
                yield self._undeclared(position, self._state.seq, self._state.hash, _DAMAGED)

    def drop_damaged(self, hole: Hole) -> None:
        """Drop the damaged record that ``hole`` is about; its bytes are set aside."""
        if hole.damaged is not None:
            log.error("%s: record %d is damaged; it is set aside", self._path, hole.gap.last)
            rescue.set_aside_bytes(self._directory, hole.gap.last, hole.damaged)
            self._database.execute("DELETE FROM record WHERE seq = ?", (hole.gap.last,))

    def hash_of(self, seq: int) -> bytes | None:
        """Return the hash of record ``seq`` where it is known: from the records kept, the gaps, or a server."""
        with self._translated():
            return self._hash_of(seq)

    def acknowledge(self, uplink: str, seq: int, hash: bytes, issued_ms: int) -> None:
        """Note that the server of ``uplink`` has everything up to ``seq``; a lower one makes records unsent again."""
        with self.transaction():
            self._database.execute(_INSERT_UPLINK, (uplink, seq, hash, issued_ms))
            uplinks = dict(self._state.uplinks) | {uplink: Acknowledged(seq, hash, issued_ms)}
            self._state = replace(self._state, uplinks=uplinks)

    def follow(self, uplinks: Sequence[str]) -> None:
        """From now on a record counts as acknowledged when the servers of these ``uplinks`` have it."""
        self._uplinks = tuple(uplinks)
        with self._translated():
            self._state = self._read_state()

    def size(self) -> int:
        """Return the bytes of all files of the spool, those that are set aside among them."""
        files = [*self._directory.glob("spool.sqlite*"), *self._directory.glob("head")]
        return sum(path.stat().st_size for path in files) + rescue.size_aside(self._directory)

    def _start(self) -> None:
        known = self._head_file.read()
        if known is not None:
            self._check_owner(known.gateway, known.key_id)
        with self._translated():
            begun = known is not None and known.state.seq > 0
            lost = not self._path.exists() and (begun or rescue.interrupted(self._directory))
            if lost:
                self._rebuild(known, damaged=True)
                return
            try:
                current = self._open(owned=known is not None)
                damaged = current and self._contradicts(known)
            except (sqlite3.DatabaseError, SpoolDamagedError) as error:
                if isinstance(error, sqlite3.Error) and not rescue.is_damage(error):
                    raise
                log.error("%s: %s", self._path, error)
                current, damaged = False, True
            if not current or damaged:
                self._database.close()
                log.error("%s is set aside, and what can be read of it is kept", self._path)
                self._rebuild(known, damaged=damaged)
                return
            self._follow(known)

    def _open(self, *, owned: bool) -> bool:
        """Open the database; ``False`` when it is one of an earlier version, closed again, to be carried over.

        With ``owned`` the head file vouches for the directory: a database that names another owner is damaged.
        """
        self._database = database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        database.execute(f"PRAGMA journal_size_limit = {_WAL_RESERVE // 2}")
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("PRAGMA cache_size = -512")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SPOOL_VERSION}; COMMIT;")
        elif version not in (_FIRST_VERSION, SPOOL_VERSION):
            raise SpoolError(
                f"{self._path}: is of version {version}, this software knows {SPOOL_VERSION}; update the agent"
            )
        owner = database.execute("SELECT gateway, key_id FROM chain").fetchone()
        if owner is None:
            database.execute(_INSERT_CHAIN, (self._gateway, self._key_id, 0, ZERO_HASH, 0, ZERO_HASH))
        elif owned and owner != (self._gateway, self._key_id):
            raise SpoolDamagedError(f"{self._path}: is damaged: it names another gateway than the file beside it")
        else:
            self._check_owner(*owner)
        if version == _FIRST_VERSION:
            database.close()
            return False
        self._state = self._read_state()
        return True

    def _check_owner(self, gateway: str, key_id: bytes) -> None:
        if (gateway, key_id) != (self._gateway, self._key_id):
            raise SpoolError(
                f"{self._path}: holds the chain of gateway '{gateway}' and key {key_id.hex()}, "
                f"not that of '{self._gateway}' and {self._key_id.hex()}; "
                "use a data directory of its own for each gateway and key"
            )

    def _contradicts(self, known: KnownHead | None) -> bool:
        """Tell whether the database ends elsewhere than its last record or the head file says."""
        state = self._state
        last = self._one("SELECT hash FROM record WHERE seq = ?", state.seq)
        if last is not None and last[0] != state.hash:
            return True
        if known is None:
            return False
        ahead = state.seq - known.state.seq
        return ahead > _COMMIT_RECORDS or (ahead == 0 and state.hash != known.state.hash)

    def _check_order(self, position: int, seq: int) -> None:
        if not position < seq <= self._state.seq:
            raise SpoolDamagedError(f"{self._path}: is damaged: record {seq} stands behind record {position}")

    def _follow(self, known: KnownHead | None) -> None:
        """Go on behind what the head file knows, when that is more than the database has kept."""
        state = self._state
        end = _NOTHING if known is None else known.state
        if end.seq > state.seq:
            log.error("%s ends at record %d, but %d was made", self._path, state.seq, end.seq)
            state = replace(end, uplinks=self._merged(end.seq, end.uplinks, state.uplinks))
        if state.seq > 0 and (known is None or (not known.certain and self._state.seq <= end.seq)):
            log.error("%s: the end of the chain is in doubt, numbers are skipped", self._directory)
            state = _leap(state)
        if state != self._state:
            self._rescued = True
            self._database.execute("BEGIN IMMEDIATE")
            self._update(state)
            self._database.execute("COMMIT")
        if known is None or not known.certain or known.state != self._state:
            self._head_file.write(self._state)
        self._secured = self._state.seq

    def _rebuild(self, known: KnownHead | None, *, damaged: bool) -> None:
        """Set the files aside and carry what can be read into a new database.

        With ``damaged`` the end of the chain is where the head file says. Without a head file that can be trusted, the
        chain goes on so far behind everything that was found that no number can be used twice.
        """
        place = rescue.set_aside(self._directory)
        source = rescue.open_aside(place, _SCHEMA, SPOOL_VERSION)
        building = self._directory / "salvaged.sqlite"
        if source is None:
            remains, newest = rescue.Remains(), None
        else:
            remains = rescue.remains(source)
            newest = next(rescue.readable_rows(source), None)
        ends = [_NOTHING]
        if newest is not None:
            ends.append(replace(ends[0], seq=newest.seq, hash=newest.hash))
        if remains.end is not None and (known is None or remains.end[0] - known.state.seq <= _COMMIT_RECORDS):
            seq, hash_, descriptor_seq, descriptor_hash = remains.end
            ends.append(ChainState(seq, hash_, descriptor_seq, descriptor_hash, {}))
        if known is not None:
            ends.append(known.state)
        state = max(reversed(ends), key=lambda end: end.seq)
        described = max(ends, key=lambda end: end.descriptor_seq) if known is None else known.state
        state = replace(
            state,
            descriptor_seq=described.descriptor_seq,
            descriptor_hash=described.descriptor_hash,
            uplinks=self._merged(state.seq, {} if known is None else known.state.uplinks, remains.uplinks),
        )
        if damaged and (known is None or not known.certain):
            state = _leap(state)

        def fill() -> Iterator[tuple[str, tuple[Any, ...]]]:
            chain = (state.seq, state.hash, state.descriptor_seq, state.descriptor_hash)
            yield _INSERT_CHAIN, (self._gateway, self._key_id, *chain)
            for name, one in state.uplinks.items():
                yield _INSERT_UPLINK, (name, one.seq, one.hash, one.issued_ms)
            for gap in remains.gaps:
                yield _INSERT_GAP, gap
            for row in () if source is None else rescue.readable_rows(source):
                yield _RESTORE_RECORD, row

        schema = f"{_SCHEMA} PRAGMA user_version = {SPOOL_VERSION};"
        kept = rescue.build(building, schema, fill(), self._budget)
        if source is not None:
            source.close()
        rescue.finish(building, self._path)
        self._rescued = damaged
        log.warning("%s: %d rows were carried over; the chain goes on behind %d", self._path, kept, state.seq)
        if not damaged:
            rescue.discard(self._directory)
        if not self._open(owned=True):
            raise SpoolError(f"{self._path}: was changed by another program while it was made")
        self._head_file.write(self._state)
        self._secured = self._state.seq

    def _merged(self, seq: int, *known: Mapping[str, Acknowledged]) -> dict[str, Acknowledged]:
        """Return for each uplink what its server said last, of what it can have said."""
        known = tuple({name: one for name, one in some.items() if one.seq <= seq} for some in known)
        said = {name: [one[name] for one in known if name in one] for name in self._uplinks}
        return {name: max(ones, key=lambda one: one.issued_ms, default=_NOBODY) for name, ones in said.items()}

    def _secure_head(self) -> None:
        """Write the head file behind a commit; nothing is shown to anyone before that."""
        if self._secured == self._state.seq:
            return
        try:
            self._head_file.write(self._state)
        except OSError as error:
            log.error("%s: the end of the chain cannot be written: %s", self._directory, error)
            return
        self._secured = self._state.seq

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if rescue.is_damage(error):
                raise SpoolDamagedError(f"{self._path}: is damaged: {error}") from error
            full = getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
            kind = SpoolFullError if full else SpoolError
            raise kind(f"{self._path}: cannot be written: {error}; is the disk full or worn out?") from error
        except OSError as error:
            raise SpoolError(f"{self._directory}: cannot be used: {error}; is the disk full or worn out?") from error

    def _read_state(self) -> ChainState:
        row = self._one("SELECT seq, hash, descriptor_seq, descriptor_hash FROM chain")
        if row is None:
            raise SpoolError(f"{self._path}: was changed by another program; restart")
        stored = {
            name: Acknowledged(seq, hash_, issued_ms)
            for name, seq, hash_, issued_ms in self._database.execute("SELECT id, seq, hash, issued_ms FROM uplink")
        }
        seq, hash_, descriptor_seq, descriptor_hash = row
        if not 0 <= descriptor_seq <= seq or {len(hash_), len(descriptor_hash)} != {len(ZERO_HASH)}:
            raise SpoolDamagedError(f"{self._path}: is damaged: it does not say where the chain ends")
        return ChainState(seq, hash_, descriptor_seq, descriptor_hash, self._merged(seq, stored))

    def _outgoing(self, after: int, records: int, size: int) -> list[Outgoing] | Hole:
        found: list[Outgoing] = []
        position, total, link = after, 0, self._hash_of(after)
        while len(found) < records and position < self._secured:
            row = self._one("SELECT seq, prev, hash, data FROM record WHERE seq > ? ORDER BY seq LIMIT 1", position)
            seq, prev, hash_, data = (self._state.seq + 1, self._state.hash, b"", b"") if row is None else row
            covers = seq
            if not isinstance(data, bytes):
                raise SpoolDamagedError(f"{self._path}: is damaged: record {seq} has no bytes")
            if row is not None:
                self._check_order(position, seq)
            if seq != position + 1:
                declared = self._declaration(position + 1, seq - 1)
                if declared is None:
                    return found or Hole(self._undeclared(position, seq - 1, prev, _EVICTED_ACKNOWLEDGED))
                covers, (seq, data) = seq - 1, declared
                if seq > self._secured:
                    break
            elif hashlib.sha256(data).digest() != hash_:
                damaged = self._damaged(seq, prev, hash_, data)
                if damaged is not None:
                    return found or damaged
            elif link not in (None, prev):
                raise SpoolDamagedError(f"{self._path}: is damaged: record {seq} does not follow the one before it")
            link = None if covers != seq else hash_
            total += len(data)
            if found and total > size:
                break
            found.append(Outgoing(seq, covers, data))
            position = covers
        return found

    def _damaged(self, seq: int, prev: bytes, hash_: bytes, data: bytes) -> Hole | None:
        """Describe record ``seq``, whose bytes have not the hash that is kept; ``None`` when only that is wrong."""
        following = self._one("SELECT prev FROM record WHERE seq = ?", seq + 1)
        right = self._state.hash if seq == self._state.seq else hash_ if following is None else following[0]
        if hashlib.sha256(data).digest() == right:
            return None
        samples = self._one("SELECT samples FROM record WHERE seq = ?", seq)
        before = self._hash_of(seq - 1) or prev
        gap = Gap(seq, seq, before, right, 0 if samples is None else samples[0], _DAMAGED)
        return Hole(self._grown(gap), data)

    def _hash_of(self, seq: int) -> bytes | None:
        if seq == 0:
            return ZERO_HASH
        if seq == self._state.seq:
            return self._state.hash
        row = self._one("SELECT hash FROM record WHERE seq = ?", seq)
        row = row or self._one("SELECT prev FROM record WHERE seq = ?", seq + 1)
        row = row or self._one("SELECT hash FROM gap WHERE last = ?", seq)
        if row is not None:
            return bytes(row[0])
        return next((one.hash for one in self._state.uplinks.values() if one.seq == seq), None)

    def _update(self, state: ChainState) -> None:
        self._database.execute(
            "UPDATE chain SET seq = ?, hash = ?, descriptor_seq = ?, descriptor_hash = ?",
            (state.seq, state.hash, state.descriptor_seq, state.descriptor_hash),
        )
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
        return self._grown(gap)

    def _grown(self, gap: Gap) -> Gap:
        """Return ``gap`` together with the declared one that it touches."""
        touching = self._one("SELECT first, before, samples FROM gap WHERE last = ?", gap.first - 1)
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

    def _undeclared(self, before_seq: int, last: int, hash_: bytes, reason: str) -> Gap:
        """Describe a hole of records that are gone and that no event declares.

        Their reads are no longer known here; counted are those of the records that it never had.
        """
        before = self._hash_of(before_seq)
        samples = self._one(
            "SELECT coalesce(sum(most), 0) FROM "
            "(SELECT max(samples) AS most FROM gap WHERE first > ? AND last <= ? GROUP BY first)",
            before_seq,
            last,
        )
        if before is None or samples is None:
            raise SpoolError(f"{self._path}: the hash of record {before_seq} is not known; the hole cannot be declared")
        return Gap(before_seq + 1, last, before, hash_, int(samples[0]), reason)

    def _one(self, query: str, *parameters: int) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._database.execute(query, parameters).fetchone()
        return row


def _leap(state: ChainState) -> ChainState:
    """Skip so many numbers that one which may have been used is not used again; nobody knows a record of that hash."""
    return replace(state, seq=max(state.seq + _LEAP, time.time_ns() // 1_000_000), hash=os.urandom(len(ZERO_HASH)))


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
