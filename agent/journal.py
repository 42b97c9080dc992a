"""The journal: the gateway's chain, written to its spool. Nothing leaves it that is not on disk.

The state of the chain is always read back from the spool, so that whatever ends the process, the next one continues the
same chain and never makes a second record with a number that was used.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agent.clock import Clock
from agent.errors import SpoolDamagedError, SpoolFullError
from agent.head_file import ChainState
from agent.spool import Hole, Outgoing, Spool
from wire.chain import ChainWriter
from wire.descriptor import Descriptor
from wire.errors import RecordError
from wire.event import Event, Gap
from wire.head import Head
from wire.keys import SigningKey
from wire.limits import MAXIMUM_RECORD_BYTES
from wire.receipt import Acknowledgement
from wire.record import BOOT_ID_LENGTH, Body, Kind, Record, open_record
from wire.rotation import KeyRotation

T = TypeVar("T")


@dataclass
class JournalStatistics:
    """What was written since the journal was opened: records, reads in them, and their bytes."""

    records: int = 0
    samples: int = 0
    bytes: int = 0


class Journal:
    """Signs bodies into records and keeps them. Used by one thread at a time.

    ``chain_id`` is the id of the key that the chain began with, ``key``'s own unless it has had others. ``successor``
    is a key that may have been named as the next one: when the last record says so, that is the one that signs.
    When the spool turns out to be damaged it is rescued, what is lost is declared, and the work is done again.
    """

    def __init__(
        self,
        directory: Path,
        gateway: str,
        key: SigningKey,
        budget: int,
        clock: Clock,
        *,
        uplinks: Sequence[str] = ("server",),
        chain_id: bytes | None = None,
        successor: SigningKey | None = None,
    ) -> None:
        self._gateway = gateway
        self.key = key
        self._clock = clock
        self._boot_id = os.urandom(BOOT_ID_LENGTH)
        self._spool = Spool(directory, gateway, chain_id or key.public.key_id, budget, uplinks=uplinks)
        if successor is not None and self._hands_over_to(successor):
            self.key = successor
        self._writer = self._continue_chain()
        self.statistics = JournalStatistics()
        self._head_seq = 0
        self._descriptor: Descriptor | None = None
        self._descriptor = self.descriptor()
        self._soundly(self._declare_losses)

    @property
    def state(self) -> ChainState:
        """Where the chain stands."""
        return self._spool.state

    def append(self, body: Body, samples: int = 0) -> Record:
        """Sign ``body`` as the next record and keep it; when space was needed, also the events that declare the loss.

        Raises `SpoolError` when the disk fails; the chain then stands where it stood.
        """
        try:
            return self._soundly(lambda: self._append(body, samples))
        except SpoolFullError:
            return self._soundly(lambda: self._append(body, samples, free=MAXIMUM_RECORD_BYTES))

    def rotate(self, successor: SigningKey) -> Record:
        """Write that ``successor`` signs everything behind this record, and have it sign.

        Raises `SpoolError` when the disk fails; the key is the one it was then.
        """
        event = KeyRotation.make(self._gateway, self.key.public, successor).to_event()
        record = self._soundly(lambda: self._append(event, 0, successor=successor))
        self.key = successor
        return record

    def append_head(self) -> Record | None:
        """Write a head: the gateway's statement of how far its chain has come; ``None`` when the last record is one."""
        state = self.state
        if state.seq in (0, self._head_seq):
            return None
        record = self.append(Head(state.seq, state.hash))
        self._head_seq = self.state.seq
        return record

    def descriptor(self) -> Descriptor | None:
        """Return the descriptor in force; ``None`` for a new chain, and when it was lost with the spool."""
        return self._soundly(self._read_descriptor)

    def cut_off_ms(self) -> int | None:
        """Return when the newest record was made (ms, UTC) if the run before this one never said that it stopped."""
        return self._soundly(self._find_cut)

    def outgoing(self, after: int, records: int, size: int) -> list[Outgoing]:
        """Return what to send behind ``after``, see `Spool.outgoing`; declares a hole that stands in the way."""
        return self._soundly(lambda: self._outgoing(after, records, size))

    def hash_of(self, seq: int) -> bytes | None:
        """Return the hash of record ``seq``, where it is known."""
        return self._soundly(lambda: self._spool.hash_of(seq))

    def acknowledge(self, acknowledgement: Acknowledgement, uplink: str = "server") -> None:
        """Note what the server of ``uplink`` has."""
        said = (acknowledgement.seq, acknowledgement.hash, acknowledgement.issued_ms)
        self._soundly(lambda: self._spool.acknowledge(uplink, *said))

    def follow(self, uplinks: Sequence[str]) -> None:
        """From now on a record counts as acknowledged when the servers of these ``uplinks`` have it."""
        self._spool.follow(uplinks)

    def size(self) -> int:
        """Return the bytes of the spool's files."""
        return self._spool.size()

    def close(self) -> None:
        """Close the spool."""
        self._spool.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit everything inside at once; after a failure the chain continues from what is on disk."""
        statistics = JournalStatistics(**vars(self.statistics))
        try:
            with self._spool.transaction():
                yield
        except BaseException:
            self._writer = self._continue_chain()
            self.statistics = statistics
            raise

    def _soundly(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except SpoolDamagedError:
            self._spool.rescue()
            self._writer = self._continue_chain()
            self._declare_losses()
            return work()

    def _declare_losses(self) -> None:
        """Sign what damage has taken; a descriptor that is lost is written again, for the records behind it."""
        described = self._descriptor
        if described is not None and self._spool.record(self.state.descriptor_seq) is None:
            self._append(described, 0)
        for gap in list(self._spool.holes()):
            with self._transaction():
                self._declare(gap)

    def _append(self, body: Body, samples: int, free: int = 0, successor: SigningKey | None = None) -> Record:
        with self._transaction():
            if free:
                self._spool.free(free)
            record = self._seal(body)
            gaps = self._spool.make_room(len(record.data))
            self._keep(record, samples)
            if successor is not None:
                self._writer.key = successor
            for gap in gaps:
                self._declare(gap)
        if isinstance(body, Descriptor):
            self._descriptor = body
        return record

    def _read_descriptor(self) -> Descriptor | None:
        seq = self.state.descriptor_seq
        data = self._spool.record(seq) if seq else None
        try:
            # An earlier key may have signed it: what it is, is known by its hash.
            record = None if data is None else open_record(data, None)
        except RecordError:
            return None
        if record is None or record.hash != self.state.descriptor_hash:
            return None
        return record.payload.body if isinstance(record.payload.body, Descriptor) else None

    def _hands_over_to(self, successor: SigningKey) -> bool:
        data = self._spool.record(self.state.seq) if self.state.seq else None
        try:
            body = None if data is None else open_record(data, None).payload.body
            named = isinstance(body, Event) and body.name == "key_rotated" and KeyRotation.from_event(body).successor
        except (RecordError, SpoolDamagedError):
            return False
        return named == successor.public

    def _find_cut(self) -> int | None:
        newest = None
        for seq in range(self.state.seq, 0, -1):
            data = self._spool.record(seq)
            try:
                payload = None if data is None else open_record(data, None).payload
            except RecordError:
                payload = None
            if payload is None:
                return newest
            newest = payload.time_ms if newest is None else newest
            if isinstance(payload.body, Event) and payload.body.name == "stop":
                return None
            if payload.kind is Kind.FRAMES or (isinstance(payload.body, Event) and payload.body.name == "start"):
                return newest
        return None

    def _outgoing(self, after: int, records: int, size: int) -> list[Outgoing]:
        found = self._spool.outgoing(after, records, size)
        if isinstance(found, Hole):
            with self._transaction():
                self._spool.drop_damaged(found)
                self._declare(found.gap)
            found = self._spool.outgoing(after, records, size)
        return [] if isinstance(found, Hole) else found

    def _continue_chain(self) -> ChainWriter:
        state = self._spool.state
        return ChainWriter(
            self._gateway,
            self.key,
            seq=state.seq,
            hash=state.hash,
            descriptor=state.descriptor_hash,
            boot_id=self._boot_id,
        )

    def _seal(self, body: Body) -> Record:
        return self._writer.seal(body, time_ms=self._clock.now_ms(), clock=self._clock.state())

    def _keep(self, record: Record, samples: int) -> None:
        self._spool.add(record, samples)
        self._writer.advance(record)
        self.statistics.records += 1
        self.statistics.samples += samples
        self.statistics.bytes += len(record.data)

    def _declare(self, gap: Gap) -> None:
        event = self._seal(gap.to_event())
        self._keep(event, 0)
        self._spool.declare(gap, event.seq)


class JournalThread:
    """A journal for asyncio: calls run, in order, on one thread of their own: a slow disk delays no poll."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    @property
    def state(self) -> ChainState:
        """Where the chain stands, as of the last commit."""
        return self._journal.state

    @property
    def statistics(self) -> JournalStatistics:
        """What was written since the journal was opened."""
        return self._journal.statistics

    async def append(self, body: Body, samples: int = 0) -> Record:
        """See `Journal.append`."""
        return await self._run(lambda: self._journal.append(body, samples))

    async def descriptor(self) -> Descriptor | None:
        """See `Journal.descriptor`."""
        return await self._run(self._journal.descriptor)

    async def cut_off_ms(self) -> int | None:
        """See `Journal.cut_off_ms`."""
        return await self._run(self._journal.cut_off_ms)

    async def outgoing(self, after: int, records: int, size: int) -> list[Outgoing]:
        """See `Journal.outgoing`."""
        return await self._run(lambda: self._journal.outgoing(after, records, size))

    async def hash_of(self, seq: int) -> bytes | None:
        """See `Journal.hash_of`."""
        return await self._run(lambda: self._journal.hash_of(seq))

    async def size(self) -> int:
        """See `Journal.size`."""
        return await self._run(self._journal.size)

    async def acknowledge(self, acknowledgement: Acknowledgement, uplink: str = "server") -> None:
        """See `Journal.acknowledge`."""
        await self._run(lambda: self._journal.acknowledge(acknowledgement, uplink))

    async def append_head(self) -> Record | None:
        """See `Journal.append_head`."""
        return await self._run(self._journal.append_head)

    async def follow(self, uplinks: Sequence[str]) -> None:
        """See `Journal.follow`."""
        await self._run(lambda: self._journal.follow(uplinks))

    def close(self) -> None:
        """Finish what was begun and close the spool."""
        self._thread.shutdown(wait=True)
        self._journal.close()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
