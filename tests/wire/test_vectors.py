"""The vectors are the contract: what is valid verifies with foreign software too, the rest is refused by its name."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import cbor2
import pycddl
import pytest
from pycose.headers import KID, Algorithm
from pycose.keys import OKPKey
from pycose.keys.curves import Ed25519
from pycose.messages import Sign1Message

import wire
from wire import cose
from wire.chain import verify_run
from wire.errors import ReceiptError
from wire.keys import VerifyingKey
from wire.receipt import open_acknowledgement
from wire.record import open_record

VECTORS = Path(__file__).parent / "vectors"
VALID = sorted((VECTORS / "valid").glob("*.json"))
NEGATIVE = sorted((VECTORS / "negative").glob("*.json"))
CDDL = (Path(wire.__file__).parent / "record.cddl").read_text(encoding="utf-8")


def load(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    case["records"] = [base64.b64decode(record) for record in case.get("records", [])]
    case["trusted"] = VerifyingKey.from_text(case["key"])
    return case


def foreign_message(data: bytes) -> Sign1Message:
    """The message as pycose sees it; its own ``decode`` cannot take the frozen values that cbor2 makes inside a tag."""
    assert data[0] == 0xC0 | Sign1Message.cbor_tag
    return Sign1Message.from_cose_obj(cbor2.loads(data[1:]), allow_unknown_attributes=True)


def schema(root: str) -> pycddl.Schema:
    return pycddl.Schema(f"start = {root}\n{CDDL}")


def test_there_are_at_least_25_negative_vectors() -> None:
    assert len(NEGATIVE) >= 25


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_vector_verifies(path: Path) -> None:
    case = load(path)
    result = verify_run(case["records"], case["trusted"], gateway=case["gateway"])
    assert result.faults == []
    assert [record.data for record in result.records] == case["records"]
    assert [open_record(data, case["trusted"]).payload for data in case["records"]] == [
        r.payload for r in result.records
    ]


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_vector_verifies_with_an_independent_cose_library(path: Path) -> None:
    case = load(path)
    for data in case["records"]:
        message = foreign_message(data)
        message.key = OKPKey(crv=Ed25519, x=case["trusted"].raw)
        assert message.verify_signature()
        assert message.phdr[KID] == case["trusted"].key_id
        assert message.phdr[Algorithm].fullname == "EDDSA"


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_vector_validates_with_an_independent_cddl_library(path: Path) -> None:
    record, header, payload = schema("record"), schema("protected-header"), schema("payload")
    for data in load(path)["records"]:
        record.validate_cbor(data)
        message = foreign_message(data)
        header.validate_cbor(message.phdr_encoded)
        payload.validate_cbor(zlib.decompress(message.payload))


@pytest.mark.parametrize("path", NEGATIVE, ids=lambda path: path.stem)
def test_negative_vector_is_refused_by_name(path: Path) -> None:
    case = load(path)
    result = verify_run(case["records"], case["trusted"], gateway=case["gateway"])
    assert (case["fault"], case["at"]) in [(fault.fault, fault.seq) for fault in result.faults]


@pytest.mark.parametrize("path", NEGATIVE, ids=lambda path: path.stem)
def test_no_record_of_a_negative_vector_is_taken_for_authentic_unless_it_is(path: Path) -> None:
    case = load(path)
    for record in verify_run(case["records"], case["trusted"], gateway=case["gateway"]).records:
        assert open_record(record.data, case["trusted"]).payload.gateway == case["gateway"]


def test_acknowledgement_vector() -> None:
    case = load(VECTORS / "acknowledgement.json")
    data = base64.b64decode(case["message"])
    acknowledgement = open_acknowledgement(data, case["trusted"])
    assert (acknowledgement.gateway, acknowledgement.seq) == ("gw-01", 5)
    schema("record").validate_cbor(data)
    schema("acknowledgement").validate_cbor(cose.parse(data).payload)
    with pytest.raises(ReceiptError, match="bad-signature"):
        open_acknowledgement(data[:-1] + bytes([data[-1] ^ 1]), case["trusted"])


def test_a_record_is_not_an_acknowledgement() -> None:
    case = load(VALID[0])
    with pytest.raises(ReceiptError):
        open_acknowledgement(case["records"][0], case["trusted"])
