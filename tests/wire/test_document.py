"""YAML documents: every problem is named with file, line and field, and an unknown key with the nearest known one."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from wire.document import DocumentModel, parse_document, read_document
from wire.errors import DocumentError


class Meter(DocumentModel):
    kind: Literal["meter"]
    interval: int = Field(gt=0)


class Controller(DocumentModel):
    kind: Literal["controller"]
    address: str


class Site(DocumentModel):
    site: str
    from_: str = Field(default="", alias="from")
    devices: list[Annotated[Meter | Controller, Field(discriminator="kind")]] = Field(default_factory=list)
    named: dict[str, Meter] = Field(default_factory=dict)


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
            "site.yaml:3: devices[0]: input tag 'metre' found using 'kind' does not match any of the expected tags: "
            "'meter', 'controller'",
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


def test_lines_of_nested_items_are_known() -> None:
    document = read_document(GOOD, "site.yaml")
    assert document.line_of(("named", "east", "interval")) == 5
    assert document.line_of(("named", "east", "nothing", "there")) == 5
