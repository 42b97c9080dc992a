"""Records read as tables of bytes say what `wire.record.open_record` says of each, and nothing it refuses is in one."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.record_block import BlockVerifier
from evidence.record_table import RecordTables
from wire import cbor
from wire.chain import ChainWriter, verify_run
from wire.errors import RecordError
from wire.event import Event
from wire.frame import STATUS_TIMEOUT, Frame
from wire.keys import SigningKey
from wire.record import ZERO_HASH, ClockState, Record, inflate, open_record
from wire.rotation import KeyHistory, KeyRotation

NOW = 1_751_299_200_000
KEY = SigningKey.from_bytes(b"\x07" * 32)
SHAPES = ((2, 6), (3, 1), (88, 6), (8, 2))
"""Registers and reads of the frames that come in the tests."""


@st.composite
def frames(draw: st.DrawFn, shape: tuple[int, int], device: int) -> Frame:
    count, reads = shape
    status = draw(st.sampled_from([bytes(reads)] * 9 + [bytes(reads - 1) + bytes([STATUS_TIMEOUT])]))
    good = status.count(0)
    steps = draw(st.lists(st.sampled_from([0, 1, 9_990, 10_000, 70_000, 2**32 - 1]), min_size=reads, max_size=reads))
    times = np.cumsum([NOW + draw(st.integers(0, 10**9)), *steps[1:]]).tolist()
    words = draw(st.binary(min_size=1, max_size=8))
    return Frame(
        device=device,
        unit=1,
        function=3,
        address=draw(st.sampled_from([0, 100, 4096])),
        count=count,
        times_ms=tuple(times),
        status=status,
        words=(words * (2 * count * good))[: 2 * count * good],
        round_trip_ms=draw(st.sampled_from([0, 5, 23, 24, 30, 255, 256, 70_000])),
    )


@st.composite
def chains(draw: st.DrawFn) -> list[Record]:
    writer = ChainWriter(
        "gw-01", KEY, seq=draw(st.sampled_from([0, 20, 250, 65_530])), hash=ZERO_HASH, boot_id=bytes(16)
    )
    if writer.seq:
        writer.hash = b"\x11" * 32
    made = []
    for _ in range(draw(st.integers(1, 60))):
        body: Event | tuple[Frame, ...] = Event("start")
        if draw(st.integers(0, 9)):
            chosen = draw(st.sampled_from([SHAPES[:1], SHAPES[1:3], (SHAPES[0], SHAPES[0])]))
            body = tuple(draw(frames(shape, device)) for device, shape in enumerate(chosen))
        clock = ClockState(
            draw(st.sampled_from([True, None])),
            draw(st.sampled_from([None, 0, -3, -24, -25, -300, 23, 24, 500, -(2**62)])),
            draw(st.sampled_from([None, 5, 1800])),
        )
        made.append(writer.append(body, time_ms=NOW + draw(st.integers(0, 10**6)), clock=clock))
    return made


def rewritten(data: bytes, at: int, octet: int) -> bytes:
    """The record with one byte of its payload replaced, in an envelope that fits; nobody has signed that."""
    parts = cbor.decode(data[1:])
    octets = bytearray(inflate(parts[2]))
    octets[at % len(octets)] = octet
    parts[2] = zlib.compress(bytes(octets), 9)
    return data[:1] + cbor.encode(parts)


def check(datas: list[bytes]) -> int:
    """Hold tables and `open_record` against each other; returns how many records are in tables."""
    tables, others = RecordTables().read(datas)
    places = sorted([*others, *(place for table in tables for place in table.rows.tolist())])
    assert places == list(range(len(datas)))
    for table in tables:
        assert table.rows.tolist() == sorted(table.rows.tolist())
        for row, place in enumerate(table.rows.tolist()):
            payload = open_record(datas[place], None).payload
            assert (payload.seq, payload.prev) == (int(table.seq[row]), table.prev[row])
            assert (payload.gateway, payload.descriptor) == (table.payload.gateway, table.payload.descriptor)
            assert len(payload.frames) == len(table.frames)
            for frame, read in zip(payload.register_frames, table.frames, strict=True):
                of_table = replace(
                    read.frame,
                    times_ms=tuple(read.times_ms[row].tolist()),
                    words=read.words[row].tobytes(),
                    round_trip_ms=frame.round_trip_ms,
                )
                assert of_table == frame
                assert int(read.seq[row]) == payload.seq
    return len(datas) - len(others)


@given(chains())
def test_tables_say_what_open_record_says(made: list[Record]) -> None:
    check([record.data for record in made])


@given(chains(), st.data())
def test_what_open_record_refuses_is_in_no_table(made: list[Record], data: st.DataObject) -> None:
    datas = [record.data for record in made]
    for place in data.draw(st.lists(st.integers(0, len(datas) - 1), max_size=20)):
        if data.draw(st.booleans()):
            datas[place] = rewritten(made[place].data, data.draw(st.integers(0, 400)), data.draw(st.integers(0, 255)))
        else:
            octets = bytearray(datas[place])
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
            datas[place] = bytes(octets)
    tables, _ = RecordTables().read(datas)
    refused = set()
    for place, octets in enumerate(datas):
        try:
            open_record(octets, None)
        except RecordError:
            refused.add(place)
    assert not refused & {place for table in tables for place in table.rows.tolist()}
    check(datas)


def long_chain(count: int = 400) -> list[Record]:
    generator = np.random.default_rng(5)
    writer = ChainWriter("gw-01", KEY, boot_id=bytes(16))
    made = [writer.append(Event("start"), time_ms=NOW)]
    for number in range(count):
        frame = Frame(
            device=0,
            unit=1,
            function=3,
            address=0,
            count=4,
            times_ms=tuple(NOW + number * 60_000 + 10_000 * read for read in range(6)),
            status=bytes(6),
            words=generator.bytes(48),
            round_trip_ms=int(generator.integers(10, 40)),
        )
        made.append(writer.append((frame,), time_ms=NOW + (number + 1) * 60_000))
    return made


def test_nearly_all_records_of_a_gateway_are_in_tables() -> None:
    assert check([record.data for record in long_chain()]) > 380


def test_every_byte_of_a_record_matters() -> None:
    made = [record.data for record in long_chain(40)]
    target = 20
    for at in range(len(made[target])):
        octets = bytearray(made[target])
        octets[at] ^= 1 << (at % 8)
        changed = [*made[:target], bytes(octets), *made[target + 1 :]]
        verifier = BlockVerifier("gw-01", KeyHistory(KEY.public), 0, ZERO_HASH)
        kept = list(enumerate(changed, start=1))
        verified, plain = verifier.verify(kept), verify_run(changed, KEY.public, gateway="gw-01")
        assert verified.faults == plain.faults
        assert verified.faults


@pytest.mark.parametrize("kept", ["swapped", "missing", "renumbered", "twice", "foreign", "cut"])
def test_blocks_find_what_runs_find(kept: str) -> None:
    made = long_chain(60)
    block = [(record.seq, record.data) for record in made]
    gateway = "gw-01"
    if kept == "swapped":
        block[30], block[31] = block[31], block[30]
    elif kept == "missing":
        del block[30]
    elif kept == "renumbered":
        block[30] = (99, block[30][1])
    elif kept == "twice":
        block.insert(30, block[30])
    elif kept == "foreign":
        gateway = "gw-02"
    else:
        block[30] = (31, block[30][1][:-1])
    seqs, datas = [seq for seq, _ in block], [data for _, data in block]
    verified = BlockVerifier(gateway, KeyHistory(KEY.public), 0, ZERO_HASH).verify(block)
    plain = verify_run(datas, KEY.public, gateway=gateway, seqs=seqs)
    assert list(verified.faults) == plain.faults
    assert plain.faults
    assert list(verified.records) == plain.records


def test_a_block_follows_the_keys_of_its_chain() -> None:
    writer = ChainWriter("gw-01", KEY, boot_id=bytes(16))
    successor = SigningKey.from_bytes(b"\x09" * 32)
    made = [writer.append(Event("start"), time_ms=NOW)]
    made.append(writer.append(KeyRotation.make("gw-01", KEY.public, successor).to_event(), time_ms=NOW))
    writer.key = successor
    made += [writer.append(Event("start"), time_ms=NOW) for _ in range(3)]
    block = [(record.seq, record.data) for record in made]
    verifier = BlockVerifier("gw-01", KeyHistory(KEY.public), 0, ZERO_HASH)
    assert not verifier.verify(block).faults
    assert verifier.keys.newest == successor.public
    stolen = ChainWriter("gw-01", KEY, seq=2, hash=made[1].hash, boot_id=bytes(16)).append(Event("start"), time_ms=NOW)
    verifier = BlockVerifier("gw-01", KeyHistory(KEY.public), 0, ZERO_HASH)
    assert [fault.fault for fault in verifier.verify([*block[:2], (3, stolen.data)]).faults] == ["wrong-key"]
