"""The published JSON Schemas of results and plans: made from the models, with the meaning of every field.

Results: what `evidence.result.Evaluation.to_bytes` writes, for programs that are not ours. Plans: for editors. Both are
JSON Schema 2020-12; the meanings stand in ``fields.yaml``. The files ``result.json`` and ``plan.json`` here are what
`schema_text` makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from evidence.kpis import KPIS
from evidence.plan import Plan
from evidence.ratio_kpi import RatioModel
from evidence.result import RESULT_SCHEMA, Evaluation, KpiModel

Kind = Literal["result", "plan"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PLAN_SCHEMA = "urn:shopfloor-evidence:plan:1"
STANDS_BY_ITSELF = (RatioModel,)
"""Forms of a KPI's model that others build upon and that stand in results themselves."""
_REFERENCE = "#/$defs/{model}"


def schema_text(kind: Kind) -> str:
    """The schema as it is published."""
    return json.dumps(json_schema(kind), ensure_ascii=False, indent=2) + "\n"


def json_schema(kind: Kind) -> dict[str, Any]:
    """The schema of a result or of a plan.

    Fields that a later release adds to a result do not make it invalid: unknown fields of results are not forbidden.
    Those of plans are, as a mistyped one would be lost.
    """
    return _open(closed_result_schema()) if kind == "result" else _plan_schema()


def closed_result_schema() -> dict[str, Any]:
    """The schema of the results of this very release: any other field is an error."""
    forms = sorted(_forms(), key=lambda form: form.__name__)
    models: list[type[BaseModel]] = [Evaluation, *forms]
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "serialization") for model in models]
    _, together = models_json_schema(modes, ref_template=_REFERENCE)
    definitions: dict[str, Any] = together["$defs"]
    definitions["KpiResult"]["properties"]["model"] = {
        "anyOf": [{"$ref": _REFERENCE.format(model=form.__name__)} for form in forms]
    }
    definitions.pop(KpiModel.__name__, None)
    bases = {form.__name__: [base.__name__ for base in form.__mro__] for form in forms}
    for name, definition in definitions.items():
        _describe(definition, fields()["result"], bases.get(name, [name]))
    whole = definitions.pop(Evaluation.__name__)
    return {"$schema": DIALECT, "$id": RESULT_SCHEMA, **whole, "title": "Result", "$defs": definitions}


@cache
def fields() -> Mapping[Kind, Mapping[str, str]]:
    """What the fields mean, by kind of document and name."""
    text = Path(__file__).with_name("fields.yaml").read_text(encoding="utf-8")
    found: Mapping[Kind, Mapping[str, str]] = yaml.safe_load(text)
    return found


def _forms() -> Iterator[type[KpiModel]]:
    """Every form that the model of a KPI result has."""

    def below(model: type[KpiModel]) -> Iterator[type[KpiModel]]:
        for form in model.__subclasses__():
            yield form
            yield from below(form)

    for form in below(KpiModel):
        ours = form.__module__.startswith("evidence.")
        if ours and (form in STANDS_BY_ITSELF or not form.__subclasses__()):
            yield form


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    for definition in (schema, *schema["$defs"].values()):
        if definition.get("additionalProperties") is False:
            del definition["additionalProperties"]
    return schema


class _PlanGenerator(GenerateJsonSchema):
    """Describes what may be written, where that is not what it becomes when read."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """A time of day is written in quarters of an hour."""
        if schema["schema"]["type"] == "time":
            return {"type": "string", "pattern": r"^([01]\d|2[0-3]):(00|15|30|45)$", "examples": ["08:00"]}
        return super().function_before_schema(schema)


def _plan_schema() -> dict[str, Any]:
    schema = Plan.model_json_schema(schema_generator=_PlanGenerator, ref_template=_REFERENCE)
    inputs = {kpi.__name__: {one.field: one.meaning.en for one in kpi.description.inputs} for kpi in KPIS}
    for name, definition in (("Plan", schema), *schema["$defs"].items()):
        _describe(definition, {**fields()["plan"], **_of_model(name, inputs.get(name, {}))}, [name])
    return {"$schema": DIALECT, "$id": PLAN_SCHEMA, **schema, "title": "Evidence plan"}


def _of_model(name: str, meanings: Mapping[str, str]) -> dict[str, str]:
    return {f"{name}.{field}": meaning for field, meaning in meanings.items()}


def _describe(definition: dict[str, Any], meanings: Mapping[str, str], models: list[str]) -> None:
    """Give every field its meaning: that of the field of this model or one that it builds upon, else of the name."""
    definition.pop("title", None)
    for field, value in definition.get("properties", {}).items():
        value.pop("title", None)
        named = [meanings[key] for model in models if (key := f"{model}.{field}") in meanings]
        meaning = named[0] if named else meanings.get(field)
        if meaning is not None:
            value["description"] = meaning


def undescribed(schema: Mapping[str, Any]) -> list[str]:
    """Fields of a schema that say nothing about themselves."""
    return [
        f"{name}.{field}"
        for name, definition in (("", schema), *schema["$defs"].items())
        for field, value in definition.get("properties", {}).items()
        if not value.get("description")
    ]
