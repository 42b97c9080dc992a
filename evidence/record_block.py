"""Blocks of records verified: each by its hash in the next one, the last by its signature, which vouches for them all.

Records of one form are read as tables (`evidence.record_table`); where anything at all does not fit, the block goes to
`wire.chain.verify_run`, which looks at each record and names what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evidence.record_table import FrameTable, RecordTables
from wire.chain import ChainFault, verify_run
from wire.errors import RecordError
from wire.event import Gap
from wire.record import Record, open_record, record_hash
from wire.rotation import KeyHistory, rotates_key

BLOCK_RECORDS = 1024
"""Records verified with one signature; a fault costs one signature a record of its block."""


@dataclass(frozen=True)
class VerifiedBlock:
    """What a block of records showed.

    ``records`` and ``tables`` are what is authentic in it, ``hashes`` those of all authentic records, by seq; the rest
    is as in `wire.chain.RunResult`. ``prev_hash`` is that of the last record when it is authentic.
    """

    records: Sequence[Record]
    hashes: Mapping[int, bytes]
    seq: int
    prev_hash: bytes | None
    keys: KeyHistory
    tables: Sequence[FrameTable] = ()
    faults: Sequence[ChainFault] = ()
    gaps: Sequence[Gap] = ()


@dataclass
class BlockVerifier:
    """Verifies the records of one gateway block by block, in order of seq.

    ``seq`` and ``hash`` are those of the record before the next one, ``hash`` ``None`` when not known; ``gaps`` are
    those known to be declared anywhere.
    """

    gateway: str
    keys: KeyHistory
    seq: int
    hash: bytes | None
    gaps: Sequence[Gap] = ()
    _tables: RecordTables = field(default_factory=RecordTables)

    def verify(self, block: Sequence[tuple[int, bytes]]) -> VerifiedBlock:
        """Verify the records (seq as kept, bytes) that follow those verified before. Raises nothing: see ``faults``."""
        verified = self._linked(block) or self._one_by_one(block)
        self.seq, self.hash, self.keys = verified.seq, verified.prev_hash, verified.keys
        return verified

    def _linked(self, block: Sequence[tuple[int, bytes]]) -> VerifiedBlock | None:
        """Verify a block with which nothing is wrong; None when that is not so."""
        datas = [data for _, data in block]
        seqs = [seq for seq, _ in block]
        if seqs != list(range(self.seq + 1, self.seq + 1 + len(block))):
            return None
        hashes = [record_hash(data) for data in datas]
        tables, others = self._tables.read(datas)
        named: list[tuple[int, bytes] | None] = [None] * len(block)
        for table in tables:
            if table.payload.gateway != self.gateway:
                return None
            for row, seq, prev in zip(table.rows.tolist(), table.seq.tolist(), table.prev, strict=True):
                named[row] = seq, prev
        records: list[Record] = []
        keys = self.keys
        try:
            for row in others:
                record = open_record(datas[row], None)
                if record.payload.gateway != self.gateway:
                    return None
                named[row] = record.seq, record.payload.prev
                records.append(record)
            before = [self.hash, *hashes[:-1]]
            if self.hash is None:
                before[0] = None if named[0] is None else named[0][1]
            if named != list(zip(seqs, before, strict=True)):
                return None
            for record in records:
                if rotates_key(record):
                    open_record(record.data, keys.at(record.seq))
                    keys = keys.through(record)
            open_record(datas[-1], keys.at(seqs[-1]))
        except RecordError:
            return None
        return VerifiedBlock(
            records=records,
            hashes=dict(zip(seqs, hashes, strict=True)),
            seq=seqs[-1],
            prev_hash=hashes[-1],
            keys=keys,
            tables=[frame for table in tables for frame in table.frames],
        )

    def _one_by_one(self, block: Sequence[tuple[int, bytes]]) -> VerifiedBlock:
        result = verify_run(
            [data for _, data in block],
            self.keys,
            gateway=self.gateway,
            prev_seq=self.seq,
            prev_hash=self.hash,
            seqs=[seq for seq, _ in block],
            gaps=self.gaps,
        )
        last_is_authentic = bool(result.records) and result.records[-1].data == block[-1][1]
        return VerifiedBlock(
            records=result.records,
            hashes={record.seq: record.hash for record in result.records},
            seq=result.seq,
            prev_hash=result.hash if last_is_authentic else None,
            keys=result.keys or self.keys,
            faults=result.faults,
            gaps=result.gaps,
        )
