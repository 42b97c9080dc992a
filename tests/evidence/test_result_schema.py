"""The published schemas: up to date, valid by an independent library, right about results and plans, and kept to."""

from __future__ import annotations

import copy
import dataclasses
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator

from evidence import schema
from evidence.evaluate import evaluate
from evidence.plan import Plan
from evidence.result import RESULT_SCHEMA
from evidence.schema import Kind, closed_result_schema, fields, json_schema, schema_text, undescribed
from evidence.table import DAY_MS, IntervalTable
from shopfloor.main import main

HERE = Path(__file__).parent
KINDS: tuple[Kind, ...] = ("result", "plan")
FOLDER = Path(schema.__file__).parent

Json = dict[str, Any]


def complaints(document: object, against: Json) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(against).iter_errors(document)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_stored_schema_is_up_to_date(kind: Kind) -> None:
    remedy = f"run: shopfloor evidence schema {kind} > evidence/schema/{kind}.json"
    assert (FOLDER / f"{kind}.json").read_text(encoding="utf-8") == schema_text(kind), remedy


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_prints_the_schema(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "schema", kind]) == 0
    assert capsys.readouterr().out == schema_text(kind)


def test_a_result_is_printed_without_naming_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$id"] == RESULT_SCHEMA


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_one_and_describes_every_field(kind: Kind) -> None:
    Draft202012Validator.check_schema(json_schema(kind))
    assert undescribed(json_schema(kind)) == [], "say what the field means in evidence/schema/fields.yaml"


@pytest.mark.parametrize("kind", KINDS)
def test_no_meaning_is_left_of_a_field_that_is_gone(kind: Kind) -> None:
    known = json_schema(kind)
    names = {field for one in (known, *known["$defs"].values()) for field in one.get("properties", {})}
    assert {key.rpartition(".")[2] for key in fields()[kind]} <= names


@pytest.fixture(scope="module")
def saving(retrofit: Plan, daily_table: Any, factory_days: Any) -> Json:
    return evaluate(retrofit, daily_table(retrofit, factory_days(4, -0.2))).to_json()


@pytest.fixture(scope="module")
def everything(every_kpi: Plan, workshop: IntervalTable) -> Json:
    return evaluate(every_kpi, workshop).to_json()


@pytest.fixture(scope="module")
def nothing(retrofit: Plan) -> Json:
    times = np.array([], dtype=np.int64)
    empty = IntervalTable(
        times, DAY_MS, {name: np.array([]) for name in retrofit.series}, retrofit.series, retrofit.zone
    )
    return evaluate(retrofit, empty).to_json()


@pytest.fixture(scope="module")
def replayed(every_kpi: Plan, workshop: IntervalTable) -> Json:
    """A week that is played again."""
    week = 7 * 24
    values = {name: column.copy() for name, column in workshop.values.items()}
    for column in values.values():
        column[2 * week : 3 * week] = column[week : 2 * week]
    document = evaluate(every_kpi, dataclasses.replace(workshop, values=values)).to_json()
    assert any(screen["places"] for screen in document["screens"])
    return document


@pytest.mark.parametrize("name", ["saving", "everything", "nothing", "replayed"])
def test_results_fit(name: str, request: pytest.FixtureRequest) -> None:
    document = request.getfixturevalue(name)
    assert complaints(document, closed_result_schema()) == []
    assert complaints(document, json_schema("result")) == []
    assert document["$schema"] == json_schema("result")["$id"]


def test_every_form_of_a_model_is_seen(saving: Json, everything: Json) -> None:
    """The golden results hold each of the forms that the schema knows."""
    forms = closed_result_schema()["$defs"]["KpiResult"]["properties"]["model"]["anyOf"]
    models = [kpi["model"] for kpi in (*saving["kpis"], *everything["kpis"])]
    for form in forms:
        whole = closed_result_schema() | form
        del whole["properties"], whole["required"], whole["additionalProperties"]
        assert any(not complaints(model, whole) for model in models), form


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kpis", 0, "change"), "-8 %"),
        (("kpis", 0, "interval"), [-0.1]),
        (("kpis", 0, "verdict"), "passed"),
        (("kpis", 0, "model", "daily"), None),
        (("step_ms",), "a day"),
        (("$schema",), "urn:shopfloor-evidence:result:2"),
        (("baseline", "first"), 20250701),
    ],
)
def test_what_is_no_result_does_not_fit(saving: Json, path: tuple[str | int, ...], value: object) -> None:
    changed = copy.deepcopy(saving)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert complaints(changed, json_schema("result"))


def test_a_field_that_a_later_release_adds_does_no_harm(saving: Json) -> None:
    grown = copy.deepcopy(saving)
    grown["kpis"][0]["model"]["something_new"] = 1
    assert complaints(grown, json_schema("result")) == []
    assert complaints(grown, closed_result_schema())


def test_nothing_of_the_first_version_is_gone() -> None:
    """The rule of change: within a number fields are only added, and keep their type."""
    published = json.loads((HERE / "schema" / "result_1_fields.json").read_text(encoding="utf-8"))
    now = json_schema("result")
    assert now["$id"] == published["$id"], "a new number: store its fields as result_N_fields.json"
    found = {f"{name}.{field}": form for name, field, form in typed_fields(now)}
    for field, form in published["fields"].items():
        assert field in found, f"{field} is gone: that takes a new number"
        assert kept(form, found[field]), f"{field} is something else: that takes a new number"


def kept(before: Json, after: Json) -> bool:
    """Whether a field is what it was; a list of words may have grown."""
    return {**before, "enum": None} == {**after, "enum": None} and set(before.get("enum", ())) <= set(
        after.get("enum", ())
    )


def typed_fields(whole: Json) -> list[tuple[str, str, Json]]:
    """Every field of a schema with what its values may be, without its meaning."""
    return [
        (name, field, {key: value for key, value in form.items() if key != "description"})
        for name, definition in (("Result", whole), *whole["$defs"].items())
        for field, form in definition.get("properties", {}).items()
    ]


# --- plans ---


def as_written(text: str) -> object:
    """A plan as an editor sees it: dates are texts."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        if isinstance(value, list):
            return [plain(one) for one in value]
        return value.isoformat() if isinstance(value, date) else value

    return plain(yaml.safe_load(text))


def test_plans_fit(retrofit_text: str, every_kpi_text: str) -> None:
    for text in (retrofit_text, every_kpi_text):
        assert complaints(as_written(text), json_schema("plan")) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("kind: energy_intensity", "kind: energy_intensty"),
        ("blackout:", "blakout:"),
        ("confidence: 0.90", "confidence: 90"),
        ("unit: kWh", "unit: 3"),
    ],
)
def test_an_editor_shows_a_mistake(retrofit_text: str, right: str, wrong: str) -> None:
    assert right in retrofit_text
    assert complaints(as_written(retrofit_text.replace(right, wrong)), json_schema("plan"))
