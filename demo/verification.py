"""Re-verification of everything that is stored of a gateway: each signature, and the chain from the first record on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from store.records import StoredRecord
from wire.chain import ChainFault, verify_run
from wire.keys import VerifyingKey
from wire.record import ZERO_HASH


@dataclass(slots=True)
class Verification:
    """What was found: stored records, those whose own signature was verified, their bytes, and every fault by name."""

    records: int = 0
    verified: int = 0
    wire_bytes: int = 0
    faults: list[ChainFault] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether there is a chain and nothing is wrong with it."""
        return self.records > 0 and not self.faults


def verify_stored(records: Iterable[StoredRecord], key: VerifyingKey, gateway: str) -> Verification:
    """Verify records in the order of their sequence numbers, one signature each.

    The signature of a later record would vouch for the earlier ones; here every record must stand by itself as well.
    """
    found = Verification()
    prev_seq, prev_hash = 0, ZERO_HASH
    for record in records:
        run = verify_run([record.data], key, gateway=gateway, prev_seq=prev_seq, prev_hash=prev_hash, seqs=[record.seq])
        found.records += 1
        found.verified += len(run.records)
        found.wire_bytes += len(record.data)
        found.faults += run.faults
        prev_seq, prev_hash = record.seq, record.hash
    return found
