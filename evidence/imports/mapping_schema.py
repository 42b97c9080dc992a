"""The JSON Schema of mapping files, for editors and for whoever writes one."""

from __future__ import annotations

import json

from evidence.imports.mapping import Mapping


def mapping_schema_text() -> str:
    """The schema (JSON Schema 2020-12) as it stands in ``evidence/imports/schema/mapping.json``."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Mapping.model_json_schema()}
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"
