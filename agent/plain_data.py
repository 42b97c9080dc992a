"""What `agent.setting` describes, as data without classes: for another process, which knows the same classes.

Only what differs from the default travels. What is held once is told once: the same object becomes the same mapping,
and the same mapping becomes one object again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from agent.setting import Kind

T = TypeVar("T")
_ITSELF = frozenset({str, int, float, bool, bytes, NoneType})


class _Plain:
    """Makes plain data of objects; holds what it was made of, so that no other object takes its identity."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, dict[str, Any]]] = {}

    def of(self, value: Any) -> Any:
        if is_dataclass(value):
            if id(value) not in self._made:
                told = {one.name: getattr(value, one.name) for one in fields(value)}
                plain = {one.name: self.of(told[one.name]) for one in fields(value) if told[one.name] != _default(one)}
                self._made[id(value)] = value, plain
            return self._made[id(value)][1]
        if isinstance(value, dict):
            return {key: self.of(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return [self.of(item) for item in value]
        return str(value) if isinstance(value, StrEnum | Path) else value


def to_plain(value: Any) -> Any:
    """Return ``value`` as mappings, lists, texts, byte strings, numbers, truth values and ``None``."""
    return _Plain().of(value)


def from_plain(class_: type[T], plain: Any) -> T:
    """Return the object that `to_plain` made ``plain`` of; raise `TypeError` or `ValueError` when there was none."""
    return cast("T", _Objects().of(class_, plain))


class _Objects:
    def __init__(self) -> None:
        self._made: dict[tuple[Any, int], Any] = {}

    def of(self, annotation: Any, plain: Any) -> Any:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            kind = next((one for one in arguments[1:] if isinstance(one, Kind)), None)
            return self.of((kind and kind.of(plain)) or arguments[0], plain)
        if origin in (Union, UnionType):
            possible = [one for one in arguments if one is not NoneType]
            return None if plain is None else self.of(possible[0], plain)
        if origin is tuple:
            return tuple(self.of(arguments[0], item) for item in plain)
        if origin is dict:
            return {key: self.of(arguments[1], item) for key, item in plain.items()}
        if annotation in _ITSELF or origin is Literal:
            return plain
        return self._object(annotation, plain) if is_dataclass(annotation) else annotation(plain)

    def _object(self, class_: Any, plain: dict[str, Any]) -> Any:
        made = self._made.get((class_, id(plain)))
        if made is None:
            annotations = _annotations(class_)
            made = class_(**{name: self.of(annotations[name], item) for name, item in plain.items()})
            self._made[class_, id(plain)] = made
        return made


@cache
def _annotations(class_: Any) -> dict[str, Any]:
    return get_type_hints(class_, include_extras=True)


def _default(field: Field[Any]) -> Any:
    factory: Callable[[], Any] | Any = field.default_factory
    return field.default if factory is MISSING else factory()
