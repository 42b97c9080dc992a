"""A key hands over to the next: on record, signed by both, and by nobody who was replaced before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.chain import ChainWriter, verify_run
from wire.errors import RecordError
from wire.event import Event
from wire.keys import SigningKey
from wire.record import Record
from wire.rotation import KeyHistory, KeyRotation

FIRST, SECOND, THIRD, STRANGER = (SigningKey.from_bytes(bytes([number]) * 32) for number in range(1, 5))


class Chain:
    """A chain that changes its key when told to."""

    def __init__(self) -> None:
        self.writer = ChainWriter("gw-01", FIRST, boot_id=bytes(16))
        self.records: list[Record] = []

    def add(self, count: int = 1) -> None:
        for _ in range(count):
            self.records.append(self.writer.append(Event("start"), time_ms=1))

    def rotate(self, successor: SigningKey, rotation: KeyRotation | None = None) -> None:
        rotation = rotation or KeyRotation.make("gw-01", self.writer.key.public, successor)
        self.records.append(self.writer.append(rotation.to_event(), time_ms=1))
        self.writer.key = successor


def faults(records: Sequence[Record]) -> list[tuple[int, str]]:
    result = verify_run([record.data for record in records], FIRST.public, gateway="gw-01")
    return [(fault.seq, fault.fault) for fault in result.faults]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.data())
def test_a_chain_verifies_from_its_first_key_over_any_number_of_rotations(
    lengths: list[int], data: st.DataObject
) -> None:
    chain = Chain()
    for number, length in enumerate(lengths):
        chain.add(length)
        chain.rotate(SigningKey.from_bytes(bytes([10 + number]) * 32))
    chain.add(2)
    assert faults(chain.records) == []
    # Split anywhere, the second part continues with what the first has handed over.
    cut = data.draw(st.integers(0, len(chain.records)))
    datas = [record.data for record in chain.records]
    begun = verify_run(datas[:cut], FIRST.public, gateway="gw-01")
    assert begun.keys is not None
    rest = verify_run(datas[cut:], begun.keys, gateway="gw-01", prev_seq=begun.seq, prev_hash=begun.hash)
    assert (begun.faults, rest.faults) == ([], [])
    assert rest.keys is not None
    assert rest.keys.newest == chain.writer.key.public


def test_what_the_old_key_signs_afterwards_is_refused() -> None:
    chain = Chain()
    chain.add()
    chain.rotate(SECOND)
    chain.writer.key = FIRST
    chain.add()
    assert faults(chain.records) == [(3, "wrong-key")]


def test_what_the_new_key_signs_before_is_refused() -> None:
    chain = Chain()
    chain.add()
    chain.rotate(SECOND)
    early = ChainWriter("gw-01", SECOND, boot_id=bytes(16)).append(Event("start"), time_ms=1)
    with pytest.raises(RecordError, match="wrong-key"):
        KeyHistory(FIRST.public).through(chain.records[1]).open(early.data)


def test_a_stranger_cannot_name_himself() -> None:
    chain = Chain()
    chain.add()
    chain.writer.key = STRANGER
    chain.rotate(STRANGER, KeyRotation.make("gw-01", FIRST.public, STRANGER))
    chain.add()
    assert [seq for seq, _ in faults(chain.records)] == [2, 3]


@pytest.mark.parametrize(
    "rotation",
    [
        KeyRotation(SECOND.public, bytes(64)),
        KeyRotation.make("gw-02", FIRST.public, SECOND),
        KeyRotation.make("gw-01", THIRD.public, SECOND),
        KeyRotation(SECOND.public, KeyRotation.make("gw-01", FIRST.public, THIRD).proof),
    ],
    ids=["without-proof", "of-another-gateway", "behind-another-key", "proof-of-another-key"],
)
def test_a_key_that_has_not_signed_that_it_follows_does_not(rotation: KeyRotation) -> None:
    chain = Chain()
    chain.add()
    chain.rotate(SECOND, rotation)
    chain.add()
    assert faults(chain.records) == [(2, "bad-rotation"), (3, "wrong-key")]


def test_a_key_that_was_replaced_has_no_say_any_more() -> None:
    """Who has stolen the first key after it was replaced cannot have it hand over to his own."""
    chain = Chain()
    chain.add()
    chain.rotate(SECOND)
    known = KeyHistory(FIRST.public).through(chain.records[1])
    forged = ChainWriter("gw-01", FIRST, boot_id=bytes(16))
    forged.append(Event("start"), time_ms=1)
    other = forged.append(KeyRotation.make("gw-01", FIRST.public, STRANGER).to_event(), time_ms=2)
    assert known.through(other) == known
    forged.append(Event("start"), time_ms=3)
    with pytest.raises(RecordError, match="wrong-key"):
        known.open(forged.append(Event("start"), time_ms=3).data)


def test_keys_by_their_place() -> None:
    history = KeyHistory(FIRST.public, {5: SECOND.public, 9: THIRD.public})
    assert [history.at(seq) for seq in (1, 4, 5, 8, 9, 1000)] == [
        FIRST.public,
        FIRST.public,
        SECOND.public,
        SECOND.public,
        THIRD.public,
        THIRD.public,
    ]
    assert history.knows(SECOND.public.key_id)
    assert not history.knows(STRANGER.public.key_id)
