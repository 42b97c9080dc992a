"""The JSON Schema of programme files, for editors and for whoever writes one: it is published beside the files."""

from __future__ import annotations

import json

from evidence.programme import Programme


def programme_schema_text() -> str:
    """The schema (JSON Schema 2020-12) as it stands in ``evidence/programmes/schema/programme.json``."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Programme.model_json_schema()}
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"
