"""``shopfloor agent pack``: an archive that installs the agent on a gateway without internet."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

_PLATFORMS = ("aarch64", "armv7l", "x86_64")


def add_parser(commands: Any) -> None:
    """Add ``pack`` to the commands of ``shopfloor agent``."""
    pack = commands.add_parser(
        "pack",
        help="make an archive that installs on a gateway without internet",
        description="Collects the agent and everything it needs as wheels for another machine, with a script that "
        "installs them there without internet: unpack the archive on the gateway and run install.sh. This machine "
        "needs the package index that pip is configured with. Packages without a wheel for the platform are named, and "
        "the exit code is 3.",
    )
    pack.add_argument("--platform", choices=_PLATFORMS, required=True, help="the gateway's machine (uname -m)")
    pack.add_argument("--output", type=Path, metavar="FILE.tar.gz", required=True, help="the archive to write")
    pack.add_argument(
        "--python",
        type=_python_version,
        metavar="3.N",
        default=f"{sys.version_info.major}.{sys.version_info.minor}",
        help="the gateway's Python, at least 3.11 (default: %(default)s, as here)",
    )
    pack.add_argument("--musl", action="store_true", help="the gateway has the musl C library (OpenWrt, Alpine)")
    pack.set_defaults(func=_pack)


def _python_version(text: str) -> str:
    match = re.fullmatch(r"3\.(\d+)", text)
    if match is None or int(match.group(1)) < 11:
        raise argparse.ArgumentTypeError("write a version such as 3.11, at least 3.11")
    return text


def _pack(options: argparse.Namespace) -> int:
    from agent.pack import Target, pack

    packed = pack(Target(options.platform, options.python, options.musl), options.output)
    print(f"{packed.path}: {packed.size / 1e6:.1f} MB, {len(packed.wheels)} wheels")
    for wheel in packed.wheels:
        print(f"  {wheel}")
    return 0
