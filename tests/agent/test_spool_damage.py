"""A damaged spool: the agent starts, no number is used twice, what can be read is sent, the loss is declared."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from agent.clock import DrivenClock
from agent.errors import SpoolError
from agent.journal import Journal
from agent.spool import Outgoing
from wire.descriptor import Descriptor
from wire.event import Event, Gap
from wire.frame import Frame
from wire.keys import SigningKey
from wire.receipt import Acknowledgement
from wire.record import Record, open_record

BUDGET = 8 * 2**20
PAGE = 4096
KEY = SigningKey.generate()
DESCRIPTOR = Descriptor("gw-01", "test", "Asia/Shanghai", ())
FILES = ("spool.sqlite", "spool.sqlite-wal", "spool.sqlite-shm", "head")


def journal(directory: Path, budget: int = BUDGET) -> Journal:
    return Journal(directory, "gw-01", KEY, budget, DrivenClock(1_751_299_200_000))


def noise(size: int) -> tuple[Frame, ...]:
    n = size // 250
    return (Frame(0, 1, 3, 0, 125, tuple(range(n)), bytes(n), os.urandom(250 * n), 0),)


def everything(book: Journal, after: int = 0) -> list[Outgoing]:
    messages: list[Outgoing] = []
    while batch := book.outgoing(messages[-1].covers if messages else after, 10**6, 2**40):
        messages.extend(batch)
    return messages


class Server:
    """What a server that never loses anything has of the chain; it fails the test when a number is used twice."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.gaps: list[Gap] = []
        self.seq, self.hash = 0, bytes(32)

    def take(self, messages: list[Outgoing]) -> None:
        for message in messages:
            record = open_record(message.data, KEY.public)
            kept = self.records.setdefault(record.seq, record)
            assert kept.hash == record.hash, f"fork at {record.seq}"
            body = record.payload.body
            if isinstance(body, Event) and body.name == "gap":
                self.gaps.append(Gap.from_event(body))
        while True:
            following = self.records.get(self.seq + 1)
            if following is not None:
                assert following.payload.prev == self.hash
                self.seq, self.hash = following.seq, following.hash
                continue
            gap = next((g for g in self.gaps if g.first <= self.seq + 1 <= g.last), None)
            if gap is None:
                return
            self.seq, self.hash = gap.last, gap.hash

    def acknowledgement(self) -> Acknowledgement:
        return Acknowledgement("gw-01", self.seq, self.hash, self.seq)


def chain(directory: Path, records: int = 60) -> dict[int, bytes]:
    """Make a spool, closed properly, and return the hashes of its records."""
    book = journal(directory)
    hashes = {1: book.append(DESCRIPTOR).hash}
    for _ in range(records - 1):
        record = book.append(noise(10_000), 40)
        hashes[record.seq] = record.hash
    book.close()
    return hashes


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def pages_of(path: Path, seq: int) -> int:
    """The offset in the file of the bytes of record ``seq``."""
    with sqlite3.connect(path) as database:
        (data,) = database.execute("SELECT data FROM record WHERE seq = ?", (seq,)).fetchone()
    content = path.read_bytes()
    return next(at for at in (content.find(data[n : n + 64]) for n in range(0, len(data), 256)) if at >= 0)


def test_a_rotten_record_is_set_aside_and_all_others_are_sent(tmp_path: Path) -> None:
    chain(tmp_path)
    overwrite(tmp_path / "spool.sqlite", pages_of(tmp_path / "spool.sqlite", 30) + 8, b"\xff\x00" * 8)
    book, server = journal(tmp_path), Server()
    server.take(everything(book))
    assert sorted(server.records) == [*range(1, 30), *range(31, 62)]
    assert {(gap.first, gap.last, gap.samples) for gap in server.gaps} == {(30, 30, 40)}
    assert server.seq == book.state.seq == 61
    assert (tmp_path / "damaged" / "record-30").exists()
    book.close()


@pytest.mark.parametrize("page", [0, 1, 2, 3, 4, 20, 100])
def test_whichever_page_is_damaged_the_chain_goes_on(tmp_path: Path, page: int) -> None:
    """telegraf#18528 (a corrupt log panics the agent), eclipse-kura/kura#2169 (H2 file corrupt after power loss)."""
    hashes = chain(tmp_path)
    overwrite(tmp_path / "spool.sqlite", page * PAGE, os.urandom(PAGE))
    book, server = journal(tmp_path), Server()
    record = book.append(Event("start"))
    assert record.seq > 60
    server.take(everything(book))
    assert server.seq == book.state.seq >= record.seq
    for seq, kept in server.records.items():
        assert hashes.get(seq, kept.hash) == kept.hash
    if page != 1:
        assert len(set(server.records) & set(hashes)) >= 50, "what can be read is sent"
    book.close()
    book = journal(tmp_path)
    assert book.append(Event("stop")).seq == server.seq + 1
    book.close()


@pytest.mark.parametrize(
    "harm",
    [
        lambda directory: (directory / "spool.sqlite").unlink(),
        lambda directory: (directory / "spool.sqlite").write_bytes(b""),
        lambda directory: (directory / "spool.sqlite").write_bytes(b"not a database" * 1000),
        lambda directory: os.truncate(directory / "spool.sqlite", 37 * PAGE),
    ],
    ids=["deleted", "empty", "garbage", "truncated"],
)
def test_a_lost_file_costs_its_records_and_never_a_number_twice(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    hashes = chain(tmp_path)
    harm(tmp_path)
    book, server = journal(tmp_path), Server()
    assert book.append(Event("start")).seq > 60
    server.take(everything(book))
    assert server.seq == book.state.seq < 100, "the end is known, no number is skipped"
    lost = max(server.gaps, key=lambda gap: gap.last)
    assert (lost.last, lost.hash) == (60, hashes[60])
    book.close()


@pytest.mark.parametrize(
    "rot",
    [
        "UPDATE chain SET gateway = CAST(x'ff67772d3031' AS TEXT)",
        "UPDATE chain SET key_id = zeroblob(8)",
        "UPDATE chain SET seq = 61234567",
        "UPDATE chain SET seq = 9000000000000000000",
        "UPDATE chain SET hash = zeroblob(31)",
        "UPDATE chain SET hash = zeroblob(32)",
        "UPDATE chain SET descriptor_seq = 999, descriptor_hash = zeroblob(32)",
        "UPDATE chain SET seq = 20",
        "DELETE FROM chain",
        "UPDATE uplink SET seq = 61234567, hash = zeroblob(3)",
        "UPDATE record SET seq = 61234567 WHERE seq = 40",
        "UPDATE record SET seq = -5 WHERE seq = 40",
        "UPDATE record SET prev = zeroblob(32) WHERE seq = 40",
        "UPDATE record SET hash = zeroblob(32) WHERE seq = 60",
    ],
)
def test_a_number_or_name_that_has_rotted_is_not_believed(tmp_path: Path, rot: str) -> None:
    hashes = chain(tmp_path)
    book = journal(tmp_path)
    book.acknowledge(Acknowledgement("gw-01", 10, hashes[10], 5))
    book.close()
    with sqlite3.connect(tmp_path / "spool.sqlite") as database:
        database.execute(rot)
    book, server = journal(tmp_path), Server()
    made = book.append(noise(1_000), 4)
    assert 60 < made.seq < 100
    assert made.payload.descriptor == hashes[1]
    server.take(everything(book))
    assert server.seq == book.state.seq
    assert len(set(server.records) & set(hashes)) >= 58
    book.close()


def test_commits_that_the_file_has_forgotten_are_missed_and_declared(tmp_path: Path) -> None:
    """A write-ahead log that is cut short looks like an older, whole database: the records in it have left already."""
    hashes = chain(tmp_path, 40)
    before = (tmp_path / "spool.sqlite").read_bytes()
    book, server = journal(tmp_path), Server()
    hashes |= {book.append(noise(2_000), 8).seq: book.state.hash for _ in range(5)}
    server.take(everything(book))
    book.close()
    (tmp_path / "spool.sqlite").write_bytes(before)
    book = journal(tmp_path)
    assert book.append(Event("start")).seq > 45
    server.take(everything(book, 45))
    assert server.seq == book.state.seq
    again = Server()
    again.take(everything(book))
    assert {(gap.first, gap.last, gap.before, gap.hash) for gap in again.gaps} == {(41, 45, hashes[40], hashes[45])}
    assert again.seq == server.seq
    book.close()


def test_damage_that_shows_while_the_agent_runs_stops_nothing(tmp_path: Path) -> None:
    chain(tmp_path)
    book, server = journal(tmp_path), Server()
    for page in range(2, 60, 3):
        overwrite(tmp_path / "spool.sqlite", page * PAGE, os.urandom(PAGE))
    made = [book.append(noise(4_000), 16).seq for _ in range(30)]
    server.take(everything(book))
    assert server.seq == book.state.seq
    assert set(made) <= set(server.records), "what is made behind the damage is not lost"
    book.close()


def test_acknowledgements_and_the_descriptor_outlive_the_database(tmp_path: Path) -> None:
    chain(tmp_path)
    book, server = journal(tmp_path), Server()
    server.take(everything(book)[:50])
    book.acknowledge(server.acknowledgement())
    book.append(noise(1_000), 4)
    overwrite(tmp_path / "spool.sqlite", 0, os.urandom(4 * PAGE))
    for name in FILES[1:3]:
        overwrite(tmp_path / name, 0, os.urandom(PAGE))
    book.close()
    book = journal(tmp_path)
    assert book.state.acknowledged == 50, "a metered uplink does not send all history again"
    if book.descriptor() is None:
        book.append(DESCRIPTOR)
    server.take(everything(book, 50))
    assert server.seq == book.state.seq
    book.close()


@pytest.mark.parametrize("slots", [(0,), (1,), (0, 1)])
def test_without_a_head_file_to_trust_numbers_are_skipped(tmp_path: Path, slots: tuple[int, ...]) -> None:
    chain(tmp_path)
    book, server = journal(tmp_path), Server()
    server.take(everything(book))
    book.close()
    for slot in slots:
        overwrite(tmp_path / "head", slot * PAGE, os.urandom(64))
    (tmp_path / "spool.sqlite").write_bytes(b"not a database" * 1000)
    book = journal(tmp_path)
    assert book.append(Event("start")).seq > 2**32
    server.take(everything(book))
    assert server.seq == book.state.seq
    book.close()


def test_a_rescue_that_is_killed_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = chain(tmp_path)
    (tmp_path / "head").unlink()
    overwrite(tmp_path / "spool.sqlite", 40 * PAGE, os.urandom(8 * PAGE))
    overwrite(tmp_path / "spool.sqlite", 0, os.urandom(PAGE))
    with monkeypatch.context() as patch:
        patch.setattr("agent.rescue.finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            journal(tmp_path)
    assert not (tmp_path / "spool.sqlite").exists()
    book, server = journal(tmp_path), Server()
    book.append(Event("start"))
    server.take(everything(book))
    assert len(set(server.records) & set(hashes)) >= 50
    assert server.seq == book.state.seq
    book.close()


def test_what_was_set_aside_gives_way_to_records(tmp_path: Path) -> None:
    chain(tmp_path, 300)
    overwrite(tmp_path / "spool.sqlite", 90 * PAGE, os.urandom(PAGE))
    overwrite(tmp_path / "spool.sqlite", 0, os.urandom(PAGE))
    book = journal(tmp_path)
    assert (tmp_path / "damaged" / "1" / "spool.sqlite").exists()
    for _ in range(600):
        book.append(noise(10_000), 40)
    assert not (tmp_path / "damaged").exists()
    assert book.size() <= BUDGET
    book.close()


def test_a_spool_of_the_version_before_is_carried_over(tmp_path: Path) -> None:
    hashes = chain(tmp_path)
    (tmp_path / "head").unlink()
    with sqlite3.connect(tmp_path / "spool.sqlite") as database:
        database.executescript(
            """
            ALTER TABLE record DROP COLUMN time_ms; ALTER TABLE record DROP COLUMN first_ms; DROP TABLE uplink;
            ALTER TABLE chain ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE chain ADD COLUMN acknowledged_hash BLOB NOT NULL DEFAULT x'00';
            ALTER TABLE chain ADD COLUMN acknowledged_issued_ms INTEGER NOT NULL DEFAULT 0;
            PRAGMA user_version = 1;
            """
        )
    book, server = journal(tmp_path), Server()
    server.take(everything(book))
    assert {seq: record.hash for seq, record in server.records.items()} == hashes
    assert book.append(Event("start")).seq == 61
    assert book.descriptor() == DESCRIPTOR
    book.close()


def test_a_spool_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    chain(tmp_path)
    with sqlite3.connect(tmp_path / "spool.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    digest = hashlib.sha256((tmp_path / "spool.sqlite").read_bytes()).digest()
    with pytest.raises(SpoolError, match="update the agent"):
        journal(tmp_path)
    assert hashlib.sha256((tmp_path / "spool.sqlite").read_bytes()).digest() == digest


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    damage=st.lists(
        st.tuples(st.sampled_from(["spool.sqlite", "spool.sqlite", "spool.sqlite-wal", "head"]), st.floats(0, 1),
                  st.integers(1, 3 * PAGE)),
        min_size=1, max_size=4,
    ),
    running=st.booleans(),
)  # fmt: skip
def test_wherever_the_files_are_damaged_no_number_is_used_twice(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[str, float, int]], running: bool
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    chain(directory, 30)
    book, server = journal(directory), Server()
    for _ in range(5):
        book.append(noise(3_000), 12)
    server.take(everything(book))
    images = {name: (directory / name).read_bytes() for name in FILES if (directory / name).exists()}
    if not running:
        # As after kill -9: the write-ahead log has not been carried into the database.
        book.close()
        for name, image in images.items():
            (directory / name).write_bytes(image)
    for name, place, size in damage:
        path = directory / name
        if path.exists() and (length := path.stat().st_size):
            at = int(place * (length - 1))
            overwrite(path, at, os.urandom(min(size, length - at)))
    if not running:
        book = journal(directory)
    for _ in range(3):
        book.append(noise(3_000), 12)
    server.take(everything(book))
    book.close()
    book = journal(directory)
    last = book.append(Event("stop")).seq
    server.take(everything(book))
    assert server.seq == book.state.seq >= last
    book.close()
