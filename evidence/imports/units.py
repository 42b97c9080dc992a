"""Units as people write them in tables, Chinese and international, and how they convert into those of a plan.

A word is compared without case where that cannot confuse (``KWH``), after NFKC (full-width letters and ``㎡`` become
plain ones). 万, 亿, 千 and 百万 may stand before any unit: 万度, 万元. 千克 and 千瓦时 are units of their own. What is
not in the table converts into nothing but itself, so that 箱 never becomes 件.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from evidence.errors import EvidenceError


class UnitError(EvidenceError):
    """A value in one unit is no value in the other."""


@dataclass(frozen=True)
class Unit:
    """``value * factor + offset`` is in the base unit of ``dimension``."""

    word: str
    dimension: str
    factor: Decimal
    offset: Decimal = Decimal(0)


_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "energy": {
        "0.001": ("Wh", "瓦时"),
        "1": ("kWh", "kW·h", "kW.h", "千瓦时", "千瓦·时", "千瓦小时", "度"),
        "1000": ("MWh", "兆瓦时"),
        "1000000": ("GWh", "吉瓦时"),
    },
    "reactive energy": {
        "0.001": ("varh", "乏时"),
        "1": ("kvarh", "kvar·h", "千乏时"),
        "1000": ("Mvarh", "兆乏时"),
    },
    "heat": {"0.001": ("kJ", "千焦"), "1": ("MJ", "兆焦"), "1000": ("GJ", "吉焦", "百万千焦")},
    "power": {"0.001": ("W", "瓦"), "1": ("kW", "千瓦"), "1000": ("MW", "兆瓦")},
    "mass": {"0.001": ("g", "克"), "0.5": ("斤",), "1": ("kg", "公斤", "千克"), "1000": ("t", "吨", "公吨")},
    "volume": {"0.001": ("L", "升"), "1": ("m3", "m^3", "立方米", "立方", "方")},
    "length": {"0.001": ("mm", "毫米"), "1": ("m", "米"), "1000": ("km", "千米", "公里")},
    "area": {"1": ("m2", "m^2", "平方米", "平米")},
    "duration": {"1": ("s", "秒"), "60": ("min", "分钟", "分"), "3600": ("h", "小时", "时", "工时", "hour", "hours")},
    "money": {"1": ("CNY", "元", "RMB", "人民币", "¥", "￥")},
    "count": {"1": ("piece", "pieces", "pcs", "pc", "件", "个", "只")},
    "ratio": {"1": ("1",), "0.01": ("%",)},
}
_TEMPERATURES = {
    ("degC", "°C", "oC", "摄氏度", "℃"): (Decimal(1), Decimal(0)),
    ("degF", "°F", "oF", "华氏度", "℉"): (Decimal(5) / 9, Decimal(-160) / 9),
    ("K", "开"): (Decimal(1), Decimal("-273.15")),
}
_PREFIXES = (("百万", 1_000_000), ("千万", 10_000_000), ("万", 10_000), ("亿", 100_000_000), ("千", 1000), ("百", 100))
_CASE_MATTERS = {"mW", "Mw", "MW", "mw"}
"""Written in one case, milliwatt and megawatt are the same word."""


def normal(word: str) -> str:
    """A unit word as the table has it: NFKC, no white space, no dots that only join."""
    plain = unicodedata.normalize("NFKC", word).strip().replace("º", "°")
    return re.sub(r"\s+", "", plain)


@cache
def _table() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for dimension, factors in _WORDS.items():
        for factor, words in factors.items():
            for word in words:
                units[normal(word)] = Unit(words[0], dimension, Decimal(factor))
    for names, (slope, offset) in _TEMPERATURES.items():
        for word in names:
            units[normal(word)] = Unit(names[0], "temperature", slope, offset)
    return units


@cache
def _without_case() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    twice = set()
    for word, unit in _table().items():
        lower = word.lower()
        if lower in found and found[lower] != unit:
            twice.add(lower)
        found[lower] = unit
    # One letter is too little to guess by, and what means two units by its case means neither without it.
    return {word: unit for word, unit in found.items() if word not in twice and len(word) > 1}


def known_unit(word: str) -> Unit | None:
    """The unit that ``word`` names, None for one that is not in the table."""
    plain = normal(word)
    if not plain:
        return None
    exact = _table().get(plain)
    if exact is not None:
        return exact
    if plain not in _CASE_MATTERS and plain.lower() in _without_case():
        return _without_case()[plain.lower()]
    for prefix, factor in _PREFIXES:
        if plain.startswith(prefix) and len(plain) > len(prefix):
            unit = known_unit(plain.removeprefix(prefix))
            if unit is not None and unit.dimension != "temperature":
                return Unit(plain, unit.dimension, unit.factor * factor)
    return None


@dataclass(frozen=True)
class Conversion:
    """``value * factor + offset``, exact in decimals."""

    factor: Decimal
    offset: Decimal = Decimal(0)

    def __call__(self, value: Decimal) -> Decimal:
        """The value in the other unit."""
        return value * self.factor + self.offset


@cache
def conversion(given: str, wanted: str) -> Conversion:
    """How values in ``given`` become values in ``wanted``. Raises `UnitError` where they do not."""
    if normal(given) == normal(wanted):
        return Conversion(Decimal(1))
    one, other = known_unit(given), known_unit(wanted)
    if one is None:
        prefixed = _counted_in(normal(given), normal(wanted))
        if prefixed is not None:
            return Conversion(prefixed)
        raise UnitError(f"'{given}' is no unit that is known here, and not '{wanted}'")
    if other is None or one.dimension != other.dimension:
        energy = {"energy", "heat"}
        if other is not None and {one.dimension, other.dimension} == energy:
            # 1 kWh = 3.6 MJ, by definition
            ratio = Decimal("3.6") if one.dimension == "energy" else 1 / Decimal("3.6")
            return Conversion(one.factor * ratio / other.factor)
        raise UnitError(f"'{given}' does not convert into '{wanted}'")
    return Conversion(one.factor / other.factor, (one.offset - other.offset) / other.factor)


def _counted_in(given: str, wanted: str) -> Decimal | None:
    """万箱 in 箱: a prefix before a word that is in no table."""
    for prefix, factor in _PREFIXES:
        if given == prefix + wanted:
            return Decimal(factor)
    return None


_BRACKETED = re.compile(r"[(\[（【［]([^()\[\]（）【】［］]*)[)\]）】］]\s*$")
_STATED = re.compile(r"单位\s*[:：]\s*([^\s,，;；)）]+)")


def unit_in_header(text: str) -> tuple[str, str | None]:
    """The name and the unit of a header: ``用电量(万kWh)`` is 用电量 in 万kWh; ``电量/kWh`` the same way.

    Brackets that hold no unit known here (``产量(合格)``) are part of the name.
    """
    plain = text.strip()
    for pattern in (_BRACKETED, re.compile(r"[/,，、:：]\s*([^/,，、:：]+)$")):
        found = pattern.search(plain)
        if found and known_unit(found[1].removeprefix("单位").lstrip(":：")) is not None:
            return plain[: found.start()].strip(), normal(found[1].removeprefix("单位").lstrip(":："))
    return plain, None


def stated_unit(text: str) -> str | None:
    """The unit that a line above a table states for all of it: ``单位：万千瓦时``."""
    return next((found for found in _STATED.findall(text) if known_unit(found) is not None), None)


def bare_prefix(word: str) -> Decimal | None:
    """How many of the column's unit a value has behind which only 万 or the like stands."""
    return next((Decimal(factor) for prefix, factor in _PREFIXES if normal(word) == prefix), None)
