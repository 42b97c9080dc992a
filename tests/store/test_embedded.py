from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

import store.embedded
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.errors import EmbeddedPostgresError

_PARENT = """
import sys, time
from pathlib import Path
import psycopg
from store.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
with psycopg.connect(server.url, autocommit=True) as conn:
    conn.execute("CREATE TABLE kept (n int)")
    conn.execute("INSERT INTO kept VALUES (1)")
    print("committed", flush=True)
    conn.execute("SELECT pg_sleep(600)")
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "postgres") as running:
        yield running


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def wait_until_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert [process for process in alive if is_running(process)] == []


def shared_memory_of(pid: int) -> list[str]:
    """The System V segments that a process made (proc_sysvipc(5): the fifth column is the creator)."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [line for line in lines if line.split()[4] == str(pid)]


def is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_was_committed_before_a_kill_is_there_after_the_restart(server: EmbeddedPostgres) -> None:
    url, processes = server.url, family(server.pid)
    with connect(url) as conn:
        conn.execute("CREATE TABLE kept (n int)")
        conn.commit()
        for n in range(200):
            conn.execute("INSERT INTO kept VALUES (%s)", (n,))
            conn.commit()
        conn.execute("INSERT INTO kept VALUES (999)")
        os.kill(server.pid, signal.SIGKILL)
        wait_until_gone(processes)
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT count(*) FROM kept").fetchone()
    assert not server.running
    server.start()
    assert server.url == url
    with connect(url) as conn:
        assert conn.execute("SELECT count(*), max(n) FROM kept").fetchone() == (200, 199)
    assert shared_memory_of(processes[0].pid) == []


def test_nothing_stays_behind_when_the_parent_is_killed_and_the_data_are_there(tmp_path: Path) -> None:
    directory = tmp_path / "postgres"
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(directory)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        processes = family(int(parent.stdout.readline()))
        processes.append(psutil.Process(processes[0].ppid()))
        assert parent.stdout.readline() == "committed\n"
        parent.kill()
        # Started again at once, while the earlier server is still stopping.
        with EmbeddedPostgres(directory) as again, connect(again.url) as conn:
            assert conn.execute("SELECT n FROM kept").fetchall() == [(1,)]
    wait_until_gone(processes)


def test_stopping_ends_sessions_and_leaves_no_process(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        processes = family(server.pid)
        session = connect(server.url)
    wait_until_gone(processes)
    assert not server.running
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    with pytest.raises(EmbeddedPostgresError, match="was not started"):
        _ = server.pid


def test_every_commit_reaches_the_disk(server: EmbeddedPostgres) -> None:
    with connect(server.url) as conn:
        for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert conn.execute("SELECT current_setting(%s)", (name,)).fetchone() == ("on",)
        assert conn.execute("SHOW server_encoding").fetchone() == ("UTF8",)


def test_only_the_socket_is_open_and_only_to_its_user(server: EmbeddedPostgres) -> None:
    connections = psutil.Process(server.pid).net_connections("inet")
    assert [c for c in connections if c.status == psutil.CONN_LISTEN] == []
    (socket,) = (server_directory(server) / "cluster").glob(".s.PGSQL.*[0-9]")
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700


def server_directory(server: EmbeddedPostgres) -> Path:
    return Path(f"/proc/{server.pid}/cwd").readlink().parent


def test_the_server_does_not_run_as_root(server: EmbeddedPostgres) -> None:
    assert all(process.uids().real != 0 and process.gids().real != 0 for process in family(server.pid))


def test_a_data_directory_may_lie_deeper_than_a_socket_path_can_say(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "a directory with spaces and 中文" / "postgres"
    with EmbeddedPostgres(deep) as server, connect(server.url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
        socket_directory = Path(conn.info.get_parameters()["host"])
    assert (deep / "cluster" / "PG_VERSION").exists()
    assert not socket_directory.exists()


def test_the_temporary_directory_may_be_closed_to_the_user_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(closed))
    with EmbeddedPostgres(tmp_path / ("d" * 100) / "postgres") as server, connect(server.url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_directory_in_use_is_refused(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.embedded, "_RELEASE_S", 0.2)
    with pytest.raises(EmbeddedPostgresError, match=f"in use by the processes .*{server.pid}"):
        EmbeddedPostgres(tmp_path / "postgres").start()
    with connect(server.url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_lock_file_whose_number_belongs_to_a_stranger_is_no_obstacle(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        url = server.url
    (tmp_path / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n1\n5432\n\n\n\nready\n")
    with EmbeddedPostgres(tmp_path) as server, connect(url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_files_half_made_by_an_interrupted_start_are_made_again(tmp_path: Path) -> None:
    unfinished = tmp_path / "cluster.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path) as server, connect(server.url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert not unfinished.exists()


def test_data_of_another_version_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        pass
    (tmp_path / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 9, but the installed wheel"):
        EmbeddedPostgres(tmp_path).start()


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        pass
    (tmp_path / "cluster" / "postgresql.conf").write_text("shared_buffers = 'plenty'\nno_such_setting = 1\n")
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        EmbeddedPostgres(tmp_path).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_binaries_below_a_closed_directory_are_copied_to_an_open_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a virtual environment below /root."""
    version, installed = max(store.embedded._installed_versions().items())
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = installed.parent
    for place in (installed, package.with_name(f"{package.name}.libs")):
        shutil.copytree(place, closed / place.relative_to(package.parent), symlinks=True)
    monkeypatch.setattr(
        store.embedded, "_installed_versions", lambda: {version: closed / installed.relative_to(package.parent)}
    )
    shared = Path("/var/tmp") / f"shopfloor-binaries-{os.getpid()}"  # noqa: S108 - must be open to all
    monkeypatch.setattr(store.embedded, "_SHARED_BINARIES", shared)
    try:
        with EmbeddedPostgres(tmp_path / "postgres") as server:
            assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(shared)
        with EmbeddedPostgres(tmp_path / "postgres"):
            assert len(list(shared.iterdir())) == 1
    finally:
        shutil.rmtree(shared, ignore_errors=True)


@pytest.fixture
def nobodys_python() -> str:
    """An interpreter of our version that an ordinary user may run; the one that runs the tests may lie below /root."""
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            version = subprocess.run(
                [python, "-c", "import sys; print(sys.version_info[:2])"],
                user="nobody",
                extra_groups=[],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        if version.strip() == str(sys.version_info[:2]):
            return python
    pytest.skip("no interpreter of this version that an ordinary user may run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_runs_the_server_as_himself(nobodys_python: str) -> None:
    place = Path("/var/tmp") / f"shopfloor-user-{os.getpid()}"  # noqa: S108 - must be open to all
    place.mkdir()
    shutil.chown(place, "nobody")
    repository, packages = (Path(module.__file__).parents[1] for module in (store.embedded, psycopg))
    program = (
        "import sys, os; from pathlib import Path; from store.embedded import EmbeddedPostgres\n"
        "with EmbeddedPostgres(Path(sys.argv[1])) as server:\n"
        "    print(os.geteuid() == os.stat(f'/proc/{server.pid}').st_uid)\n"
    )
    try:
        answer = subprocess.run(
            [nobodys_python, "-c", program, str(place / "postgres")],
            user="nobody",
            extra_groups=[],
            cwd="/",
            env={"PYTHONPATH": f"{repository}:{packages}"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(place)
    assert (answer.stdout, answer.stderr) == ("True\n", "")
