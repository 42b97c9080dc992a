"""Descriptors for many requests at once: decoded once, kept while they are in use, shared between threads."""

from __future__ import annotations

from threading import Lock

from ingest.history import Interpreters
from store.database import Connection
from store.records import newest_descriptor
from wire.descriptor import Descriptor
from wire.errors import RecordError


class Descriptors:
    """The stored descriptors of all gateways."""

    def __init__(self) -> None:
        self._interpreters = Interpreters()
        self._lock = Lock()

    def get(self, conn: Connection, gateway: str, descriptor_hash: bytes) -> Descriptor | None:
        """A descriptor by the hash of its record; None when it is not stored."""
        with self._lock:
            interpreter = self._interpreters.get(conn, gateway, descriptor_hash)
        return None if interpreter is None else interpreter.descriptor

    def newest(self, conn: Connection, gateway: str) -> tuple[bytes, int, Descriptor] | None:
        """The newest descriptor of a gateway, with hash and number of its record; None without one that decodes."""
        stored = newest_descriptor(conn, gateway)
        if stored is None:
            return None
        try:
            descriptor = self.get(conn, gateway, stored.hash)
        except RecordError:
            return None
        return None if descriptor is None else (stored.hash, stored.seq, descriptor)
