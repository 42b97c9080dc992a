"""The result document that was computed last for each project. A projection: it can be computed again at any time."""

from __future__ import annotations

from dataclasses import dataclass

from store.database import Connection
from store.instants import instant


@dataclass(frozen=True, slots=True)
class ProjectResult:
    """What is kept for one project; times in ms UTC.

    ``document`` (JSON) was computed at ``computed_ms`` from what hashes to ``inputs``; all three are None as long as
    there was none. ``problem`` says why the attempt at ``tried_ms``, the last one, failed; None when it did not.
    """

    project: str
    inputs: bytes | None
    document: str | None
    computed_ms: int | None
    problem: str | None
    tried_ms: int


def put_result(conn: Connection, project: str, inputs: bytes, document: str, computed_ms: int) -> None:
    """Keep a document in the place of the one before."""
    conn.execute(
        """
        INSERT INTO project_result (project, inputs, document, computed, problem, tried)
        VALUES (%(project)s, %(inputs)s, %(document)s, %(at)s, NULL, %(at)s)
        ON CONFLICT (project) DO UPDATE
        SET inputs = excluded.inputs, document = excluded.document, computed = excluded.computed, problem = NULL,
            tried = excluded.tried
        """,
        {"project": project, "inputs": inputs, "document": document, "at": instant(computed_ms)},
    )


def put_problem(conn: Connection, project: str, problem: str, tried_ms: int) -> None:
    """Note that no document could be computed; the one before, if any, stays."""
    conn.execute(
        """
        INSERT INTO project_result (project, problem, tried) VALUES (%s, %s, %s)
        ON CONFLICT (project) DO UPDATE SET problem = excluded.problem, tried = excluded.tried
        """,
        (project, problem, instant(tried_ms)),
    )


def confirm_result(conn: Connection, project: str, tried_ms: int) -> None:
    """Note that the inputs have not changed since the document was computed."""
    conn.execute(
        "UPDATE project_result SET problem = NULL, tried = %s WHERE project = %s", (instant(tried_ms), project)
    )


def result_inputs(conn: Connection, project: str) -> bytes | None:
    """What the document of a project was computed from; None when there is none."""
    row = conn.execute("SELECT inputs FROM project_result WHERE project = %s", (project,), binary=True).fetchone()
    return None if row is None else row[0]


def project_results(conn: Connection) -> dict[str, ProjectResult]:
    """What is kept, by project."""
    rows = conn.execute(
        """
        SELECT project, inputs, document, epoch_ms(computed), problem, epoch_ms(tried) FROM project_result
        ORDER BY project
        """,
        binary=True,
    )
    return {row[0]: ProjectResult(*row) for row in rows}
