"""Who made the bytes: everything that is not authentic is named, and disturbs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ingest.authentication import Authenticated, GatewayTrust, Message, authenticate, decode_messages
from wire.keys import SigningKey, VerifyingKey
from wire.limits import MAXIMUM_RECORD_BYTES
from wire.rotation import KeyHistory
from wire.topics import record_topic

TOPIC = record_topic("gw-01")


def _authenticate(gateway: Any, *messages: Message) -> Authenticated:
    return authenticate(decode_messages(messages), {gateway.id: GatewayTrust(KeyHistory(gateway.key.public))})


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def _seqs(result: Authenticated) -> list[int]:
    return [arrival.record.seq for arrival in result.by_gateway.get("gw-01", [])]


def test_contiguous_batch_costs_one_signature(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []
    verify = VerifyingKey.verify

    def counting(self: VerifyingKey, signature: bytes, data: bytes) -> bool:
        checked.append(signature)
        return verify(self, signature, data)

    monkeypatch.setattr(VerifyingKey, "verify", counting)
    result = _authenticate(gateway, *(Message(TOPIC, record.data, 0) for record in gateway.make(30)))
    assert _seqs(result) == list(range(1, 31))
    assert len(checked) == 1


@pytest.mark.parametrize("place", [0, 4, 9], ids=["first", "middle", "last"])
@pytest.mark.parametrize("position", [-1, 200], ids=["signature", "payload"])
def test_flipped_byte_is_named_and_its_neighbours_are_kept(gateway: Any, place: int, position: int) -> None:
    datas = [record.data for record in gateway.make(10)]
    datas[place] = _flipped(datas[place], position % len(datas[place]))
    result = _authenticate(gateway, *(Message(TOPIC, data, 0) for data in datas))
    assert _seqs(result) == [seq for seq in range(1, 11) if seq != place + 1]
    assert [rejection.message.data for rejection in result.rejected] == [datas[place]]
    assert result.rejected[0].reason in {"bad-signature", "not-zlib", "not-canonical", "bad-payload"}


def test_every_signature_flipped_rejects_every_record(gateway: Any) -> None:
    datas = [_flipped(record.data, len(record.data) - 1) for record in gateway.make(5)]
    result = _authenticate(gateway, *(Message(TOPIC, data, 0) for data in datas))
    assert result.by_gateway == {}
    assert [rejection.reason for rejection in result.rejected] == ["bad-signature"] * 5


def test_copies_of_a_record_are_all_kept(gateway: Any) -> None:
    datas = [record.data for record in gateway.make(3)]
    result = _authenticate(gateway, *(Message(TOPIC, data, 0) for data in [*datas, datas[1], *datas]))
    assert _seqs(result) == [1, 1, 2, 2, 2, 3, 3]
    assert result.rejected == []


def test_forged_copy_beside_the_true_record_is_rejected_alone(gateway: Any, new_gateway: Callable[..., Any]) -> None:
    """The forger continues the true chain with a key of its own; a later true record must not vouch for it."""
    true = [record.data for record in gateway.make(4)]
    forger = new_gateway("gw-01", SigningKey.generate())
    forged = forger.make(4)[2].data
    result = _authenticate(gateway, *(Message(TOPIC, data, 0) for data in [*true[:2], forged, *true[2:]]))
    assert _seqs(result) == [1, 2, 3, 4]
    assert [(rejection.reason, rejection.message.data) for rejection in result.rejected] == [("wrong-key", forged)]


def test_record_on_the_topic_of_another_gateway_is_rejected(gateway: Any) -> None:
    data = gateway.make(1)[0].data
    result = _authenticate(gateway, Message(record_topic("gw-02"), data, 0))
    assert [rejection.reason for rejection in result.rejected] == ["foreign-gateway"]


@pytest.mark.parametrize(
    ("topic", "data", "reason"),
    [
        ("shopfloor/v1/GW/record", b"", "foreign-topic"),
        ("shopfloor/v1/gw-01/record", b"", "truncated"),
        ("shopfloor/v1/gw-01/record", b"not a record", "not-a-record"),
        ("shopfloor/v1/gw-01/record", bytes(MAXIMUM_RECORD_BYTES + 1), "oversized"),
    ],
    ids=["upper-case-id", "empty", "garbage", "oversized"],
)
def test_what_is_no_record_is_rejected(gateway: Any, topic: str, data: bytes, reason: str) -> None:
    result = _authenticate(gateway, Message(topic, data, 0))
    assert [(rejection.reason, rejection.message.data) for rejection in result.rejected] == [(reason, data)]


def test_gateway_without_registered_key_is_rejected(gateway: Any) -> None:
    decoded = decode_messages([Message(TOPIC, gateway.make(1)[0].data, 0)])
    rejected = authenticate(decoded, {}).rejected
    assert [rejection.reason for rejection in rejected] == ["unknown-gateway"]
    assert "gw-01" in rejected[0].detail
