"""Device models: what the registers of a kind of device mean, one YAML file a model in ``gateway_configs/devices/``.

A model is public knowledge about a product (addresses, types, limits, provenance); what is particular to one device in
one cabinet (unit, serial number, ratios) stands in the gateway file. The descriptions of the fields are what editors
show: see `agent.json_schema`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal

from agent.errors import ModelError
from agent.setting import Checked, FileSettings, Kind, Within, Written, setting, settings
from wire.answer import request_of_entry
from wire.errors import suggestion
from wire.limits import MAXIMUM_ANSWER_BYTES, MAXIMUM_DECIMAL_BYTES, MAXIMUM_REGISTERS, MAXIMUM_REQUEST_BYTES
from wire.node import valid_node_id
from wire.topics import valid_identifier
from wire.words import WordOrder, WordType, decode_octets, decode_words, scaled

SeriesKind = Literal["counter", "gauge", "state"]
_BIT_FUNCTIONS = (1, 2)


def _octets(value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError) as error:
        raise ValueError("write bytes as pairs of hexadecimal digits, such as 11 00 00 01 00") from error


Octets = Annotated[bytes, Written(_octets)]


def _names(value: dict[str, Any]) -> dict[str, Any]:
    for name in value:
        if not valid_identifier(name):
            raise ValueError(f"the name '{name}' must be of a-z, 0-9, '-' and '_'")
    return value


Names = Checked(_names)
"""Beside a mapping: its keys are names of series."""


def _quantity(value: str) -> str:
    if not valid_identifier(value):
        raise ValueError("must be of a-z, 0-9, '-' and '_'")
    return value


class Side(StrEnum):
    """Where the values of a meter are stated: before or behind its current and voltage transformers."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


class Ratio(StrEnum):
    """Which transformer ratios a value stated on the secondary side is multiplied by."""

    NONE = "none"
    CT = "ct"
    PT = "pt"
    CT_PT = "ct_pt"


class Confidence(StrEnum):
    """How well the facts of a model are founded."""

    VENDOR = "A"
    """The maker's own document was read, or the layout is defined by the file itself."""
    TWO_SOURCES = "B"
    """Two independent sources agree."""
    ONE_SOURCE = "C"
    """One source only: compare with the meter's display before relying on it."""


@settings
class Limits(FileSettings):
    """What a device can take in one request."""

    maximum_registers: int = setting(
        default=MAXIMUM_REGISTERS, ge=1, le=MAXIMUM_REGISTERS, description="Registers in one request at most, 1 to 125."
    )
    maximum_gap: int = setting(
        default=0, ge=0, le=MAXIMUM_REGISTERS, description="Unused registers that may be read along to save a request."
    )
    even_addresses: bool = setting(default=False, description="Start address and count of a request must be even.")


@settings
class SeriesModel(FileSettings):
    """One value of a device.

    ``address`` is the 0-based protocol address (what the request carries). The value is ``raw * scale + offset`` in
    ``unit``. ``invalid`` are bit patterns that mean "not available". ``modulus`` is in raw counts: the count at which a
    counter starts again from zero. ``maximum_rate`` is in units an hour: a counter that rises faster is not believed.
    ``ratio`` is applied only when the device states values on the secondary side.
    """

    quantity: Annotated[str, Checked(_quantity)] = setting(
        description="What is measured, such as active_energy_import or voltage."
    )
    unit: str = setting(description="Unit of the value after scale and offset: kWh, kW, V, piece ...; 1 = none.")
    kind: SeriesKind = setting(
        description="counter: only rises (energy, pieces); gauge: moves freely (power); state: a code."
    )
    function: Literal[0, 1, 2, 3, 4] = setting(
        default=0,
        description="Modbus function code: 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers.",
    )
    address: int = setting(
        default=0, ge=0, le=0xFFFF, description="0-based protocol address, as it stands in the request."
    )
    request: Octets = setting(
        default=b"",
        description="Meters asked for data by identifier (DL/T 645, CJ/T 188): control code and identifier as they "
        "travel, hexadecimal.",
    )
    start: int = setting(
        default=0, ge=0, lt=MAXIMUM_ANSWER_BYTES, description="First byte of the value in the answer, 0 the first."
    )
    length: int = setting(
        default=0, ge=0, le=MAXIMUM_ANSWER_BYTES, description="Bytes of the value in the answer; registers of a string."
    )
    bit: int = setting(default=0, ge=0, le=15, description="Of type bit in a register: which, 0 = least significant.")
    node: str = setting(
        default="", description="OPC UA: NodeId of the value, such as ns=2;s=Line.Power; its type is variant."
    )
    type: WordType = setting(description="Type of the raw value.")
    order: WordOrder = setting(
        default=WordOrder.ABCD,
        description="Order of bytes: ABCD high word first, CDAB low word first; BADC, DCBA swapped.",
    )
    scale: float = setting(default=1.0, description="value = raw * scale + offset, in the unit.")
    offset: float = setting(default=0.0, description="value = raw * scale + offset, in the unit.")
    invalid: tuple[Annotated[int, Within(ge=0)], ...] = setting(
        default=(), description="Bit patterns that mean 'not available', as unsigned integers."
    )
    modulus: float | None = setting(
        default=None, gt=0, description="Raw count at which a counter starts again from zero."
    )
    maximum_rate: float | None = setting(
        default=None,
        gt=0,
        description="Units an hour: a counter that rises faster is not believed. Default: by the rating.",
    )
    ratio: Ratio = setting(
        default=Ratio.NONE, description="Transformer ratios a value of the secondary side is multiplied by."
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tell pydantic; called by it."""
        return Written(_series_as_written).__get_pydantic_core_schema__(source, handler)

    def __post_init__(self) -> None:
        if self.scale == 0:
            raise ValueError("scale must not be 0")
        if self.modulus is not None and self.kind != "counter":
            raise ValueError("modulus belongs to counters only")
        if self.bit and (self.request or self.type is not WordType.BIT):
            raise ValueError("bit belongs to the type bit in a register")
        if self.node:
            self._check_node()
            bits = 0
        elif self.request:
            self._check_field()
            bits = 8 * self.length
        else:
            self._check_registers()
            bits = 16 * self.words
        if any(pattern >> bits for pattern in self.invalid):
            raise ValueError(f"an invalid pattern has more than the {bits} bits of {self.type}")

    def _check_registers(self) -> None:
        if not self.function:
            raise ValueError(
                "says neither function and address (Modbus) nor request and length nor node: where is the value?"
            )
        if self.type is WordType.STRING:
            if not 1 <= self.length <= MAXIMUM_REGISTERS:
                raise ValueError(f"length says how many registers the text takes, 1 to {MAXIMUM_REGISTERS}")
        elif not self.type.has_fixed_width:
            raise ValueError(f"{self.type} is no type of registers")
        elif self.start or self.length:
            raise ValueError("start and length belong to a request, not to registers")
        if self.function in _BIT_FUNCTIONS and (self.type is not WordType.BIT or self.bit):
            raise ValueError("coils and discrete inputs (function 1 and 2) are of type bit, each with its own address")
        if self.address + self.words > 0x10000:
            raise ValueError(f"address {self.address} leaves no room for the {self.words} registers of {self.type}")

    def _check_node(self) -> None:
        if not valid_node_id(self.node):
            raise ValueError(f"node: {self.node!r} is no NodeId such as ns=2;s=Line.Power or i=2258")
        if self.type is not WordType.VARIANT:
            raise ValueError("the value of a node brings its type along: leave out type, or write variant")
        if self.function or self.address or self.request or self.start or self.length:
            raise ValueError("a node has neither registers nor a request")

    def _check_field(self) -> None:
        if self.function or self.address:
            raise ValueError("function and address belong to registers, not to a request")
        if self.type in (WordType.BCD, WordType.SIGNED_BCD):
            if not 0 < self.length <= MAXIMUM_DECIMAL_BYTES:
                raise ValueError(f"length must be 1 to {MAXIMUM_DECIMAL_BYTES} bytes of decimal digits")
        elif self.type.is_decimal or not self.type.has_fixed_width or self.length * 8 != self.type.bits:
            raise ValueError(f"{self.type} is no type of a field of {self.length} bytes")
        if self.order not in (WordOrder.ABCD, WordOrder.DCBA):
            raise ValueError("bytes of an answer stand in the order ABCD (most significant first) or DCBA (last)")
        if self.start + self.length > MAXIMUM_ANSWER_BYTES:
            raise ValueError(f"start {self.start} leaves no room for {self.length} bytes")

    @property
    def words(self) -> int:
        """Number of registers of the value; a coil or discrete input is one word, 0 or 1."""
        return self.length if self.type is WordType.STRING else self.type.words

    def decode(self, words: tuple[int, ...]) -> float | int | None:
        """Return the value of ``words`` in ``unit`` without transformer ratios; ``None`` when not available."""
        return decode_words(
            words,
            self.type,
            self.order,
            scale=self.scale,
            offset=self.offset,
            invalid=self.invalid,
            bit=self.bit,
        )

    def decode_answer(self, answer: bytes) -> float | int | None:
        """Return the value that stands in ``answer``, otherwise as `decode`; ``None`` too when it is too short."""
        field = answer[self.start : self.start + self.length]
        if len(field) < self.length:
            return None
        return decode_octets(field, self.type, self.order, scale=self.scale, offset=self.offset, invalid=self.invalid)

    def decode_node(self, raw: float) -> float | int | None:
        """Return what the value ``raw`` of a node is worth in ``unit``."""
        return scaled(raw, self.scale, self.offset)


def _series_as_written(value: Any) -> Any:
    """Nodes bring their type; an address that was forgotten is not register 0."""
    if not isinstance(value, dict):
        return value
    if value.get("function") and "address" not in value:
        raise ValueError("has a function but no address; add it")
    return {"type": WordType.VARIANT} | value if value.get("node") else value


@settings
class Provenance(FileSettings):
    """Where the facts of a model were read."""

    document: str = setting(description="Document and page, or the source that was read.")
    note: str = setting(default="", description="What it says, and where it is not clear.")


@settings
class Tariff(FileSettings):
    """How the energy registers of a meter with several tariffs are to be read."""

    rule: str = setting(description="In words: which registers are totals, which are parts.")
    sums: dict[str, tuple[str, ...]] = setting(
        default_factory=dict,
        description="Totals that the meter has no register for: name of the total, and the series it is made of.",
    )


@settings
class Rating(FileSettings):
    """What a meter can measure at most at its own terminals: nothing makes its energy counters rise faster.

    Behind transformers the bound is multiplied by their ratios, as the gateway file states them.
    """

    current: float = setting(gt=0, description="Largest current of a phase at the terminals, A.")
    voltage: float = setting(gt=0, description="Largest voltage between phase and neutral at the terminals, V.")
    phases: Literal[1, 3] = setting(default=3, description="Number of phases.")
    reason: str = setting(description="Why nothing larger is possible.")

    @property
    def power(self) -> float:
        """The largest apparent power at the terminals, kVA."""
        return self.phases * self.current * self.voltage / 1000


@settings
class WatchedRegister(FileSettings):
    """A setting of the meter that changes the meaning of its values: read after start and then daily."""

    function: Literal[3, 4] = setting(default=3, description="Modbus function code.")
    address: int = setting(ge=0, le=0xFFFF, description="0-based protocol address.")
    type: WordType = setting(default=WordType.UINT16, description="Type of the raw value.")
    order: WordOrder = setting(default=WordOrder.ABCD, description="Order of bytes.")
    scale: float = setting(default=1.0, description="setting = raw * scale.")
    meaning: str = setting(default="", description="What the values mean.")

    def as_series(self, name: str) -> SeriesModel:
        """Return the register as a series of codes, so that its words have a meaning on record."""
        return SeriesModel(
            quantity=name,
            unit="1",
            kind="state",
            function=self.function,
            address=self.address,
            type=self.type,
            order=self.order,
            scale=self.scale,
        )


@settings
class Ratios(FileSettings):
    """Where a meter keeps the ratios of its transformers."""

    ct: WatchedRegister | None = setting(default=None, description="Current transformer ratio.")
    pt: WatchedRegister | None = setting(default=None, description="Voltage transformer ratio.")


@settings
class StoredValue(FileSettings):
    """One value of a stored reading; where it stands is said by the classes below."""

    quantity: str = setting(description="What is measured.")
    unit: str = setting(description="Unit of the value after scale.")
    kind: SeriesKind = setting(default="gauge", description="gauge for measured values, state for codes such as dates.")
    type: WordType = setting(description="Type of the raw value.")
    order: WordOrder = setting(default=WordOrder.ABCD, description="Order of bytes.")
    scale: float = setting(default=1.0, description="value = raw * scale, in the unit.")
    invalid: tuple[int, ...] = setting(default=(), description="Bit patterns that mean 'nothing stored'.")
    ratio: Ratio = setting(
        default=Ratio.NONE, description="Transformer ratios the value is multiplied by, whatever the side of the meter."
    )

    def at(self, **place: Any) -> SeriesModel:
        """Return the value as a series that stands at ``place``, the fields of a series that say where."""
        return SeriesModel(
            quantity=self.quantity,
            unit=self.unit,
            kind=self.kind,
            type=self.type,
            order=self.order,
            scale=self.scale,
            invalid=self.invalid,
            ratio=self.ratio,
            **place,
        )


@settings
class StoredInRegisters(StoredValue):
    """A value in the registers of an entry; ``position`` is the register inside its block."""

    position: int = setting(ge=0, lt=MAXIMUM_REGISTERS, description="First register, 0 = start of the block.")


@settings
class StoredInAnswer(StoredValue):
    """A value in the answer to a request; ``request`` is that of entry 1."""

    request: Octets = setting(description="Control code and identifier of entry 1, as they travel.")
    start: int = setting(
        default=0, ge=0, lt=MAXIMUM_ANSWER_BYTES, description="First byte of the value in the answer, 0 the first."
    )
    length: int = setting(ge=1, le=MAXIMUM_ANSWER_BYTES, description="Bytes of the value in the answer.")


@settings
class StoredReadings(FileSettings, ABC):
    """Readings that a meter froze by itself: equal entries, entry 1 the newest; recorded whole."""

    period: Literal["day", "month"] = setting(description="How often the meter freezes a reading.")
    entries: int = setting(ge=1, le=1024, description="How many entries the meter keeps.")

    @abstractmethod
    def as_series(self, name: str) -> dict[str, SeriesModel]:
        """Return the series of entry 1, each under ``name`` and its own name."""


@settings
class StoredRegisters(StoredReadings):
    """Blocks of registers, entry n at address + (n - 1) * stride; ``series`` says what is known of their layout."""

    function: Literal[3, 4] = setting(default=3, description="Modbus function code.")
    address: int = setting(ge=0, le=0xFFFF, description="Address of entry 1, the newest.")
    stride: int = setting(ge=1, description="Registers from one entry to the next older one.")
    registers: int = setting(ge=1, le=MAXIMUM_REGISTERS, description="Registers of one entry.")
    series: dict[str, StoredInRegisters] = setting(description="What is known of the registers of an entry.")

    def __post_init__(self) -> None:
        if self.address_of(self.entries) + self.registers > 0x10000:
            raise ValueError(f"entry {self.entries} lies behind the last register")
        for name, one in self.series.items():
            if one.position + one.type.words > self.registers:
                raise ValueError(f"{name} does not end inside the {self.registers} registers of an entry")

    def address_of(self, entry: int) -> int:
        """Return the address of ``entry``, 1 the newest."""
        return self.address + (entry - 1) * self.stride

    def as_series(self, name: str) -> dict[str, SeriesModel]:
        """Return the series of entry 1, each under ``name`` and its own name."""
        return {
            f"{name}_{key}": one.at(function=self.function, address=self.address + one.position)
            for key, one in self.series.items()
        }


@settings
class StoredAnswers(StoredReadings):
    """Answers of a meter that is asked by identifier, one byte of which counts the entries."""

    entry_byte: int = setting(
        ge=1,
        lt=MAXIMUM_REQUEST_BYTES,
        description="Which byte of a request, 0 the control code, is higher by 1 for each older entry.",
    )
    series: dict[str, StoredInAnswer] = setting(min_length=1, description="The values of an entry.")

    def __post_init__(self) -> None:
        for name, one in self.series.items():
            if self.entry_byte >= len(one.request):
                raise ValueError(f"{name}: the request has no byte {self.entry_byte}")
            if one.request[self.entry_byte] + self.entries > 0x100:
                raise ValueError(f"{name}: byte {self.entry_byte} of the request cannot count {self.entries} entries")

    def requests_of(self, entry: int) -> dict[bytes, tuple[tuple[int, int], ...]]:
        """Return what ``entry``, 1 the newest, is asked for by, each with start and length of the values in it."""
        found: dict[bytes, list[tuple[int, int]]] = {}
        for one in self.series.values():
            request = request_of_entry(one.request, self.entry_byte, entry)
            found.setdefault(request, []).append((one.start, one.length))
        return {request: tuple(places) for request, places in found.items()}

    def as_series(self, name: str) -> dict[str, SeriesModel]:
        """Return the series of entry 1, each under ``name`` and its own name."""
        return {
            f"{name}_{key}": one.at(request=one.request, start=one.start, length=one.length)
            for key, one in self.series.items()
        }


def _way_of_storing(written: dict[str, Any]) -> type[StoredReadings]:
    return StoredAnswers if "entry_byte" in written else StoredRegisters


AnyStoredReadings = Annotated[StoredRegisters | StoredAnswers, Kind(_way_of_storing)]


@settings
class GoldenVector(FileSettings):
    """Raw words of one series and the value they must give; ``null`` = not available."""

    series: str = setting(description="Name of a series, setting (ct_ratio ...) or stored value (daily_...).")
    words: tuple[Annotated[int, Within(ge=0, le=0xFFFF)], ...] = setting(
        default=(), description="Registers in the order in which they were read."
    )
    answer: Octets = setting(default=b"", description="The whole answer, behind the identifier, hexadecimal.")
    raw: float | None = setting(default=None, description="The value of a node, as the server sends it.")
    value: float | None = setting(description="The value in the unit, without transformer ratios.")

    def __post_init__(self) -> None:
        if bool(self.words) + bool(self.answer) + (self.raw is not None) != 1:
            raise ValueError("give either words (of registers), an answer (of a request) or raw (of a node)")

    def decoded(self, series: SeriesModel) -> float | int | None:
        """Return what ``series`` makes of the raw words, bytes or value."""
        if self.raw is not None:
            return series.decode_node(self.raw)
        return series.decode_answer(self.answer) if series.request else series.decode(self.words)


@settings
class DeviceModel(FileSettings):
    """A kind of device."""

    model: str = setting(description="Name of the model: the name of its file without .yaml.")
    title: str = setting(description="Maker and product, for people.")
    provenance: tuple[Provenance, ...] = setting(min_length=1, description="Where the facts were read.")
    confidence: Confidence = setting(
        description="A: the maker's document was read. B: two independent sources agree. C: one source only."
    )
    side: Side = setting(
        description="primary: values contain the transformer ratios; secondary: they are multiplied here."
    )
    tariff: Tariff | None = setting(default=None, description="How tariff registers are added up.")
    rating: Rating | None = setting(default=None, description="Bounds the rate of every energy counter.")
    limits: Limits = setting(default=Limits(), description="What the device takes in one request.")
    ratios: Ratios = setting(default=Ratios(), description="Ratio registers, read daily; a change is an event.")
    settings: Annotated[dict[str, WatchedRegister], Names] = setting(
        default_factory=dict,
        description="Other settings that change the meaning of values, read daily; a change is an event.",
    )
    series: Annotated[dict[str, SeriesModel], Names] = setting(
        min_length=1, description="The values that are polled, by name."
    )
    history: Annotated[dict[str, AnyStoredReadings], Names] = setting(
        default_factory=dict, description="Readings the meter froze by itself, by name (daily, monthly)."
    )
    golden: tuple[GoldenVector, ...] = setting(min_length=1, description="Raw words and what they must give.")

    def __post_init__(self) -> None:
        names = [*self.series, *self.watched(), *(name for one in self.stored().values() for name in one)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)}: two series, settings or stored values have this name")
        for vector in self.golden:
            if vector.series not in names:
                raise ValueError(f"golden: no series '{vector.series}'{suggestion(vector.series, names)}")
        for total, parts in ({} if self.tariff is None else self.tariff.sums).items():
            if total in self.series:
                raise ValueError(f"tariff.sums: '{total}' is a series of its own; a sum is of what has no register")
            for part in parts:
                if part not in self.series:
                    raise ValueError(f"tariff.sums.{total}: no series '{part}'{suggestion(part, list(self.series))}")
            if len({(self.series[part].quantity, self.series[part].unit) for part in parts}) != 1:
                raise ValueError(f"tariff.sums.{total}: only values of one quantity and unit can be added up")
        for name, stored in self.history.items():
            if isinstance(stored, StoredRegisters) and stored.registers > self.limits.maximum_registers:
                raise ValueError(f"history.{name}: an entry has more registers than a request may have")

    def watched(self) -> dict[str, SeriesModel]:
        """Return the registers that are read daily as series: ``ct_ratio``, ``pt_ratio``, and the settings by name."""
        ratios = {"ct_ratio": self.ratios.ct, "pt_ratio": self.ratios.pt}
        registers = {name: one for name, one in ratios.items() if one is not None} | self.settings
        return {name: one.as_series(name) for name, one in registers.items()}

    def stored(self) -> dict[str, dict[str, SeriesModel]]:
        """Return the series of the newest stored entry, by name of the history they belong to."""
        return {name: one.as_series(name) for name, one in self.history.items()}

    def every_series(self) -> dict[str, SeriesModel]:
        """Return all that words of this model can mean: polled, read daily, stored."""
        found = self.series | self.watched()
        for one in self.stored().values():
            found |= one
        return found


@dataclass(frozen=True)
class Template:
    """A device model together with the SHA-256 of the file it was read from."""

    model: DeviceModel
    hash: bytes


@cache
def model_names() -> tuple[str, ...]:
    """Return the names of all installed device models, sorted."""
    return tuple(sorted(_name(entry) for entry in _folder().iterdir() if entry.name.endswith(".yaml")))


def load_template(name: str) -> Template:
    """Return the device model ``name``: as it is held, otherwise read from its file.

    Raises `ModelError` when there is none, `DocumentError` when its file is wrong.
    """
    return _held.get(name) or _read_template(name)


def hold_templates(templates: Mapping[str, Template]) -> None:
    """Use these device models, which were read elsewhere, from now on."""
    _held.update(templates)


_held: dict[str, Template] = {}


@cache
def _read_template(name: str) -> Template:
    from wire.document import parse_document  # noqa: PLC0415 - a running agent holds its models

    if name not in model_names():
        raise ModelError(f"no device model '{name}'{suggestion(name, list(model_names()))}")
    data = template_file(name).read_bytes()
    source = f"gateway_configs/devices/{name}.yaml"
    model = parse_document(DeviceModel, data.decode(), source)
    if model.model != name:
        raise ModelError(f"{source}: model: is '{model.model}' but the file is named '{name}'; make them equal")
    return Template(model, hashlib.sha256(data).digest())


def template_file(name: str) -> Traversable:
    """Return the file that the device model ``name`` is read from, whether there is one or not."""
    return _folder() / f"{name}.yaml"


def _folder() -> Traversable:
    return files("gateway_configs") / "devices"


def _name(entry: Traversable) -> str:
    return entry.name.removesuffix(".yaml")
