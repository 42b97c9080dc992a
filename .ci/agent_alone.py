"""Fails when the environment it runs in, made for a gateway, holds a web, database or numeric package."""

import sys
from importlib.metadata import distributions

FORBIDDEN = {"fastapi", "starlette", "uvicorn", "jinja2", "psycopg", "psycopg-binary", "numpy", "scipy", "rich"}

installed = {distribution.metadata["Name"].lower() for distribution in distributions()}
print("installed for a gateway:", ", ".join(sorted(installed)))
if found := installed & FORBIDDEN:
    sys.exit(f"a gateway would get packages that it has no use for: {', '.join(sorted(found))}")
if "shopfloor-evidence" not in installed:
    sys.exit("the product itself is not installed")
