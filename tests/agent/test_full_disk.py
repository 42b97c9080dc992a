"""A full disk: the agent goes on with what it has, loses what it must on record, and recovers when there is room."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import pytest

from agent.clock import DrivenClock
from agent.errors import SpoolFullError
from agent.journal import Journal
from wire.chain import verify_run
from wire.descriptor import Descriptor
from wire.frame import Frame
from wire.keys import SigningKey
from wire.receipt import Acknowledgement

KEY = SigningKey.generate()
DESCRIPTOR = Descriptor("gw-01", "test", "Asia/Shanghai", ())


def noise(size: int) -> tuple[Frame, ...]:
    n = size // 250
    return (Frame(0, 1, 3, 0, 125, tuple(range(n)), bytes(n), os.urandom(250 * n), 0),)


def journal(directory: Path) -> Journal:
    return Journal(directory, "gw-01", KEY, 64 * 2**20, DrivenClock(1_751_299_200_000))


def fill_up(book: Journal) -> None:
    """Let the database not grow any more, as on a disk that others have filled: SQLite then says SQLITE_FULL."""
    database = book._spool._database
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages}")


def test_acknowledged_history_makes_room_when_the_disk_has_none(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.append(DESCRIPTOR)
    for _ in range(50):
        book.append(noise(20_000), 80)
    book.acknowledge(Acknowledgement("gw-01", 40, book.hash_of(40) or b"", 1))
    fill_up(book)
    for _ in range(20):
        book.append(noise(20_000), 80)
    sent = book.outgoing(40, 1_000, 2**30)
    assert [message.seq for message in sent] == list(range(41, book.state.seq + 1)), "what nobody has is not lost"
    assert verify_run(
        [m.data for m in sent], KEY.public, gateway="gw-01", prev_seq=40, prev_hash=book.hash_of(40)
    ).intact
    book.close()


def test_without_history_nothing_is_dropped_and_the_chain_stands(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.append(DESCRIPTOR)
    for _ in range(20):
        book.append(noise(20_000), 80)
    fill_up(book)
    before = book.state
    with pytest.raises(SpoolFullError):
        book.append(noise(60_000), 240)
    assert book.state == before
    book._spool._database.execute("PRAGMA max_page_count = 100000")
    book.append(noise(20_000), 80)
    sent = book.outgoing(0, 1_000, 2**30)
    assert verify_run([message.data for message in sent], KEY.public, gateway="gw-01").seq == book.state.seq
    book.close()


_CHILD = """
import asyncio, json, os, sys
from pathlib import Path
from agent.clock import DrivenClock
from agent.drivers import Reading
from agent.journal import Journal, JournalThread
from agent.planner import Block, Value
from agent.recorder import Recorder
from wire.chain import verify_run
from wire.descriptor import Descriptor
from wire.event import Event
from wire.frame import STATUS_OK
from wire.keys import SigningKey
from wire.record import open_record

disk, key = Path(sys.argv[1]), SigningKey.generate()
block = Block(3, 0, 125, (Value(3, 0, 2),))

async def main():
    clock = DrivenClock(1_751_299_200_000)
    journal = JournalThread(Journal(disk / "spool", "gw-01", key, 2**30, clock))
    recorder = Recorder(journal, clock)
    await recorder.begin(Descriptor("gw-01", "test", "UTC", ()))
    refused = made = 0
    (disk / "others").write_bytes(bytes(int(sys.argv[2])))
    for poll in range(12_000):
        words = tuple(os.urandom(1)[0] * 256 + poll % 256 for _ in range(125))
        recorder.add(0, 1, block, Reading(1_751_299_200_000 + poll * 1_000, STATUS_OK, words, 1))
        made += 1
        if poll % 200 == 0:
            await recorder.flush()
            refused += recorder.waiting_bytes > 0
        if poll == 11_500:
            (disk / "others").unlink()
    await recorder.flush()
    sent = await journal.outgoing(0, 10**6, 2**30)
    journal.close()
    records = [open_record(message.data, key.public).payload for message in sent]
    run = verify_run([message.data for message in sent], key.public, gateway="gw-01")
    lost = sum(r.body.detail["samples"] for r in records if isinstance(r.body, Event) and r.body.name == "loss")
    kept = sum(frame.n for record in records for frame in record.frames)
    print(json.dumps({"refused": refused, "made": made, "kept": kept, "lost": lost, "intact": run.intact,
                      "waiting": recorder.waiting_bytes}))

asyncio.run(main())
"""


def test_an_agent_on_a_disk_that_is_really_full_goes_on_and_recovers(tmp_path: Path) -> None:
    """A file system of 3 MB in a mount name space of the child's own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "child.py").write_text(textwrap.dedent(_CHILD))
    mount = (
        f'mount -t tmpfs -o size=3m tmpfs "{disk}" && exec "{sys.executable}" "{tmp_path}/child.py" "{disk}" 1500000'
    )
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False, capture_output=True).returncode:
        reason = "this machine allows no mount name spaces"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    result = subprocess.run(
        [unshare, "-rm", "sh", "-c", mount],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    report = json.loads(result.stdout)
    assert report["refused"] > 0, "the disk was full"
    assert report["intact"]
    assert report["waiting"] == 0, "and it has recovered"
    assert report["kept"] + report["lost"] == report["made"], "what is not there is declared, read by read"


def test_three_weeks_off_line_fit_the_budget_and_the_memory(tmp_path: Path) -> None:
    """thingsboard-gateway#1445 (1 GB to 6 GB), #2094: what waits for the server waits on disk, within the budget."""
    clock = DrivenClock(1_751_299_200_000)
    minutes, budget = 3 * 7 * 24 * 60, 6 * 2**20
    book = Journal(tmp_path, "gw-01", KEY, budget, clock)
    book.append(DESCRIPTOR)
    weeks: list[int] = []

    async def live() -> None:
        clock.join()
        for minute in range(0, minutes, 15):
            await clock.sleep_until(1_751_299_200_000 + minute * 60_000)
            book.append(noise(5_000), 20)
            assert book.size() <= budget
            if minute % (7 * 24 * 60) == 7 * 24 * 60 - 15:
                gc.collect()
                weeks.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    asyncio.run(live())
    tracemalloc.stop()
    assert weeks[2] - weeks[1] < 64 * 1024
    assert len(book.outgoing(0, 10**6, 2**30)) > 700
    book.close()
