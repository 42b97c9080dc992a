"""Makes an archive that installs the agent on another machine without internet: wheels, an install script, services.

The wheels are chosen by pip for the other machine's platform and Python, from the package index that pip is configured
with; a package that has none there, but needs no compiled code, is built from its source. Needs pip, and for an
installation from source the build backend; a gateway never needs this module.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.errors import PackError

DISTRIBUTION = "shopfloor-evidence"
PLATFORMS: dict[str, tuple[str, ...]] = {
    "aarch64": ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "linux"),
    "armv7l": ("manylinux_2_31", "manylinux_2_28", "manylinux_2_17", "manylinux2014", "linux"),
    "x86_64": ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux1", "linux"),
}
"""What a machine of each kind runs, by the tags of PEP 600, for Debian 11 and everything newer."""

MUSL_PLATFORMS = ("musllinux_1_2", "musllinux_1_1", "linux")
"""What a machine with the musl C library runs (OpenWrt, Alpine), by the tags of PEP 656."""

_WITHOUT_COMPILER = {"PYYAML_FORCE_LIBYAML": "0"}
"""What tells the sources of packages to leave out compiled code that they can do without."""

_SERVICES = ("systemd/shopfloor-agent.service", "openwrt/shopfloor-agent.init")


@dataclass(frozen=True, slots=True)
class Target:
    """The machine that an archive is for: ``platform`` a key of `PLATFORMS`, ``python`` such as ``3.11``."""

    platform: str
    python: str
    musl: bool = False

    @property
    def name(self) -> str:
        """What messages and archives call it."""
        return f"{self.platform}{'-musl' if self.musl else ''}-python{self.python}"

    def pip_options(self) -> list[str]:
        """Return the options with which pip chooses wheels for this machine and no others."""
        tags = MUSL_PLATFORMS if self.musl else PLATFORMS[self.platform]
        options = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", self.python]
        for tag in tags:
            options += ["--platform", f"{tag}_{self.platform}"]
        for abi in (f"cp{self.python.replace('.', '')}", "abi3", "none"):
            options += ["--abi", abi]
        return options


@dataclass(frozen=True, slots=True)
class Packed:
    """What was packed: the archive, its size in bytes, and the names of the wheels in it."""

    path: Path
    size: int
    wheels: tuple[str, ...]


def pack(target: Target, output: Path) -> Packed:
    """Write the archive for ``target`` to ``output``.

    Raises `PackError` naming every package that has no wheel for the target, or why pip failed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "shopfloor-agent"
        wheels = root / "wheels"
        wheels.mkdir(parents=True)
        own = _own_wheel(wheels)
        _download(target, own, wheels)
        deploy = files("deploy")
        (root / "install.sh").write_bytes((deploy / "install.sh").read_bytes())
        for service in _SERVICES:
            (root / "deploy" / service).parent.mkdir(parents=True)
            (root / "deploy" / service).write_bytes((deploy / service).read_bytes())
        (root / "platform").write_text(
            f"PYTHON_VERSION={target.python}\nMACHINE={target.platform}\nLIBC={'musl' if target.musl else 'glibc'}\n",
            encoding="ascii",
        )
        names = tuple(sorted(path.name for path in wheels.iterdir()))
        (root / "SHA256SUMS").write_text(
            "".join(f"{hashlib.sha256((wheels / name).read_bytes()).hexdigest()}  wheels/{name}\n" for name in names),
            encoding="ascii",
        )
        try:
            _archive(root, output)
        except OSError as error:
            raise PackError(f"{output}: cannot be written: {error}") from error
    return Packed(output, output.stat().st_size, names)


def _own_wheel(directory: Path) -> Path:
    """Put our own wheel into ``directory``: built from the source if there is one, else made of what is installed."""
    installed = distribution(DISTRIBUTION)
    source = _source(installed)
    if source is not None:
        _pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(source))
        return next(directory.glob("*.whl"))
    return _rebuild(installed, directory)


def _source(installed: Distribution) -> Path | None:
    """Return the directory of an editable installation (PEP 610)."""
    recorded = json.loads(installed.read_text("direct_url.json") or "{}")
    if not recorded.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(recorded["url"]).path))


def _rebuild(installed: Distribution, directory: Path) -> Path:
    """Make the wheel again from the files of an installation (PEP 427), all of which are Python."""
    name = f"{DISTRIBUTION.replace('-', '_')}-{installed.version}"
    path = directory / f"{name}-py3-none-any.whl"
    written_here = {f"{name}.dist-info/{file}" for file in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")}
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in installed.files or ():
            entry = file.as_posix()
            if entry.startswith("../") or "__pycache__" in file.parts or entry in written_here:
                continue
            data = file.read_binary()
            wheel.writestr(entry, data)
            digest = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{entry},sha256={digest},{len(data)}\n")
        own = f"{name}.dist-info/RECORD"
        wheel.writestr(own, "".join(record) + f"{own},,\n")
    return path


def _download(target: Target, own: Path, wheels: Path) -> None:
    download = ["download", "--quiet", "--find-links", str(wheels), "--dest", str(wheels)]
    download += [*target.pip_options(), f"{own}[agent]"]
    try:
        _pip(*download)
    except PackError as error:
        missing = [name for name in _needed() if not _has_wheel(name, target)]
        if not missing:
            raise
        impossible = [name for name in missing if not _build_pure(name, wheels)]
        if impossible:
            raise PackError(
                f"no wheel for {target.name}, and none without compiled code can be built: {', '.join(impossible)}. "
                "Another Python may have one (--python), or build it on such a machine (pip wheel) and add it with "
                "PIP_FIND_LINKS=DIRECTORY"
            ) from error
        _pip(*download)


def _build_pure(name: str, wheels: Path) -> bool:
    """Put a wheel of ``name`` that any machine can use into ``wheels``, built from its source; tell whether it exists.

    pip's cache may hold one that was built for this machine alone.
    """
    build = ["wheel", "--quiet", "--no-cache-dir", "--no-deps", "--no-binary", name]
    with tempfile.TemporaryDirectory() as directory:
        try:
            _pip(*build, "--wheel-dir", directory, name)
        except PackError:
            return False
        pure = list(Path(directory).glob("*-none-any.whl"))
        for wheel in pure:
            shutil.copy(wheel, wheels)
        return bool(pure)


def _needed() -> Iterator[str]:
    """Yield what the agent depends on, directly or not; what only other systems or Pythons need is included.

    Of such a package, when it is not installed here, the name is all that is known.
    """
    seen: set[str] = set()
    todo = [(DISTRIBUTION, "agent")]
    while todo:
        name, extra = todo.pop()
        for text in _requirements(name):
            requirement, _, marker = text.partition(";")
            match = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
            of_extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
            needed = of_extra is None or of_extra.group(1) == extra
            if match is None or not needed or match.group() in seen:
                continue
            seen.add(match.group())
            yield match.group()
            todo.append((match.group(), ""))


def _requirements(name: str) -> list[str]:
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:
        return []


def _has_wheel(name: str, target: Target) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        try:
            _pip("download", "--quiet", "--no-deps", "--dest", directory, *target.pip_options(), name)
        except PackError:
            return False
    return True


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    environment = os.environ | _WITHOUT_COMPILER
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise PackError(f"pip {arguments[0]} failed: {'; '.join(told) or f'exit code {done.returncode}'}")


def _archive(root: Path, output: Path) -> None:
    """Write ``root`` to ``output`` so that equal contents make equal bytes."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = 0
        executable = entry.isdir() or entry.name.endswith(("install.sh", ".init"))
        entry.mode = 0o755 if executable else 0o644
        return entry

    temporary = output.with_name(f"{output.name}.part")
    try:
        with tarfile.open(temporary, "w:gz", compresslevel=9) as archive:
            archive.add(root, root.name, filter=plain)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
