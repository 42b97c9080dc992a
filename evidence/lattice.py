"""The lattice of a meter: what it counts in steps of one constant can only be whole numbers of steps.

An interval value is ``round(k * constant, resolution)`` with a whole ``k``. Where the constant is longer than the
resolution, most values that the resolution could state can never occur: a series that was multiplied, smoothed or made
up stands off the lattice. Both resolution and constant are learned from the values themselves where they are not
declared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evidence.screen import BoolArray
from evidence.table import FloatArray

FINEST_EXPONENT, COARSEST_EXPONENT = -6, 4
"""Resolutions that can be learned: powers of ten from 1e-6 to 1e4 of the base unit."""
LONGEST_STEPS = 1000.0
"""Longest constant that is looked for, in units of the resolution."""
SHORTEST_STEPS = 1.6
"""A shorter constant lets most values through and shows nothing."""
MINIMUM_DISTINCT = 40
"""So many different values are needed to learn a constant."""
_LARGEST_TRANSFORMED = 2**18
_PEAK = 0.4
"""A lattice of constant c whose values are rounded has a peak of sin(pi/c)/(pi/c), at least 0.47 at c = 1.6."""
LEARNED_SHARE = 0.995
"""A learned constant has to hold for this share of the values that it was learned from."""


@dataclass(frozen=True)
class Lattice:
    """``resolution`` and ``constant`` in the unit of the values; ``chance`` is the share of all values that the
    resolution can state which lie on the lattice."""

    resolution: float
    constant: float

    @property
    def steps(self) -> float:
        """The constant in units of the resolution."""
        return self.constant / self.resolution

    @property
    def chance(self) -> float:
        """The share of the values that the resolution can state which lie on the lattice."""
        return min(1.0, 1.0 / self.steps)

    def holds(self, values: FloatArray) -> BoolArray:
        """Which values lie on the lattice; zero does, what is missing does not."""
        held: BoolArray = _holds(values / self.resolution, np.array([self.steps]))[0]
        return held


def learn_resolution(values: FloatArray) -> float | None:
    """The coarsest power of ten of which (nearly) all values are multiples; None when 1e-6 is still too coarse."""
    present = np.abs(values[np.isfinite(values) & (values != 0)])
    if not present.size:
        return None
    for exponent in range(COARSEST_EXPONENT, FINEST_EXPONENT - 1, -1):
        multiples = present / 10.0**exponent
        whole = np.abs(multiples - np.rint(multiples)) <= 1e-9 * np.maximum(multiples, 1.0) + 1e-7
        if np.count_nonzero(whole) >= LEARNED_SHARE * present.size:
            return 10.0**exponent
    return None


def learn_lattice(values: FloatArray, resolution: float) -> Lattice | None:
    """The longest constant on whose lattice (nearly) all values lie; None without one that shows anything."""
    multiples = values / resolution
    counted = np.rint(np.unique(np.rint(multiples[np.isfinite(multiples) & (multiples > 0)])))
    if counted.size < MINIMUM_DISTINCT:
        return None
    for candidate in _periods(counted):
        fine = _refine(candidate, counted)
        shares = _share(counted, fine)
        if shares.max() >= LEARNED_SHARE:
            # Twelve digits: what a product of two floats adds beyond them is no meter's.
            return Lattice(resolution, float(f"{_shortest(fine[shares == shares.max()]) * resolution:.12g}"))
    return None


def _periods(values: FloatArray) -> FloatArray:
    """Constants of which many values are near multiples, the longest first: peaks of the spectrum of the values."""
    low = values[values <= _LARGEST_TRANSFORMED].astype(np.int64)
    if low.size < MINIMUM_DISTINCT:
        return np.array([])
    occupied = np.zeros(int(low[-1]) + 1)
    occupied[low] = 1.0
    length = 4 * 2 ** int(np.ceil(np.log2(occupied.size)))
    amplitude = np.abs(np.fft.rfft(occupied, length)) / low.size
    frequency = np.arange(amplitude.size) / length
    inner = amplitude[1:-1]
    peaks = 1 + np.flatnonzero((inner >= amplitude[:-2]) & (inner > amplitude[2:]) & (inner >= _PEAK))
    peaks = peaks[(frequency[peaks] >= 1.0 / LONGEST_STEPS) & (frequency[peaks] <= 1.0 / SHORTEST_STEPS)]
    return np.asarray(1.0 / frequency[peaks], dtype=np.float64)


def _refine(candidate: float, values: FloatArray) -> FloatArray:
    """Constants close to ``candidate`` that fit ever larger values ever better."""
    reach = min(float(values[-1]), _LARGEST_TRANSFORMED)
    width = candidate / reach
    fine = np.array([candidate])
    while True:
        around = np.linspace(-1.0, 1.0, 81) * width * fine.mean()
        few = values[values <= reach]
        trial: FloatArray = np.append(fine.mean() + around, np.round(fine.mean() + around, 3))
        shares = _share(few, trial)
        fine = np.asarray(trial[shares == shares.max()], dtype=np.float64)
        if reach >= values[-1]:
            return fine
        width, reach = width / 8.0, min(reach * 8.0, float(values[-1]))


def _share(values: FloatArray, candidates: FloatArray) -> FloatArray:
    shares = [_holds(values, part).mean(axis=1) for part in np.array_split(candidates, max(candidates.size // 500, 1))]
    return np.asarray(np.concatenate(shares), dtype=np.float64)


def _holds(multiples: FloatArray, steps: FloatArray) -> BoolArray:
    nearest = np.rint(multiples / steps[:, None]) * steps[:, None]
    # Half a unit of rounding, and the float error of values that were scaled from another unit.
    return np.asarray(np.abs(multiples - nearest) <= 0.5 + 1e-6, dtype=np.bool_)


def _shortest(candidates: FloatArray) -> float:
    """The shortest decimal number between candidates that are equally good: meter constants are such numbers."""
    low, high = float(candidates.min()), float(candidates.max())
    for digits in range(7):
        middle = round((low + high) / 2, digits)
        if low * (1 - 1e-12) <= middle <= high * (1 + 1e-12):
            return middle
    return (low + high) / 2
