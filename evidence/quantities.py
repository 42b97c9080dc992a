"""What may be measured: for each quantity how intervals are added up, its units, and what part it may play in a model.

One table, so that a correction is one line. *Increments* (energies, counts, masses) belong to an interval and are
summed; *means* (temperatures, powers) are averaged over the time they cover. *Production* quantities are what a
factory makes: an industrial energy model without one explains nothing (SEP 50001, "a production variable present"). A
quantity that is another reading of the same electrical load is not *exogenous*: it fits best and proves least, so it
cannot drive a baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Aggregation(StrEnum):
    """How the values of several intervals, or of several meters in one interval, become one value."""

    INCREMENT = "increase"
    """Summed, over time and over meters."""
    MEAN = "mean"
    """Averaged, over time and over sensors."""


@dataclass(frozen=True)
class Quantity:
    """A row of the table.

    ``units`` are the units that a plan may state; empty means any. Units of active energy are those of `KWH_PER_UNIT`.
    """

    name: str
    aggregation: Aggregation
    units: tuple[str, ...] = ()
    production: bool = False
    exogenous: bool = True
    active_energy: bool = False


KWH_PER_UNIT = {"Wh": 0.001, "kWh": 1.0, "MWh": 1000.0}
"""Active energy units, and how many kWh each is."""

KVARH_PER_UNIT = {"varh": 0.001, "kvarh": 1.0, "Mvarh": 1000.0}
SECONDS_PER_UNIT = {"s": 1.0, "min": 60.0, "h": 3600.0}

_ENERGY = tuple(KWH_PER_UNIT)
_REACTIVE = tuple(KVARH_PER_UNIT)
_DURATION = tuple(SECONDS_PER_UNIT)
_APPARENT = ("VAh", "kVAh", "MVAh")
_TEMPERATURE = ("degC", "degF", "K")
_INCREMENT, _MEAN = Aggregation.INCREMENT, Aggregation.MEAN

QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("active_energy_import", _INCREMENT, _ENERGY, exogenous=False, active_energy=True),
        Quantity("active_energy_export", _INCREMENT, _ENERGY, exogenous=False, active_energy=True),
        Quantity("reactive_energy_import", _INCREMENT, _REACTIVE, exogenous=False),
        Quantity("reactive_energy_export", _INCREMENT, _REACTIVE, exogenous=False),
        Quantity("apparent_energy", _INCREMENT, _APPARENT, exogenous=False),
        Quantity("good_count", _INCREMENT, production=True),
        Quantity("output", _INCREMENT, production=True),
        Quantity("produced_count", _INCREMENT, production=True),
        Quantity("produced_mass", _INCREMENT, ("kg", "t"), production=True),
        Quantity("produced_volume", _INCREMENT, ("L", "m3"), production=True),
        Quantity("produced_length", _INCREMENT, ("m", "km"), production=True),
        Quantity("produced_area", _INCREMENT, ("m2",), production=True),
        Quantity("scrap_count", _INCREMENT),
        Quantity("rework_count", _INCREMENT),
        Quantity("failure_count", _INCREMENT),
        Quantity("run_time", _INCREMENT, _DURATION),
        Quantity("planned_operation_time", _INCREMENT, _DURATION),
        Quantity("planned_downtime", _INCREMENT, _DURATION),
        Quantity("planned_busy_time", _INCREMENT, _DURATION),
        Quantity("busy_time", _INCREMENT, _DURATION),
        Quantity("processing_time", _INCREMENT, _DURATION),
        Quantity("setup_time", _INCREMENT, _DURATION),
        Quantity("production_time", _INCREMENT, _DURATION),
        Quantity("delay_time", _INCREMENT, _DURATION),
        Quantity("order_execution_time", _INCREMENT, _DURATION),
        Quantity("repair_time", _INCREMENT, _DURATION),
        Quantity("goods_value", _INCREMENT),
        Quantity("fuel_mass", _INCREMENT, ("kg", "t")),
        Quantity("gas_volume", _INCREMENT, ("m3",)),
        Quantity("water_volume", _INCREMENT, ("m3", "L")),
        Quantity("steam_mass", _INCREMENT, ("kg", "t")),
        Quantity("heat_energy", _INCREMENT, ("kWh", "MWh", "MJ", "GJ")),
        Quantity("compressed_air_volume", _INCREMENT, ("m3",)),
        Quantity("heating_degree_days", _INCREMENT),
        Quantity("cooling_degree_days", _INCREMENT),
        Quantity("temperature", _MEAN, _TEMPERATURE),
        Quantity("relative_humidity", _MEAN),
        Quantity("pressure", _MEAN),
        Quantity("flow", _MEAN),
        Quantity("speed", _MEAN),
        Quantity("stock_value", _MEAN),
        Quantity("equipment_count", _MEAN),
        Quantity("active_power", _MEAN, exogenous=False),
        Quantity("reactive_power", _MEAN, exogenous=False),
        Quantity("apparent_power", _MEAN, exogenous=False),
        Quantity("power_factor", _MEAN, exogenous=False),
        Quantity("voltage", _MEAN, exogenous=False),
        Quantity("current", _MEAN, exogenous=False),
        Quantity("frequency", _MEAN, exogenous=False),
    )
}
"""Every quantity a plan may name."""
