"""Both languages say the same things, and every text is used."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

import dashboards
from dashboards.language import LANGUAGES, catalogue, choose_language
from evidence.quantities import QUANTITIES

FOLDER = Path(dashboards.__file__).parent
LITERAL = re.compile(r"""\b(?:t|text)\(\s*f?["']([a-z0-9_.]+)["']\s*[,)]""")
ALTERNATIVES = re.compile(r"""\b(?:t|text)\(\s*["']([a-z0-9_.]+)["'] if [^)]*? else ["']([a-z0-9_.]+)["']""")
PREFIX = re.compile(r"""\b(?:t|text)\(\s*(?:["']([a-z0-9_.]+\.)["'] ~|f["']([a-z0-9_.]+\.)\{)""")


def sources() -> str:
    files = [*FOLDER.glob("*.py"), *FOLDER.glob("templates/*.html")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_languages_have_the_same_keys() -> None:
    first, *others = (set(catalogue(language).texts) for language in LANGUAGES)
    for other in others:
        assert first == other


def test_languages_fill_in_the_same_values() -> None:
    def places(template: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(template) if name}

    chinese, english = catalogue("zh").texts, catalogue("en").texts
    assert {key: places(text) for key, text in chinese.items()} == {key: places(text) for key, text in english.items()}


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    source = sources()
    used = set(LITERAL.findall(source)) | {key for pair in ALTERNATIVES.findall(source) for key in pair}
    prefixes = {one or other for one, other in PREFIX.findall(source)}
    keys = set(catalogue("zh").texts)
    assert used <= keys
    unused = {key for key in keys - used if not any(key.startswith(prefix) for prefix in prefixes)}
    assert unused == set()
    assert {prefix for prefix in prefixes if not any(key.startswith(prefix) for key in keys)} == set()


@pytest.mark.parametrize(
    ("query", "cookie", "header", "language"),
    [
        (None, None, None, "zh"),
        ("en", "zh", "zh-CN", "en"),
        (None, "en", "zh-CN", "en"),
        ("xx", None, "en-GB,en;q=0.9", "en"),
        (None, None, "fr, en;q=0.5, zh;q=0.8", "zh"),
        (None, None, "fr", "zh"),
        (None, None, "en;q=0, zh;q=0.1", "zh"),
        (None, None, "en;q=oops", "zh"),
    ],
)
def test_choice_of_language(query: str | None, cookie: str | None, header: str | None, language: str) -> None:
    assert choose_language(query, cookie, header) == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_quantity_of_a_plan_has_a_name(language: str) -> None:
    texts = catalogue(language).texts
    assert {key.removeprefix("quantity.") for key in texts if key.startswith("quantity.")} == set(QUANTITIES)
