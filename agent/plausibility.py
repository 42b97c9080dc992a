"""Do the values of a device agree with each other and with physics? Pure, no I/O.

A wrong register map, word order, scale or transformer ratio and a reversed or exchanged current transformer give values
that decode without an error. They show when quantities that hang together are compared: the phases with the total,
power with voltage, current and power factor, energy with the power of the same seconds. The names are those of the
series in ``gateway_configs/devices/``. What cannot be decided from the values at hand is not checked, and the text says
why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from agent.daily import agrees, configured_ratio
from agent.models import load_template
from agent.readout import DeviceReadout, ValueRead
from wire.descriptor import Device, Series
from wire.words import WordType

NOMINAL_VOLTAGES = (
    100 / math.sqrt(3),
    110 / math.sqrt(3),
    100.0,
    110.0,
    120.0,
    127.0,
    220.0,
    230.0,
    240.0,
    277.0,
    347.0,
    400.0,
)
"""Between phase and neutral, V, at the meter's terminals: public networks (IEC 60038) and voltage transformers."""

VOLTAGE_TOLERANCE = 0.2
FREQUENCIES = (45.0, 65.0)

_PHASES = ("l1", "l2", "l3")
_SUM_TOLERANCE = 0.05
_PRODUCT_TOLERANCE = 0.1
_ENERGY_TOLERANCE = 0.1
_REFRESH_SECONDS = 1.0
"""Meters renew their registers about once a second: energy and power are not of the same moment."""

_FLOAT_ENERGY_STEP = 0.01
"""kWh: floats hide in which steps a meter counts; 1 and 10 Wh are common."""

_FLOOR_KW = 0.005
_DECISIVE = 0.5
"""A comparison means something while its tolerance is at most this part of what is compared."""


class Outcome(StrEnum):
    """What a check says."""

    PASS = "PASS"  # noqa: S105 - not a password
    FAIL = "FAIL"
    NOT_CHECKED = "NOT CHECKED"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a device: its name, what it says, and the numbers behind that."""

    name: str
    outcome: Outcome
    text: str


class _Values:
    """Values by name, and in what steps each can move."""

    def __init__(self, described: Device, values: Mapping[str, ValueRead]) -> None:
        self._series = {one.name: one for one in described.series}
        self._values = values

    def get(self, name: str) -> float | None:
        read = self._values.get(name)
        return None if read is None or read.value is None else float(read.value)

    def several(self, names: Sequence[str]) -> list[float] | None:
        """Return the values of all ``names``, ``None`` when one is not available."""
        found = [value for name in names if (value := self.get(name)) is not None]
        return found if len(found) == len(names) else None

    def step(self, name: str) -> float:
        series, value = self._series.get(name), self.get(name)
        return 0.0 if series is None or value is None else _step(series, value)


def checks(device: DeviceReadout) -> list[Check]:
    """Return every check that has a meaning for ``device``, whose values are on the primary side."""
    found = [_answers(device)]
    if not device.values:
        return found
    values = _Values(device.described, device.values)
    found.extend(ratios(device))
    found.extend(_voltages(values, device.described.pt_ratio))
    found.extend(_frequency(values))
    found.extend(_factors(values))
    found.extend(_directions(values))
    found.extend(_sum_of_phases(values))
    found.extend(_phase_powers(values))
    found.extend(_apparent_power(values))
    found.extend(_counters(device))
    return found


def _answers(device: DeviceReadout) -> Check:
    if device.faults:
        return Check("answers", Outcome.FAIL, "; ".join(device.faults))
    missing = [name for name, read in device.values.items() if read.value is None and not _is_text(device, name)]
    text = f"{len(device.values)} values within {device.round_trip_ms} ms a request"
    if len(missing) == len(device.values):
        return Check("answers", Outcome.FAIL, "no value is available: the device marks all of them as invalid")
    return Check("answers", Outcome.PASS, f"{text}; not available: {', '.join(missing)}" if missing else text)


def _is_text(device: DeviceReadout, name: str) -> bool:
    types = {one.name: one.type for one in device.described.series}
    return types.get(name) in (WordType.STRING, WordType.VARIANT)


def ratios(device: DeviceReadout) -> Iterator[Check]:
    """Compare the transformer ratios in the meter with those of the gateway file."""
    for name in ("ct_ratio", "pt_ratio"):
        read = device.values.get(name)
        if read is None or read.value is None:
            continue
        configured = configured_ratio(device.config, name)
        if configured is None:
            text = f"{read.value:g} in the meter; state it in the gateway file to have it compared"
            yield Check(name, Outcome.NOT_CHECKED, text)
        else:
            text = f"{read.value:g} in the meter, {configured:g} in the gateway file"
            yield Check(name, _outcome(agrees(float(read.value), configured)), text)


def _voltages(values: _Values, pt_ratio: float) -> Iterator[Check]:
    star = {phase: volts for phase in _PHASES if (volts := values.get(f"voltage_{phase}")) is not None}
    present = any(plausible_voltage(volts / pt_ratio) for volts in star.values())
    for phase, volts in star.items():
        yield _voltage(f"voltage_{phase}", volts, pt_ratio, 1.0, present and not values.get(f"current_{phase}"))
    for pair in ("l1_l2", "l2_l3", "l3_l1"):
        if (volts := values.get(f"voltage_{pair}")) is not None:
            yield _voltage(f"voltage_{pair}", volts, pt_ratio, math.sqrt(3), present)


def _voltage(name: str, volts: float, pt_ratio: float, factor: float, may_be_absent: bool) -> Check:
    text = f"{volts:.4g} V" if pt_ratio == 1 else f"{volts:.4g} V, {volts / pt_ratio:.4g} V at the meter"
    if volts == 0 and may_be_absent:
        return Check(name, Outcome.NOT_CHECKED, "0 V: not connected, or not measured in this wiring")
    if plausible_voltage(volts / pt_ratio / factor):
        return Check(name, Outcome.PASS, text)
    return Check(name, Outcome.FAIL, f"{text}: no usual voltage within {VOLTAGE_TOLERANCE:.0%}")


def plausible_voltage(volts: float) -> bool:
    """Whether ``volts`` between phase and neutral at a meter's terminals is near one of `NOMINAL_VOLTAGES`."""
    return any(abs(volts - nominal) <= VOLTAGE_TOLERANCE * nominal for nominal in NOMINAL_VOLTAGES)


def _frequency(values: _Values) -> Iterator[Check]:
    hertz = values.get("frequency")
    if hertz is not None:
        low, high = FREQUENCIES
        text = f"{hertz:.4g} Hz, must be {low:g} to {high:g}"
        yield Check("frequency", _outcome(low <= hertz <= high), text)


def _factors(values: _Values) -> Iterator[Check]:
    for name in ("power_factor", *(f"power_factor_{phase}" for phase in _PHASES)):
        factor = values.get(name)
        if factor is not None:
            text = f"{factor:.3f}, must be -1 to 1"
            yield Check(name, _outcome(abs(factor) <= 1 + values.step(name)), text)


def _directions(values: _Values) -> Iterator[Check]:
    powers = values.several([f"active_power_{phase}" for phase in _PHASES])
    if powers is None:
        return
    largest = max(abs(power) for power in powers)
    counted = [power for power in powers if abs(power) > _SUM_TOLERANCE * largest and abs(power) > _FLOOR_KW]
    said = ", ".join(f"{power:.3f}" for power in powers) + " kW"
    if not counted:
        yield Check("direction of the phases", Outcome.NOT_CHECKED, f"no load: {said}")
    elif min(counted) < 0 < max(counted):
        text = f"{said}: not all have one sign; is a current transformer reversed?"
        yield Check("direction of the phases", Outcome.FAIL, text)
    else:
        yield Check("direction of the phases", Outcome.PASS, said)


def _sum_of_phases(values: _Values) -> Iterator[Check]:
    for quantity, unit in (("active_power", "kW"), ("reactive_power", "kvar")):
        names = [f"{quantity}_{phase}" for phase in _PHASES]
        phases, total = values.several(names), values.get(quantity)
        if phases is None or total is None:
            continue
        steps = 2 * sum(values.step(name) for name in (*names, quantity))
        tolerance = _SUM_TOLERANCE * sum(abs(one) for one in phases) + steps + _FLOOR_KW
        yield _compared(f"sum of the phases, {quantity}", ("sum", sum(phases)), ("total", total), unit, tolerance)


def _phase_powers(values: _Values) -> Iterator[Check]:
    """P = V * I * PF per phase; without a power factor at least |P| <= V * I."""
    products: list[float] = []
    for phase in _PHASES:
        names = (f"voltage_{phase}", f"current_{phase}", f"active_power_{phase}")
        found = values.several(names)
        factor = values.get(f"power_factor_{phase}")
        if (volts_amperes := values.several(names[:2])) is not None:
            products.append(volts_amperes[0] * volts_amperes[1] / 1000)
        if found is not None:
            apparent = found[0] * found[1] / 1000
            floor = _FLOOR_KW + values.step(names[2]) + found[0] * values.step(names[1]) / 1000
            yield _power(f"active_power_{phase}", abs(found[2]), apparent, factor, floor)
    total, factor = values.get("active_power"), values.get("power_factor")
    if len(products) == len(_PHASES) and total is not None:
        floor = _FLOOR_KW + values.step("active_power") + _SUM_TOLERANCE * sum(products)
        yield _power("active_power", abs(total), sum(products), factor, floor)


def _power(name: str, power: float, apparent: float, factor: float | None, floor: float) -> Check:
    tolerance = _PRODUCT_TOLERANCE * apparent + floor
    if factor is not None:
        product = apparent * abs(factor)
        return _compared(f"{name} against V * I * PF", ("V * I * PF", product), ("P", power), "kW", tolerance)
    title = f"{name} against V * I"
    text = f"P {power:.4g} kW, V * I {apparent:.4g} kVA, no power factor to compare with"
    if power > apparent + tolerance:
        return Check(title, Outcome.FAIL, f"{text}: more power than voltage and current can carry")
    if tolerance > _DECISIVE * max(power, apparent):
        return Check(title, Outcome.NOT_CHECKED, f"{text}: the load is too small")
    return Check(title, Outcome.PASS, f"{text}; P is not larger")


def _apparent_power(values: _Values) -> Iterator[Check]:
    found = values.several(("apparent_power", "active_power", "reactive_power"))
    if found is not None:
        apparent, active, reactive = found
        steps = sum(values.step(name) for name in ("apparent_power", "active_power", "reactive_power"))
        vector = math.hypot(active, reactive)
        tolerance = _PRODUCT_TOLERANCE * apparent + 2 * steps + _FLOOR_KW
        yield _compared("S² = P² + Q²", ("√(P² + Q²)", vector), ("S", apparent), "kVA", tolerance)


def _counters(device: DeviceReadout) -> Iterator[Check]:
    template = load_template(device.config.model).model
    sums = {} if template.tariff is None else template.tariff.sums
    counters = {one.name: one for one in device.described.series if one.kind == "counter"}
    for name, series in counters.items():
        reads = _course(device, (name,))
        falls = [before[1] - after[1] for before, after in pairwise(reads) if after[1] < before[1]]
        if any(series.modulus is None or fall < series.modulus / 2 for fall in falls):
            text = f"{reads[0][1]:.10g} to {reads[-1][1]:.10g} {series.unit}: it falls"
            yield Check(f"{name} does not fall", Outcome.FAIL, text)
    energies: list[tuple[str, tuple[str, ...]]] = [
        (name, (name,)) for name in ("active_energy_import", "active_energy_export") if name in counters
    ]
    energies += [(name, parts) for name, parts in sums.items() if name not in counters]
    if not energies and "active_energy" in counters:
        energies = [("active_energy", ("active_energy",))]
    for name, parts in energies:
        yield from _energy(device, name, parts)


def _energy(device: DeviceReadout, name: str, parts: tuple[str, ...]) -> Iterator[Check]:
    reads = _course(device, parts)
    if not reads:
        return
    units = {one.name: one.unit for one in device.described.series}
    unit = units[parts[0]]
    last = reads[-1][1]
    if not name.endswith("_export"):
        outcome = Outcome.FAIL if last < 0 else Outcome.PASS if last > 0 else Outcome.NOT_CHECKED
        note = ": a new meter, or the wrong register" if last == 0 else ""
        yield Check(f"{name} above zero", outcome, f"{last:.10g} {unit}{note}")
    powers = _course(device, ("active_power",))
    title = f"{name} against power"
    if unit != "kWh" or len(powers) < 2 or len(reads) < 2:
        yield Check(title, Outcome.NOT_CHECKED, "needs active power and two reads some seconds apart")
        return
    direction = _direction(name)
    step = sum(_energy_step(device, part) for part in parts)
    yield _risen(title, reads, [(time_ms, max(direction(power), 0.0)) for time_ms, power in powers], step)


def _direction(name: str) -> Callable[[float], float]:
    if name.endswith("_export"):
        return lambda power: -power
    return float if name.endswith("_import") else abs


def _risen(title: str, reads: list[tuple[int, float]], powers: list[tuple[int, float]], step: float) -> Check:
    seconds = (reads[-1][0] - reads[0][0]) / 1000
    rise = reads[-1][1] - reads[0][1]
    mean = _mean(powers)
    expected = mean * seconds / 3600
    tolerance = _ENERGY_TOLERANCE * expected + _REFRESH_SECONDS * max(p for _, p in powers) / 3600 + step
    text = f"rose {rise:.5g} kWh in {seconds:.1f} s, {mean:.4g} kW makes {expected:.5g} ± {tolerance:.2g} kWh"
    if abs(rise - expected) > tolerance:
        return Check(title, Outcome.FAIL, text)
    if tolerance > _DECISIVE * expected:
        if mean <= _FLOOR_KW:
            return Check(title, Outcome.NOT_CHECKED, f"{text}: no load in this direction")
        needed = math.ceil((step + _REFRESH_SECONDS * mean / 3600) / ((_DECISIVE - _ENERGY_TOLERANCE) * mean / 3600))
        return Check(title, Outcome.NOT_CHECKED, f"{text}: too short, needs about {needed} s (--seconds)")
    return Check(title, Outcome.PASS, text)


def _mean(course: list[tuple[int, float]]) -> float:
    """The mean over time, straight from value to value."""
    area = sum((after[0] - before[0]) * (before[1] + after[1]) / 2 for before, after in pairwise(course))
    return area / (course[-1][0] - course[0][0]) if course[-1][0] > course[0][0] else course[-1][1]


def _course(device: DeviceReadout, names: Sequence[str]) -> list[tuple[int, float]]:
    """Return the sum of ``names`` over the rounds in which all were available, with its times."""
    course = []
    for values in device.rounds:
        reads = [values[name] for name in names if name in values]
        if len(reads) == len(names) and all(read.value is not None for read in reads):
            course.append((reads[0].time_ms, sum(float(read.value or 0) for read in reads)))
    return course


def _energy_step(device: DeviceReadout, name: str) -> float:
    series = next(one for one in device.described.series if one.name == name)
    value = device.values[name].value or 0.0
    return _step(series, float(value)) if series.type.counts else max(_FLOAT_ENERGY_STEP, _step(series, float(value)))


def _step(series: Series, value: float) -> float:
    """By how much a value can move at least."""
    if series.type.counts:
        return abs(series.scale)
    digits = 2**-52 if series.type is WordType.FLOAT64 else 2**-23
    return abs(value) * digits


def _compared(title: str, one: tuple[str, float], other: tuple[str, float], unit: str, tolerance: float) -> Check:
    """Compare two named values in ``unit``."""
    difference = abs(one[1] - other[1])
    text = f"{one[0]} {one[1]:.4g}, {other[0]} {other[1]:.4g} {unit}, tolerance {tolerance:.2g}"
    if difference > tolerance:
        return Check(title, Outcome.FAIL, f"{text}; they differ by {difference:.3g}")
    if tolerance > _DECISIVE * max(abs(one[1]), abs(other[1])):
        return Check(title, Outcome.NOT_CHECKED, f"{text}: the load is too small")
    return Check(title, Outcome.PASS, text)


def _outcome(good: bool) -> Outcome:
    return Outcome.PASS if good else Outcome.FAIL
