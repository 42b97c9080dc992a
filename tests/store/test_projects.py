from __future__ import annotations

import hashlib

from store.database import Connection
from store.projects import project, project_revisions, projects, put_project

FIRST, SECOND = "plan: 1\nenterprise: 示例\n", "plan: 1\nenterprise: 示例新材料\n"


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def test_an_amendment_is_one_more_dated_revision(conn: Connection) -> None:
    first = put_project(conn, "PL-2026-001", FIRST, digest(FIRST), 1000)
    second = put_project(conn, "PL-2026-001", SECOND, digest(SECOND), 2000)
    assert (first.revision, second.revision) == (1, 2)
    assert project(conn, "PL-2026-001") == second
    assert project_revisions(conn, "PL-2026-001") == [first, second]
    assert [r.registered_ms for r in project_revisions(conn, "PL-2026-001")] == [1000, 2000]


def test_registering_the_plan_in_force_again_keeps_its_date(conn: Connection) -> None:
    first = put_project(conn, "PL-2026-001", FIRST, digest(FIRST), 1000)
    assert put_project(conn, "PL-2026-001", FIRST, digest(FIRST), 9000) == first
    assert project_revisions(conn, "PL-2026-001") == [first]


def test_going_back_to_an_earlier_plan_is_an_amendment_too(conn: Connection) -> None:
    for time_ms, text in enumerate([FIRST, SECOND, FIRST]):
        put_project(conn, "PL-2026-001", text, digest(text), time_ms)
    assert [r.plan_text for r in project_revisions(conn, "PL-2026-001")] == [FIRST, SECOND, FIRST]


def test_projects_are_listed_under_the_plan_in_force(conn: Connection) -> None:
    put_project(conn, "B", FIRST, digest(FIRST), 1)
    put_project(conn, "A", FIRST, digest(FIRST), 2)
    put_project(conn, "A", SECOND, digest(SECOND), 3)
    assert [(p.id, p.revision, p.plan_text) for p in projects(conn)] == [("A", 2, SECOND), ("B", 1, FIRST)]
    assert project(conn, "C") is None
