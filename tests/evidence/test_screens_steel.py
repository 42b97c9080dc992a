"""A real steel works: its genuine year raises no alarm, and what is planted in it is found, at the command line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evidence.evaluate import evaluate
from evidence.plan import Plan, load_plan
from evidence.table import IntervalTable, midnight_ms
from shopfloor.main import main

PLAN = Path(__file__).parent / "plans" / "steel_with_power_factor.yaml"
QUARTER_MS = 900_000
WEEK = 672
HALF_YEAR = 181 * 96
COLUMNS = {
    "energy": "Usage_kWh",
    "lagging": "Lagging_Current_Reactive_Power_kVarh",
    "leading": "Leading_Current_Reactive_Power_kVarh",
    "lagging_power_factor": "Lagging_Current_Power_Factor",
    "leading_power_factor": "Leading_Current_Power_Factor",
}
Values = dict[str, NDArray[np.float64]]
PAGE = (Path(__file__).parents[2] / "docs" / "evidence" / "screens.md").read_text(encoding="utf-8")
PRINTED = re.findall(r"```\n(.*?)```", PAGE.split("\n## Measured\n")[1], flags=re.DOTALL)[0].strip().splitlines()


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(PLAN.read_text(encoding="utf-8"), PLAN)


@pytest.fixture(scope="module")
def genuine(shared_data: Path) -> Values:
    """The year by interval start: stamps are ends, and a day's closing 00:00 row carries the day that has ended."""
    with (shared_data / "steel" / "steel_industry_energy.csv").open(encoding="utf-8-sig") as file:
        rows = []
        for row in csv.DictReader(file):
            end = datetime.strptime(row["date"], "%d/%m/%Y %H:%M").replace(tzinfo=UTC)
            if (end.hour, end.minute) == (0, 0):
                end += timedelta(days=1)
            rows.append((end, row))
    rows.sort(key=lambda pair: pair[0])
    return {name: np.array([float(row[column]) for _, row in rows]) for name, column in COLUMNS.items()}


Screens = dict[str, dict[str, Any]]


@pytest.fixture
def screened(plan: Plan, genuine: Values) -> Callable[..., Screens]:
    """Evaluate the year with some series replaced; the screens by name."""

    def run(**replaced: NDArray[np.float64]) -> Screens:
        return {screen["name"]: screen for screen in evaluation(plan, {**genuine, **replaced})["screens"]}

    return run


def evaluation(plan: Plan, values: Values) -> dict[str, Any]:
    start = midnight_ms(date(2018, 1, 1), plan.zone)
    times = start + QUARTER_MS * np.arange(len(values["energy"]), dtype=np.int64)
    return evaluate(plan, IntervalTable(times, QUARTER_MS, values, plan.series, plan.zone)).to_json()


def places(screen: dict[str, Any], plan: Plan) -> list[tuple[str, str, str]]:
    def moment(time_ms: int) -> str:
        return datetime.fromtimestamp(time_ms / 1000, plan.zone).strftime("%Y-%m-%d %H:%M")

    return [
        (",".join(place["series"]), moment(place["start_ms"]), moment(place["end_ms"])) for place in screen["places"]
    ]


def test_the_genuine_year_raises_no_alarm(screened: Callable[..., Screens]) -> None:
    screens = screened()
    assert {name for name, one in screens.items() if one["state"] == "clear"} == {
        *("impossible_increments", "meter_constant", "power_factor_identity", "replay_exact", "replay_noisy"),
        *("stuck", "gaps_at_convenient_times"),
    }
    assert [name for name, one in screens.items() if one["state"] == "anomaly"] == []
    for name in ("energy", "lagging", "leading"):
        assert screens["meter_constant"]["figures"][f"{name}.constant"] == pytest.approx(0.036, rel=1e-12)
        assert screens["meter_constant"]["figures"][f"{name}.on_lattice"] == 1.0
    assert screens["stuck"]["figures"]["energy.longest_run"] <= 8


def test_a_second_half_of_nine_tenths_is_found(screened: Callable[..., Screens], genuine: Values, plan: Plan) -> None:
    energy = genuine["energy"].copy()
    energy[HALF_YEAR:] = np.round(0.9 * energy[HALF_YEAR:], 2)
    screens = screened(energy=energy)
    lattice = screens["meter_constant"]
    assert lattice["state"] == "anomaly"
    assert lattice["statement"] == {"en": "anomaly, needs checking on site", "zh": "异常，需现场核实"}
    assert places(lattice, plan) == [("energy", "2018-07-01 00:00", "2019-01-01 00:00")]
    assert lattice["places"][0]["figures"]["off_lattice"] == pytest.approx(0.64, abs=0.01)
    identity = screens["power_factor_identity"]
    assert identity["state"] == "anomaly"
    assert min(start for _, start, _ in places(identity, plan)) == "2018-07-01 00:00"


def test_all_three_energies_of_nine_tenths_are_found(screened: Callable[..., Screens], genuine: Values) -> None:
    """Scaled alike they keep the power factor; the lattice tells."""
    scaled = {name: genuine[name].copy() for name in ("energy", "lagging", "leading")}
    for values in scaled.values():
        values[HALF_YEAR:] = np.round(0.9 * values[HALF_YEAR:], 2)
    found = screened(**scaled)["meter_constant"]
    assert found["state"] == "anomaly"
    assert {name for place in found["places"] for name in place["series"]} == {"energy", "lagging", "leading"}


def test_a_replayed_week_is_found(screened: Callable[..., Screens], genuine: Values, plan: Plan) -> None:
    copied = {name: values.copy() for name, values in genuine.items()}
    for values in copied.values():
        values[40 * WEEK : 41 * WEEK] = values[10 * WEEK : 11 * WEEK]
    found = screened(**copied)["replay_exact"]
    assert found["state"] == "anomaly"
    together = [place for place in places(found, plan) if place[0].count(",") == len(COLUMNS) - 1]
    assert [place[1:] for place in together] == [("2018-10-08 00:00", "2018-10-15 00:00")]
    source_ms = found["places"][0]["figures"]["source_start_ms"]
    assert datetime.fromtimestamp(source_ms / 1000, plan.zone).date() == date(2018, 3, 12)


def test_a_replayed_week_of_energy_alone_is_found(screened: Callable[..., Screens], genuine: Values) -> None:
    energy = genuine["energy"].copy()
    energy[40 * WEEK : 41 * WEEK] = energy[10 * WEEK : 11 * WEEK]
    screens = screened(energy=energy)
    assert screens["replay_exact"]["state"] == "anomaly"
    assert {name for place in screens["replay_exact"]["places"] for name in place["series"]} == {"energy"}
    assert screens["power_factor_identity"]["state"] == "anomaly"


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1])
def test_a_week_replayed_with_noise_is_found(
    noise: float, screened: Callable[..., Screens], genuine: Values, plan: Plan
) -> None:
    """The noise is kept on the meter's lattice: only the copy is to be seen."""
    random = np.random.default_rng(7)
    energy = genuine["energy"].copy()
    copied = energy[10 * WEEK : 11 * WEEK] * (1 + noise * random.standard_normal(WEEK))
    energy[40 * WEEK : 41 * WEEK] = np.round(0.036 * np.maximum(np.rint(copied / 0.036), 0), 2)
    screens = screened(energy=energy)
    assert screens["replay_exact"]["state"] == "clear"
    found = screens["replay_noisy"]
    assert found["state"] == "anomaly"
    ((name, start, end),) = places(found, plan)
    assert name == "energy"
    assert start == "2018-10-08 00:00"
    assert end in {"2018-10-14 00:00", "2018-10-15 00:00"}
    assert found["places"][0]["figures"]["days_before"] == 210


@pytest.mark.parametrize("series", ["energy", "lagging", "lagging_power_factor"])
def test_a_stuck_channel_is_found(series: str, screened: Callable[..., Screens], genuine: Values, plan: Plan) -> None:
    values = genuine[series].copy()
    values[20_000:20_096] = values[20_000]
    found = screened(**{series: values})["stuck"]
    assert found["state"] == "anomaly"
    assert (series, "2018-07-28 08:00", "2018-07-29 08:00") in places(found, plan)


def test_a_glitch_of_53700_kwh_is_no_energy(plan: Plan, genuine: Values) -> None:
    energy = genuine["energy"].copy()
    lost = energy[20_000]
    energy[20_000] = 53_700.0
    result = evaluation(plan, {**genuine, "energy": energy})
    found = next(screen for screen in result["screens"] if screen["name"] == "impossible_increments")
    assert places(found, plan) == [("energy", "2018-07-28 08:00", "2018-07-28 08:15")]
    assert result["totals"]["energy"]["sum"] == pytest.approx(959_636.71 - lost, abs=1e-6)
    assert result["totals"]["energy"]["peak_kw"] == 628.72


def test_the_command_shows_what_needs_checking(
    genuine: Values, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reviewer's table with one false interval, from the command line, in both languages and as JSON."""
    energy = genuine["energy"].copy()
    energy[20_000] = 53_700.0
    path = tmp_path / "steel.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["time", *COLUMNS])
        start = datetime(2018, 1, 1, tzinfo=UTC)
        columns = [energy, *(genuine[name] for name in list(COLUMNS)[1:])]
        for row, values in enumerate(zip(*columns, strict=True)):
            table.writerow([f"{start + timedelta(minutes=15 * row):%Y-%m-%d %H:%M}", *map(float, values)])
    arguments = ["evidence", "evaluate", str(PLAN), "--data", str(path)]
    assert main(arguments) == 0
    english = capsys.readouterr().out
    assert "Impossible increments (strong)   anomaly, needs checking on site: 1 interval(s) of energy" in english
    assert "    2018-07-28 08:00 – 2018-07-28 08:15   energy" in english
    assert "Phase sums (strong)   NOT CHECKED: " in english
    assert "energy   959,6" in english
    assert "peak (mean of 15 min) 628.72 kW" in english
    assert main([*arguments, "--language", "zh"]) == 0
    chinese = capsys.readouterr().out
    assert "不可能的增量 (强)   异常，需现场核实: " in chinese
    assert main([*arguments, "--json", "-"]) == 0
    screens = {one["name"]: one for one in json.loads(capsys.readouterr().out)["screens"]}
    assert screens["impossible_increments"]["state"] == "anomaly"
    assert screens["phase_sums"]["state"] == "not_checked"


@pytest.fixture(scope="module")
def measured(plan: Plan, genuine: Values) -> dict[str, str]:
    """The numbers of the documentation, computed again."""

    def run(**changed: NDArray[np.float64]) -> Screens:
        return {screen["name"]: screen for screen in evaluation(plan, {**genuine, **changed})["screens"]}

    def noisy(noise: float) -> str:
        copied = energy.copy()
        factor = 1 + noise * np.random.default_rng(7).standard_normal(WEEK)
        copied[40 * WEEK : 41 * WEEK] = np.round(
            0.036 * np.maximum(np.rint(energy[10 * WEEK : 11 * WEEK] * factor / 0.036), 0), 2
        )
        return f"{run(energy=copied)['replay_noisy']['places'][0]['figures']['correlation']:.3f}"

    energy = genuine["energy"]
    clear = run()
    scaled, stuck, glitch = energy.copy(), energy.copy(), energy.copy()
    scaled[HALF_YEAR:] = np.round(0.9 * scaled[HALF_YEAR:], 2)
    stuck[20_000:20_096] = stuck[20_000]
    glitch[20_000] = 53_700.0
    replayed = {name: values.copy() for name, values in genuine.items()}
    for values in replayed.values():
        values[40 * WEEK : 41 * WEEK] = values[10 * WEEK : 11 * WEEK]
    nine, again = run(energy=scaled), run(**replayed)["replay_exact"]
    false = evaluation(plan, {**genuine, "energy": glitch})
    bound = next(one for one in false["screens"] if one["name"] == "impossible_increments")["places"][0]["figures"]
    lattice, identity = nine["meter_constant"], nine["power_factor_identity"]
    figures = clear["meter_constant"]["figures"]
    return {
        "genuine: anomalies": str(sum(one["state"] == "anomaly" for one in clear.values())),
        "genuine: not checked": str(sum(one["state"] == "not_checked" for one in clear.values())),
        "genuine: energy constant": f"{figures['energy.constant']:g}",
        "genuine: energy on lattice": f"{figures['energy.on_lattice']:.6f}",
        "genuine: longest run of energy": f"{clear['stuck']['figures']['energy.longest_run']:.0f}",
        "genuine: nearest week of energy": f"{clear['replay_noisy']['figures']['energy.highest_nearest']:.3f}",
        "second half x 0.9: meter_constant from": places(lattice, plan)[0][1],
        "second half x 0.9: off lattice": f"{lattice['places'][0]['figures']['off_lattice']:.3f}",
        "second half x 0.9: power_factor_identity from": min(start for _, start, _ in places(identity, plan)),
        "week replayed: replay_exact from": places(again, plan)[0][1],
        "week replayed: replay_exact rows": f"{again['places'][0]['figures']['rows']:.0f}",
        "week replayed with 1 % noise: correlation": noisy(0.01),
        "week replayed with 10 % noise: correlation": noisy(0.1),
        "a day stuck: intervals": f"{run(energy=stuck)['stuck']['places'][0]['figures']['intervals']:.0f}",
        "glitch of 53,700 kWh: bound": f"{bound['bound']:.0f}",
        "glitch of 53,700 kWh: peak kW": f"{false['totals']['energy']['peak_kw']:.2f}",
    }


@pytest.mark.parametrize("line", PRINTED)
def test_a_printed_number_is_what_the_screens_say(line: str, measured: dict[str, str]) -> None:
    expression, printed = line.rsplit(" = ", 1)
    assert measured[expression] == printed
