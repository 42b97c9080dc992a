"""One measured process of `bench.evidence`: ``python -m bench.evidence_process cold|warm|refresh URL SERVER_PID NAME``.

Prints what it took as JSON. ``NAME`` is a project, or for ``refresh`` the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.process import family, processor_seconds, reaped_seconds
from dashboards.dossier import load_dossier, load_result
from dashboards.refresh import refresh_results
from store.database import connect

WARM_TIMES = 3


@dataclass
class Taken:
    """Seconds of processor time, of this process, its children and the server ``server``, and on the clock."""

    server: int
    cpu_s: float = field(init=False)
    clock_s: float = field(init=False)

    def measure(self, work: Callable[[], None]) -> Taken:
        """Do ``work`` once."""
        before, began = self._cpu(), time.monotonic()
        work()
        self.cpu_s, self.clock_s = self._cpu() - before, time.monotonic() - began
        return self

    def _cpu(self) -> float:
        own = resource.getrusage(resource.RUSAGE_SELF)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
        return ours + sum(map(processor_seconds, family(self.server))) + reaped_seconds(self.server)


def main(kind: str, url: str, server: int, name: str) -> None:
    cores = sorted(os.sched_getaffinity(0))[: int(name) if kind == "refresh" else 1]
    for pid in (0, *family(server)):
        os.sched_setaffinity(pid, cores)
    found: dict[str, object] = {}
    if kind == "refresh":

        def refresh() -> None:
            report = refresh_results(url, processes=len(cores))
            found["refreshed"] = report.count("refreshed")

        taken = [Taken(server).measure(refresh)]
    else:
        with connect(url) as connection:

            def result() -> None:
                dossier = load_dossier(connection, name) if kind == "cold" else load_result(connection, name)[1]
                if dossier is None:
                    raise AssertionError("nothing was computed")
                content = dossier.to_json()
                text = json.dumps(content["evaluation"], sort_keys=True)
                found["evaluation"] = hashlib.sha256(text.encode()).hexdigest()
                found["verdicts"] = [kpi["verdict"] for kpi in content["evaluation"]["kpis"]]
                found["proven"] = dossier.proven
                found["records"] = dossier.proof.records

            taken = [Taken(server).measure(result) for _ in range(1 if kind == "cold" else WARM_TIMES)]
            connection.rollback()
    best = min(taken, key=lambda one: one.cpu_s)
    found |= {"cpu_s": best.cpu_s, "clock_s": best.clock_s}
    found["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
