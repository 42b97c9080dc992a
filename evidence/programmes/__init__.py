"""The pilot programmes: each YAML file of this package is one, and is found by being here."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from evidence.errors import ProgrammeError
from evidence.programme import Programme, load_programme
from wire.document import suggestion

SUFFIX = ".yaml"


@cache
def programme_names() -> tuple[str, ...]:
    """The names of all programmes, in alphabetical order. No file is read."""
    names = (file.name for file in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)))


@cache
def programme(name: str) -> Programme:
    """The programme called ``name``.

    Raises `evidence.errors.ProgrammeError` when there is none, with the nearest name.
    """
    known = programme_names()
    if name not in known:
        raise ProgrammeError(f"no programme '{name}'{suggestion(name, list(known))}")
    file = files(__name__).joinpath(name + SUFFIX)
    found = load_programme(file.read_text(encoding="utf-8"), file.name)
    if found.name != name:
        raise ProgrammeError(f"{file.name}: calls itself '{found.name}'; name and file name are the same")
    return found
