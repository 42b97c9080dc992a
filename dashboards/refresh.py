"""The nightly refresh: the result of every project whose inputs have changed, computed on all cores and kept.

A page of one project is made from what is stored at the moment it is looked at, and proven; a list of hundreds cannot
be. It shows what was computed here last, with its time. Results come from intervals alone: no record is verified.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from typing import Any, Literal

from dashboards.dossier import Dossier, load_result
from dashboards.errors import UnknownProjectError
from dashboards.exports import json_bytes
from store.database import Pool, clock_ms, pool, snapshot, transaction
from store.errors import StoreError
from store.projects import projects
from store.results import confirm_result, put_problem, put_result, result_inputs
from wire.errors import ShopfloorError

Notice = Callable[[float, str], None]
"""Told how far the work is: the share that is done (0 to 1), and what was done last."""

_KEPT = ("project", "plan", "evaluation", "explanation", "proof")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefreshedProject:
    """What became of one project; ``problem`` is why there is no new result, ``seconds`` the time on the clock."""

    project: str
    state: Literal["refreshed", "unchanged", "failed"]
    problem: str | None
    seconds: float


@dataclass(slots=True)
class RefreshReport:
    """What became of all projects, in the order of their ids."""

    projects: list[RefreshedProject] = field(default_factory=list)

    @property
    def failed(self) -> list[RefreshedProject]:
        """Those that have no new result though they should."""
        return [one for one in self.projects if one.state == "failed"]

    def count(self, state: str) -> int:
        """How many projects are in this state."""
        return sum(one.state == state for one in self.projects)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        counts = {state: self.count(state) for state in ("refreshed", "unchanged", "failed")}
        return counts | {"projects": [asdict(one) for one in self.projects]}


def refresh_results(
    database_url: str,
    only: Collection[str] | None = None,
    *,
    processes: int | None = None,
    notice: Notice = lambda *_: None,
    stopping: Callable[[], bool] = lambda: False,
) -> RefreshReport:
    """Compute and keep the results of all projects, or of ``only`` some, whose inputs have changed.

    ``processes`` is how many work at once: as many as there are cores. A project that fails is reported and keeps the
    result it had; it stops no other, not even when it takes its process with it. ``stopping`` is asked after each: when
    it says so, the report has those that were done. Raises `UnknownProjectError` for one
    that is not registered, `store.errors.DatabaseUnreachableError` when the database does not answer.
    """
    with pool(database_url, 1) as connections, transaction(connections) as connection:
        known = [one.id for one in projects(connection)]
    if unknown := sorted(set(only or ()) - set(known)):
        raise UnknownProjectError(f"no project '{unknown[0]}' is registered")
    chosen = known if only is None else sorted(set(only))
    found: dict[str, RefreshedProject] = {}
    workers = max(1, min(processes or os.cpu_count() or 1, len(chosen)))
    for one in _computed(database_url, chosen, workers):
        found[one.project] = one
        notice(len(found) / len(chosen), f"{one.project} {one.state}")
        if stopping():
            break
    return RefreshReport([found[name] for name in chosen if name in found])


def nightly_refresh(connections: Pool, _at_ms: int) -> None:
    """`refresh_results` as a background job of the database that ``connections`` are of."""
    report = refresh_results(str(connections.conninfo), stopping=lambda: connections.closed)
    for one in report.failed:
        _log.error("no result of project %s: %s", one.project, one.problem)


def _computed(database_url: str, names: Collection[str], workers: int) -> Iterator[RefreshedProject]:
    """Yield what becomes of the projects as it becomes known. Where a process dies, those that it may have been
    working on are tried again, one in a process of its own at a time: so it is known which one it was."""
    lost: list[str] = []
    with _executor(database_url, workers) as executor:
        waiting = {executor.submit(_refresh, name): name for name in names}
        try:
            for future in as_completed(waiting):
                if isinstance(future.exception(), BrokenProcessPool):
                    lost.append(waiting[future])
                else:
                    yield future.result()
        finally:
            executor.shutdown(cancel_futures=True)
    for name in sorted(lost):
        with _executor(database_url, 1) as executor:
            alone = executor.submit(_refresh, name)
            broken = isinstance(alone.exception(), BrokenProcessPool)
        if broken:
            problem = "the process that computed it was ended from outside; is there enough memory?"
            with pool(database_url, 1) as connections:
                yield _failed(connections, name, problem, 0.0)
        else:
            yield alone.result()


def _executor(database_url: str, workers: int) -> ProcessPoolExecutor:
    # A process that was forked from one with threads may wait for ever for a lock that nobody holds.
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_open, initargs=(database_url,))


_connections: Pool | None = None
"""The database of this process, where it is one of those that compute."""


def _open(database_url: str) -> None:
    global _connections  # noqa: PLW0603 - what an initializer makes can be handed on in no other way
    _connections = pool(database_url, 1)


def _refresh(name: str) -> RefreshedProject:
    if _connections is None:
        raise RuntimeError("the process was not prepared")
    return refresh_project(_connections, name)


def refresh_project(connections: Pool, name: str) -> RefreshedProject:
    """Compute and keep the result of one project, if its inputs have changed. What fails is kept and returned."""
    began = time.monotonic()
    try:
        with snapshot(connections) as connection:
            at_ms = clock_ms(connection)
            inputs, dossier = load_result(connection, name, result_inputs(connection, name))
        with transaction(connections) as connection:
            if dossier is None:
                confirm_result(connection, name, at_ms)
            else:
                put_result(connection, name, inputs, result_document(dossier), at_ms)
    except StoreError as error:
        # The database cannot keep what it does not answer to.
        return RefreshedProject(name, "failed", str(error), time.monotonic() - began)
    except ShopfloorError as error:
        return _failed(connections, name, str(error), time.monotonic() - began)
    except Exception as error:
        _log.exception("no result of project %s", name)
        return _failed(connections, name, f"{type(error).__name__}: {error}", time.monotonic() - began)
    return RefreshedProject(name, "unchanged" if dossier is None else "refreshed", None, time.monotonic() - began)


def result_document(dossier: Dossier) -> str:
    """What is kept of a dossier: result and explanation, without the data behind them. Same inputs, same text."""
    content = dossier.to_json()
    return json_bytes({key: content[key] for key in _KEPT}).decode()


def _failed(connections: Pool, name: str, problem: str, seconds: float) -> RefreshedProject:
    try:
        with transaction(connections) as connection:
            put_problem(connection, name, problem, clock_ms(connection))
    except StoreError:
        _log.exception("the failure of project %s could not be kept", name)
    return RefreshedProject(name, "failed", problem, seconds)
