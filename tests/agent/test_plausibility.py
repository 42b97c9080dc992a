"""What the checks of a device's values find, and what they leave undecided."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import parse_config
from agent.description import describe
from agent.plausibility import Check, Outcome, checks, plausible_voltage
from agent.readout import DeviceReadout, ValueRead

SOUND = {
    "voltage_l1": 229.0, "voltage_l2": 231.0, "voltage_l3": 230.0,
    "current_l1": 40.0, "current_l2": 41.0, "current_l3": 39.0,
    "active_power_l1": 8.244, "active_power_l2": 8.5239, "active_power_l3": 8.073,
    "active_power": 24.841, "reactive_power": 12.03, "apparent_power": 27.6,
    "power_factor": 0.9, "frequency": 50.01, "active_energy_import": 1234.5, "active_energy_export": 0.0,
}  # fmt: skip


def readout(
    *rounds: dict[str, Any], extra: str = "", model: str = "acrel-adl400", seconds: float = 60.0
) -> DeviceReadout:
    text = (
        "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n  - id: a\n    protocol: modbus-tcp\n"
        f"    host: 127.0.0.1\n    devices: [{{id: m, model: {model}, interval: 1s{extra}}}]\n"
    )
    config = parse_config(text, "gateway.yaml", Path("/nowhere"))
    (described,) = describe(config).devices
    units = {one.name: one.unit for one in described.series}
    found = DeviceReadout("127.0.0.1:502", next(config.devices())[1], described)
    for number, values in enumerate(rounds):
        time_ms = 1_750_000_000_000 + round(1000 * number * seconds)
        found.rounds.append({name: ValueRead(time_ms, "", value, units[name]) for name, value in values.items()})
    return found


def outcomes(device: DeviceReadout) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in checks(device)}


def failed(device: DeviceReadout) -> list[str]:
    return [name for name, outcome in outcomes(device).items() if outcome is Outcome.FAIL]


def the(name: str, device: DeviceReadout) -> Check:
    return next(check for check in checks(device) if check.name == name)


def test_a_sound_meter_passes_everything_that_can_be_checked() -> None:
    later = SOUND | {"active_energy_import": SOUND["active_energy_import"] + 0.4}
    found = outcomes(readout(SOUND, later))
    left = {name for name, outcome in found.items() if outcome is not Outcome.PASS}
    assert left == {"active_energy_export against power"}
    assert {
        "answers", "voltage_l1", "frequency", "power_factor", "direction of the phases", "S² = P² + Q²",
        "sum of the phases, active_power", "active_power_l1 against V * I", "active_power against V * I * PF",
        "active_energy_import above zero", "active_energy_import against power",
    } <= set(found)  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        ({"frequency": 5001.0}, "frequency"),
        ({"voltage_l2": 2310.0}, "voltage_l2"),
        ({"voltage_l2": 0.0}, "voltage_l2"),
        ({"active_power_l3": -8.073}, "direction of the phases"),
        ({"active_power": 2.4841}, "sum of the phases, active_power"),
        ({"current_l1": 4.0}, "active_power_l1 against V * I"),
        ({"power_factor": 0.45}, "active_power against V * I * PF"),
        ({"power_factor": 90.0}, "power_factor"),
        ({"apparent_power": 276.0}, "S² = P² + Q²"),
        ({"active_energy_import": -1.0}, "active_energy_import above zero"),
    ],
)
def test_a_wrong_value_fails_where_it_contradicts_others(wrong: dict[str, float], check: str) -> None:
    assert check in failed(readout(SOUND | wrong))


@pytest.mark.parametrize("rise", [0.004, 4.0, 0.0])
def test_energy_that_does_not_rise_as_power_says_fails(rise: float) -> None:
    later = SOUND | {"active_energy_import": SOUND["active_energy_import"] + rise}
    assert failed(readout(SOUND, later)) == ["active_energy_import against power"]


def test_energy_that_falls_fails() -> None:
    later = SOUND | {"active_energy_import": SOUND["active_energy_import"] - 1}
    assert "active_energy_import does not fall" in failed(readout(SOUND, later))


def test_a_counter_that_passes_its_modulus_does_not_fall() -> None:
    device = readout({"good_count": 2**32 - 1}, {"good_count": 1}, model="generic-modbus-plc")
    assert failed(device) == []


def test_import_and_export_exchanged_show_in_both() -> None:
    reversed_ = SOUND | {name: -SOUND[name] for name in SOUND if name.startswith("active_power")}
    later = reversed_ | {"active_energy_import": SOUND["active_energy_import"] + 0.4}
    assert failed(readout(reversed_, later)) == [
        "active_energy_import against power",
        "active_energy_export against power",
    ]


def test_too_short_a_time_is_not_checked_and_says_how_long_it_takes() -> None:
    check = the("active_energy_import against power", readout(SOUND, SOUND, seconds=2.0))
    assert check.outcome is Outcome.NOT_CHECKED
    needed = float(check.text.split("needs about ")[1].split()[0])
    risen = SOUND | {"active_energy_import": SOUND["active_energy_import"] + SOUND["active_power"] * needed / 3600}
    longer = the("active_energy_import against power", readout(SOUND, risen, seconds=needed))
    assert longer.outcome is Outcome.PASS


def test_without_load_nothing_is_claimed() -> None:
    idle = dict.fromkeys(SOUND, 0.0) | {f"voltage_l{n}": 230.0 for n in (1, 2, 3)} | {"frequency": 50.0}
    found = outcomes(readout(idle, idle))
    assert Outcome.FAIL not in found.values()
    passed = {name for name, outcome in found.items() if outcome is Outcome.PASS}
    assert passed == {"answers", "voltage_l1", "voltage_l2", "voltage_l3", "frequency", "power_factor"}


def test_a_phase_that_is_not_connected_is_no_fault() -> None:
    single = SOUND | {"voltage_l2": 0.0, "current_l2": 0.0}
    assert the("voltage_l2", readout(single)).outcome is Outcome.NOT_CHECKED


def test_medium_voltage_is_judged_at_the_meter() -> None:
    medium = SOUND | {f"voltage_l{n}": 5774.0 for n in (1, 2, 3)}
    assert the("voltage_l1", readout(medium, extra=", pt_ratio: 100, ct_ratio: 1")).outcome is Outcome.PASS
    assert the("voltage_l1", readout(medium)).outcome is Outcome.FAIL


@pytest.mark.parametrize(("extra", "outcome"), [
    (", ct_ratio: 60", Outcome.PASS), (", ct_ratio: 40", Outcome.FAIL), ("", Outcome.NOT_CHECKED),
])  # fmt: skip
def test_the_ratio_in_the_meter_is_compared_with_the_file(extra: str, outcome: Outcome) -> None:
    assert the("ct_ratio", readout(SOUND | {"ct_ratio": 60}, extra=extra)).outcome is outcome


def test_tariffs_are_added_up_where_there_is_no_total() -> None:
    values = {"active_power": 36.0, "active_energy_import_t1": 10.0, "active_energy_import_t2": 20.0}
    later = values | {"active_energy_import_t2": 20.6}
    found = outcomes(readout(values, later, model="siemens-sentron-pac3200"))
    assert found["active_energy_import against power"] is Outcome.PASS


def test_a_device_that_failed_or_has_nothing_does_not_pass() -> None:
    silent = readout()
    silent.faults.append("no answer within the time-out")
    assert [(check.name, check.outcome) for check in checks(silent)] == [("answers", Outcome.FAIL)]
    assert failed(readout(dict.fromkeys(SOUND))) == ["answers"]


@given(st.floats(0.01, 500), st.floats(-1, 1), st.floats(0, 1000))
def test_values_that_follow_from_each_other_never_fail(current: float, factor: float, energy: float) -> None:
    power = 3 * 230 * current * factor / 1000
    values = {f"voltage_l{n}": 230.0 for n in (1, 2, 3)} | {f"current_l{n}": current for n in (1, 2, 3)}
    values |= {f"active_power_l{n}": power / 3 for n in (1, 2, 3)}
    values |= {"active_power": power, "power_factor": factor, "apparent_power": 3 * 230 * current / 1000}
    values |= {"reactive_power": 3 * 230 * current * math.sqrt(1 - factor**2) / 1000, "frequency": 50.0}
    first = values | {"active_energy_import": energy, "active_energy_export": energy}
    later = values | {
        "active_energy_import": energy + max(power, 0) / 60,
        "active_energy_export": energy + max(-power, 0) / 60,
    }
    assert failed(readout(first, later)) == []


def test_usual_voltages_are_known() -> None:
    assert all(plausible_voltage(volts) for volts in (57.7, 100, 120, 219, 230, 240, 277, 398))
    assert not any(plausible_voltage(volts) for volts in (0, 2.3, 23, 800, 2300))
