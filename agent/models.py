"""Device models: what the registers of a kind of device mean, one YAML file a model in ``gateway_configs/devices/``.

A model is public knowledge about a product (addresses, types, limits, provenance); what is particular to one device in
one cabinet (unit, serial number, ratios) stands in the gateway file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from agent.errors import ModelError
from wire.document import DocumentModel, parse_document, suggestion
from wire.limits import MAXIMUM_REGISTERS
from wire.topics import valid_identifier
from wire.words import WordOrder, WordType, decode_words

SeriesKind = Literal["counter", "gauge", "state"]


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


class Limits(DocumentModel):
    """What a device can take in one request.

    ``maximum_registers`` at most, 1 to 125; ``maximum_gap`` unused registers may be read along to save a request;
    ``even_addresses``: start and count must be even.
    """

    maximum_registers: Annotated[int, Field(ge=1, le=MAXIMUM_REGISTERS)] = MAXIMUM_REGISTERS
    maximum_gap: Annotated[int, Field(ge=0, le=MAXIMUM_REGISTERS)] = 0
    even_addresses: bool = False


class SeriesModel(DocumentModel):
    """One value of a device.

    ``address`` is the 0-based protocol address (what the request carries). The value is ``raw * scale + offset`` in
    ``unit``. ``invalid`` are bit patterns that mean "not available". ``modulus`` is in raw counts: the count at which a
    counter starts again from zero. ``maximum_rate`` is in units an hour: a counter that rises faster is not believed.
    ``ratio`` is applied only when the device states values on the secondary side.
    """

    quantity: str
    unit: str
    kind: SeriesKind
    function: Literal[3, 4]
    address: Annotated[int, Field(ge=0, le=0xFFFF)]
    type: WordType
    order: WordOrder = WordOrder.ABCD
    scale: float = 1.0
    offset: float = 0.0
    invalid: tuple[Annotated[int, Field(ge=0)], ...] = ()
    modulus: Annotated[float, Field(gt=0)] | None = None
    maximum_rate: Annotated[float, Field(gt=0)] | None = None
    ratio: Ratio = Ratio.NONE

    @field_validator("quantity")
    @classmethod
    def _quantity_is_identifier(cls, value: str) -> str:
        if not valid_identifier(value):
            raise ValueError("must be of a-z, 0-9, '-' and '_'")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scale == 0:
            raise ValueError("scale must not be 0")
        if self.address + self.type.words > 0x10000:
            raise ValueError(
                f"address {self.address} leaves no room for the {self.type.words} registers of {self.type}"
            )
        if self.modulus is not None and self.kind != "counter":
            raise ValueError("modulus belongs to counters only")
        if any(pattern >> self.type.bits for pattern in self.invalid):
            raise ValueError(f"an invalid pattern has more than the {self.type.bits} bits of {self.type}")
        return self

    def decode(self, words: tuple[int, ...]) -> float | int | None:
        """Return the value of ``words`` in ``unit`` without transformer ratios; ``None`` when not available."""
        return decode_words(words, self.type, self.order, scale=self.scale, offset=self.offset, invalid=self.invalid)


class Provenance(DocumentModel):
    """Where the facts of a model were read."""

    document: str
    note: str = ""


class GoldenVector(DocumentModel):
    """Raw words of one series and the value they must give; ``null`` = not available."""

    series: str
    words: tuple[Annotated[int, Field(ge=0, le=0xFFFF)], ...]
    value: float | None


class DeviceModel(DocumentModel):
    """A kind of device."""

    model: str
    title: str
    provenance: Annotated[tuple[Provenance, ...], Field(min_length=1)]
    side: Side
    limits: Limits = Limits()
    series: Annotated[dict[str, SeriesModel], Field(min_length=1)]
    golden: Annotated[tuple[GoldenVector, ...], Field(min_length=1)]

    @field_validator("series")
    @classmethod
    def _names_are_identifiers(cls, value: dict[str, SeriesModel]) -> dict[str, SeriesModel]:
        for name in value:
            if not valid_identifier(name):
                raise ValueError(f"the series name '{name}' must be of a-z, 0-9, '-' and '_'")
        return value

    @model_validator(mode="after")
    def _golden_series_exist(self) -> Self:
        for vector in self.golden:
            if vector.series not in self.series:
                raise ValueError(f"golden: no series '{vector.series}'{suggestion(vector.series, list(self.series))}")
        return self


@dataclass(frozen=True)
class Template:
    """A device model together with the SHA-256 of the file it was read from."""

    model: DeviceModel
    hash: bytes


@cache
def model_names() -> tuple[str, ...]:
    """Return the names of all installed device models, sorted."""
    return tuple(sorted(_name(entry) for entry in _folder().iterdir() if entry.name.endswith(".yaml")))


@cache
def load_template(name: str) -> Template:
    """Load the device model ``name``; raise `ModelError` when there is none, `DocumentError` when its file is wrong."""
    if name not in model_names():
        raise ModelError(f"no device model '{name}'{suggestion(name, list(model_names()))}")
    data = (_folder() / f"{name}.yaml").read_bytes()
    source = f"gateway_configs/devices/{name}.yaml"
    model = parse_document(DeviceModel, data.decode(), source)
    if model.model != name:
        raise ModelError(f"{source}: model: is '{model.model}' but the file is named '{name}'; make them equal")
    return Template(model, hashlib.sha256(data).digest())


def _folder() -> Traversable:
    return files("gateway_configs") / "devices"


def _name(entry: Traversable) -> str:
    return entry.name.removesuffix(".yaml")
