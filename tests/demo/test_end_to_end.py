"""The whole demonstration as a user starts it, over short histories: real processes, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from demo.almanac import ZONE
from demo.factory import Factory
from demo.truth import table
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.records import read_records
from wire.event import Event
from wire.record import open_record

PATIENCE_S = 60.0


class Running:
    """A demonstration in a process of its own; its temporary files go to ``temporary``."""

    def __init__(self, folder: Path, temporary: Path, arguments: list[str]) -> None:
        self.temporary = temporary
        self._said = folder / "said"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "shopfloor", "demo", *arguments],
                stderr=said,
                stdout=said,
                env={**os.environ, "TMPDIR": str(self.temporary)},
            )
        self._family: set[psutil.Process] = set()

    @property
    def said(self) -> str:
        return self._said.read_text(encoding="utf-8")

    def until_says(self, pattern: str) -> str:
        """Wait until the demonstration has said something; gives what was said."""
        return self.until(lambda: found.group() if (found := re.search(pattern, self.said)) else None)

    def until(self, answer: Callable[[], Any]) -> Any:
        """Wait for an answer that is not None."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.said
            self._family.update(psutil.Process(self.process.pid).children(recursive=True))
            if (found := answer()) is not None:
                return found
            time.sleep(0.1)
        raise AssertionError(f"waited for {PATIENCE_S} s; it said: {self.said}")

    def end(self) -> int:
        return self.process.wait(timeout=PATIENCE_S)

    def left_behind(self) -> list[str]:
        """Processes of the demonstration that live on, and files in its temporary folder."""
        _, alive = psutil.wait_procs(self._family, timeout=10)
        return [str(process) for process in alive] + [path.name for path in self.temporary.iterdir()]


@contextmanager
def demonstration(folder: Path, *arguments: str) -> Iterator[Running]:
    # Not in pytest's folder: the path of a Unix socket may have 107 bytes only.
    with tempfile.TemporaryDirectory(prefix="demo-") as temporary:
        running = Running(folder, Path(temporary), list(arguments))
        try:
            yield running
        finally:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()


def read_json(address: str) -> Any:
    with urlopen(address, timeout=10) as answer:  # noqa: S310 - the demonstration's own address
        return json.load(answer)


def test_two_days_become_evidence(tmp_path: Path) -> None:
    """Every record that was made is stored, verified and chained, and the sums are those of the simulated factory."""
    out = tmp_path / "out.json"
    with demonstration(tmp_path, "--once", "--days", "2", "--seed", "4", "--json", str(out)) as running:
        running.until_says("Reading 2 days")
        assert running.end() == 0, running.said
        assert running.left_behind() == []
    outcome = json.loads(out.read_text(encoding="utf-8"))
    records = outcome["records"]
    assert records["made"] == records["committed"] == records["verified"] > 48
    assert records["quarantined"] == 0
    assert outcome["chain"] == {"intact": True, "faults": []}
    assert outcome["proof"]["proven"] is True
    polls = 2 * 288 + 1
    ratios = 3 * 2  # the line meter's transformer ratios: soon after the start, then at half past midnight
    assert outcome["samples"] == polls * 40 + ratios
    assert 0 < outcome["wire_bytes"] <= 3.5 * outcome["samples"]
    assert {kpi["verdict"] for kpi in outcome["kpis"]} == {"insufficient_data"}
    simulated = table(Factory(4), (date(2025, 7, 1), date(2025, 7, 3)))
    energy, output = outcome["totals"]["energy"], outcome["totals"]["output"]
    assert energy["sum"] == pytest.approx(simulated.energy.sum(), abs=0.11)
    assert output["sum"] == simulated.output.sum()
    assert outcome["seconds"].keys() >= {"start", "history", "intervals", "verification", "evidence"}


def test_the_factory_goes_live_and_ends_with_sigterm(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with demonstration(tmp_path, "--days", "1", "--keep", str(kept)) as running:
        address = running.until_says(r"http://127\.0\.0\.1:\d+(?=/live)")
        begun = time.time()

        def fresh_power() -> float | None:
            values = {value["series"]: value for value in read_json(f"{address}/live.json")["values"]}
            power = values["gw-01/meter-1/active_power"]
            read = datetime.fromisoformat(power["time"])
            assert read.tzinfo is not None
            return power["value"] if read.timestamp() > begun - 60 else None

        now_ms = int(time.time() * 1000)
        day = Factory(1).day_at(now_ms)
        assert day.line_kw.min() * 0.9 < running.until(fresh_power) < day.line_kw.max() * 1.1
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == 0, running.said
        assert running.left_behind() == []
    with EmbeddedPostgres(kept / "database") as postgres, connect(postgres.url) as connection:
        payloads = [open_record(record.data, None).payload for record in read_records(connection, "gw-01")]
    names = [payload.body.name for payload in payloads if isinstance(payload.body, Event)]
    assert names == ["start", "stop", "configuration", "start", "stop"]
    assert [payload.seq for payload in payloads] == list(range(1, len(payloads) + 1))
    assert datetime.fromtimestamp(payloads[0].time_ms / 1000, ZONE).date() == date(2025, 7, 1)


def test_an_interrupted_history_leaves_nothing(tmp_path: Path) -> None:
    with demonstration(tmp_path, "--once") as running:
        running.until_says("Reading 142 days")
        time.sleep(1.0)
        running.process.send_signal(signal.SIGINT)
        assert running.end() == 130, running.said
        assert running.left_behind() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/nonexistent"], "/nonexistent/steel_industry_energy.csv: cannot be read"),
        (["--effect", "1.5"], "effect 1.5: must be a share"),
        (["--seed", "-1"], "seed -1: must be 0 or more"),
        (["--days", "0"], "argument --days: 0 is too small"),
        (["--json", "/nonexistent/out.json"], "/nonexistent/out.json: the folder to write it into does not exist"),
    ],
)
def test_wrong_arguments_end_with_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    with demonstration(tmp_path, "--once", *arguments) as running:
        assert running.end() == 2
        assert f"error: {message}" in running.said


def test_a_folder_that_is_not_empty_is_not_touched(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "note").write_text("mine", encoding="utf-8")
    with demonstration(tmp_path, "--once", "--keep", str(kept)) as running:
        assert running.end() == 2
        assert "is not an empty folder" in running.said
    assert [path.name for path in kept.iterdir()] == ["note"]


def test_steel_works_are_replayed_to_the_published_sums(tmp_path: Path, steel_folder: Path) -> None:
    """January of the real works: the published sum, through register, record, interval and plan."""
    out = tmp_path / "out.json"
    with demonstration(tmp_path, "--once", "--days", "31", "--data", str(steel_folder), "--json", str(out)) as running:
        assert running.end() == 0, running.said
    outcome = json.loads(out.read_text(encoding="utf-8"))
    assert outcome["totals"]["energy"]["months"] == {"2018-01": 126_238.29}
    assert outcome["truth"] is None
    assert {kpi["verdict"] for kpi in outcome["kpis"]} == {"insufficient_data"}


@pytest.mark.soak
def test_the_whole_year_of_the_steel_works(tmp_path: Path, steel_folder: Path) -> None:
    out = tmp_path / "out.json"
    with demonstration(tmp_path, "--once", "--data", str(steel_folder), "--json", str(out)) as running:
        assert running.process.wait(timeout=600) == 0, running.said
    outcome = json.loads(out.read_text(encoding="utf-8"))
    energy = outcome["totals"]["energy"]
    assert energy["sum"] == 959_636.71
    assert list(energy["months"].values()) == [
        126238.29, 91497.34, 80230.41, 78769.80, 79059.28, 65404.64,
        81674.41, 68559.43, 57883.07, 84665.65, 86217.61, 59436.78,
    ]  # fmt: skip
    assert energy["peak_kw"] == 628.72
    assert energy["load_factor"] == pytest.approx(0.1742390, abs=5e-8)
    assert outcome["totals"]["reactive_lagging"]["sum"] == 456_759.84
    assert outcome["totals"]["reactive_leading"]["sum"] == 135_638.04
    (saving,) = outcome["kpis"]
    assert saving["verdict"] == "insufficient_data"
    assert "no_production_variable" in {reason["code"] for reason in saving["reasons"]}
    assert outcome["records"]["made"] == outcome["records"]["verified"]


@pytest.mark.soak
def test_the_whole_history_of_the_factory(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with demonstration(tmp_path, "--once", "--json", str(out)) as running:
        assert running.process.wait(timeout=900) == 0, running.said
    outcome = json.loads(out.read_text(encoding="utf-8"))
    records = outcome["records"]
    assert records["made"] == records["committed"] == records["verified"]
    assert outcome["wire_bytes"] <= 3 * outcome["samples"]
    saving = next(kpi for kpi in outcome["kpis"] if kpi["id"] == "saving")
    low, high = saving["interval"]
    assert low <= outcome["truth"]["change"] <= high
    assert saving["verdict"] == "met"
