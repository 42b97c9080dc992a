"""``python -m bench.faults [--minutes 15] [--seed N]``: a campaign of faults, and the account of it."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.faults.campaign import Outcome, run
from bench.results import keep


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="how long faults are injected (default: 15)")
    parser.add_argument("--seed", type=int, help="of the faults' order and extent (default: a new one, printed)")
    parser.add_argument("--keep", action="store_true", help="keep the directory with logs, spools and database")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    directory = Path(tempfile.mkdtemp(prefix="shopfloor-faults-"))
    directory.chmod(0o755)
    print(f"seed {seed}, {options.minutes:g} minutes, in {directory}", flush=True)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    outcome = run(directory, 60 * options.minutes, seed, say)
    _report(outcome, seed)
    failed = not outcome.passed
    if outcome.missing and os.environ.get("CI"):
        print("FAILED: in CI every kind of fault must be possible")
        failed = True
    if options.keep or failed:
        print(f"kept: {directory}")
    else:
        shutil.rmtree(directory)
    return 1 if failed else 0


def _report(outcome: Outcome, seed: int) -> None:
    accounts = outcome.accounts
    print(f"\n{'fault':<12} {'injected':>8} {'recovered':>9} {'median s':>9} {'longest s':>9}")
    for kind, count in sorted(outcome.injected.items()):
        times = outcome.recovery_s.get(kind, [])
        median, longest = (statistics.median(times), max(times)) if times else (float("nan"), float("nan"))
        print(f"{kind:<12} {count:>8} {len(times):>9} {median:>9.1f} {longest:>9.1f}")
    for kind, reason in outcome.missing.items():
        print(f"NOT INJECTED: {kind}: {reason}")
    every = sorted(time for times in outcome.recovery_s.values() for time in times)
    figures = {
        "injected": float(outcome.injected.total()),
        "lost": float(accounts.lost),
        "duplicated": float(accounts.duplicated),
        "recovery_p95_s": every[int(0.95 * (len(every) - 1))] if every else float("nan"),
    }
    print(
        f"\nanswers served by the devices {accounts.served}, on record {accounts.stored}, "
        f"declared missing {accounts.declared}"
    )
    print(f"quarantined {outcome.quarantined}, incidents {outcome.incidents}")
    for finding in [*accounts.findings, *outcome.problems]:
        print(f"PROBLEM: {finding}")
    for key, value in figures.items():
        print(f"  faults.{key:<20} {value:>10.1f}")
    print(f"seed {seed}: {'passed' if outcome.passed else 'FAILED'}")
    keep({f"faults.{key}": value for key, value in figures.items()})


if __name__ == "__main__":
    sys.exit(main())
