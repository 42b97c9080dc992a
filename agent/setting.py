"""Plain classes for what stands in a file: checked by pydantic where the file is read, held without it elsewhere.

A running agent holds what its gateway file says, but never reads it itself (see `agent.reading`): pydantic and PyYAML
take a quarter of the memory that it may have. So the classes are standard dataclasses, and what pydantic has to know
about a field stands beside the field, in words that pydantic understands and that do not import it: `setting` for
bounds and description, and in ``Annotated`` the functions below. What concerns several fields of a class is checked by
its ``__post_init__``, which raises `ValueError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

T = TypeVar("T")


def setting(
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    repr: bool = True,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    description: str | None = None,
) -> Any:
    """Return a dataclass field; the bounds and the description are those of ``pydantic.Field``, in its metadata."""
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt, "min_length": min_length, "max_length": max_length}
    told = {name: value for name, value in {**bounds, "description": description}.items() if value is not None}
    if default_factory is not MISSING:
        return field(default_factory=default_factory, repr=repr, metadata=told)
    return field(default=default, repr=repr, metadata=told)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
def settings(class_: type[T]) -> type[T]:
    """Make ``class_`` a dataclass: immutable, its fields given by name."""
    return dataclass(frozen=True, kw_only=True)(class_)


@settings
class FileSettings:
    """Base of the classes whose fields a file gives; keys that are no fields are mistakes, and so is NaN."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    def placed_in(self, directory: Path) -> Self:
        """Return the same with its relative paths taken as relative to ``directory``."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        paths: dict[str, Any] = {name: directory / path for name, path in values.items() if isinstance(path, Path)}
        return replace(self, **paths)


@dataclass(frozen=True, slots=True)
class Written:
    """Beside a type: ``meaning`` makes of what is written what the type demands, and raises `ValueError`."""

    meaning: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tell pydantic; called by it."""
        from pydantic_core import core_schema  # noqa: PLC0415 - never in a running agent

        return core_schema.no_info_before_validator_function(self.meaning, handler(source))


@dataclass(frozen=True, slots=True)
class Checked:
    """Beside a type: ``check`` returns a value of the type, the same or a better one, or raises `ValueError`."""

    check: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tell pydantic; called by it."""
        from pydantic_core import core_schema  # noqa: PLC0415 - never in a running agent

        return core_schema.no_info_after_validator_function(self.check, handler(source))


@dataclass(frozen=True, slots=True)
class Within:
    """Beside ``int``, where it is part of a longer type: from ``ge`` to ``le``."""

    ge: int
    le: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tell pydantic; called by it."""
        from pydantic_core import core_schema  # noqa: PLC0415 - never in a running agent

        return core_schema.int_schema(ge=self.ge, le=self.le)


@dataclass(frozen=True, slots=True)
class Stated:
    """Beside a type or ``None``: ``None`` means that the file says nothing about it. A key without a value is one whose
    value was forgotten."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tell pydantic; called by it."""
        return handler(source)["schema"]


@dataclass(frozen=True, slots=True)
class Kind:
    """Beside a class: what is written says itself of which class it is. ``of`` returns that class of the keys that are
    written, ``None`` where they do not tell: it is then checked as the class that the annotation names, without the
    keys that only others have."""

    of: Callable[[dict[str, Any]], type[Any] | None]

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tell pydantic; called by it."""
        from pydantic_core import core_schema  # noqa: PLC0415 - never in a running agent

        return core_schema.no_info_wrap_validator_function(partial(self.checked, source), handler(source))

    def checked(self, named: Any, value: Any, as_named: Callable[[Any], Any]) -> Any:
        """Return ``value`` as what it says that it is, ``as_named`` where it does not; ``named`` is that class."""
        from wire.document import validated  # noqa: PLC0415 - never in a running agent

        if not isinstance(value, dict):
            return as_named(value)
        kind = self.of(value)
        if kind is not None:
            return validated(kind, value)
        known = {field.name for field in fields(named)}
        return as_named({key: item for key, item in value.items() if key in known})
