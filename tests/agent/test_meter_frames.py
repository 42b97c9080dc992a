"""DL/T 645-2007 and CJ/T 188 frames: published ones, round trips, and finding them in whatever the line carries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent import cjt188_frame, dlt645_frame
from agent.cjt188_frame import Cjt188Frame, MeterAddress
from agent.dlt645_frame import Dlt645Frame
from agent.errors import FrameError
from agent.frame_scan import FrameScanner
from agent.models import load_template

FRAMES = Path(__file__).parent / "frames"
DLT645 = json.loads((FRAMES / "dlt645.json").read_text(encoding="utf-8"))["frames"]
CJT188 = json.loads((FRAMES / "cjt188.json").read_text(encoding="utf-8"))["frames"]
BY_THE_RULES = json.loads((FRAMES / "dlt645-by-the-rules.json").read_text(encoding="utf-8"))["frames"]
CJT188_MODELS = {1: "cjt188-water", 2: "cjt188-heat", 3: "cjt188-gas"}


def dlt645_frames(answers: bool = True) -> st.SearchStrategy[Dlt645Frame]:
    controls = st.integers(0x80, 0xFF) if answers else st.sampled_from((0x11, 0x12, 0x13))
    address = st.binary(min_size=6, max_size=6)
    return st.builds(Dlt645Frame, address, controls, st.binary(max_size=200))


def cjt188_frames() -> st.SearchStrategy[Cjt188Frame]:
    address = st.builds(MeterAddress, st.integers(0x10, 0x4F), st.binary(min_size=7, max_size=7))
    return st.builds(Cjt188Frame, address, st.integers(0x80, 0xFF), st.binary(max_size=100))


@pytest.mark.parametrize("vector", [*DLT645, *BY_THE_RULES], ids=lambda vector: vector["name"])
def test_published_frames_of_dlt645_and_those_made_by_its_rules_are_read_and_made(vector: dict[str, Any]) -> None:
    octets = bytes.fromhex(vector["bytes"])
    expected = Dlt645Frame(
        dlt645_frame.parse_address(vector["address"]), int(vector["control"], 16), bytes.fromhex(vector["data"])
    )
    assert dlt645_frame.parse(octets) == (expected, len(octets))
    assert dlt645_frame.encode(expected) == octets
    if "series" in vector:
        series = load_template("dlt645-2007-three-phase").model.every_series()[vector["series"]]
        assert series.decode_answer(expected.data[4:]) == pytest.approx(vector["value"])


@pytest.mark.parametrize("vector", CJT188, ids=lambda vector: vector["name"])
def test_published_frames_of_cjt188_are_read_and_made(vector: dict[str, Any]) -> None:
    octets = bytes.fromhex(vector["bytes"])
    expected = Cjt188Frame(
        cjt188_frame.parse_address(vector["address"]), int(vector["control"], 16), bytes.fromhex(vector["data"])
    )
    assert cjt188_frame.parse(octets) == (expected, len(octets))
    assert cjt188_frame.encode(expected) == octets
    if "series" in vector:
        series = load_template(CJT188_MODELS[expected.address.type >> 4]).model.series[vector["series"]]
        value = vector["value"]
        assert series.decode_answer(expected.data[3:]) == (None if value is None else pytest.approx(value))


def test_the_checksum_misprinted_in_a_published_frame_is_noticed() -> None:
    misprinted = bytes.fromhex(CJT188[1]["bytes"].replace("84 13 16", "84 08 16"))
    with pytest.raises(FrameError, match=r"checksum is 08H.*13H"):
        cjt188_frame.parse(misprinted)


@given(dlt645_frames() | dlt645_frames(answers=False))
def test_a_dlt645_frame_survives_the_wire(frame: Dlt645Frame) -> None:
    octets = dlt645_frame.encode(frame)
    assert dlt645_frame.parse(octets) == (frame, len(octets))


@given(cjt188_frames())
def test_a_cjt188_frame_survives_the_wire(frame: Cjt188Frame) -> None:
    octets = cjt188_frame.encode(frame)
    assert cjt188_frame.parse(octets) == (frame, len(octets))


@given(st.lists(dlt645_frames(), max_size=4), st.data())
def test_frames_are_found_however_their_bytes_are_portioned(frames: list[Dlt645Frame], data: st.DataObject) -> None:
    stream = b"".join(b"\xfe" * 4 + dlt645_frame.encode(frame) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    scanner = FrameScanner(dlt645_frame.parse)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += scanner.feed(stream[start:end])
    assert found == frames
    assert not scanner.noisy


@given(st.binary(max_size=60), dlt645_frames())
@example(bytes([0x68]), Dlt645Frame(bytes(6), 0x91, b"\x00\x00\x01\x00\x26"))
@example(bytes.fromhex("68 00 00 00 00 00 00 68 91 C8"), Dlt645Frame(bytes(6), 0x91, b"\x00\x00\x01\x00"))
def test_a_frame_behind_noise_is_found_at_the_latest_when_the_line_is_silent(noise: bytes, frame: Dlt645Frame) -> None:
    scanner = FrameScanner(dlt645_frame.parse)
    found = scanner.feed(noise + dlt645_frame.encode(frame))
    found += scanner.pause()
    assert frame in found


@pytest.mark.parametrize("parse", [dlt645_frame.parse, cjt188_frame.parse], ids=["dlt645", "cjt188"])
@given(portions=st.lists(st.binary(max_size=40) | st.just(b"\x68"), max_size=20))
def test_no_bytes_disturb_the_search_for_frames(
    parse: Callable[[bytes], tuple[object, int] | None], portions: list[bytes]
) -> None:
    scanner = FrameScanner(parse)
    for portion in portions:
        scanner.feed(portion)
    scanner.pause()
    assert scanner.feed(b"") == scanner.pause() == []


@given(st.binary(max_size=60).filter(lambda noise: 0x68 not in noise), dlt645_frames())
def test_noise_without_a_start_byte_costs_nothing(noise: bytes, frame: Dlt645Frame) -> None:
    scanner = FrameScanner(dlt645_frame.parse)
    assert scanner.feed(noise + dlt645_frame.encode(frame)) == [frame]
    assert scanner.noisy == bool(noise.replace(b"\xfe", b""))


@given(dlt645_frames(), st.integers(0), st.integers(1, 255))
def test_a_disturbed_byte_never_gives_another_frame_of_the_same_length(
    frame: Dlt645Frame, position: int, flip: int
) -> None:
    octets = bytearray(dlt645_frame.encode(frame))
    octets[position % len(octets)] ^= flip
    try:
        parsed = dlt645_frame.parse(bytes(octets))
    except FrameError:
        return
    assert parsed is None or parsed[1] != len(octets)


def test_an_unfinished_frame_does_not_hide_the_one_that_follows_it() -> None:
    whole = Dlt645Frame(bytes(6), 0x91, b"\x00\x00\x01\x00\x26\x00\x00\x00")
    octets = dlt645_frame.encode(whole)
    scanner = FrameScanner(dlt645_frame.parse)
    assert scanner.feed(octets[:-4] + octets) == [whole]
    assert scanner.feed(octets[:14]) == []
    assert scanner.pause() == []
    assert scanner.feed(octets) == [whole]


@pytest.mark.parametrize("control", [c for c in range(0x80) if c not in (0x11, 0x12, 0x13)])
def test_dlt645_sends_nothing_but_reads(control: int) -> None:
    with pytest.raises(FrameError, match="does not read"):
        dlt645_frame.encode(Dlt645Frame(bytes(6), control, b"\x00\x00\x01\x00"))


@pytest.mark.parametrize("control", [c for c in range(0x80) if c != 0x01])
def test_cjt188_sends_nothing_but_reads(control: int) -> None:
    with pytest.raises(FrameError, match="does not read"):
        cjt188_frame.encode(Cjt188Frame(MeterAddress(0x10, bytes(7)), control, b"\x1f\x90\x00"))


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("161", "61 01 00 00 00 00"),
        ("000000000161", "61 01 00 00 00 00"),
        ("AAAAAAAAAAAA", "AA AA AA AA AA AA"),
        ("aaaaaaaa0161", "61 01 AA AA AA AA"),
    ],
)
def test_addresses_of_dlt645(text: str, octets: str) -> None:
    assert dlt645_frame.parse_address(text) == bytes.fromhex(octets)


@pytest.mark.parametrize("text", ["", "1234567890123", "12-34", "A1", "00000000016X"])
def test_what_is_no_address_of_dlt645_is_refused(text: str) -> None:
    with pytest.raises(FrameError, match="no meter address"):
        dlt645_frame.parse_address(text)


@pytest.mark.parametrize(
    "text", ["", "10", "107833001122334", "5078330011223344", "10783300112233441", "107833 0011223344"]
)
def test_what_is_no_address_of_cjt188_is_refused(text: str) -> None:
    with pytest.raises(FrameError, match="no meter address"):
        cjt188_frame.parse_address(text)


def test_wildcards_mean_every_meter_and_nothing_else_does() -> None:
    asked = dlt645_frame.parse_address("AAAAAAAA0161")
    assert dlt645_frame.same_meter(asked, dlt645_frame.parse_address("123456780161"))
    assert not dlt645_frame.same_meter(asked, dlt645_frame.parse_address("123456780162"))
    every_water_meter = cjt188_frame.parse_address("10AAAAAAAAAAAAAA")
    assert cjt188_frame.same_meter(every_water_meter, cjt188_frame.parse_address("1078330011223344"))
    assert not cjt188_frame.same_meter(every_water_meter, cjt188_frame.parse_address("3078330011223344"))
