"""What the database knows of a gateway, as admission asks for it; inside the transaction that admits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from ingest.admission import IncidentKind, Link, gap_from_detail
from ingest.readings import Interpreter
from store.database import Connection
from store.incidents import list_incidents
from store.records import ChainHead, descriptor_record, read_records, record_hashes
from wire.descriptor import Descriptor
from wire.event import Gap
from wire.record import ZERO_HASH, open_record

_INTERPRETERS_KEPT = 4096
_INCIDENTS_SEARCHED = 10_000


class Interpreters:
    """The descriptors in use, decoded once and kept while they are used; those of committed records only."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bytes], Interpreter] = OrderedDict()

    def get(self, conn: Connection, gateway: str, descriptor_hash: bytes) -> Interpreter | None:
        """Return the interpreter of a stored descriptor of ``gateway``, None when it is not stored."""
        if descriptor_hash == ZERO_HASH:
            return None
        interpreter = self._kept.get((gateway, descriptor_hash))
        if interpreter is None:
            stored = descriptor_record(conn, gateway, descriptor_hash)
            body = None if stored is None else open_record(stored.data, None).payload.body
            if not isinstance(body, Descriptor):
                return None
            interpreter = Interpreter(body)
        self.keep(gateway, descriptor_hash, interpreter)
        return interpreter

    def keep(self, gateway: str, descriptor_hash: bytes, interpreter: Interpreter) -> None:
        """Remember the interpreter of a descriptor that is committed."""
        self._kept[gateway, descriptor_hash] = interpreter
        self._kept.move_to_end((gateway, descriptor_hash))
        if len(self._kept) > _INTERPRETERS_KEPT:
            self._kept.popitem(last=False)


class StoredHistory:
    """`ingest.admission.History` over a connection that holds the lock of the gateway's head.

    :param newest_seq: the highest ``seq`` that is stored of the gateway: in order, nothing has to be looked for after
        the head.
    """

    def __init__(
        self,
        conn: Connection,
        gateway: str,
        head: ChainHead,
        interpreters: Interpreters,
        fork_known: Callable[[bytes], bool],
        *,
        newest_seq: int,
    ) -> None:
        self._conn = conn
        self._gateway = gateway
        self._head = head
        self._newest_seq = newest_seq
        self._interpreters = interpreters
        self._fork_known = fork_known

    @property
    def head(self) -> ChainHead:
        """The head of the gateway's chain, locked."""
        return self._head

    def hashes(self, first: int, last: int) -> Mapping[int, bytes]:
        """Hashes of the stored records with ``seq`` in ``first``..``last``."""
        if first > self._newest_seq:
            return {}
        return record_hashes(self._conn, self._gateway, first, last)

    def links(self, first: int, last: int) -> Sequence[Link]:
        """The stored records with ``seq`` in ``first``..``last``, ascending."""
        return [
            Link(
                stored.seq,
                stored.hash,
                open_record(stored.data, None).payload.prev,
                stored.first_sample_ms,
                stored.last_sample_ms,
                stored.descriptor_hash,
            )
            for stored in read_records(self._conn, self._gateway, first_seq=first, last_seq=last)
        ]

    def gaps(self) -> Sequence[Gap]:
        """The gaps on file that end after the head."""
        on_file = list_incidents(self._conn, self._gateway, _INCIDENTS_SEARCHED, kind=IncidentKind.GAP_DECLARED)
        gaps = [gap_from_detail(one.detail) for one in on_file]
        return [gap for gap in gaps if gap.last > self._head.seq]

    def interpreter(self, descriptor_hash: bytes) -> Interpreter | None:
        """The interpreter of a stored descriptor; None when that is not stored."""
        return self._interpreters.get(self._conn, self._gateway, descriptor_hash)

    def fork_known(self, record_hash: bytes) -> bool:
        """Whether a fork with this record has been put on file lately."""
        return self._fork_known(record_hash)
