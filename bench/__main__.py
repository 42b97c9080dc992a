"""``python -m bench [--only NAME]``: measures, prints a table, and writes ``bench/results.json``, flat name: number."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path

SUBJECTS = ("wire", "agent", "ingest")
RESULTS = Path(__file__).with_name("results.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=SUBJECTS, help="measure one subject instead of all")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in SUBJECTS if options.only is None else (options.only,):
        began = time.monotonic()
        measured = importlib.import_module(f"bench.{name}").measure()
        figures.update({f"{name}.{key}": value for key, value in measured.items()})
        print(f"\n{name} ({time.monotonic() - began:.0f} s)")
        for key, value in measured.items():
            print(f"  {name + '.' + key:<34} {value:>16,.2f}")
    RESULTS.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"\nwritten to {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
