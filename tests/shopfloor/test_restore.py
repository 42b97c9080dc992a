"""A server goes back to an old backup while its gateways are ahead: they learn it and send again what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store.database import connect
from store.records import read_records


def test_gateways_send_again_what_an_old_backup_lacks(
    factory: Any, wait_until: Callable[..., None], tmp_path: Path
) -> None:
    def logs() -> str:
        return "\n".join(f"--- {name}\n{factory.log(name)}" for name in ("agent", "ingest"))

    def acknowledged() -> int:
        return int(json.loads(factory.command("agent", "status", str(factory.config), "--json"))["acknowledged_seq"])

    wait_until(lambda: factory.committed() >= 4, 30, logs)
    file = tmp_path / "site.backup"
    held = json.loads(factory.command("backup", str(file), "--database", factory.database, "--json"))["rows"]["record"]
    wait_until(lambda: acknowledged() >= held + 4, 30, logs)
    factory.kill("ingest")

    with connect(factory.database, autocommit=True) as server:
        server.execute("CREATE DATABASE restored")
    factory.database = factory.database.replace("/shopfloor?", "/restored?")
    factory.command("restore", str(file), "--database", factory.database)
    assert factory.committed() == held < acknowledged()

    factory.restart("ingest")
    wait_until(lambda: factory.committed() >= held + 6, 60, logs)
    agent = factory.processes["agent"]
    agent.terminate()
    assert agent.wait(30) == 0, factory.log("agent")
    wait_until(lambda: factory.committed() == factory.made(), 60, logs)
    with connect(factory.database) as conn:
        assert [record.seq for record in read_records(conn, factory.gateway)] == list(range(1, factory.made() + 1))
        assert conn.execute("SELECT count(*) FROM incident WHERE kind = 'fork'").fetchone() == (0,)

    def nothing_waits() -> bool:
        with connect(factory.database) as conn:
            return conn.execute("SELECT count(*) FROM dirty_mark").fetchone() == (0,)

    wait_until(nothing_waits, 60, logs)
    report = json.loads(factory.command("rebuild", "--check", "--database", factory.database, "--json"))
    assert report["equal"]
    assert report["pending_days"] == 0
    assert report["gateways"][factory.gateway]["records"] == factory.made()
