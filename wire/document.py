"""YAML documents of both sides: one way to read them, one way to complain.

Gateway files, device models, evidence plans and programmes are YAML 1.1 texts checked by pydantic models. Every problem
of a document is reported at once, each with file, line and field, and an unknown key with the nearest known one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from wire.errors import DocumentError

Location = tuple[str | int, ...]


class DocumentModel(BaseModel):
    """Base of every model that is read from YAML: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=False)


M = TypeVar("M", bound=BaseModel)


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


def validate_document(model: type[M], document: Document) -> M:
    """Validate parsed data as ``model``; raise `DocumentError` naming every problem with its line."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise DocumentError(list(_problems(model, document, error))) from error


def problem(document: Document, location: Location, text: str) -> str:
    """Word one problem the way all problems are worded: ``file:line: field: text``."""
    field = _dotted(location)
    return f"{document.source}:{document.line_of(location)}: {field + ': ' if field else ''}{text}"


def suggestion(word: str, known: list[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known word nearest to ``word``, else the list of known words."""
    import difflib  # noqa: PLC0415 - only whoever mistypes a word needs it

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known are: {', '.join(sorted(known))}" if known else ""


def _problems(model: type[BaseModel], document: Document, error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        location = _in_document(document, item["loc"])
        if item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])
            known = _fields_at(model, item["loc"][:-1])
            yield problem(document, location, f"unknown key{suggestion(key, known)}")
        elif item["type"] == "missing":
            yield problem(document, location, "is missing; add it")
        else:
            shown = item["input"]
            given = f" (given: {shown!r})" if isinstance(shown, str | int | float | bool) or shown is None else ""
            message = item["msg"].removeprefix("Value error, ")
            yield problem(document, location, message[:1].lower() + message[1:] + given)


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


def _fields_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Return the keys (aliases first) that the model at ``loc`` knows, following lists, mappings and unions."""
    candidates: list[Any] = [model]
    for part in loc:
        following: list[Any] = []
        for candidate in candidates:
            following.extend(_step(candidate, part))
        if following:
            candidates = following
    models = {m for candidate in candidates for m in _models(candidate)}
    return sorted({field.alias or name for m in models for name, field in m.model_fields.items()})


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for narrower in annotation.__subclasses__():  # may stand where the model is called for
            yield from _models(narrower)
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _models(part)
    elif hasattr(annotation, "__metadata__"):
        yield from _models(annotation.__origin__)


def _step(annotation: Any, part: str | int) -> Iterator[Any]:
    for m in _models(annotation):
        for name, field in m.model_fields.items():
            if part in (name, field.alias):
                yield field.annotation
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
