"""The container files and the site's compose file: built, started and used as their heads and the manuals say.

The base image is made of the Debian root, which stands in for the public one. Containers run in a network namespace of
their own, so that their ports are nobody else's; images are built with the network of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from demo.timebase import Timebase
from ingest.certificate_authority import CertificateAuthority

pytestmark = pytest.mark.hosts

REPOSITORY = Path(__file__).parents[2]
BASE_IMAGE = "docker.io/library/python:3.11-slim"
IMAGES = {"shopfloor-agent": "Containerfile", "shopfloor-server": "server.Containerfile"}
AGENT_USER, SERVER_USER = 10001, 10002
GATEWAY = Path(__file__).with_name("gateway.yaml.format")
PROGRAMS = {"podman": "podman", "runc": "runc", "iptables": "iptables", "netavark": "netavark", "ip": "iproute2"}


def wait_for(condition: Callable[[], Any], what: Callable[[], str], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited for: {what()}"
        time.sleep(0.5)
    return found


class Engine:
    """A podman with storage, configuration and network of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        configuration = {
            # No more than a machine may give that has no right to raise limits.
            "containers": {"default_ulimits": ["nofile=1024:4096", "nproc=4096:4096"]},
            "engine": {
                "cgroup_manager": "cgroupfs",
                "runtime": "runc",
                "events_logger": "none",
                "tmp_dir": str(folder / "engine"),
            },
            "network": {"network_backend": "netavark", "network_config_dir": str(folder / "networks")},
        }
        (folder / "containers.conf").write_text(
            "".join(
                f"[{section}]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
                for section, values in configuration.items()
            )
        )
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
        )
        self._environment = os.environ | {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }
        self._network = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        ours = Path("/proc/self/ns/net").readlink()
        wait_for(lambda: Path(self._namespace).readlink() != ours, lambda: "the namespace")
        subprocess.run(self.beside("ip", "link", "set", "lo", "up"), check=True)

    @property
    def _namespace(self) -> str:
        return f"/proc/{self._network.pid}/ns/net"

    def beside(self, *arguments: str | Path) -> list[str]:
        """The command that runs ``arguments`` in the network of the containers."""
        return ["nsenter", f"--net={self._namespace}", *map(str, arguments)]

    def run(self, *arguments: str | Path, folder: Path = REPOSITORY, code: int | None = 0) -> str:
        """Run a command to its end in that network; return what it printed."""
        done = subprocess.run(
            self.beside(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=folder,
            env=self._environment,
        )
        assert code in {None, done.returncode}, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout + (done.stderr if done.returncode else "")

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command in that network."""
        return subprocess.Popen(
            self.beside(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._environment
        )

    def import_base(self, root: Path) -> None:
        """Make the base image of the Debian root, where Python is called what it is called in the public image."""
        (self.folder / "python" / "usr" / "bin").mkdir(parents=True)
        (self.folder / "python" / "usr" / "bin" / "python").symlink_to("python3")
        with subprocess.Popen(
            ["tar", "-c", "-C", root, ".", "-C", self.folder / "python", "usr/bin/python"], stdout=subprocess.PIPE
        ) as packing:
            subprocess.run(
                ["podman", "import", "-", BASE_IMAGE],
                stdin=packing.stdout,
                capture_output=True,
                check=True,
                env=self._environment,
            )

    def build_all(self) -> None:
        """Build the images, beside each other, with the package index and the authorities of this machine."""
        authorities = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
        files = [Path("/etc/pip.conf"), Path("~/.config/pip/pip.conf").expanduser(), Path(authorities or "/nowhere")]
        mounts = [f"--volume={file}:{file}:ro" for file in files if file.is_file()]
        building = {
            image: subprocess.Popen(
                [
                    *("podman", "build", "--format", "docker", "--pull=never", "--network=host", *mounts),
                    *("-f", f"deploy/container/{file}", "-t", image, "."),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=REPOSITORY,
                env=self._environment,
            )
            for image, file in IMAGES.items()
        }
        for image, process in building.items():
            told = process.communicate(timeout=600)[0]
            assert process.returncode == 0, f"{image}\n{told[-4000:]}"

    def close(self) -> None:
        """Remove everything that there is of it."""
        self.run("podman", "rm", "--all", "--force", "--time=20", code=None)
        self.run("podman", "system", "reset", "--force", code=None)
        self._network.terminate()
        self._network.wait()


@pytest.fixture(scope="module")
def engine(
    host_root: Path, unable: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """An engine with both images built."""
    for program, package in PROGRAMS.items():
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/lib/podman") is None:
            unable(f"{program} is not installed; install Debian's package {package}")
    engine = Engine(tmp_path_factory.mktemp("engine"))
    try:
        engine.import_base(host_root)
        engine.build_all()
        yield engine
    finally:
        engine.close()


class Site:
    """The site as its compose file makes it."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder / "site"
        shutil.copytree(REPOSITORY / "deploy" / "compose" / "site", self.folder)
        files = self.folder / "files"
        files.mkdir()
        authority = CertificateAuthority.open_or_create(folder / "authority", b"only for tests")
        shutil.copy(authority.files.server, files / "pages.pem")
        shutil.copy(authority.files.server_key, files / "pages.key")
        (folder / "password").write_text("correct horse battery\n")
        with (folder / "password").open() as password:
            added = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "shopfloor",
                    "users",
                    "add",
                    "li.wei",
                    "--password-stdin",
                    "--users",
                    files / "users",
                ],
                stdin=password,
                check=False,
            )
        assert added.returncode == 0
        for file in (files, *files.iterdir()):
            os.chown(file, SERVER_USER, SERVER_USER)
        text = (self.folder / "env.example").read_text()
        text = text.replace("SITE_NAME=records.example.com", "SITE_NAME=localhost")
        (self.folder / ".env").write_text(text.replace("PASSPHRASE=", "PASSPHRASE=only for tests, not secret"))

    def compose(self, *arguments: str) -> str:
        """Run podman-compose in the site's folder."""
        return self.engine.run(sys.executable, "-m", "podman_compose", *arguments, folder=self.folder)

    def shopfloor(self, *arguments: str, code: int | None = 0) -> str:
        """Run ``shopfloor`` in the site's container, as its operator does."""
        command = ("podman", "exec", "shopfloor-site_site_1", "shopfloor", *arguments, "--embedded", "/data")
        return self.engine.run(*command, code=code)

    def records(self) -> int:
        """How many records of the gateway are committed."""
        gateways = json.loads(self.shopfloor("ingest", "status", "--json"))["gateways"].values()
        return sum(int(one["records"]) for one in gateways)

    def log(self) -> str:
        return self.engine.run("podman", "logs", "shopfloor-site_site_1", code=None)[-3000:]

    def wait_until_up(self) -> None:
        wait_for(lambda: "enrolment: https://localhost:8443" in self.log(), self.log)


@pytest.fixture(scope="module")
def site(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site, up."""
    site = Site(engine, tmp_path_factory.mktemp("compose"))
    site.compose("up", "--detach")
    site.wait_until_up()
    return site


@pytest.fixture(scope="module")
def meter_port(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the simulated meter, in the network of the containers."""
    clock = tmp_path_factory.mktemp("meters") / "clock"
    Timebase.create(clock).close()
    process = engine.start(sys.executable, "-m", "demo.servers", "--clock", clock)
    assert process.stdout is not None
    yield int(json.loads(process.stdout.readline())["meter-1"])
    process.terminate()
    process.communicate(timeout=30)


def agent_log(engine: Engine) -> str:
    return engine.run("podman", "logs", "agent", code=None)[-3000:]


@pytest.fixture(scope="module")
def agent(engine: Engine, site: Site, meter_port: int, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the running container of an agent that the site has let in."""
    folder = tmp_path_factory.mktemp("gateway") / "config"
    folder.mkdir()
    config = folder / "gateway.yaml"
    config.write_text(GATEWAY.read_text().format(key_file="/data/gateway.key", data_directory="/data", port=meter_port))
    for path in (folder, config):
        os.chown(path, AGENT_USER, AGENT_USER)
    mounts = ("--network=host", f"--volume={folder}:/config:ro", "--volume=shopfloor:/data")
    code = site.shopfloor("ingest", "enrol-code", "gw-01").splitlines()[1]
    enrol = ("enrol", code, "/config/gateway.yaml", "--server", "https://localhost:8443")
    enrolling = engine.start("podman", "run", "--rm", *mounts, "shopfloor-agent", *enrol)
    [request] = wait_for(lambda: json.loads(site.shopfloor("ingest", "enrolments", "--json"))["enrolments"], site.log)
    site.shopfloor("ingest", "approve", "1", request["fingerprint"])
    told = enrolling.communicate(timeout=60)[0]
    config.write_text(config.read_text() + "\n" + told.split("add:\n")[1])
    engine.run("podman", "run", "--detach", "--name=agent", "--restart=always", *mounts, "shopfloor-agent")
    wait_for(lambda: site.records() > 3, lambda: agent_log(engine))
    return "agent"


def test_the_agent_reads_and_delivers(engine: Engine, site: Site, agent: str) -> None:
    status = json.loads(
        engine.run("podman", "exec", agent, "shopfloor", "agent", "status", "/config/gateway.yaml", "--json")
    )
    assert status["state"] == "ok", status["problems"]
    assert status["acknowledged_seq"] > 3
    assert status["clock"]["synchronised"] is not None, "the kernel could not be asked"
    before = site.records()
    wait_for(lambda: site.records() > before, lambda: agent_log(engine))


def test_the_engine_knows_whether_the_agent_is_well(engine: Engine, agent: str) -> None:
    engine.run("podman", "healthcheck", "run", agent)


def test_a_killed_agent_is_started_again(engine: Engine, site: Site, agent: str) -> None:
    before = site.records()
    process = int(engine.run("podman", "inspect", "--format={{.State.Pid}}", agent))
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: site.records() > before, lambda: agent_log(engine))


@pytest.mark.usefixtures("site")
def test_neither_runs_as_root(engine: Engine, agent: str) -> None:
    assert engine.run("podman", "exec", agent, "id", "--user").strip() == str(AGENT_USER)
    assert engine.run("podman", "exec", "shopfloor-site_site_1", "id", "--user").strip() == str(SERVER_USER)


@pytest.mark.usefixtures("site")
def test_pages_want_a_login(engine: Engine) -> None:
    context = "import ssl; c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE"
    ask = (
        f"{context}\nimport urllib.error, urllib.request\n"
        "try:\n    print(urllib.request.urlopen('https://127.0.0.1:8000/', context=c).status)\n"
        "except urllib.error.HTTPError as error:\n    print(error.code)"
    )
    assert engine.run(sys.executable, "-c", ask).strip() == "401"


@pytest.mark.usefixtures("agent")
def test_what_is_in_the_volume_outlives_the_container(engine: Engine, site: Site) -> None:
    before = site.records()
    site.compose("down")
    site.compose("up", "--detach")
    site.wait_until_up()
    wait_for(lambda: site.records() > before, lambda: site.log() + agent_log(engine))
    checked = site.shopfloor("rebuild", "--check")
    assert "tables and records are equal" in checked
    assert "0 signed gaps" in checked
