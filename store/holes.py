"""Holes in the chains of gateways: noticed when records arrive out of order, told later when they are still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from store.database import Connection


@dataclass(frozen=True, slots=True)
class OpenHole:
    """Nothing is stored directly before the record ``seq``; ``head_seq`` is the head of the gateway's chain."""

    gateway: str
    seq: int
    head_seq: int


def note_holes(conn: Connection, gateway: str, seqs: Sequence[int]) -> None:
    """Note that records ``seqs`` of an enrolled gateway were stored and their predecessors are not here."""
    conn.execute(
        "INSERT INTO open_hole (gateway, seq) SELECT %s, unnest(%s::bigint[]) ON CONFLICT DO NOTHING",
        (gateway, list(seqs)),
    )


def settle_holes(conn: Connection, patience_ms: int) -> list[OpenHole]:
    """Forget the holes that were noticed at least ``patience_ms`` ago, and return those that are open still.

    A hole that the gateway has declared lost (incident ``gap-declared``) is not open.
    """
    rows = conn.execute(
        """
        WITH due AS (
            DELETE FROM open_hole WHERE noticed <= clock_timestamp() - %s * interval '1 ms' RETURNING gateway, seq
        )
        SELECT due.gateway, due.seq, chain_head.seq FROM due JOIN chain_head USING (gateway)
        WHERE chain_head.seq < due.seq
          AND NOT EXISTS (SELECT FROM record WHERE record.gateway = due.gateway AND record.seq = due.seq - 1)
          AND NOT EXISTS (
              SELECT FROM incident WHERE incident.gateway = due.gateway AND incident.kind = 'gap-declared'
              AND incident.detail ->> 'last' = (due.seq - 1)::text)
        ORDER BY due.gateway, due.seq
        """,
        (patience_ms,),
        binary=True,
    )
    return [OpenHole(*row) for row in rows]
