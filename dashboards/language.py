"""The languages of the pages: which one a reader gets, and the texts of each (`locale/*.yaml`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

LOCALE_FOLDER = Path(__file__).resolve().parent / "locale"
LANGUAGES = ("zh", "en")
DEFAULT_LANGUAGE = "zh"
COOKIE = "lang"


@dataclass(frozen=True)
class Catalogue:
    """Every text of the pages in one language; `texts` maps dotted keys to `str.format` templates."""

    language: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The text of `key` with `values` filled in. Raises KeyError for a key that the locale file does not have."""
        return self.texts[key].format(**values) if values else self.texts[key]

    @property
    def html_language(self) -> str:
        """BCP 47 tag for the `lang` attribute."""
        return "zh-CN" if self.language == "zh" else "en"


@cache
def catalogue(language: str) -> Catalogue:
    """Reads the locale file of `language`, one of LANGUAGES."""
    tree = yaml.safe_load((LOCALE_FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return Catalogue(language, dict(_flatten(tree, "")))


def choose_language(query: str | None, cookie: str | None, accept_language: str | None) -> str:
    """The reader's language: the address first, then the cookie, then the browser (RFC 9110, 12.5.4), then Chinese."""
    for wish in (query, cookie):
        if wish in LANGUAGES:
            return wish
    for tag in _accepted_tags(accept_language or ""):
        primary = tag.partition("-")[0].lower()
        if primary in LANGUAGES:
            return primary
    return DEFAULT_LANGUAGE


def _accepted_tags(header: str) -> list[str]:
    weighted: list[tuple[float, str]] = []
    for part in header.split(","):
        tag, _, parameter = part.strip().partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        if weight > 0:
            weighted.append((weight, tag.strip()))
    return [tag for _, tag in sorted(weighted, key=lambda entry: -entry[0])]


def _flatten(tree: Mapping[str, object], prefix: str) -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            entries.extend(_flatten(value, f"{prefix}{key}."))
        else:
            entries.append((prefix + key, str(value)))
    return entries
