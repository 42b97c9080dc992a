"""The buffer between network and database is bounded, in items and in bytes."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ingest.inbox import Inbox


@dataclass
class Item:
    """Something of a size."""

    size: int


def test_items_come_out_in_order_and_in_batches() -> None:
    inbox: Inbox[Item] = Inbox(10, 1000)
    items = [Item(number) for number in range(7)]
    assert all(inbox.put(item, 0) for item in items)
    assert inbox.take(5, 0, 0) == items[:5]
    assert inbox.take(5, 0, 0) == items[5:]
    assert inbox.take(5, 0, 0) == []


def test_full_in_items_is_full() -> None:
    inbox: Inbox[Item] = Inbox(2, 1000)
    assert [inbox.put(Item(1), 0) for _ in range(3)] == [True, True, False]
    inbox.take(1, 0, 0)
    assert inbox.put(Item(1), 0)


def test_full_in_bytes_is_full_but_one_item_always_fits() -> None:
    inbox: Inbox[Item] = Inbox(10, 100)
    assert inbox.put(Item(5000), 0)
    assert not inbox.put(Item(1), 0)
    inbox.take(1, 0, 0)
    assert inbox.put(Item(60), 0)
    assert not inbox.put(Item(60), 0)


def test_producer_that_waits_goes_on_when_there_is_room() -> None:
    inbox: Inbox[Item] = Inbox(1, 100)
    inbox.put(Item(1), 0)
    accepted: list[bool] = []
    producer = threading.Thread(target=lambda: accepted.append(inbox.put(Item(2), 30)))
    producer.start()
    assert inbox.take(1, 0, 0) == [Item(1)]
    producer.join()
    assert accepted == [True]
    assert inbox.take(1, 0, 0) == [Item(2)]
