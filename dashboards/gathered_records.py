"""The stored records of a project's gateway, in the order of their chain, with what the proof of them rests on.

A year of records does not fit into memory: they are read from the database as they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from evidence.intervals import MARGIN_MS
from evidence.proof import GatewayRecords
from evidence.signed_facts import Arrivals, SignedFacts, TellingRecords, gateway_facts
from store.arrivals import Arrival, first_arrivals
from store.database import Connection
from store.gateways import successors
from store.records import (
    ChainHead,
    StoredRecord,
    descriptor_record,
    named_descriptors,
    read_head,
    read_records,
    record_bytes,
    record_hashes,
    records_before,
    records_beyond,
    sequence_range,
    statement_records,
)
from wire.errors import RecordError
from wire.keys import VerifyingKey
from wire.record import ZERO_HASH, Kind, Payload, open_record


class RecordRun:
    """The records ``first_seq`` to ``last_seq`` of a gateway, read from the database each time they are iterated over.

    What the first of these readings sees is what :meth:`facts` are made of.
    """

    def __init__(self, connection: Connection, gateway: str, first_seq: int, last_seq: int) -> None:
        self._connection = connection
        self._gateway = gateway
        self.first_seq = first_seq
        self.last_seq = last_seq
        self._telling: TellingRecords | None = None
        self._arrivals: Arrivals | None = None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        telling = self._telling
        if telling is None:
            telling = self._telling = TellingRecords()
            see = telling.see
            for seq, data, received_ms in self._read():
                see(data, received_ms)
                yield seq, data
        else:
            for seq, data, _ in self._read():
                yield seq, data

    def skim(self) -> None:
        """Read only what :meth:`facts` are made of, as the columns beside the records say where it stands, and when
        records were closed and received."""
        self._telling = TellingRecords()
        statements = statement_records(self._connection, self._gateway, self.first_seq, self.last_seq)
        for one in statements:
            self._telling.see(one.data, one.received_ms)
        known = [Arrival(one.seq, one.time_ms, one.received_ms) for one in statements]
        arrived = first_arrivals(self._connection, self._gateway, self.first_seq, self.last_seq, known)
        self._arrivals = Arrivals(
            self._gateway,
            closed_ms=np.array([one.closed_ms for one in arrived], dtype=np.int64),
            received_ms=np.array([one.received_ms for one in arrived], dtype=np.int64),
        )

    def facts(self, earlier: Iterable[bytes], devices: Iterable[str]) -> SignedFacts:
        """What the records say beside their values, once they have been read; see `gateway_facts`."""
        records = [] if self._telling is None else self._telling.records
        return gateway_facts(self._gateway, records, earlier, devices, self._before, arrivals=self._arrivals)

    def _read(self) -> Iterator[tuple[int, bytes, int]]:
        with closing(record_bytes(self._connection, self._gateway, self.first_seq, self.last_seq)) as rows:
            yield from rows

    def _before(self, seq: int) -> Iterator[bytes]:
        with closing(records_before(self._connection, self._gateway, seq)) as records:
            for record in records:
                if record.seq < self.first_seq:
                    return
                yield record.data


@dataclass(frozen=True)
class GatheredRecords:
    """The records of one gateway; those that they rest on, and the head of the chain where it counts."""

    records: GatewayRecords
    outside: Sequence[StoredRecord]
    heads: Mapping[str, ChainHead]
    run: RecordRun

    def facts(self, devices: Iterable[str]) -> SignedFacts:
        """What the records say beside their values, once the proof has read them."""
        return self.run.facts(self.records.descriptor_records, devices)


def gather(connection: Connection, gateway: str, key: VerifyingKey, span: tuple[int, int]) -> GatheredRecords:
    """The stored records of ``span`` (ms UTC, half-open) and its margins, without holes in their numbers.

    The columns beside a record may have been altered, so that the span does not end where they say: it ends on either
    side with a record that says itself that it lies beyond, or where the chain does.
    """
    from_ms, to_ms = span[0] - MARGIN_MS, span[1] + MARGIN_MS
    # Ingestion goes on meanwhile: records that come after the head was read do not make it wrong.
    head = read_head(connection, gateway)
    first, last = sequence_range(connection, gateway, from_ms, to_ms) or (1, 0)
    ends_with_chain = True
    if last >= first:
        later = read_records(connection, gateway, first_seq=last + 1)
        following = _up_to(later, lambda record: _closed_ms(record) >= to_ms)
        ends_with_chain = not following or _closed_ms(following[-1]) < to_ms
        earlier = _up_to(records_before(connection, gateway, first), lambda record: _closed_ms(record) < from_ms)
        first = earlier[-1].seq if earlier else first
        last = following[-1].seq if following else last
    naming = named_descriptors(connection, gateway, first, last)
    events: list[StoredRecord] = []
    if sum(naming.values()) != last - first + 1:
        events = list(read_records(connection, gateway, first_seq=last + 1, kind=int(Kind.EVENT)))
    run = RecordRun(connection, gateway, first, last)
    descriptors = _earlier_descriptors(connection, gateway, naming, run)
    # Where they stand is looked up; what they say is read from the records, and proven.
    handing_over = [seq - 1 for seq in successors(connection, gateway).get(gateway, {}) if seq <= first]
    rotations = [
        record for seq in handing_over for record in read_records(connection, gateway, first_seq=seq, last_seq=seq)
    ]
    records = GatewayRecords(
        gateway=gateway,
        key=key,
        first_seq=first,
        prev_hash=record_hashes(connection, gateway, first - 1, first - 1).get(first - 1),
        records=run,
        descriptor_records=[record.data for record in descriptors],
        event_records=[record.data for record in events],
        rotation_records=[record.data for record in rotations],
        head=(head.seq, head.hash) if ends_with_chain else None,
    )
    beyond = records_beyond(connection, gateway, (from_ms, to_ms), first, last)
    resting_on = [*beyond, *descriptors, *events, *rotations]
    return GatheredRecords(records, resting_on, {gateway: head} if ends_with_chain else {}, run)


def skim(connection: Connection, gateway: str, key: VerifyingKey, span: tuple[int, int]) -> GatheredRecords:
    """What the records of ``span`` (ms UTC, half-open) say beside their samples, found through the columns beside them:
    quick, and nothing that a proof can be made of."""
    first, last = sequence_range(connection, gateway, span[0] - MARGIN_MS, span[1] + MARGIN_MS) or (1, 0)
    run = RecordRun(connection, gateway, first, last)
    run.skim()
    begin = list(read_records(connection, gateway, first_seq=first, last_seq=first))
    descriptors = _descriptor_records(connection, gateway, {record.descriptor_hash for record in begin} - {ZERO_HASH})
    earlier = [record.data for record in descriptors if record.seq < first]
    return GatheredRecords(GatewayRecords(gateway, key, first, None, run, earlier), [], {}, run)


def _earlier_descriptors(
    connection: Connection, gateway: str, naming: Collection[bytes], run: RecordRun
) -> list[StoredRecord]:
    """The records of the descriptors that the run names and does not hold itself."""
    names = set(naming) - {ZERO_HASH}
    found = _descriptor_records(connection, gateway, names)
    if len(found) != len(names):
        # The column may have been altered; what the records themselves name takes a look into each of them.
        named = {payload.descriptor for payload in (_payload(data) for _, data in run) if payload is not None}
        found = _descriptor_records(connection, gateway, named - {ZERO_HASH})
    return [record for record in found if not run.first_seq <= record.seq <= run.last_seq]


def _descriptor_records(connection: Connection, gateway: str, names: Iterable[bytes]) -> list[StoredRecord]:
    found = (descriptor_record(connection, gateway, name) for name in sorted(names))
    return [record for record in found if record is not None]


def _up_to(records: Generator[StoredRecord, None, None], ends: Callable[[StoredRecord], bool]) -> list[StoredRecord]:
    found: list[StoredRecord] = []
    with closing(records):
        for record in records:
            found.append(record)
            if ends(record):
                break
    return found


def _closed_ms(record: StoredRecord) -> int:
    """When the record says itself that it was closed; what the column says where it cannot be read any more."""
    payload = _payload(record.data)
    return record.time_ms if payload is None else payload.time_ms


def _payload(data: bytes) -> Payload | None:
    try:
        return open_record(data, None).payload
    except RecordError:
        return None
