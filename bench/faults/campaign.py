"""The campaign: faults are injected, several at a time, and everything is accounted for at the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.faults.account import Account, account
from bench.faults.meddler import Meddler
from bench.faults.network import Network
from bench.faults.plan import Fault, faults
from bench.faults.served import ServedDevices
from bench.faults.site import DEVICES_EACH, FLUSH_S, GATEWAYS, INTERVAL_MS, LONGEST_STEP_S, WORKERS, Site
from store.database import connect
from store.dirty import dirty_count
from store.quarantine import quarantine_count
from store.records import read_head, read_records
from wire.record import open_record

AT_ONCE = 3
"""Faults that may be under way together, never two at one target."""

PAUSE_S = 3.0
"""Between the beginnings of two faults."""

SETTLE_S = 180.0
"""How long the site may take, when all is well again, to have everything acknowledged."""

_LOOK_S = 0.25
_STEP_S = 0.05


@dataclass(slots=True)
class Outcome:
    """What a campaign came to. ``recovery_s`` holds, by kind, the times from the end of a fault until every gateway had
    a record in the database that was made after it. ``problems`` is what went wrong beside the account."""

    injected: Counter[str] = field(default_factory=Counter)
    recovery_s: dict[str, list[float]] = field(default_factory=dict)
    accounts: Account = field(default_factory=Account)
    quarantined: int = 0
    incidents: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost or double, and everything that was checked is as it should be."""
        return not (self.problems or self.accounts.lost or self.accounts.duplicated)


@dataclass(slots=True)
class _Running:
    fault: Fault
    until: float


@dataclass(slots=True)
class _Recovering:
    fault: Fault
    since: float
    beyond: dict[str, int]


def run(directory: Path, seconds: float, seed: int, say: Callable[[str], None]) -> Outcome:
    """Run a campaign of ``seconds`` in ``directory``; ``say`` takes a line for every fault."""
    with contextlib.ExitStack() as stack:
        devices = stack.enter_context(ServedDevices(DEVICES_EACH * len(GATEWAYS)))
        site = Site(directory, stack.enter_context(Network()), devices.ports)
        stack.callback(site.stop)
        site.start()
        meddler = Meddler(site.broker.mqtt_port, seed)
        stack.callback(meddler.stop)
        campaign = _Campaign(site, meddler, seed, say)
        campaign.wait_settled(SETTLE_S)
        campaign.inject_for(seconds)
        campaign.finish(devices)
        return campaign.outcome


class _Campaign:
    def __init__(self, site: Site, meddler: Meddler, seed: int, say: Callable[[str], None]) -> None:
        self.outcome = Outcome(missing=site.missing)
        self._site = site
        self._meddler = meddler
        self._say = say
        self._plan = faults(site.possible(), seed)
        self._running: list[_Running] = []
        self._recovering: list[_Recovering] = []
        self._down: set[str] = set()
        self._looked = 0.0

    def inject_for(self, seconds: float) -> None:
        """Inject faults for ``seconds``, then end those under way and wait until everything has recovered."""
        began = following = time.monotonic()
        waiting = next(self._plan)
        while (now := time.monotonic()) < began + seconds or self._running:
            busy = {one.fault.target for one in self._running}
            free = len(self._running) < AT_ONCE and waiting.target not in busy
            if now < began + seconds and now >= following and free:
                self._begin(waiting)
                self._running.append(_Running(waiting, now + waiting.seconds))
                waiting, following = next(self._plan), now + PAUSE_S
            for one in [one for one in self._running if one.until <= now]:
                self._running.remove(one)
                self._end(one.fault)
                beyond = {gateway: self._site.chain_seq(gateway) for gateway in GATEWAYS}
                self._recovering.append(_Recovering(one.fault, time.monotonic(), beyond))
            self._watch()
            time.sleep(_STEP_S)
        self._wait_until(lambda: not self._recovering, "every fault to be recovered from")

    def wait_settled(self, seconds: float) -> None:
        """Wait until every gateway has records in the database."""
        self._wait_until(lambda: all(seq > 2 for seq in self._committed().values()), "the first records", seconds)

    def finish(self, devices: ServedDevices) -> None:
        """Stop the site part by part, and compare what the devices served with what is stored."""
        site, outcome = self._site, self.outcome
        for name, link in site.links.items():
            # From here on no answer can be under way when an agent stops.
            if " to device" in name:
                link.cut()
        time.sleep(2 * FLUSH_S)
        self._terminate(GATEWAYS)
        made = {gateway: site.chain_seq(gateway) for gateway in GATEWAYS}
        self._wait_until(lambda: self._committed() == made, f"everything that was made to be committed: {made}")
        self._wait_until(lambda: self._dirty() == 0, "the intervals of every day to be computed")
        self._terminate(WORKERS)
        served = devices.finish()
        self._rebuild_check()
        with connect(site.postgres.url) as conn:
            for number, gateway in enumerate(GATEWAYS):
                stored = [open_record(one.data, None).payload for one in read_records(conn, gateway)]
                mine = served[number * DEVICES_EACH : (number + 1) * DEVICES_EACH]
                outcome.accounts.add(account(gateway, stored, mine, INTERVAL_MS))
            outcome.quarantined = quarantine_count(conn)
            outcome.incidents = dict(conn.execute("SELECT kind, count(*) FROM incident GROUP BY kind ORDER BY kind"))

    def _terminate(self, names: Sequence[str]) -> None:
        self._down.update(names)
        for name, code in self._site.terminate(names).items():
            if code:
                self.outcome.problems.append(f"{name} ended with code {code} when it was asked to stop")

    def _rebuild_check(self) -> None:
        command = [sys.executable, "-m", "shopfloor", "rebuild", "--check", "--json"]
        done = subprocess.run(
            [*command, "--database", self._site.postgres.url], capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stdout + done.stderr
            self.outcome.problems.append(f"tables do not equal records, or a chain does not verify: {said}")
        else:
            self._say(f"rebuild --check: {json.dumps(json.loads(done.stdout))[:300]}")

    def _begin(self, fault: Fault) -> None:
        self._say(str(fault))
        site, target = self._site, fault.target
        match fault.kind:
            case "kill":
                site.kill(target)
                self._down.add(target)
            case "pause":
                self._signal(target, signal.SIGSTOP)
                self._down.add(target)
            case "cut":
                site.links[target].cut()
            case "stall":
                site.links[target].stall()
            case "delay":
                site.links[target].delay(fault.amount)
            case "spoil":
                site.links[target].spoil()
            case "full disk":
                site.fill_disk()
            case "clock step":
                site.set_clock((2 * fault.amount - 1) * LONGEST_STEP_S)
            case "duplicate":
                self._meddler.duplicate()
            case "reorder":
                self._meddler.reorder()
            case "corrupt":
                self._meddler.corrupt()
        self.outcome.injected[fault.kind] += 1

    def _end(self, fault: Fault) -> None:
        site, target = self._site, fault.target
        match fault.kind:
            case "kill":
                site.start_part(target)
                self._down.discard(target)
            case "pause":
                self._signal(target, signal.SIGCONT)
                self._down.discard(target)
            case "full disk":
                site.free_disk()
            case "clock step":
                site.set_clock(0.0)
            case "cut" | "stall" | "delay" | "spoil":
                site.links[target].heal()

    def _signal(self, part: str, number: signal.Signals) -> None:
        for pid in self._site.pids(part):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _watch(self) -> None:
        if (now := time.monotonic()) < self._looked + _LOOK_S:
            return
        self._looked = now
        for name in self._site.ended():
            if name not in self._down:
                self.outcome.problems.append(f"{name} ended by itself: {self._site.last_words(name)}")
                self._say(f"{self.outcome.problems[-1]}; it is started again")
                self._site.start_part(name)
        if not self._recovering or "database" in self._down:
            return
        committed = self._committed()
        for one in list(self._recovering):
            if all(committed[gateway] > seq for gateway, seq in one.beyond.items()):
                self._recovering.remove(one)
                self.outcome.recovery_s.setdefault(one.fault.kind, []).append(time.monotonic() - one.since)

    def _committed(self) -> dict[str, int]:
        with connect(self._site.postgres.url) as conn:
            return {gateway: read_head(conn, gateway).seq for gateway in GATEWAYS}

    def _dirty(self) -> int:
        with connect(self._site.postgres.url) as conn:
            return dirty_count(conn)

    def _wait_until(self, condition: Callable[[], bool], what: str, seconds: float = SETTLE_S) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                waiting = [str(one.fault) for one in self._recovering]
                self.outcome.problems.append(
                    f"waited {seconds:.0f} s for {what}; committed {self._committed()}, recovering from {waiting}"
                )
                self._recovering.clear()
                return
            self._watch()
            time.sleep(_STEP_S)
