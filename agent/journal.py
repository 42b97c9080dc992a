"""The journal: the gateway's chain, written to its spool. Nothing leaves it that is not on disk.

The state of the chain is always read back from the spool, so that whatever ends the process, the next one continues the
same chain and never makes a second record with a number that was used.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agent.clock import Clock
from agent.spool import ChainState, Hole, Outgoing, Spool
from wire.chain import ChainWriter
from wire.descriptor import Descriptor
from wire.event import Gap
from wire.keys import SigningKey
from wire.receipt import Acknowledgement
from wire.record import BOOT_ID_LENGTH, Body, Record, open_record

T = TypeVar("T")


@dataclass
class JournalStatistics:
    """What was written since the journal was opened: records, reads in them, and their bytes."""

    records: int = 0
    samples: int = 0
    bytes: int = 0


class Journal:
    """Signs bodies into records and keeps them. Used by one thread at a time."""

    def __init__(self, directory: Path, gateway: str, key: SigningKey, budget: int, clock: Clock) -> None:
        self._gateway = gateway
        self._key = key
        self._clock = clock
        self._boot_id = os.urandom(BOOT_ID_LENGTH)
        self._spool = Spool(directory, gateway, key.public.key_id, budget)
        self._writer = self._continue_chain()
        self.statistics = JournalStatistics()

    @property
    def state(self) -> ChainState:
        """Where the chain stands."""
        return self._spool.state

    def append(self, body: Body, samples: int = 0) -> Record:
        """Sign ``body`` as the next record and keep it; when space was needed, also the events that declare the loss.

        Raises `SpoolError` when the disk fails; the chain then stands where it stood.
        """
        with self._transaction():
            record = self._seal(body)
            gaps = self._spool.make_room(len(record.data))
            self._keep(record, samples)
            for gap in gaps:
                self._declare(gap)
        return record

    def descriptor(self) -> Descriptor | None:
        """Return the descriptor in force, read from the spool; ``None`` for a new chain."""
        seq = self.state.descriptor_seq
        data = self._spool.record(seq) if seq else None
        body = None if data is None else open_record(data, self._key.public).payload.body
        return body if isinstance(body, Descriptor) else None

    def outgoing(self, after: int, records: int, size: int) -> list[Outgoing]:
        """Return what to send behind ``after``, see `Spool.outgoing`; declares a hole that stands in the way."""
        found = self._spool.outgoing(after, records, size)
        if isinstance(found, Hole):
            with self._transaction():
                self._declare(found.gap)
            found = self._spool.outgoing(after, records, size)
        return [] if isinstance(found, Hole) else found

    def hash_of(self, seq: int) -> bytes | None:
        """Return the hash of record ``seq``, where it is known."""
        return self._spool.hash_of(seq)

    def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Note what the server has."""
        self._spool.acknowledge(acknowledgement.seq, acknowledgement.hash, acknowledgement.issued_ms)

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

    def _continue_chain(self) -> ChainWriter:
        state = self._spool.state
        return ChainWriter(
            self._gateway,
            self._key,
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

    async def outgoing(self, after: int, records: int, size: int) -> list[Outgoing]:
        """See `Journal.outgoing`."""
        return await self._run(lambda: self._journal.outgoing(after, records, size))

    async def hash_of(self, seq: int) -> bytes | None:
        """See `Journal.hash_of`."""
        return await self._run(lambda: self._journal.hash_of(seq))

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """See `Journal.acknowledge`."""
        await self._run(lambda: self._journal.acknowledge(acknowledgement))

    def close(self) -> None:
        """Finish what was begun and close the spool."""
        self._thread.shutdown(wait=True)
        self._journal.close()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
