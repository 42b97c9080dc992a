"""kill -9 of every part in mid-run: what the gateway made is in the database, each record once, in an intact chain."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from store.database import connect
from store.records import read_records
from wire.chain import verify_run

PARTS = ("agent", "broker", "ingest", "database")


def test_whatever_is_killed_every_record_is_committed_once(factory: Any, wait_until: Callable[..., None]) -> None:
    def logs() -> str:
        return "\n".join(f"--- {name}\n{factory.log(name)}" for name in ("agent", "ingest"))

    wait_until(lambda: factory.committed() >= 4, 30, logs)
    for part in PARTS:
        before = factory.committed()
        factory.kill(part)
        time.sleep(2 * factory.flush_s)
        factory.restart(part)
        wait_until(lambda before=before: factory.committed() >= before + 4, 60, lambda part=part: f"{part}\n{logs()}")
    agent = factory.processes["agent"]
    agent.terminate()
    assert agent.wait(30) == 0, factory.log("agent")
    wait_until(lambda: factory.committed() == factory.made(), 30, logs)
    with connect(factory.postgres.url) as conn:
        stored = list(read_records(conn, factory.gateway))
        quarantined = conn.execute("SELECT count(*) FROM quarantine").fetchone()
    assert [record.seq for record in stored] == list(range(1, factory.made() + 1))
    run = verify_run([record.data for record in stored], factory.public_key, gateway=factory.gateway)
    assert run.faults == []
    assert len({record.payload.boot_id for record in run.records}) == 2, "the agent was killed and started again"
    assert quarantined == (0,)
