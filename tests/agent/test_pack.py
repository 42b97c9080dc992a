"""An archive that installs without internet: on this machine's platform it is really packed and really installed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from itertools import pairwise
from pathlib import Path

import pytest

from agent.errors import PackError
from agent.pack import PLATFORMS, Target, _archive, _build_pure, _needed, _rebuild, _requirements, pack
from shopfloor.main import main

REPOSITORY = Path(__file__).parents[2]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def unpacked(archive: Path, directory: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")
    return directory / "shopfloor-agent"


def without_network() -> list[str]:
    """A command prefix that takes the network away, where the system lets us: a namespace with nothing in it."""
    prefix = ["unshare", "--net"]
    allowed = (
        shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    )
    return prefix if allowed else []


@pytest.mark.registry
def test_what_is_packed_here_installs_without_internet_and_works(tmp_path: Path) -> None:
    archive, target = tmp_path / "agent.tar.gz", tmp_path / "opt"
    assert main(["agent", "pack", "--platform", platform.machine(), "--output", str(archive)]) == 0
    root = unpacked(archive, tmp_path)
    refused = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PATH": os.environ["PATH"], "PYTHON": sys.executable}
    command = [*without_network(), str(root / "install.sh"), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=refused, cwd="/")
    assert done.returncode == 0, done.stderr
    example = REPOSITORY / "gateway_configs" / "example.yaml"
    check = [*without_network(), str(target / "bin" / "shopfloor"), "agent", "check", str(example)]
    checked = subprocess.run(check, capture_output=True, text=True, check=False, cwd="/")
    assert checked.returncode == 0, checked.stderr
    assert "gateway gw-01" in checked.stdout
    present = subprocess.run(
        [target / "bin" / "python", "-m", "pip", "list"], capture_output=True, text=True, check=True
    ).stdout
    assert "numpy" not in present
    assert "fastapi" not in present


@pytest.mark.registry
@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
@pytest.mark.parametrize("musl", [False, True])
def test_every_wheel_fits_the_platform(tmp_path: Path, machine: str, musl: bool) -> None:
    packed = pack(Target(machine, HERE, musl), tmp_path / "agent.tar.gz")
    binary = [wheel for wheel in packed.wheels if not wheel.endswith("none-any.whl")]
    assert any(wheel.startswith("cryptography-") for wheel in binary)
    libc = "musllinux" if musl else "manylinux"
    assert all(libc in wheel and f"_{machine}" in wheel for wheel in binary)


@pytest.mark.registry
def test_a_platform_without_a_wheel_is_told_which_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """32-bit ARM has neither PyYAML nor cffi on the index: one goes without compiled code, the other cannot.

    When the index has it one day, the archive must be whole.
    """
    archive = tmp_path / "agent.tar.gz"
    code = main(["agent", "pack", "--platform", "armv7l", "--output", str(archive)])
    if code == 0:
        assert (unpacked(archive, tmp_path) / "install.sh").exists()
        return
    assert code == 3
    assert re.search(r"no wheel for armv7l-python[0-9.]+, and none .* can be built: cffi\. ", capsys.readouterr().err)
    assert not archive.exists()


@pytest.mark.registry
def test_a_wheel_without_compiled_code_fits_every_machine(tmp_path: Path) -> None:
    assert _build_pure("pyyaml", tmp_path)
    [wheel] = tmp_path.iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]


def test_the_script_refuses_another_machine_and_a_damaged_archive(tmp_path: Path) -> None:
    root = tmp_path / "shopfloor-agent"
    (root / "wheels").mkdir(parents=True)
    shutil.copy(REPOSITORY / "deploy" / "install.sh", root)
    (root / "wheels" / "one.whl").write_bytes(b"bytes")
    (root / "SHA256SUMS").write_text(f"{'0' * 64}  wheels/one.whl\n")
    libc = platform.libc_ver()[0] or "musl"

    def install(python: str) -> str:
        (root / "platform").write_text(f"PYTHON_VERSION={python}\nMACHINE={platform.machine()}\nLIBC={libc}\n")
        done = subprocess.run(
            [root / "install.sh", tmp_path / "opt"],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "PYTHON": sys.executable},
        )
        assert done.returncode == 1
        assert not (tmp_path / "opt").exists()
        return done.stderr

    assert "this archive is for Python 3.99" in install("3.99")
    assert "the archive is damaged" in install(HERE)


def test_our_own_wheel_is_made_again_from_an_installation(tmp_path: Path) -> None:
    """A gateway's twin at the integrator's has no source tree: what is installed there is what is packed."""
    site, wheels = tmp_path / "site", tmp_path / "wheels"
    info = site / "shopfloor_evidence-9.8.7.dist-info"
    info.mkdir(parents=True)
    wheels.mkdir()
    (site / "agent").mkdir()
    (site / "agent" / "__init__.py").write_text("A = 1\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shopfloor-evidence\nVersion: 9.8.7\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (info / "INSTALLER").write_text("pip\n")
    (info / "RECORD").write_text(
        "../../bin/shopfloor,,\nagent/__init__.py,,\nagent/__pycache__/__init__.cpython-311.pyc,,\n"
        + "".join(f"{info.name}/{name},,\n" for name in ("METADATA", "WHEEL", "INSTALLER", "RECORD"))
    )
    wheel = _rebuild(Distribution.at(info), wheels)
    assert wheel.name == "shopfloor_evidence-9.8.7-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        assert sorted(archive.namelist()) == sorted(
            ["agent/__init__.py", *(f"{info.name}/{name}" for name in ("METADATA", "WHEEL", "RECORD"))]
        )
    target = tmp_path / "target"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(target),
        str(wheel),
    ]
    assert subprocess.run(pip, capture_output=True, check=False).returncode == 0
    assert (target / "agent" / "__init__.py").read_text() == "A = 1\n"


def test_equal_contents_make_equal_archives(tmp_path: Path) -> None:
    root = tmp_path / "shopfloor-agent"
    root.mkdir()
    (root / "install.sh").write_text("#!/bin/sh\n")
    for name in ("one", "two"):
        os.utime(root / "install.sh", (0, 10**9))
        _archive(root, tmp_path / name)
    with tarfile.open(tmp_path / "one") as archive:
        assert [(entry.uid, entry.mtime) for entry in archive] == [(0, 0), (0, 0)]
        assert archive.getmember("shopfloor-agent/install.sh").mode == 0o755
    assert (tmp_path / "one").stat().st_size == (tmp_path / "two").stat().st_size


def test_what_pip_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.pack._own_wheel", lambda _directory: Path("nowhere.whl"))
    monkeypatch.setattr("agent.pack._has_wheel", lambda _name, _target: True)
    with pytest.raises(PackError, match=r"pip download failed: .*nowhere"):
        pack(Target("aarch64", HERE), tmp_path / "agent.tar.gz")


def test_the_closure_of_the_agent_is_known() -> None:
    needed = {name.lower().replace("_", "-") for name in _needed()}
    assert {"cbor2", "cryptography", "paho-mqtt", "pydantic", "pydantic-core", "pymodbus", "pyyaml", "cffi"} <= needed
    assert not needed & {"numpy", "fastapi", "psycopg"}
    assert distribution("shopfloor-evidence").version


@pytest.mark.parametrize("machine", PLATFORMS)
def test_pip_is_asked_for_wheels_of_that_machine_only(machine: str) -> None:
    options = Target(machine, "3.12").pip_options()
    platforms = [value for key, value in pairwise(options) if key == "--platform"]
    assert platforms
    assert all(value.endswith(f"_{machine}") for value in platforms)
    assert options[:2] == ["--only-binary", ":all:"]
    assert "cp312" in options


def test_a_package_that_only_another_python_needs_is_named_though_it_is_not_installed() -> None:
    with pytest.raises(PackageNotFoundError):
        distribution("exceptiongroup-of-another-python")
    assert _requirements("exceptiongroup-of-another-python") == []
