"""Phrases with their facts filled in, in both languages at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import yaml

from evidence.result import Wording

PHRASES_FILE = Path(__file__).with_name("phrases.yaml")
LANGUAGES = ("en", "zh")

Fact = str | int | Wording
"""What is filled in: the same text in both languages, or one for each."""


@cache
def phrases() -> Mapping[str, Wording]:
    """Every phrase by its dotted key, with ``{facts}`` still in braces."""
    tree = yaml.safe_load(PHRASES_FILE.read_text(encoding="utf-8"))
    return dict(_flat(tree, ""))


def say(key: str, **facts: Fact) -> Wording:
    """The phrase ``key`` with its facts. Raises KeyError for a phrase or fact that is not there."""
    template = phrases()[key]
    return Wording(
        en=template.en.format_map({name: _in(fact, "en") for name, fact in facts.items()}),
        zh=template.zh.format_map({name: _in(fact, "zh") for name, fact in facts.items()}),
    )


def plain(text: str) -> Wording:
    """What is the same in both languages: a name, a date, a number."""
    return Wording(en=text, zh=text)


def together(statements: Iterable[Wording]) -> Wording:
    """Sentences one after the other."""
    return _joined("separator", statements)


def listed(parts: Iterable[Wording | str]) -> Wording:
    """Things one after the other."""
    return _joined("listing", (plain(part) if isinstance(part, str) else part for part in parts))


def unit_wording(unit: str) -> Wording:
    """A unit as the reader writes it: `kWh/piece` is `kWh/件` in Chinese."""
    known = phrases()
    words = [known.get(f"unit.{word}", plain(word)) for word in unit.split("/")]
    return Wording(en="/".join(word.en for word in words), zh="/".join(word.zh for word in words))


def _joined(separator: str, parts: Iterable[Wording]) -> Wording:
    between, found = phrases()[separator], list(parts)
    return Wording(en=between.en.join(one.en for one in found), zh=between.zh.join(one.zh for one in found))


def _in(fact: Fact, language: str) -> str:
    if isinstance(fact, Wording):
        return fact.zh if language == "zh" else fact.en
    return str(fact)


def _flat(tree: Mapping[str, object], prefix: str) -> Iterable[tuple[str, Wording]]:
    for key, value in tree.items():
        assert isinstance(value, Mapping)  # noqa: S101 - the file is ours
        if set(value) == set(LANGUAGES):
            yield prefix + key, Wording.model_validate(value)
        else:
            yield from _flat(value, f"{prefix}{key}.")
