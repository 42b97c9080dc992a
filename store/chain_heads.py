"""The chain heads of many gateways in one statement each: what a batch costs must not grow with its gateways."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from store.database import Connection
from store.records import NO_HASH, ChainHead


def lock_heads(conn: Connection, gateways: Collection[str]) -> dict[str, ChainHead]:
    """The chain heads of enrolled gateways, locked until the transaction ends, in the order of their ids.

    :raises psycopg.errors.ForeignKeyViolation: a gateway is not enrolled.
    """
    heads = _lock(conn, gateways)
    missing = sorted(set(gateways) - heads.keys())
    if missing:
        conn.execute(
            "INSERT INTO chain_head (gateway, seq, hash) SELECT gateway, 0, %s FROM unnest(%s::text[]) AS gateway"
            " ON CONFLICT DO NOTHING",
            (NO_HASH, missing),
        )
        heads |= _lock(conn, missing)
    return heads


def advance_heads(conn: Connection, heads: Mapping[str, ChainHead]) -> None:
    """Set the chain heads of gateways; the caller holds their locks (:func:`lock_heads`)."""
    if heads:
        conn.execute(
            "UPDATE chain_head SET seq = moved.seq, hash = moved.hash"
            " FROM unnest(%s::text[], %s::bigint[], %s::bytea[]) AS moved (gateway, seq, hash)"
            " WHERE chain_head.gateway = moved.gateway",
            (list(heads), [head.seq for head in heads.values()], [head.hash for head in heads.values()]),
        )


def newest_seqs(conn: Connection, gateways: Collection[str]) -> dict[str, int]:
    """The highest sequence number that is stored of each gateway; those without records are left out."""
    rows = conn.execute(
        """
        SELECT asked.gateway, newest.seq FROM unnest(%s::text[]) AS asked (gateway)
        CROSS JOIN LATERAL (
            SELECT seq FROM record WHERE record.gateway = asked.gateway ORDER BY seq DESC LIMIT 1
        ) AS newest
        """,
        (list(gateways),),
        binary=True,
    )
    return dict(rows.fetchall())


def _lock(conn: Connection, gateways: Collection[str]) -> dict[str, ChainHead]:
    rows = conn.execute(
        'SELECT gateway, seq, hash FROM chain_head WHERE gateway = ANY(%s) ORDER BY gateway COLLATE "C" FOR UPDATE',
        (list(gateways),),
        binary=True,
    )
    return {gateway: ChainHead(seq, hash) for gateway, seq, hash in rows}
