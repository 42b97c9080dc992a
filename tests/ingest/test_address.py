"""Broker addresses as users write them."""

from __future__ import annotations

import pytest

from ingest.address import BrokerAddress
from ingest.errors import BrokerAddressError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://localhost", BrokerAddress("localhost", 1883, False, None, None)),
        ("mqtts://broker.example/", BrokerAddress("broker.example", 8883, True, None, None)),
        ("mqtt://me:p%40ss@10.0.0.1:1884", BrokerAddress("10.0.0.1", 1884, False, "me", "p@ss")),
        ("mqtt://[::1]:1883", BrokerAddress("::1", 1883, False, None, None)),
    ],
)
def test_addresses_that_are_understood(url: str, address: BrokerAddress) -> None:
    assert BrokerAddress.from_url(url) == address


@pytest.mark.parametrize(
    "url",
    ["", "localhost:1883", "http://localhost", "mqtt://", "mqtt://host:port", "mqtt://host:99999", "mqtt://host/topic"],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(BrokerAddressError, match="broker address") as error:
        BrokerAddress.from_url(url)
    assert error.value.exit_code == 2


def test_password_is_never_shown() -> None:
    assert str(BrokerAddress.from_url("mqtt://me:secret@host")) == "mqtt://host:1883"
