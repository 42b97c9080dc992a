"""Broker addresses as users write them."""

from __future__ import annotations

import pytest

from ingest.address import BrokerAddress, NatsAddress, address_from_url
from ingest.errors import BrokerAddressError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("nats://localhost", NatsAddress(("localhost:4222",), False, None, None)),
        (
            "tls://a.example,b.example:4333,[::1]/",
            NatsAddress(("a.example:4222", "b.example:4333", "[::1]:4222"), True, None, None),
        ),
        ("nats://me:p%40ss@10.0.0.1,10.0.0.2", NatsAddress(("10.0.0.1:4222", "10.0.0.2:4222"), False, "me", "p@ss")),
        ("mqtt://localhost", BrokerAddress("localhost", 1883, False, None, None)),
        ("mqtts://broker.example/", BrokerAddress("broker.example", 8883, True, None, None)),
        ("mqtt://me:p%40ss@10.0.0.1:1884", BrokerAddress("10.0.0.1", 1884, False, "me", "p@ss")),
        ("mqtt://[::1]:1883", BrokerAddress("::1", 1883, False, None, None)),
    ],
)
def test_addresses_that_are_understood(url: str, address: BrokerAddress | NatsAddress) -> None:
    assert address_from_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "localhost:1883",
            "http://localhost",
            "mqtt://",
            "mqtt://host:port",
            "mqtt://host:99999",
            "mqtt://host/topic",
        ),
        *("nats://", "nats://a,", "nats://a:port", "nats://a/topic", "nats://a,nats://b"),
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(BrokerAddressError, match="broker address") as error:
        address_from_url(url)
    assert error.value.exit_code == 2


def test_password_is_never_shown() -> None:
    assert str(address_from_url("mqtt://me:secret@host")) == "mqtt://host:1883"
    assert str(address_from_url("nats://me:secret@host,other")) == "nats://host:4222,other:4222"
