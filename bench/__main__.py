"""``python -m bench [--only NAME]``: measures, prints a table, and writes ``bench/results.json``, flat name: number.

Beside a figure stands the limit that it is to keep, where its module names one in ``LIMITS``. Figures that are not
measured this time stay in the file as they are.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time

from bench.results import RESULTS, keep

SUBJECTS = ("wire", "agent", "ingest", "cluster", "intervals", "rebuild")
LONG = {"agent_soak": "agent", "evidence": "evidence"}
"""Measured only when they are named, and the subject that their figures belong to."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=(*SUBJECTS, *LONG), help="measure one subject instead of all")
    parser.add_argument("--strict", action="store_true", help="exit code 1 when a figure is beyond its limit")
    options = parser.parse_args()
    beyond = 0
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in SUBJECTS if options.only is None else (options.only,):
        began = time.monotonic()
        module = importlib.import_module(f"bench.{name}")
        limits: dict[str, float] = getattr(module, "LIMITS", {})
        measured: dict[str, float] = module.measure()
        print(f"\n{name} ({time.monotonic() - began:.0f} s)")
        subject = LONG.get(name, name)
        for key, value in measured.items():
            print(f"  {subject + '.' + key:<34} {value:>16,.3f}{_judged(value, limits.get(key))}")
            beyond += value > limits.get(key, value)
        keep({f"{subject}.{key}": value for key, value in measured.items()})
    print(f"\nwritten to {RESULTS}")
    return 1 if options.strict and beyond else 0


def _judged(value: float, limit: float | None) -> str:
    return "" if limit is None else f"   limit {limit:,g}: {'kept' if value <= limit else 'BEYOND'}"


if __name__ == "__main__":
    sys.exit(main())
