"""Keys, their text forms, and the names that may stand in topics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import KeyFormatError, TopicError
from wire.keys import SigningKey, VerifyingKey
from wire.topics import ack_topic, gateway_of, record_topic, valid_identifier

RFC_8032_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_8032_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
RFC_8032_SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)


def test_the_first_test_vector_of_rfc_8032() -> None:
    key = SigningKey.from_bytes(RFC_8032_SEED)
    assert key.public.raw == RFC_8032_PUBLIC
    assert key.sign(b"") == RFC_8032_SIGNATURE
    assert key.public.verify(RFC_8032_SIGNATURE, b"")
    assert not key.public.verify(RFC_8032_SIGNATURE, b"x")


@given(st.binary(min_size=32, max_size=32))
def test_the_text_form_comes_back(seed: bytes) -> None:
    key = SigningKey(seed).public
    assert VerifyingKey.from_text(f" {key.text}\n") == key
    assert VerifyingKey.from_text(key.text).key_id == key.key_id


@given(st.binary(min_size=32, max_size=32))
def test_the_private_text_form_comes_back(seed: bytes) -> None:
    key = SigningKey(seed)
    assert SigningKey.from_private_text(key.private_text + "\n").seed == seed
    with pytest.raises(KeyFormatError):
        SigningKey.from_private_text(key.public.text)


@pytest.mark.parametrize("text", ["", "rsa:AAAA", "ed25519:", "ed25519:AAAA", "ed25519:!!!!", "ed25519:" + "A" * 44])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(KeyFormatError):
        VerifyingKey.from_text(text)


def test_a_secret_key_does_not_show_itself() -> None:
    key = SigningKey(RFC_8032_SEED)
    assert RFC_8032_SEED.hex() not in repr(key)
    assert key.public.text in repr(key)


def test_topics_and_back() -> None:
    assert record_topic("gw-01") == "shopfloor/v1/gw-01/record"
    assert ack_topic("gw-01") == "shopfloor/v1/gw-01/ack"
    assert gateway_of(record_topic("gw-01")) == "gw-01"


@pytest.mark.parametrize("name", ["", "GW", "a/b", "+", "#", "a b", "-a", "a-", "网关", "a" * 65, "a\n"])
def test_names_that_would_break_a_topic_are_refused(name: str) -> None:
    assert not valid_identifier(name)
    with pytest.raises(TopicError):
        record_topic(name)


@pytest.mark.parametrize(
    "topic", ["shopfloor/v1/gw-01/ack", "shopfloor/v2/gw-01/record", "shopfloor/v1/a/b/record", "x"]
)
def test_foreign_topics_are_refused(topic: str) -> None:
    with pytest.raises(TopicError):
        gateway_of(topic)
