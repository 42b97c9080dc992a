"""What `ingest.consumer.Consumer` asks of the way to a broker, whatever protocol is spoken on it."""

from __future__ import annotations

from typing import Protocol

from ingest.authentication import Message
from ingest.inbox import Inbox


class Delivery(Protocol):
    """A message that a broker has delivered and will deliver again until it is acknowledged."""

    @property
    def message(self) -> Message:
        """What came."""

    @property
    def size(self) -> int:
        """Bytes of the payload."""

    @property
    def void(self) -> bool:
        """Whether it can no longer be acknowledged: the broker delivers it again anyway."""

    def acknowledge(self) -> None:
        """Tell the broker that the message is done with."""

    def release(self) -> None:
        """Leave the message with the broker, to be delivered again later."""


class Session(Protocol):
    """A connection to a broker that brings deliveries; it ends when the connection does."""

    @property
    def alive(self) -> bool:
        """Whether the broker delivers to us now."""

    @property
    def backlog(self) -> int | None:
        """How many messages the broker holds that nobody has been given; None where it does not say."""

    def publish(self, topic: str, data: bytes) -> bool:
        """Publish on an MQTT topic; tell whether the message was taken for sending."""

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait until the connection is lost or closed; tell whether it is."""

    def close(self) -> None:
        """End the connection; what is not acknowledged will be delivered again, to us or to others."""


class Sessions(Protocol):
    """The way to one broker, or to one cluster of them."""

    def open(self, inbox: Inbox[Delivery]) -> Session:
        """Connect, and have records put into ``inbox``; raise `ingest.errors.BrokerError` when that cannot be."""
