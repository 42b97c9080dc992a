"""The newest read of every request: what a publisher of current values needs, beside the recorder that keeps them all.

Nothing is decoded here and nothing piles up: a newer read takes the place of an older one of the same request, so that
a publisher that comes late, or never, costs one entry a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wire.descriptor import Descriptor
from wire.node import NodeSample, Variant


@dataclass(frozen=True, slots=True)
class RegisterRead:
    """One read of registers, as in `wire.frame.Frame`.

    ``polled`` is false for what is read now and then: such a read says little of how the device is now.
    """

    device: int
    function: int
    address: int
    count: int
    time_ms: int
    status: int
    words: Sequence[int] | None
    polled: bool = True


@dataclass(frozen=True, slots=True)
class AnswerRead:
    """One answer to a request that names its datum, as in `wire.answer.AnswerFrame`; ``polled`` as above."""

    device: int
    request: bytes
    time_ms: int
    status: int
    data: bytes | None
    polled: bool = True


@dataclass(frozen=True, slots=True)
class NodeRead:
    """One value of an OPC UA node, as in `wire.node.NodeFrame`."""

    device: int
    node: str
    sample: NodeSample
    variant: Variant


Read = RegisterRead | AnswerRead | NodeRead


class NewestReads:
    """Reads since the last `take`, one a request, with the descriptor that gives them their meaning."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor
        self._reads: dict[tuple[object, ...], Read] = {}

    def __len__(self) -> int:
        return len(self._reads)

    def follow(self, descriptor: Descriptor) -> None:
        """Give the reads from now on the meaning of ``descriptor``; those before it are dropped when it is another."""
        if descriptor != self._descriptor:
            self._descriptor = descriptor
            self._reads = {}

    def note(self, read: Read) -> None:
        """Take a read in the place of the one before of the same request, and behind all others."""
        if isinstance(read, RegisterRead):
            key: tuple[object, ...] = (read.device, read.function, read.address, read.count)
        elif isinstance(read, AnswerRead):
            key = (read.device, read.request)
        else:
            key = (read.device, read.node)
        self._reads.pop(key, None)
        self._reads[key] = read

    def take(self) -> tuple[Descriptor, tuple[Read, ...]]:
        """Return what is new, in the order in which it was read, and keep nothing of it."""
        reads, self._reads = tuple(self._reads.values()), {}
        return self._descriptor, reads
