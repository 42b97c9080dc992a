"""Records from a file instead of a broker: the same admission, and nothing is acknowledged to the gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ingest.authentication import Message
from ingest.errors import RecordImportError
from ingest.transaction import AdmissionTransactions, Tally, now_ms
from store.database import Pool
from wire.errors import RecordError, RecordFileError, TopicError
from wire.record import peek_key_id
from wire.record_file import read_records
from wire.topics import record_topic

_BATCH_RECORDS = 500


@dataclass(slots=True)
class Imported:
    """What an import came to: counts, refusals by reason, and the head of each gateway's chain afterwards."""

    tally: Tally = field(default_factory=Tally)
    refused: Counter[str] = field(default_factory=Counter)
    heads: dict[str, int] = field(default_factory=dict)


def import_records(connections: Pool, path: Path) -> Imported:
    """Admit the records of the file ``path``; what is not authentic goes into quarantine, as from a broker.

    Raises `RecordImportError` when the file cannot be read to its end; what stands before that is admitted all the
    same. Importing a file twice stores nothing twice.
    """
    transactions, imported = AdmissionTransactions(connections), Imported()
    try:
        with path.open("rb") as file:
            records = read_records(file)
            while batch := _batch(records, path):
                committed = transactions.commit(batch.messages)
                imported.tally.add(committed.tally)
                imported.refused.update(committed.refused)
                imported.heads.update((one.gateway, one.seq) for one in committed.acknowledgements)
                if batch.fault is not None:
                    raise batch.fault
    except OSError as error:
        raise RecordImportError(f"{path}: cannot be read: {error}") from error
    return imported


@dataclass(slots=True)
class _Batch:
    messages: list[Message] = field(default_factory=list)
    fault: RecordImportError | None = None

    def __bool__(self) -> bool:
        return bool(self.messages) or self.fault is not None


def _batch(records: Iterator[bytes], path: Path) -> _Batch:
    batch = _Batch()
    received_ms = now_ms()
    try:
        for data in islice(records, _BATCH_RECORDS):
            batch.messages.append(Message(_topic(data), data, received_ms))
    except RecordFileError as error:
        batch.fault = RecordImportError(f"{path}: {error}; the records before it are imported")
    return batch


def _topic(data: bytes) -> str:
    """Return the topic on which a gateway sends such a record; empty, so that it is refused, for one of nobody."""
    try:
        return record_topic(peek_key_id(data)[0])
    except (RecordError, TopicError):
        return ""
