"""Projects and their evidence plans. A plan is never overwritten: each amendment is one more dated revision."""

from __future__ import annotations

from dataclasses import dataclass

from store.database import Connection
from store.instants import instant


@dataclass(frozen=True, slots=True)
class Project:
    """A project under one revision of its plan, registered at ``registered_ms`` (UTC); revisions count from 1.

    ``plan_text`` is the YAML file, ``plan_hash`` the SHA-256 of its bytes.
    """

    id: str
    revision: int
    plan_text: str
    plan_hash: bytes
    registered_ms: int


def put_project(conn: Connection, id: str, plan_text: str, plan_hash: bytes, registered_ms: int) -> Project:
    """Register a plan, as the first or as an amendment. The plan that is in force already changes nothing."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('project/' || %s, 0))", (id,))
    current = project(conn, id)
    if current is not None and current.plan_hash == plan_hash:
        return current
    revision = 1 if current is None else current.revision + 1
    conn.execute(
        "INSERT INTO project_plan (project, revision, plan, plan_hash, registered) VALUES (%s, %s, %s, %s, %s)",
        (id, revision, plan_text, plan_hash, instant(registered_ms)),
    )
    return Project(id, revision, plan_text, plan_hash, registered_ms)


def project(conn: Connection, id: str) -> Project | None:
    """A project under the plan in force, or None."""
    revisions = project_revisions(conn, id)
    return revisions[-1] if revisions else None


def projects(conn: Connection) -> list[Project]:
    """All projects by id, each under the plan in force."""
    rows = conn.execute(
        """
        SELECT DISTINCT ON (project) project, revision, plan, plan_hash, epoch_ms(registered) FROM project_plan
        ORDER BY project, revision DESC
        """,
        binary=True,
    )
    return [Project(*row) for row in rows]


def project_revisions(conn: Connection, id: str) -> list[Project]:
    """Every registered plan of a project, the first one first."""
    rows = conn.execute(
        """
        SELECT project, revision, plan, plan_hash, epoch_ms(registered) FROM project_plan
        WHERE project = %s ORDER BY revision
        """,
        (id,),
        binary=True,
    )
    return [Project(*row) for row in rows]
