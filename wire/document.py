"""YAML documents of both sides: one way to read them, one way to complain.

Gateway files, device models, evidence plans and programmes are YAML 1.1 texts checked by pydantic: as models, or as
dataclasses that a process without pydantic can hold, too. Every problem of a document is reported at once, each with
file, line and field, and an unknown key with the nearest known one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from wire.errors import DocumentError
from wire.errors import suggestion as suggestion  # noqa: PLC0414 - told where problems are told

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]


class DocumentModel(BaseModel):
    """Base of every model that is read from YAML: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=False)


M = TypeVar("M")
_UNKNOWN_KEY = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
"""What pydantic calls it in a model, and in a dataclass."""


@dataclass(frozen=True)
class Document:
    """A parsed YAML text: the data, and the line (from 1) on which each key or item stands."""

    data: Any
    lines: Mapping[Location, int]
    source: str

    def line_of(self, location: Location) -> int:
        """Return the line of ``location``, or of its nearest enclosing key when it does not stand in the text."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


class _LineLoader(yaml.SafeLoader):
    """The safe loader of PyYAML, with two differences: duplicate keys are refused, and lines are remembered."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self.source = source
        self.lines: dict[Location, int] = {}

    def walk(self, node: yaml.Node, location: Location) -> None:
        self.lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            self._walk_mapping(node, location)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.walk(item, (*location, index))

    def _walk_mapping(self, node: yaml.MappingNode, location: Location) -> None:
        seen: dict[Any, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise DocumentError([f"{self.source}:{line}: a key must be plain text"])
            key = key_node.value
            if key in seen:
                field = _dotted((*location, key))
                raise DocumentError(
                    [f"{self.source}:{line}: {field}: stands twice, first on line {seen[key]}; keep one"]
                )
            seen[key] = line
            self.lines[(*location, key)] = line
            self.walk(value_node, (*location, key))


def read_document(text: str, source: str) -> Document:
    """Parse ``text`` as one YAML document.

    ``source`` is the name that messages give it, usually the file's name. Raises `DocumentError` when the text is not
    YAML, holds more than one document, or has a key twice.
    """
    loader = _LineLoader(text.removeprefix("\ufeff"), source)
    try:
        node = loader.get_single_node()
        if node is None:
            raise DocumentError([f"{source}:1: the document is empty"])
        loader.walk(node, ())
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise DocumentError([f"{source}:{line}: not readable as YAML: {error.problem or error.context}"]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DocumentError([f"{source}:1: not readable as YAML: {error}"]) from error
    finally:
        loader.dispose()
    return Document(data, loader.lines, source)


def parse_document(model: type[M], text: str, source: str) -> M:
    """Parse ``text`` and validate it as ``model``; raise `DocumentError` naming every problem with its line."""
    document = read_document(text, source)
    return validate_document(model, document)


@cache
def adapter(model: Any) -> TypeAdapter[Any]:
    """Return what checks data as ``model``, a pydantic model or a dataclass."""
    return TypeAdapter(model)


def validated(model: type[M], data: Any) -> M:
    """Return ``data`` as a ``model``; raise pydantic's `ValidationError`."""
    any_model: Any = model
    checked: M = adapter(any_model).validate_python(data)
    return checked


def validate_document(model: type[M], document: Document) -> M:
    """Validate parsed data as ``model``; raise `DocumentError` naming every problem with its line."""
    try:
        return validated(model, document.data)
    except ValidationError as error:
        raise DocumentError(list(_problems(model, document, error))) from error


def problem(document: Document, location: Location, text: str) -> str:
    """Word one problem the way all problems are worded: ``file:line: field: text``."""
    field = _dotted(location)
    return f"{document.source}:{document.line_of(location)}: {field + ': ' if field else ''}{text}"


def _problems(model: type[Any], document: Document, error: ValidationError) -> Iterator[str]:
    found = error.errors(include_url=False)
    for item in found:
        location = _in_document(document, item["loc"])
        if item["type"] == "union_tag_invalid":
            tag, known = str(item["ctx"]["tag"]), _quoted(item["ctx"]["expected_tags"])
            yield problem(document, (*location, _tag_key(item)), f"unknown '{tag}'{suggestion(tag, known)}")
        elif item["type"] == "union_tag_not_found":
            yield problem(document, (*location, _tag_key(item)), "is missing; add it")
        elif _follows_from_others(item, found):
            continue
        elif item["type"] == "too_short":
            given, needed = item["ctx"]["actual_length"], item["ctx"]["min_length"]
            yield problem(document, location, f"has {given} entries; give at least {needed}")
        elif item["type"] in _UNKNOWN_KEY:
            key = str(item["loc"][-1])
            known = _fields_at(model, item["loc"][:-1])
            yield problem(document, location, f"unknown key{suggestion(key, known)}")
        elif item["type"] == "missing":
            yield problem(document, location, "is missing; add it")
        else:
            shown = _written(document, location, item["input"])
            given = f" (given: {shown!r})" if isinstance(shown, str | int | float | bool) or shown is None else ""
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "dataclass_type":  # told as of a model
                message = f"Input should be a valid dictionary or instance of {item['ctx']['class_name']}"
            yield problem(document, location, message[:1].lower() + message[1:] + given)


def _tag_key(item: ErrorDetails) -> str:
    """The key whose value says which of several models an entry is."""
    return str(item["ctx"]["discriminator"]).strip("'")


def _quoted(words: str) -> list[str]:
    """The words of a list such as ``'mean', 'linear'``."""
    return re.findall(r"'([^']*)'", words)


def _follows_from_others(item: ErrorDetails, found: list[ErrorDetails]) -> bool:
    """Whether a list is called too short only because entries of it, which are named themselves, could not be read."""
    inside = len(item["loc"])
    return item["type"] == "too_short" and any(
        len(other["loc"]) > inside and other["loc"][:inside] == item["loc"] for other in found
    )


def _written(document: Document, location: Location, checked: Any) -> Any:
    """What stands at ``location``: what was ``checked`` may be made of it already, as the seconds of a duration are."""
    value = document.data
    try:
        for part in location:
            value = value[part]
    except (KeyError, IndexError, TypeError):
        return checked
    return value


def _in_document(document: Document, loc: tuple[str | int, ...]) -> Location:
    """Drop the parts that pydantic adds for unions (tags, type names) and that are no keys of the document."""
    location: Location = ()
    data = document.data
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(data, dict) and (part in data or last):
            location = (*location, part)
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            location = (*location, part)
            data = data[part]
    return location


def _fields_at(model: type[Any], loc: tuple[str | int, ...]) -> list[str]:
    """Return the keys (aliases first) that the model at ``loc`` knows, following lists, mappings and unions."""
    candidates: list[Any] = [model]
    for part in loc:
        following: list[Any] = []
        for candidate in candidates:
            following.extend(_step(candidate, part))
        if following:
            candidates = following
    models = {m for candidate in candidates for m in _models(candidate)}
    return sorted({alias or name for m in models for name, alias, _ in _fields(m)})


def _models(annotation: Any) -> Iterator[type[Any]]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        yield annotation
        for narrower in annotation.__subclasses__():  # may stand where the model is called for
            yield from _models(narrower)
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _models(part)
    elif hasattr(annotation, "__metadata__"):
        yield from _models(annotation.__origin__)


def _fields(model: type[Any]) -> Iterator[tuple[str, str | None, Any]]:
    """Yield name, alias and annotation of every field of a model."""
    if issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            yield name, field.alias, field.annotation
    else:
        annotations = get_type_hints(model, include_extras=True)
        for one in fields(model):
            yield one.name, None, annotations[one.name]


def _step(annotation: Any, part: str | int) -> Iterator[Any]:
    for m in _models(annotation):
        for name, alias, of_field in _fields(m):
            if part in (name, alias):
                yield of_field
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (list, tuple) and arguments and isinstance(part, int):
        yield arguments[0]
    elif origin is dict or origin is Mapping:
        yield arguments[1]
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from _step(argument, part)
    elif hasattr(annotation, "__metadata__"):
        yield from _step(annotation.__origin__, part)


def _dotted(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text
