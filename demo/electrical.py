"""Three-phase quantities that belong to one active power.

With star connection and one power factor for the three phases: P = sum of V I PF, S = P / PF, Q = sqrt(S^2 - P^2)
(IEEE 1459-2010, clause 3.2.2, balanced power factor). Harmonics are not simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True, slots=True)
class ThreePhase:
    """Voltages to neutral in V, currents in A, powers in kW, kvar and kVA, frequency in Hz; tuples are phases A, B,
    C.
    """

    voltage_v: tuple[float, float, float]
    current_a: tuple[float, float, float]
    phase_kw: tuple[float, float, float]
    power_kw: float
    reactive_kvar: float
    apparent_kva: float
    power_factor: float
    frequency_hz: float


def three_phase(
    power_kw: float,
    power_factor: float,
    voltage_v: tuple[float, float, float],
    share: tuple[float, float, float],
    frequency_hz: float,
) -> ThreePhase:
    """Split ``power_kw`` over the phases by ``share`` (sum 1) and find the currents that carry it."""
    phase_a, phase_b, phase_c = (power_kw * part for part in share)
    current_a, current_b, current_c = (
        1000.0 * phase / (volt * power_factor)
        for phase, volt in zip((phase_a, phase_b, phase_c), voltage_v, strict=True)
    )
    apparent_kva = power_kw / power_factor
    return ThreePhase(
        voltage_v=voltage_v,
        current_a=(current_a, current_b, current_c),
        phase_kw=(phase_a, phase_b, phase_c),
        power_kw=power_kw,
        reactive_kvar=sqrt(apparent_kva * apparent_kva - power_kw * power_kw),
        apparent_kva=apparent_kva,
        power_factor=power_factor,
        frequency_hz=frequency_hz,
    )
