"""Our own unpacking of register answers says what pymodbus's does, of every string of bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import DecodePDU, ModbusPDU

from agent.modbus import REGISTER_ANSWERS


def decoded(answer: bytes, *, ours: bool) -> list[int] | str | None:
    decoder = DecodePDU(False)
    for one in REGISTER_ANSWERS if ours else ():
        decoder.register(one)
    pdu: ModbusPDU | None = decoder.decode(answer)
    if pdu is None:
        return None
    return f"exception {pdu.exception_code}" if pdu.isError() else list(pdu.registers)


@given(st.sampled_from((3, 4, 0x83, 0x84)), st.binary(max_size=260))
def test_any_bytes(function: int, rest: bytes) -> None:
    answer = bytes((function, *rest))
    assert decoded(answer, ours=True) == decoded(answer, ours=False)


@pytest.mark.parametrize("function", [3, 4])
@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=125))
def test_well_formed_answers(function: int, registers: list[int]) -> None:
    answer = struct.pack(f">BB{len(registers)}H", function, 2 * len(registers), *registers)
    assert decoded(answer, ours=True) == decoded(answer, ours=False) == registers
