"""Conversion factors of energy, one table each, every row with its source and its year, so that a correction is one
line.

A change of factors between the periods is no saving: a KPI uses one factor on both sides, and the result names it.
"""

from __future__ import annotations

from dataclasses import dataclass

KJ_PER_KGCE = 29_307.6
"""Energy of one kilogram of standard coal equivalent (GB/T 2589-2020)."""

SMALLEST_UNIT: dict[str, dict[str, float]] = {
    "kWh": {"Wh": 0.001, "kWh": 1.0, "MWh": 1000.0},
    "MJ": {"MJ": 1.0, "GJ": 1000.0, "kWh": 3.6, "MWh": 3600.0},
    "kg": {"kg": 1.0, "t": 1000.0},
    "t": {"kg": 0.001, "t": 1.0, "m3": 1.0, "L": 0.001},
    "m3": {"m3": 1.0, "L": 0.001},
}
"""For the unit of a factor: the units that amounts may be stated in, and how many of it each is. Water is taken as
1 t/m3."""


@dataclass(frozen=True)
class Factor:
    """A row: ``low`` to ``high`` in (kgce or kg CO2) per ``unit``; equal for a single value.

    ``year`` is the year that the value is of (statistics) or the edition's (standards). ``bought_in_only``: counts only
    where the medium is bought; made on site, its energy is counted already.
    """

    name: str
    quantities: tuple[str, ...]
    low: float
    high: float
    unit: str
    year: int
    citation: str
    bought_in_only: bool = False

    @property
    def is_range(self) -> bool:
        """Whether the source gives a range, so that a plan must choose."""
        return self.low < self.high


_ANNEX_A = "GB/T 2589-2020, annex A"
_ANNEX_B = "GB/T 2589-2020, annex B"
_ELECTRICITY = ("active_energy_import", "active_energy_export")


def _table(*rows: Factor) -> dict[str, Factor]:
    return {row.name: row for row in rows}


COAL_EQUIVALENT = _table(
    Factor("electricity", _ELECTRICITY, 0.1229, 0.1229, "kWh", 2020, f"{_ANNEX_A}, equivalent value (当量值)"),
    Factor("heat", ("heat_energy",), 0.03412, 0.03412, "MJ", 2020, f"{_ANNEX_A}, heat, equivalent value (当量值)"),
    Factor("low_pressure_steam", ("steam_mass",), 0.1286, 0.1286, "kg", 2020, f"{_ANNEX_A}, steam (low pressure)"),
    Factor("raw_coal", ("fuel_mass",), 0.7143, 0.7143, "kg", 2020, _ANNEX_A),
    Factor("coke", ("fuel_mass",), 0.9714, 0.9714, "kg", 2020, _ANNEX_A),
    Factor("diesel", ("fuel_mass",), 1.4571, 1.4571, "kg", 2020, _ANNEX_A),
    Factor("gasoline", ("fuel_mass",), 1.4714, 1.4714, "kg", 2020, _ANNEX_A),
    Factor("fuel_oil", ("fuel_mass",), 1.4286, 1.4286, "kg", 2020, _ANNEX_A),
    Factor("lpg", ("fuel_mass",), 1.7143, 1.7143, "kg", 2020, _ANNEX_A),
    Factor("lng", ("fuel_mass",), 1.7572, 1.7572, "kg", 2020, _ANNEX_A),
    Factor("natural_gas", ("gas_volume",), 1.1000, 1.3300, "m3", 2020, f"{_ANNEX_A}, a range"),
    Factor("compressed_air", ("compressed_air_volume",), 0.0400, 0.0400, "m3", 2020, _ANNEX_B, bought_in_only=True),
    Factor("fresh_water", ("water_volume",), 0.2571, 0.2571, "t", 2020, _ANNEX_B, bought_in_only=True),
    Factor("oxygen", ("gas_volume",), 0.4000, 0.4000, "m3", 2020, _ANNEX_B, bought_in_only=True),
    Factor("nitrogen", ("gas_volume",), 0.4000, 0.4000, "m3", 2020, _ANNEX_B, bought_in_only=True),
)
"""kgce per unit. The measured net calorific value comes first: k = NCV / 29307.6 kJ; these are for when there is
none."""


def _grid(name: str, year: int, value: float) -> Factor:
    citation = f"Ministry of Ecology and Environment, average CO2 emission factor of electricity {year}"
    return Factor(f"{name}_{year}", _ELECTRICITY, value, value, "kWh", year, citation)


GRID_CARBON = _table(
    _grid("national", 2021, 0.5568),
    _grid("national", 2022, 0.5366),
    _grid("national", 2023, 0.5306),
    _grid("northwest", 2023, 0.5543),
    _grid("central", 2023, 0.5271),
    _grid("ningxia", 2022, 0.6423),
    _grid("ningxia", 2023, 0.6187),
    _grid("henan", 2022, 0.6058),
    _grid("henan", 2023, 0.5897),
)
"""kg CO2 per kWh of electricity from the grid, by area and year."""
