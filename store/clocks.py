"""What the newest record of each gateway says of the clock it was closed by."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from store.database import Connection


@dataclass(frozen=True, slots=True)
class GatewayClock:
    """The clock of a gateway as its record ``seq`` tells, closed at ``time_ms`` (UTC).

    ``offset_us`` is how far it is estimated to be off, ``error_us`` by how much that may be wrong (microseconds). None:
    the gateway did not know; a clock that nothing disciplines has no estimate.
    """

    gateway: str
    seq: int
    time_ms: int
    synchronised: bool | None
    offset_us: int | None
    error_us: int | None


def keep_clocks(conn: Connection, clocks: Collection[GatewayClock]) -> None:
    """Keep the clocks of enrolled gateways, one each, unless a newer record has told of them already."""
    if not clocks:
        return
    # One JSON text, as of the latest values: six lists of a batch's gateways would cost more than the rest of it.
    rows = [
        [one.seq, one.time_ms, one.synchronised, one.offset_us, one.error_us, one.gateway]
        for one in sorted(clocks, key=lambda one: one.gateway)
    ]
    conn.execute(
        """
        INSERT INTO gateway_clock AS kept (gateway, seq, time, synchronised, offset_us, error_us)
        SELECT row ->> 5, (row ->> 0)::bigint, to_timestamp((row ->> 1)::float8 / 1000), (row ->> 2)::boolean,
               (row ->> 3)::bigint, (row ->> 4)::bigint
        FROM json_array_elements(%s::json) AS row
        ON CONFLICT (gateway) DO UPDATE SET (seq, time, synchronised, offset_us, error_us) =
            (excluded.seq, excluded.time, excluded.synchronised, excluded.offset_us, excluded.error_us)
        WHERE kept.seq <= excluded.seq
        """,
        (json.dumps(rows),),
    )


def read_clocks(conn: Connection) -> dict[str, GatewayClock]:
    """The clocks by gateway; those of which no record has told yet are left out."""
    rows = conn.execute(
        "SELECT gateway, seq, epoch_ms(time), synchronised, offset_us, error_us FROM gateway_clock ORDER BY gateway",
        binary=True,
    )
    return {row[0]: GatewayClock(*row) for row in rows}


def read_clock(conn: Connection, gateway: str) -> GatewayClock | None:
    """The clock of one gateway; None when no record has told of it yet."""
    row = conn.execute(
        "SELECT gateway, seq, epoch_ms(time), synchronised, offset_us, error_us FROM gateway_clock WHERE gateway = %s",
        (gateway,),
        binary=True,
    ).fetchone()
    return None if row is None else GatewayClock(*row)


def remove_clock(conn: Connection, gateway: str) -> None:
    """Forget the clock of a gateway; its records tell of it."""
    conn.execute("DELETE FROM gateway_clock WHERE gateway = %s", (gateway,))
