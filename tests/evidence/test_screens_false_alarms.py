"""How often screens alarm on genuine data: simulated factories, measured without any meter's error.

Run with ``-s`` to see the rates, as docs/evidence/screens.md prints them.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import date

import numpy as np
import pytest

from demo.almanac import MINUTES_A_DAY
from demo.factory import FIRST_DAY, START_MS, Factory
from evidence.plan import Plan, load_plan
from evidence.screen import Subject, subject_of
from evidence.screens import SCREENS
from evidence.table import DAY_MS, IntervalTable

PLAN = """\
plan: 1
project: simulated
enterprise: simulated
boundary: line and compressor
baseline:  {from: 2025-07-01, to: 2025-09-29}
reporting: {from: 2025-10-06, to: 2025-11-20}
series:
  gate: {quantity: active_energy_import, unit: kWh, resolution: 0.01, parts: [line, compressor], losses: 0.02}
  line: {quantity: active_energy_import, unit: kWh, resolution: 0.01, from: [gw/line/energy]}
  line_power: {quantity: active_power, unit: kW, from: [gw/line/power]}
  line_power_l1: {quantity: active_power, unit: kW, from: [gw/line/power_l1]}
  line_power_l2: {quantity: active_power, unit: kW, from: [gw/line/power_l2]}
  line_power_l3: {quantity: active_power, unit: kW, from: [gw/line/power_l3]}
  line_reactive: {quantity: reactive_power, unit: kvar, from: [gw/line/reactive]}
  line_power_factor: {quantity: power_factor, unit: "1", from: [gw/line/power_factor]}
  compressor: {quantity: active_energy_import, unit: kWh, resolution: 0.01, from: [gw/compressor/energy]}
  good: {quantity: good_count, unit: piece}
  scrap: {quantity: scrap_count, unit: piece}
  outdoor_temperature: {quantity: temperature, unit: degC, resolution: 0.1}
kpis:
  - {id: intensity, kind: energy_intensity, energy: line, output: good}
"""
DAYS = (date(2025, 11, 20) - FIRST_DAY).days
QUARTER_MINUTES = 15
COUNT_KWH = 0.05
"""What the simulated meters' registers count in."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(PLAN, "simulated.yaml")


def simulated(plan: Plan, seed: int) -> Subject:
    """142 days in quarters of an hour, as registers of 0.05 kWh a step and power read every minute tell them."""
    factory = Factory(seed)
    days = [factory.day(index) for index in range(DAYS)]

    def quarters(minutes: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(minutes).reshape(-1, QUARTER_MINUTES)

    def register(counters: list[np.ndarray]) -> np.ndarray:
        ends = np.concatenate([counters[0][:1], *(one[QUARTER_MINUTES::QUARTER_MINUTES] for one in counters)])
        return np.diff(np.floor(ends / COUNT_KWH)) * COUNT_KWH

    power = quarters([day.line_kw for day in days])
    factor = quarters([day.line_power_factor for day in days])
    phases = [quarters([day.line_kw * day.share[phase] for day in days]).mean(axis=1) for phase in range(3)]
    values = {
        "line": register([day.line_kwh for day in days]),
        "compressor": register([day.compressor_kwh for day in days]),
        "line_power": power.mean(axis=1),
        **{f"line_power_l{phase + 1}": phases[phase] for phase in range(3)},
        "line_reactive": (power * np.tan(np.arccos(factor))).mean(axis=1),
        "line_power_factor": factor.mean(axis=1),
        "good": np.concatenate([np.diff(day.good[::QUARTER_MINUTES]) for day in days]).astype(np.float64),
        "scrap": np.concatenate([np.diff(day.scrap[::QUARTER_MINUTES]) for day in days]).astype(np.float64),
        "outdoor_temperature": quarters([day.outdoor_temperature_c for day in days]).mean(axis=1),
    }
    values["gate"] = 1.005 * (values["line"] + values["compressor"])
    # A line that is down now and then: holes at any time of the day.
    chance = np.random.default_rng(seed)
    for start in chance.integers(0, len(power), 40).tolist():
        for column in values.values():
            column[start : start + int(chance.integers(1, 9))] = np.nan
    times = START_MS + DAY_MS * QUARTER_MINUTES // MINUTES_A_DAY * np.arange(len(power), dtype=np.int64)
    table = IntervalTable(times, QUARTER_MINUTES * 60_000, values, plan.series, plan.zone)
    return subject_of(plan, table)


def rates(plan: Plan, seeds: range) -> tuple[Counter[str], Counter[str]]:
    """How many factories each screen alarms on, and how many it could check."""
    alarms: Counter[str] = Counter()
    checked: Counter[str] = Counter()
    write = sys.stdout.write
    for seed in seeds:
        subject = simulated(plan, seed)
        for screen in SCREENS:
            result = screen.result(subject)
            alarms[result.name] += result.state == "anomaly"
            checked[result.name] += result.state != "not_checked"
            if result.state == "anomaly":
                write(f"seed {seed}: {result.name}: {result.finding.en} {result.places[:2]}\n")
    for screen in SCREENS:
        write(f"{screen.name:26} {alarms[screen.name]:3} of {checked[screen.name]:3} factories\n")
    return alarms, checked


GATEWAY_ONLY = {"clock", "configuration_changes", "frozen_readings"}


def test_simulated_factories_raise_no_alarm(plan: Plan) -> None:
    alarms, checked = rates(plan, range(3))
    assert {name for name, count in alarms.items() if count} == set()
    assert {screen.name for screen in SCREENS if not checked[screen.name]} == GATEWAY_ONLY


@pytest.mark.soak
def test_false_alarms_over_many_simulated_factories(plan: Plan) -> None:
    seeds = range(100, 160)
    alarms, _ = rates(plan, seeds)
    strong = sum(alarms[screen.name] for screen in SCREENS if screen.strength == "strong")
    assert strong == 0
    assert sum(alarms.values()) <= 0.05 * len(seeds)
