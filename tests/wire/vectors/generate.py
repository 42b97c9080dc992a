"""Writes the test vectors beside this file: one JSON file a case, named after what it shows.

Run it by hand after a change of the format (``python tests/wire/vectors/generate.py``) and read the difference: a
vector that changes without a new version means that records already in the field would be read differently. Negative
cases are built from raw CBOR and COSE parts, not through the product's encoder, which could not write them.

A case holds ``gateway``, ``key`` (whom to trust), ``records`` (base64, in the order received) and, when negative,
``fault``: the word that the reader must answer, and ``at``: the seq at which it must say so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from pathlib import Path
from typing import Any

import cbor2

from wire.chain import ChainWriter
from wire.descriptor import AnswerPlace, Descriptor, Device, NodePlace, Series, descriptor_to_cbor
from wire.event import Event, Gap
from wire.frame import (
    STATUS_CONNECTION,
    STATUS_TIMEOUT,
    AnswerFrame,
    AnswerFrameBuilder,
    FrameBuilder,
    NodeFrame,
    NodeFrameBuilder,
    NodeSample,
    Variant,
)
from wire.head import Head
from wire.keys import SigningKey
from wire.limits import MAXIMUM_INFLATED_BYTES, MAXIMUM_RECORD_BYTES
from wire.receipt import Acknowledgement, sign_acknowledgement
from wire.record import ClockState, Frame, Record
from wire.words import WordOrder, WordType

HERE = Path(__file__).parent
GATEWAY = "gw-01"
KEY = SigningKey(hashlib.sha256(b"test vector: gateway gw-01").digest())
OTHER_KEY = SigningKey(hashlib.sha256(b"test vector: somebody else").digest())
SERVER_KEY = SigningKey(hashlib.sha256(b"test vector: server").digest())
BOOT = hashlib.sha256(b"test vector: boot").digest()[:16]
START_MS = 1_751_299_200_000
CLOCK = ClockState(synchronised=True, offset_us=-120, error_us=4_000)


def device() -> Device:
    return Device(
        id="meter-1",
        model="acrel-adl400",
        template_hash=hashlib.sha256(b"template").digest(),
        serial_number="ADL400-20250601",
        protocol="modbus-tcp",
        unit=1,
        ct_ratio=1.0,
        pt_ratio=1.0,
        primary=True,
        interval_ms=300_000,
        series=(
            Series("power", "active_power", "kW", "gauge", 3, 0x81A, WordType.FLOAT32, WordOrder.ABCD),
            Series(
                "active_energy_import", "active_energy_import", "kWh", "counter", 3, 0x84C, WordType.UINT32,
                WordOrder.ABCD, scale=0.1, invalid=(0xFFFFFFFF,), modulus=429_496_729.6, maximum_rate=2_000.0,
            ),
        ),
    )  # fmt: skip


def descriptor() -> Descriptor:
    return Descriptor(GATEWAY, "shopfloor-evidence 0.1.0", "Asia/Shanghai", (device(),))


def frame(reads: int = 4, *, failed: bool = False) -> Frame:
    builder = FrameBuilder(0, 1, 3, 0x84C, 2)
    for read in range(reads):
        time_ms = START_MS + 300_000 * read
        if failed:
            builder.add(
                time_ms, (0, 2, STATUS_TIMEOUT, STATUS_CONNECTION)[read % 4], (0, read) if read % 4 == 0 else None, 12
            )
        else:
            builder.add(time_ms, 0, (1, 1000 + 7 * read), 3)
    return builder.build()


ENERGY_REQUEST = bytes.fromhex("1100000000")
STATE_REQUEST = bytes.fromhex("1101050004")


def heat_and_line() -> Descriptor:
    """A meter that answers fields of bytes, a controller that has nodes, and registers with digits, bits and text."""
    kept, swapped = WordOrder.ABCD, WordOrder.DCBA
    answering = (
        Series(
            "energy", "active_energy_import", "kWh", "counter", 0, 0, WordType.BCD, swapped, scale=0.01,
            modulus=1_000_000.0, place=AnswerPlace(ENERGY_REQUEST, 4, 4),
        ),
        Series("power", "active_power", "kW", "gauge", 0, 0, WordType.SIGNED_BCD, swapped, scale=0.0001,
               place=AnswerPlace(STATE_REQUEST, 4, 3)),
        Series("alarm", "alarm", "", "state", 0, 0, WordType.BIT, swapped, bit=9,
               place=AnswerPlace(STATE_REQUEST, 7, 2)),
        Series("serial", "serial_number", "", "state", 0, 0, WordType.STRING, kept,
               place=AnswerPlace(STATE_REQUEST, 9, 6)),
    )  # fmt: skip
    nodes = (
        Series("speed", "speed", "1/min", "gauge", 0, 0, WordType.VARIANT, kept, scale=60.0,
               place=NodePlace("ns=2;s=Line.Speed")),
        Series("pieces", "good_count", "1", "counter", 0, 0, WordType.VARIANT, kept, place=NodePlace("i=2258")),
    )  # fmt: skip
    registers = (
        Series("digits", "volume", "m3", "counter", 3, 0, WordType.BCD32, WordOrder.CDAB, scale=0.001),
        Series("running", "running", "", "state", 1, 7, WordType.BIT, kept),
        Series("fault", "fault", "", "state", 3, 2, WordType.BIT, WordOrder.BADC, bit=15),
        Series("model", "model", "", "state", 3, 3, WordType.STRING, kept, length=6),
    )
    templates = [("meter-2", "dlt645", answering), ("line-1", "opc-ua", nodes), ("plc-1", "modbus-tcp", registers)]
    return Descriptor(
        GATEWAY,
        "shopfloor-evidence 0.2.0",
        "Asia/Shanghai",
        tuple(
            Device(name, "example", bytes(32), "", protocol, 1, 1.0, 1.0, True, 60_000, series)
            for name, protocol, series in templates
        ),
    )


def answer_frame(reads: int = 4) -> AnswerFrame:
    builder = AnswerFrameBuilder(0, ENERGY_REQUEST)
    for read in range(reads):
        time_ms = START_MS + 60_000 * read
        if read % 4 == 2:
            builder.add(time_ms, (STATUS_TIMEOUT, 2)[read % 8 // 4], None, 500)
        else:
            builder.add(time_ms, 0, bytes.fromhex("00000000") + bytes([0x10 + read, 0x32, 0x54, 0x00]), 41)
    return builder.build()


def silent_answer_frame() -> AnswerFrame:
    builder = AnswerFrameBuilder(0, STATE_REQUEST)
    builder.add(START_MS, STATUS_CONNECTION, None, 0)
    return builder.build()


def node_frames() -> tuple[NodeFrame, ...]:
    """Numbers with time stamps, a server clock in 2000, an overflow, an uncertain and a bad value; texts; nothing."""
    in_2000 = 946_684_800_000
    numbers = NodeFrameBuilder(1, "ns=2;s=Line.Speed")
    numbers.add(NodeSample(START_MS, 0, 24.5, START_MS - 12, in_2000), Variant.DOUBLE)
    numbers.add(NodeSample(START_MS + 1_000, 0x0480, -1.25, None, in_2000 + 1_000), Variant.DOUBLE)
    numbers.add(NodeSample(START_MS + 2_000, 0x4000_0000, 0.0, START_MS + 1_990, None), Variant.DOUBLE)
    numbers.add(NodeSample(START_MS + 3_000, 0x800A_0000, None), Variant.NULL)
    counts = NodeFrameBuilder(1, "i=2258")
    counts.add(NodeSample(START_MS, 0, 2**64 - 1), Variant.UINT64, 7)
    texts = NodeFrameBuilder(1, "ns=65535;s=品种;批次")
    texts.add(NodeSample(START_MS, 0, "钢坯", START_MS), Variant.STRING)
    texts.add(NodeSample(START_MS + 1, 0, "", START_MS), Variant.STRING)
    nothing = NodeFrameBuilder(1, "b=AQI=")
    nothing.add(NodeSample(START_MS, 0x80AE_0000, None), Variant.NULL)
    flags = NodeFrameBuilder(1, "ns=1;i=4294967295")
    flags.add(NodeSample(START_MS, 0, True), Variant.BOOLEAN)
    return tuple(builder.build() for builder in (numbers, counts, texts, nothing, flags))


def writer(key: SigningKey = KEY, gateway: str = GATEWAY) -> ChainWriter:
    return ChainWriter(gateway, key, boot_id=BOOT)


def chain(count: int = 5) -> list[Record]:
    """A chain as a gateway makes it: descriptor, start, then frames."""
    made = writer()
    records = [made.append(descriptor(), time_ms=START_MS, clock=CLOCK)]
    records.append(made.append(Event("start", {"software": "0.1.0"}), time_ms=START_MS, clock=CLOCK))
    for index in range(count - 2):
        records.append(made.append((frame(),), time_ms=START_MS + 1_200_000 * (index + 1), clock=CLOCK))
    return records


def gapped_chain(hide_declaration: bool = False) -> list[Record]:
    """A chain whose records 3 and 4 were lost on the device and declared so by record 6."""
    made = writer()
    records = [made.append(descriptor(), time_ms=START_MS), made.append(Event("start"), time_ms=START_MS)]
    before = made.hash
    lost = [made.append((frame(),), time_ms=START_MS + index) for index in range(2)]
    records.append(made.append((frame(),), time_ms=START_MS + 2))
    gap = Gap(3, 4, before, lost[-1].hash, 8, "spool full")
    if not hide_declaration:
        records.append(made.append(gap.to_event(), time_ms=START_MS + 3))
    return records


def chain_from_1970() -> list[Record]:
    """A chain whose gateway had no time at its start, and said so when it came."""
    made, unset = writer(), ClockState(synchronised=False)
    records = [made.append(body, time_ms=4_000, clock=unset) for body in (descriptor(), Event("start"))]
    step = Event("clock_step", {"before_ms": 9_000, "after_ms": START_MS, "step_ms": START_MS - 9_000})
    records.append(made.append(step, time_ms=START_MS, clock=CLOCK))
    state = Event("clock_state", {"before": "not synchronised", "after": "synchronised", "drift_ppm": 40.25})
    return [*records, made.append(state, time_ms=START_MS, clock=CLOCK)]


def raw_payload(**changes: Any) -> dict[Any, Any]:
    """The payload of a good second record as plain CBOR data, to be spoilt."""
    first = chain(2)[0]
    payload: dict[Any, Any] = {
        0: 1, 1: GATEWAY, 2: BOOT, 3: 2, 4: first.hash, 5: first.hash, 6: [True, -120, 4_000], 7: START_MS,
        10: {"name": "start", "detail": {}},
    }  # fmt: skip
    names = {
        "version": 0,
        "gateway": 1,
        "boot": 2,
        "seq": 3,
        "prev": 4,
        "descriptor": 5,
        "clock": 6,
        "time": 7,
        "event": 10,
    }
    for name, value in changes.items():
        payload[names[name]] = value
    return payload


def with_frame(position: int, value: Any) -> dict[Any, Any]:
    """A payload with one good frame, one part of which is replaced."""
    parts: list[Any] = [0, [1, 3, 0x84C, 2], START_MS, b"", None, bytes(4), 3]
    parts[position] = value
    payload = raw_payload()
    del payload[10]
    payload[8] = [parts]
    return payload


def with_frames(frames: list[Any]) -> dict[Any, Any]:
    payload = raw_payload()
    del payload[10]
    payload[8] = frames
    return payload


def spoilt_frames() -> list[tuple[str, str, list[Any]]]:
    """Frames of answers and nodes, each off in one place: the name of the case, what is wrong, and the frame."""
    answer: list[Any] = ["answer", 0, b"\x11\x00", START_MS, b"", None, 4, bytes(4), 3]
    node: list[Any] = ["node", 0, "ns=2;s=Speed", START_MS, b"", None, 11, bytes(8), None, None, 0]
    absent = b"\x80" + bytes(7)
    later = b"\x7f" + bytes(7)

    def off(frame: list[Any], **changes: Any) -> list[Any]:
        names = ["kind", "device", "asked", "start", "deltas", "status", "type", "data", "source", "server", "last"]
        return [changes.get(name, part) for name, part in zip(names, frame, strict=False)]

    return [
        ("frame-of-an-unknown-kind", "a kind of tomorrow", off(answer, kind="sheet")),
        ("answer-too-short", "three bytes where four are announced", off(answer, data=bytes(3))),
        ("answer-of-no-bytes", "a good read without an answer", off(answer, type=0, data=b"")),
        ("answer-length-without-a-good-read", "a length that nothing has", off(answer, status=b"\xf0", data=b"")),
        ("answer-to-nothing", "a request of no bytes", off(answer, asked=b"")),
        ("answer-request-too-long", "a request of 65 bytes", off(answer, asked=bytes(65))),
        ("answer-status-unknown", "status 80 hex has no meaning", off(answer, status=b"\x80", type=0, data=b"")),
        ("answer-with-one-part-more", "ten parts instead of nine", [*answer, 0]),
        ("node-without-identifier", "a text that is no NodeId", off(node, asked="Speed")),
        ("node-of-an-unknown-type", "built-in type 25 is not carried", off(node, type=25)),
        ("node-values-too-short", "seven bytes for a double", off(node, data=bytes(7))),
        ("node-value-with-a-bad-status", "a value that must not be used", off(node, status=b"\x80\x0a\0\0")),
        ("node-status-of-zeros", "null says the same in one byte", off(node, status=bytes(4))),
        ("node-status-cut", "three bytes of a status code", off(node, status=bytes(3))),
        ("node-boolean-of-two", "neither true nor false", off(node, type=1, data=b"\x02")),
        ("node-text-as-bytes", "a text in place of texts", off(node, type=12, data=b"x")),
        ("node-time-stamp-cut", "seven bytes of a time stamp", off(node, source=bytes(7))),
        ("node-time-stamps-all-absent", "null says the same in one byte", off(node, server=absent)),
        ("node-time-stamp-beyond-9999", "a source in a far future", off(node, source=later)),
    ]


def with_series(device_index: int, changes: dict[str, Any]) -> dict[str, Any]:
    """A descriptor whose first series of one device is changed; a change to None leaves the key out."""
    described = descriptor_to_cbor(heat_and_line())
    series = described["devices"][device_index]["series"]
    series[0] = {key: value for key, value in {**series[0], **changes}.items() if value is not None or key == "modulus"}
    return described


def spoilt_series() -> list[tuple[str, str, int, dict[str, Any]]]:
    return [
        ("series-in-two-places", "an answer and a node at once", 0, {"node": "i=1"}),
        ("series-in-no-place", "where does it stand?", 1, {"node": None}),
        ("series-of-decimals-too-wide", "nine bytes of digits", 0, {"length": 9}),
        ("series-beyond-the-longest-answer", "a field that ends behind 1024 bytes", 0, {"start": 1_021}),
        ("series-in-swapped-registers-of-an-answer", "bytes have no word order", 0, {"order": "CDAB"}),
        ("series-of-four-bytes-in-three", "a uint32 has four", 0, {"type": "uint32", "length": 3}),
        ("series-of-a-node-with-patterns", "a node says so with its status", 1, {"invalid": [1]}),
        ("series-of-no-node", "a text that is no NodeId", 1, {"node": "ns=70000000;i=1"}),
        ("series-of-a-field-in-registers", "registers say their width", 2, {"type": "bcd"}),
        ("series-of-a-variant-in-registers", "registers do not bring their type", 2, {"type": "variant"}),
        ("series-of-bit-16", "a register has sixteen bits", 2, {"type": "bit", "bit": 16}),
        ("series-of-a-bit-without-number", "which bit?", 2, {"type": "bit"}),
        ("series-of-text-without-length", "how long?", 2, {"type": "string"}),
        ("series-of-text-beyond-the-last-register", "two registers from 65535", 2,
         {"type": "string", "length": 2, "address": 65_535}),
    ]  # fmt: skip


def cose(
    payload: bytes,
    *,
    key: SigningKey = KEY,
    protected: bytes | None = None,
    header: dict[Any, Any] | None = None,
    unprotected: dict[Any, Any] | None = None,
    subject: str = "event",
    issuer: str = GATEWAY,
    tag: int | None = 18,
    signature: bytes | None = None,
) -> bytes:
    """A COSE_Sign1 message, correctly signed whatever stands in it."""
    labels = {1: -8, 4: key.public.key_id, 15: {1: issuer, 2: subject}}
    labels.update(header or {})
    encoded = cbor2.dumps(labels, canonical=True) if protected is None else protected
    to_be_signed = cbor2.dumps(["Signature1", encoded, b"", payload])
    message = [encoded, unprotected or {}, payload, key.sign(to_be_signed) if signature is None else signature]
    return cbor2.dumps(cbor2.CBORTag(tag, message) if tag is not None else message)


def packed(payload: Any) -> bytes:
    return zlib.compress(payload if isinstance(payload, bytes) else cbor2.dumps(payload, canonical=True))


def spoilt(payload: Any, **parts: Any) -> list[bytes]:
    return [chain(2)[0].data, cose(packed(payload), **parts)]


def datas(records: list[Record]) -> list[bytes]:
    return [record.data for record in records]


def flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 0x01
    return bytes(changed)


def valid_cases() -> dict[str, tuple[str, list[bytes]]]:
    made = writer()
    head = [made.append(descriptor(), time_ms=START_MS)]
    head.append(made.append(Head(made.seq, made.hash), time_ms=START_MS))
    made = writer()
    failed = [made.append(descriptor(), time_ms=START_MS), made.append((frame(6, failed=True),), time_ms=START_MS)]
    made = writer()
    unknown = [made.append(descriptor(), time_ms=START_MS, clock=ClockState(None, None, None))]
    made = writer()
    answers = [made.append(heat_and_line(), time_ms=START_MS)]
    answers.append(made.append((answer_frame(8), silent_answer_frame()), time_ms=START_MS))
    made = writer()
    nodes = [made.append(heat_and_line(), time_ms=START_MS), made.append(node_frames(), time_ms=START_MS)]
    made = writer()
    mixed = [made.append(heat_and_line(), time_ms=START_MS)]
    mixed.append(made.append((frame(), answer_frame(), *node_frames()[:1]), time_ms=START_MS))
    return {
        "answers": ("answers of a meter, with an error code, a time-out and no connection", datas(answers)),
        "nodes": ("typed values of OPC UA nodes with the times and status codes of their server", datas(nodes)),
        "three-kinds-of-frames": ("registers, answers and nodes in one record", datas(mixed)),
        "clock-set-at-boot": ("a clock that began in 1970, its step, and its reference", datas(chain_from_1970())),
        "descriptor-start-frames": ("a chain as every gateway begins it", datas(chain())),
        "failed-reads": ("exception, time-out and lost connection stand beside good reads", datas(failed)),
        "head": ("a head states the record before it", datas(head)),
        "signed-gap": ("records lost on the device, declared by the gateway", datas(gapped_chain())),
        "unknown-clock-state": ("a gateway that knows nothing of its clock says so", datas(unknown)),
    }


def negative_cases() -> dict[str, tuple[str, list[bytes], str, int]]:
    records = chain()
    good = datas(records)
    canonical = cbor2.dumps(raw_payload(), canonical=True)
    fork = ChainWriter(GATEWAY, KEY, seq=2, hash=records[1].hash, descriptor=records[0].hash, boot_id=BOOT)
    forked = fork.append((frame(2),), time_ms=START_MS).data
    reset = writer().append(Event("start"), time_ms=START_MS)
    restarted = ChainWriter(GATEWAY, KEY, seq=1, hash=reset.hash, boot_id=BOOT).append(Event("start"), time_ms=START_MS)
    foreign = writer(gateway="gw-02")
    foreign_records = [
        foreign.append(Descriptor("gw-02", "0.1.0", "UTC", ()), time_ms=START_MS).data,
        foreign.append(Event("start"), time_ms=START_MS).data,
    ]
    wrong_gap = gapped_chain(hide_declaration=True)
    liar = ChainWriter(GATEWAY, KEY, seq=5, hash=wrong_gap[-1].hash, descriptor=records[0].hash, boot_id=BOOT)
    liar_gap = Gap(3, 4, wrong_gap[1].hash, bytes(31) + b"\x01", 8, "spool full")
    nested: Any = 0
    for _ in range(12):
        nested = [nested]
    cases: dict[str, tuple[str, list[bytes], str, int]] = {}

    def case(name: str, about: str, received: list[bytes], fault: str, at: int = 2) -> None:
        cases[name] = (about, received, fault, at)

    case(
        "flipped-byte-in-payload",
        "one bit of the words changed",
        [*good[:2], flipped(good[2], -80), *good[3:]],
        "bad-signature",
        3,
    )
    case(
        "flipped-byte-in-signature",
        "one bit of the signature changed",
        [*good[:3], flipped(good[3], -1), good[4]],
        "bad-signature",
        4,
    )
    case(
        "flipped-byte-in-last-record",
        "nothing behind it vouches for it",
        [*good[:4], flipped(good[4], -1)],
        "bad-signature",
        5,
    )
    case("swapped-order", "records 3 and 4 exchanged", [*good[:2], good[3], good[2], good[4]], "swapped-order", 3)
    case("record-left-out", "record 3 is missing without a word", [*good[:2], *good[3:]], "seq-gap", 3)
    case("first-record-left-out", "the chain begins at 2", good[1:], "seq-gap", 1)
    case("record-twice", "record 3 stands twice", [*good[:3], *good[2:]], "duplicate-seq", 3)
    case(
        "two-records-with-one-seq",
        "another record 3 is signed by the same key",
        [*good[:3], forked],
        "duplicate-seq",
        3,
    )
    case(
        "fork-continued",
        "a chain that goes on behind the other record 3",
        [*good[:2], forked, *good[3:]],
        "prev-mismatch",
        4,
    )
    case("prev-mismatch", "record 2 of another beginning", [good[0], restarted.data], "prev-mismatch")
    case(
        "gap-with-false-hash",
        "the declared gap does not end where record 5 begins",
        [*datas(wrong_gap), liar.append(liar_gap.to_event(), time_ms=START_MS).data],
        "seq-gap",
        3,
    )
    case("gap-not-declared", "records 3 and 4 are missing", datas(wrong_gap), "seq-gap", 3)
    case("foreign-gateway", "authentic records, of another gateway", foreign_records, "foreign-gateway", 1)
    case("wrong-key", "signed by somebody else under his own key id", spoilt(raw_payload(), key=OTHER_KEY), "wrong-key")
    case(
        "key-id-borrowed",
        "signed by somebody else under the gateway's key id",
        [good[0], cose(packed(raw_payload()), signature=OTHER_KEY.sign(b"something"))],
        "bad-signature",
    )
    case("signature-missing", "a signature of no bytes", spoilt(raw_payload(), signature=b""), "bad-signature")
    case(
        "signature-of-zeros",
        "a signature of 64 zero bytes",
        spoilt(raw_payload(), signature=bytes(64)),
        "bad-signature",
    )
    case("truncated", "the last 10 bytes did not arrive", [good[0], good[1][:-10]], "truncated")
    case("empty", "no bytes at all", [good[0], b""], "truncated")
    case("trailing-bytes", "a byte follows the message", [good[0], good[1] + b"\x00"], "trailing-bytes")
    case("trailing-bytes-in-payload", "a byte follows the payload item", spoilt(canonical + b"\x00"), "trailing-bytes")
    case(
        "trailing-bytes-behind-zlib",
        "a byte follows the compressed stream",
        [good[0], cose(packed(raw_payload()) + b"\x00")],
        "trailing-bytes",
    )
    case("not-a-record", "JSON as other agents send it", [good[0], b'{"ts":1751299200000,"kW":1.5}'], "not-a-record")
    case("untagged", "the COSE tag is missing", spoilt(raw_payload(), tag=None), "not-a-record")
    case("wrong-tag", "a COSE_Mac0 tag", spoilt(raw_payload(), tag=17), "not-a-record")
    case("oversized", "one byte more than is accepted", [good[0], b"\xd2" + bytes(MAXIMUM_RECORD_BYTES)], "oversized")
    case(
        "zip-bomb",
        "a small record that inflates beyond the limit",
        spoilt(bytes(MAXIMUM_INFLATED_BYTES + 1)),
        "inflated-too-large",
    )
    case("not-zlib", "the payload is not compressed", [good[0], cose(canonical)], "not-zlib")
    case("zlib-cut-off", "the compressed stream ends early", [good[0], cose(packed(raw_payload())[:-3])], "not-zlib")
    case(
        "unknown-critical-header",
        "a header that must be understood is not",
        spoilt(raw_payload(), header={2: [99], 99: 1}),
        "unknown-critical-header",
    )
    case(
        "unexpected-header",
        "a header that has no place in a record",
        spoilt(raw_payload(), header={5: b"iv"}),
        "unexpected-header",
    )
    case(
        "unprotected-header",
        "something stands where nobody signs",
        spoilt(raw_payload(), unprotected={99: 1}),
        "unprotected-header",
    )
    case(
        "algorithm-none",
        "the header names no algorithm that signs",
        spoilt(raw_payload(), header={1: 0}),
        "unsupported-algorithm",
    )
    case("algorithm-es256", "ECDSA is named", spoilt(raw_payload(), header={1: -7}), "unsupported-algorithm")
    case(
        "header-not-canonical",
        "the protected header is not deterministic CBOR",
        spoilt(raw_payload(), protected=b"\xbf\x01\x27\xff"),
        "not-canonical",
    )
    case(
        "issuer-mismatch",
        "signed as gw-09, speaking for gw-01",
        spoilt(raw_payload(), issuer="gw-09"),
        "issuer-mismatch",
    )
    case(
        "subject-mismatch",
        "signed as frames, holding an event",
        spoilt(raw_payload(), subject="frames"),
        "subject-mismatch",
    )
    case(
        "non-canonical-long-integer",
        "seq 2 in two bytes",
        spoilt(canonical.replace(b"\x03\x02\x04", b"\x03\x18\x02\x04", 1)),
        "not-canonical",
    )
    case(
        "non-canonical-key-order",
        "keys 0 and 1 exchanged",
        spoilt(b"\xa9\x01\x65gw-01\x00\x01" + canonical[10:]),
        "not-canonical",
    )
    case("non-canonical-duplicate-key", "key 0 twice", spoilt(b"\xaa\x00\x01\x00\x01" + canonical[3:]), "not-canonical")
    case(
        "non-canonical-indefinite-length",
        "a map without a length",
        spoilt(b"\xbf" + canonical[1:] + b"\xff"),
        "not-canonical",
    )
    case(
        "non-canonical-long-float",
        "1.5 in eight bytes",
        spoilt(
            cbor2.dumps(raw_payload(event={"name": "start", "detail": {"x": 1.5}}), canonical=True).replace(
                b"\xf9\x3e\x00", b"\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00"
            )
        ),
        "not-canonical",
    )
    case("tag-inside", "a date tag inside the payload", spoilt(raw_payload(event=cbor2.CBORTag(1, 0))), "not-canonical")
    case("nested-too-deep", "arrays in arrays in arrays", spoilt(raw_payload(event=nested)), "too-deep")
    case(
        "too-many-items",
        "an array of a hundred thousand items",
        spoilt(raw_payload(event=[0] * 100_000)),
        "too-many-items",
    )
    case(
        "announces-more-than-follows",
        "an array that claims 2^32 elements",
        spoilt(b"\x9a\xff\xff\xff\xff"),
        "truncated",
    )
    case(
        "text-not-utf8",
        "a gateway name that is not UTF-8",
        spoilt(canonical.replace(b"gw-01", b"gw-\xff1", 1)),
        "not-cbor",
    )
    case("nan-time", "not a number where the time stands", spoilt(raw_payload(time=math.nan)), "not-finite")
    case(
        "infinite-detail",
        "infinity in an event",
        spoilt(raw_payload(event={"name": "start", "detail": {"x": math.inf}})),
        "not-finite",
    )
    case("float-time", "a time with a fraction", spoilt(raw_payload(time=0.5)), "bad-time")
    case("negative-time", "a time before 1970", spoilt(raw_payload(time=-1)), "bad-time")
    case(
        "time-beyond-9999",
        "a time in seconds taken for milliseconds twice",
        spoilt(raw_payload(time=2**60)),
        "bad-time",
    )
    case("seq-zero", "counting begins at 1", spoilt(raw_payload(seq=0)), "bad-payload")
    case("seq-beyond-64-bit", "a seq that no database column holds", spoilt(raw_payload(seq=2**63)), "bad-payload")
    case("seq-true", "true is not the number one", spoilt(raw_payload(seq=True)), "bad-payload")
    case("prev-too-short", "a hash of 31 bytes", spoilt(raw_payload(prev=bytes(31))), "bad-payload")
    case(
        "prev-zero-in-mid-chain",
        "record 2 claims to be the first",
        spoilt(raw_payload(prev=bytes(32))),
        "prev-mismatch",
    )
    case("version-2", "a format of tomorrow", spoilt(raw_payload(version=2)), "unsupported-version")
    case("version-true", "true is not version 1", spoilt(raw_payload(version=True)), "unsupported-version")
    case(
        "two-bodies",
        "an event and a head in one record",
        spoilt(raw_payload() | {11: {"seq": 1, "hash": bytes(32)}}),
        "bad-payload",
    )
    case(
        "no-body",
        "a record that says nothing",
        spoilt({k: v for k, v in raw_payload().items() if k != 10}),
        "bad-payload",
    )
    case(
        "unknown-body",
        "a body of tomorrow",
        spoilt({**{k: v for k, v in raw_payload().items() if k != 10}, 12: []}),
        "bad-payload",
    )
    case(
        "unknown-event",
        "an event that has no meaning",
        spoilt(raw_payload(event={"name": "party", "detail": {}})),
        "bad-payload",
    )
    case(
        "gateway-name-with-slash", "a name that would break topics", spoilt(raw_payload(gateway="gw/01")), "bad-payload"
    )
    case(
        "head-of-another-record",
        "a head that states something else",
        spoilt(
            {**{k: v for k, v in raw_payload().items() if k != 10}, 11: {"seq": 1, "hash": bytes(32)}}, subject="head"
        ),
        "prev-mismatch",
    )
    case(
        "frame-words-too-short",
        "three bytes for two registers",
        spoilt(with_frame(5, bytes(3)), subject="frames"),
        "bad-payload",
    )
    case(
        "frame-of-126-registers",
        "more than one Modbus read holds",
        spoilt(with_frame(1, [1, 3, 0, 126]), subject="frames"),
        "bad-payload",
    )
    case(
        "frame-of-a-write-function",
        "function 16 writes",
        spoilt(with_frame(1, [1, 16, 0, 2]), subject="frames"),
        "bad-payload",
    )
    case(
        "frame-status-of-wrong-length",
        "two states for one read",
        spoilt(with_frame(4, b"\x01\x01"), subject="frames"),
        "bad-payload",
    )
    case(
        "frame-deltas-cut",
        "five bytes are not whole numbers",
        spoilt(with_frame(3, bytes(5)), subject="frames"),
        "bad-payload",
    )
    case(
        "frame-beyond-the-last-register",
        "address 65535 with two registers",
        spoilt(with_frame(1, [1, 3, 65_535, 2]), subject="frames"),
        "bad-payload",
    )
    for name, about, parts in spoilt_frames():
        case(name, about, spoilt(with_frames([parts]), subject="frames"), "bad-payload")
    for name, about, device_index, changes in spoilt_series():
        case(
            name,
            about,
            spoilt(
                {**{k: v for k, v in raw_payload().items() if k != 10}, 9: with_series(device_index, changes)},
                subject="descriptor",
            ),
            "bad-payload",
        )
    named_twice = descriptor_to_cbor(Descriptor(GATEWAY, "0.1.0", "UTC", (device(), device())))
    case(
        "descriptor-names-a-device-twice",
        "which meter is meant?",
        spoilt({**{k: v for k, v in raw_payload().items() if k != 10}, 9: named_twice}, subject="descriptor"),
        "bad-payload",
    )
    return cases  # fmt: skip


def write(folder: str, name: str, content: dict[str, Any]) -> None:
    path = HERE / folder / f"{name}.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    for folder in ("valid", "negative"):
        for old in (HERE / folder).glob("*.json"):
            old.unlink()
    trust = {"gateway": GATEWAY, "key": KEY.public.text}
    for name, (about, received) in valid_cases().items():
        records = [base64.b64encode(data).decode() for data in received]
        write("valid", name, {"about": about, **trust, "records": records})
    for name, (about, received, fault, at) in negative_cases().items():
        records = [base64.b64encode(data).decode() for data in received]
        write("negative", name, {"about": about, **trust, "fault": fault, "at": at, "records": records})
    acknowledgement = sign_acknowledgement(Acknowledgement(GATEWAY, 5, chain()[-1].hash, START_MS), SERVER_KEY)
    encoded = base64.b64encode(acknowledgement).decode()
    about = "the server has committed records 1 to 5"
    write("", "acknowledgement", {"about": about, "key": SERVER_KEY.public.text, "message": encoded})


if __name__ == "__main__":
    main()
