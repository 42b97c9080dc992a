"""The bounded buffer between the network and the database."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that knows how many bytes it holds."""

    @property
    def size(self) -> int:
        """Bytes held."""


Item = TypeVar("Item", bound=Sized)


class Inbox(Generic[Item]):
    """A first-in-first-out buffer bounded in items and bytes; a full one makes its producer wait (back-pressure).

    One item is always accepted, however large, so that nothing can wait for ever.
    """

    def __init__(self, maximum_items: int, maximum_bytes: int) -> None:
        self._maximum_items = maximum_items
        self._maximum_bytes = maximum_bytes
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._wanted = 1
        lock = threading.Lock()
        self._room = threading.Condition(lock)
        self._filled = threading.Condition(lock)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item, timeout_s: float) -> bool:
        """Append ``item``; wait up to ``timeout_s`` seconds for room. Tell whether it was accepted."""
        with self._room:
            if not self._has_room(item) and not self._room.wait_for(lambda: self._has_room(item), timeout_s):
                return False
            self._items.append(item)
            self._bytes += item.size
            # Who waits for a batch is not woken for each of its items.
            if len(self._items) >= self._wanted or self._bytes >= self._maximum_bytes:
                self._filled.notify_all()
            return True

    def take(self, maximum: int, wait_s: float, linger_s: float) -> list[Item]:
        """Remove and return up to ``maximum`` items.

        Waits up to ``wait_s`` seconds for the first one, then up to ``linger_s`` for the others; may return none.
        """
        with self._filled:
            if not self._filled.wait_for(lambda: self._items, wait_s):
                return []
            self._wanted = maximum
            self._filled.wait_for(lambda: len(self._items) >= maximum or self._bytes >= self._maximum_bytes, linger_s)
            self._wanted = 1
            batch = [self._items.popleft() for _ in range(min(maximum, len(self._items)))]
            self._bytes -= sum(item.size for item in batch)
            self._room.notify_all()
            return batch

    def _has_room(self, item: Item) -> bool:
        if not self._items:
            return True
        return len(self._items) < self._maximum_items and self._bytes + item.size <= self._maximum_bytes
