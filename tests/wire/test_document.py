"""YAML documents: every problem is named with file, line and field, and an unknown key with the nearest known one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BeforeValidator, Field

from wire.document import DocumentModel, parse_document, read_document
from wire.errors import DocumentError


class Meter(DocumentModel):
    kind: Literal["meter"]
    interval: int = Field(gt=0)


class Controller(DocumentModel):
    kind: Literal["controller"]
    address: str


Entry = Annotated[Meter | Controller, Field(discriminator="kind")]


class Site(DocumentModel):
    site: str
    from_: str = Field(default="", alias="from")
    devices: list[Entry] = Field(default_factory=list)
    named: dict[str, Meter] = Field(default_factory=dict)


class Staffed(DocumentModel):
    """A list that must not be empty."""

    crew: tuple[Entry, ...] = Field(min_length=1)


GOOD = """\
site: A
devices:
  - {kind: meter, interval: 5}
named:
  east: {kind: meter, interval: 1}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        parse_document(Site, text, "site.yaml")
    return caught.value.problems


def test_a_good_document_is_read() -> None:
    site = parse_document(Site, GOOD, "site.yaml")
    assert (site.site, site.devices[0].kind, site.named["east"].interval) == ("A", "meter", 1)


def test_a_byte_order_mark_is_harmless() -> None:
    assert parse_document(Site, "\ufeffsite: A\n", "site.yaml").site == "A"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("site: A\nfrm: b\n", "site.yaml:2: frm: unknown key; did you mean 'from'?"),
        ("site: A\nzzz: b\n", "site.yaml:2: zzz: unknown key; known are: devices, from, named, site"),
        ("named: {}\n", "site.yaml:1: site: is missing; add it"),
        (
            "site: A\ndevices:\n - {kind: meter, intervall: 3, interval: 1}\n",
            "site.yaml:3: devices[0].intervall: unknown key; did you mean 'interval'?",
        ),
        (
            "site: A\nnamed:\n  x:\n    kind: meter\n    interval: 0\n",
            "site.yaml:5: named.x.interval: input should be greater than 0 (given: 0)",
        ),
        (
            "site: A\ndevices:\n - {kind: metre}\n",
            "site.yaml:3: devices[0].kind: unknown 'metre'; did you mean 'meter'?",
        ),
        ("site: A\nsite: B\n", "site.yaml:2: site: stands twice, first on line 1; keep one"),
        ("site: [\n", "site.yaml:2: not readable as YAML: expected the node content, but found '<stream end>'"),
        (
            "site: !!python/name:os.system x\n",
            "site.yaml:1: not readable as YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/name:os.system'",
        ),
        ("a: 1\n---\nb: 2\n", "site.yaml:2: not readable as YAML: but found another document"),
        ("", "site.yaml:1: the document is empty"),
        ("? [1, 2]\n: x\n", "site.yaml:1: a key must be plain text"),
    ],
)
def test_a_problem_is_named_with_its_place(text: str, expected: str) -> None:
    assert expected in problems(text)


def test_all_problems_are_named_at_once() -> None:
    assert len(problems("sit: A\ndevices:\n - {kind: meter}\n - {kind: controller, adress: x}\n")) == 5


@pytest.mark.parametrize(
    ("crew", "expected"),
    [
        ("[{kind: metre}]", "crew.yaml:1: crew[0].kind: unknown 'metre'; did you mean 'meter'?"),
        ("[{address: x}]", "crew.yaml:1: crew[0].kind: is missing; add it"),
        ("[{kind: meter}]", "crew.yaml:1: crew[0].interval: is missing; add it"),
        ("[]", "crew.yaml:1: crew: has 0 entries; give at least 1"),
    ],
)
def test_a_list_whose_entries_failed_is_not_called_too_short_as_well(crew: str, expected: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_document(Staffed, f"crew: {crew}\n", "crew.yaml")
    assert caught.value.problems == [expected]


def test_lines_of_nested_items_are_known() -> None:
    document = read_document(GOOD, "site.yaml")
    assert document.line_of(("named", "east", "interval")) == 5
    assert document.line_of(("named", "east", "nothing", "there")) == 5


@dataclass(frozen=True)
class Pump:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    name: str
    litres: Annotated[int, BeforeValidator(lambda text: int(text.removesuffix("L")))] = field(metadata={"ge": 1})


@dataclass(frozen=True)
class Works:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    pumps: tuple[Pump, ...]


def test_a_dataclass_is_checked_as_a_model_is() -> None:
    assert parse_document(Works, "pumps: [{name: A, litres: 5L}]", "works.yaml") == Works((Pump("A", 5),))
    with pytest.raises(DocumentError) as caught:
        parse_document(Works, "pumps:\n - {nam: A, litres: 0L}\n - 7\n", "works.yaml")
    assert caught.value.problems == [
        "works.yaml:2: pumps[0].name: is missing; add it",
        "works.yaml:2: pumps[0].litres: input should be greater than or equal to 1 (given: '0L')",
        "works.yaml:2: pumps[0].nam: unknown key; did you mean 'name'?",
        "works.yaml:3: pumps[1]: input should be a valid dictionary or instance of Pump (given: 7)",
    ]
