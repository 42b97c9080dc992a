"""Spool and journal: what is on disk, what is dropped when space runs out, and how the loss is declared."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from agent.clock import DrivenClock
from agent.errors import SpoolError
from agent.journal import Journal
from agent.spool import Outgoing, Spool
from wire.chain import verify_run
from wire.descriptor import Descriptor
from wire.event import Event, Gap
from wire.frame import Frame
from wire.keys import SigningKey
from wire.receipt import Acknowledgement
from wire.record import Record, open_record

BUDGET = 4 * 2**20
KEY = SigningKey.generate()
DESCRIPTOR = Descriptor("gw-01", "test", "Asia/Shanghai", ())


def journal(directory: Path, budget: int = BUDGET, key: SigningKey = KEY) -> Journal:
    return Journal(directory, "gw-01", key, budget, DrivenClock(1_751_299_200_000))


def noise(size: int) -> tuple[Frame, ...]:
    """A frame of incompressible words: about ``size`` bytes of record, ``size // 250`` reads."""
    n = size // 250
    return (Frame(0, 1, 3, 0, 125, tuple(range(n)), bytes(n), os.urandom(250 * n), 0),)


def acknowledge(book: Journal, seq: int, issued_ms: int = 1, hash_: bytes | None = None) -> None:
    known = hash_ or book.hash_of(seq)
    assert known is not None
    book.acknowledge(Acknowledgement("gw-01", seq, known, issued_ms))


def everything(book: Journal, after: int = 0) -> list[Outgoing]:
    """What an uplink sends behind ``after``, until there is no more."""
    messages: list[Outgoing] = []
    while batch := book.outgoing(messages[-1].covers if messages else after, 10**6, 2**40):
        messages.extend(batch)
    return messages


def admit(messages: list[Outgoing], seq: int = 0, hash_: bytes = bytes(32)) -> tuple[int, list[Gap]]:
    """Commit messages as a server does that has ``seq``; return how far its chain then reaches."""
    kept: dict[int, Record] = {}
    gaps: list[Gap] = []
    for message in messages:
        record = open_record(message.data, KEY.public)
        kept[record.seq] = record
        body = record.payload.body
        if isinstance(body, Event) and body.name == "gap":
            gaps.append(Gap.from_event(body))
    while True:
        if seq + 1 in kept:
            assert kept[seq + 1].payload.prev == hash_
            seq, hash_ = seq + 1, kept[seq + 1].hash
            continue
        gap = next((gap for gap in gaps if gap.first <= seq + 1 <= gap.last), None)
        if gap is None:
            return seq, gaps
        assert gap.first < seq + 1 or gap.before == hash_
        seq, hash_ = gap.last, gap.hash


def test_the_chain_continues_where_the_disk_says(tmp_path: Path) -> None:
    book = journal(tmp_path)
    for _ in range(3):
        book.append(Event("start"))
    before = book.state
    book.close()
    book = journal(tmp_path)
    assert book.state == before
    book.append(Event("stop"))
    run = verify_run([message.data for message in everything(book)], KEY.public, gateway="gw-01")
    assert run.intact
    assert run.seq == 4
    book.close()


def test_a_record_that_could_not_be_kept_leaves_no_trace_in_the_chain(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.append(DESCRIPTOR)
    with sqlite3.connect(tmp_path / "spool.sqlite", isolation_level=None) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON record BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        with pytest.raises(SpoolError, match="disk full"):
            book.append(Event("start"))
        other.execute("DROP TRIGGER full")
    assert book.state.seq == 1
    book.append(Event("start"))
    run = verify_run([message.data for message in everything(book)], KEY.public, gateway="gw-01")
    assert run.intact
    assert run.seq == 2
    book.close()


def test_the_files_never_outgrow_the_budget_however_long_the_outage(tmp_path: Path) -> None:
    """thingsboard-gateway#2094 (45 GB after four days), telegraf: "file space will be used until the disk is full"."""
    book = journal(tmp_path)
    book.append(DESCRIPTOR)
    largest = 0
    for _ in range(400):
        book.append(noise(30_000), 120)
        largest = max(largest, book.size())
    assert BUDGET // 2 < largest <= BUDGET
    book.close()


def test_what_a_full_spool_loses_is_declared_exactly(tmp_path: Path) -> None:
    """telegraf#5536, Azure/Industrial-IoT#143: messages dropped in silence when the buffer is full."""
    book = journal(tmp_path)
    book.append(DESCRIPTOR)
    made = 0
    for _ in range(300):
        book.append(noise(30_000), 120)
        made += 120
    messages = everything(book)
    present = {message.seq for message in messages}
    seq, gaps = admit(messages)
    assert seq == book.state.seq, "the server can follow the chain to its end"
    largest = max(gaps, key=lambda gap: gap.last)
    assert largest.first == 2, "the descriptor is kept: without it nothing can be read"
    assert {*range(largest.first, largest.last + 1)}.isdisjoint(present)
    kept = sum(f.n for m in messages for f in open_record(m.data, KEY.public).payload.frames)
    assert kept + largest.samples == made
    run = verify_run(
        [m.data for m in sorted(messages, key=lambda m: m.seq) if m.seq == m.covers], KEY.public, gateway="gw-01",
        seqs=[m.seq for m in messages if m.seq == m.covers], gaps=gaps,
    )  # fmt: skip
    assert run.intact
    assert run.seq == book.state.seq
    book.close()


def test_the_gap_event_goes_out_ahead_of_its_turn(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.append(DESCRIPTOR)
    for _ in range(200):
        book.append(noise(30_000), 120)
    descriptor, event, following = everything(book)[:3]
    assert (descriptor.seq, descriptor.covers) == (1, 1)
    assert event.seq > event.covers
    assert following.seq == event.covers + 1
    book.close()


def test_acknowledged_records_go_first_and_are_kept_until_then(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.append(DESCRIPTOR)
    for _ in range(60):
        book.append(noise(30_000), 120)
    acknowledge(book, 40)
    assert len(everything(book)) == 61, "acknowledged records are the gateway's own history"
    for _ in range(70):
        book.append(noise(30_000), 120)
        acknowledge(book, book.state.seq - 20)
    assert not any(message.covers != message.seq for message in everything(book, book.state.acknowledged))
    assert len(everything(book, book.state.acknowledged)) == 20
    book.close()


def test_a_server_restored_to_before_what_was_evicted_gets_a_declared_gap(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.append(DESCRIPTOR)
    hashes = {1: book.state.hash}
    for _ in range(300):
        book.append(noise(30_000), 120)
        hashes[book.state.seq] = book.state.hash
        acknowledge(book, book.state.seq, issued_ms=book.state.seq)
    acknowledge(book, 5, issued_ms=10**6, hash_=hashes[5])
    seq, gaps = admit(everything(book, 5), 5, hashes[5])
    assert seq == book.state.seq
    assert (gaps[0].first, gaps[0].before) == (6, hashes[5])
    assert gaps[0].hash == hashes[gaps[0].last]
    book.close()


def test_two_agents_cannot_share_a_spool(tmp_path: Path) -> None:
    book = journal(tmp_path)
    with pytest.raises(SpoolError, match="another agent is running"):
        journal(tmp_path)
    book.close()
    journal(tmp_path).close()


def test_a_spool_of_another_key_is_refused(tmp_path: Path) -> None:
    journal(tmp_path).close()
    with pytest.raises(SpoolError, match="data directory of its own"):
        journal(tmp_path, key=SigningKey.generate())


def test_every_commit_is_synchronous(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "gw-01", KEY.public.key_id, BUDGET)
    database = spool._database
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    spool.close()


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(5, 40)),
            st.tuples(st.just("describe"), st.just(1)),
            st.tuples(st.just("acknowledge"), st.integers(0, 200)),
            st.tuples(st.just("reopen"), st.just(0)),
            st.tuples(st.just("restore"), st.integers(0, 60)),
        ),
        min_size=5,
        max_size=25,
    )
)
# A server goes back to before what was evicted and is sent an event that declares it; later it goes back to that event.
@example(
    steps=[
        *(3 * [("append", 40), ("acknowledge", 200)]),
        *[("restore", 60), ("restore", 50), ("acknowledge", 1)],
        *[("append", 5), ("acknowledge", 200), ("restore", 10)],
    ]
)
def test_whatever_happens_the_server_can_follow_the_chain_to_its_end(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    book = journal(directory)
    hashes = {0: bytes(32)}

    def note() -> None:
        # Events that declare gaps are made along the way: by appending, by sending, by opening.
        for seq in range(max(hashes) + 1, book.state.seq + 1):
            made = book.hash_of(seq)
            assert made is not None
            hashes[seq] = made

    book.append(DESCRIPTOR)
    note()
    for issued, (step, argument) in enumerate(steps, start=1):
        if step == "append":
            for _ in range(argument):
                book.append(noise(60_000), 240)
                note()
        elif step == "describe":
            book.append(Descriptor("gw-01", f"test {issued}", "UTC", ()))
        elif step == "acknowledge":
            reached, _ = admit(everything(book, book.state.acknowledged)[:argument], book.state.acknowledged,
                               book.hash_of(book.state.acknowledged) or b"")  # fmt: skip
            note()
            acknowledge(book, reached, issued, hashes[reached])
        elif step == "restore":
            target = max(0, book.state.acknowledged - argument)
            acknowledge(book, target, issued, hashes[target])
        else:
            book.close()
            book = journal(directory)
        note()
        assert book.size() <= BUDGET
    start = book.state.acknowledged
    reached, _ = admit(everything(book, start), start, hashes[start])
    assert reached == book.state.seq
    book.close()
