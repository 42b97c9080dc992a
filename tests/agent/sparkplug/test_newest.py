"""What the recorder hands on: the newest read of every request, of every kind, with the meaning it was read with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from agent.clock import DrivenClock
from agent.drivers import Reading
from agent.journal import Journal, JournalThread
from agent.newest import AnswerRead, NewestReads, NodeRead, Read, RegisterRead
from agent.planner import Block, Value
from agent.queries import Query
from agent.recorder import Recorder
from wire.descriptor import Descriptor
from wire.keys import SigningKey
from wire.node import NodeSample, Variant

START = 1_751_299_200_000
BLOCK = Block(3, 10, 2, (Value(3, 10, 2),))
QUERY = Query("1", b"\x11\x00", ((0, 2),))
DESCRIPTOR = Descriptor("gw-01", "shopfloor-agent 1", "Asia/Shanghai", ())


def handed_on(directory: Path, work: Callable[[Recorder], None]) -> tuple[Read, ...]:
    async def run() -> tuple[Read, ...]:
        clock = DrivenClock(START)
        journal = JournalThread(Journal(directory, "gw-01", SigningKey.generate(), 2**26, clock))
        try:
            recorder = Recorder(journal, clock)
            recorder.newest = NewestReads(DESCRIPTOR)
            work(recorder)
            await recorder.flush()
            return recorder.newest.take()[1]
        finally:
            journal.close()

    return asyncio.run(run())


def test_reads_of_every_kind_arrive_in_their_order(tmp_path: Path) -> None:
    sample = NodeSample(START, 0, 1.5)

    def work(recorder: Recorder) -> None:
        recorder.add(0, 1, BLOCK, Reading(START, 0, (1, 2), 5))
        recorder.add_answer(1, b"\x12", time_ms=START, status=0, data=b"\x07", round_trip_ms=5, series=1)
        recorder.add_sample(2, "i=1", sample, Variant.DOUBLE)
        recorder.add_once(3, 1, BLOCK, Reading(START, 2, None, 5))
        recorder.add_once(4, 1, QUERY, Reading(START, 0, (1, 2), 5))
        recorder.add(0, 1, BLOCK, Reading(START, 0xF0, None, 5))

    assert handed_on(tmp_path, work) == (
        AnswerRead(1, b"\x12", START, 0, b"\x07"),
        NodeRead(2, "i=1", sample, Variant.DOUBLE),
        RegisterRead(3, 3, 10, 2, START, 2, None, polled=False),
        AnswerRead(4, b"\x11\x00", START, 0, b"\x01\x02", polled=False),
        RegisterRead(0, 3, 10, 2, START, 0xF0, None),
    )


def test_reads_of_devices_that_are_numbered_anew_are_dropped(tmp_path: Path) -> None:
    def work(recorder: Recorder) -> None:
        recorder.add(0, 1, BLOCK, Reading(START, 0, (1, 2), 5))
        recorder.reconfigure(Descriptor("gw-01", "shopfloor-agent 2", "Asia/Shanghai", ()))
        recorder.add(1, 1, BLOCK, Reading(START, 0, (3, 4), 5))

    assert handed_on(tmp_path, work) == (RegisterRead(1, 3, 10, 2, START, 0, (3, 4)),)
