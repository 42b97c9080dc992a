"""``shopfloor evidence indicators``: the ten lights of a project and its early warning, from a snapshot file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evidence.result import Wording


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``shopfloor evidence``."""
    parser = commands.add_parser(
        "indicators",
        help="judge the state of a project: ten lights and an early warning",
        description="Judges SNAPSHOT, the state of a project on one day (YAML), by the thresholds of a programme: ten "
        "indicators, each green, yellow, red or grey (not known), and whether acceptance will be missed at today's "
        "pace. Where the snapshot names no end of acceptance it is the one of the programme. Exits with 1 when an "
        "indicator or the warning is red, with 2 when the snapshot cannot be read.",
    )
    parser.add_argument("snapshot", metavar="SNAPSHOT", type=Path, help="state of the project (YAML)")
    parser.add_argument(
        "--programme", metavar="NAME", required=True, help="whose thresholds and calendar: pingluo-2025"
    )
    parser.add_argument("--batch", metavar="NAME", help="batch or stage that the project belongs to: 1, 2 ...")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="language of the readable output")
    parser.set_defaults(func=_indicators)


def _indicators(options: argparse.Namespace) -> int:
    from evidence.eligibility import known_batch
    from evidence.errors import FileError
    from evidence.indicators.snapshot import Snapshot
    from evidence.indicators.ten import Light, early_warning, indicators
    from evidence.programmes import programme
    from wire.document import parse_document

    rules = programme(options.programme)
    known_batch(rules, options.batch)
    try:
        text = options.snapshot.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{options.snapshot}: cannot be read as UTF-8 text: {error}") from error
    snapshot = parse_document(Snapshot, text, str(options.snapshot))
    if snapshot.acceptance_end is None:
        snapshot = snapshot.model_copy(update={"acceptance_end": rules.acceptance_end(options.batch)})
    ten = indicators(snapshot, rules.indicators)
    warning = early_warning(snapshot, rules.indicators)
    if options.json:
        document = {
            "programme": rules.name,
            "today": snapshot.today.isoformat(),
            "thresholds": rules.indicators.model_dump(mode="json"),
            "indicators": [one.model_dump(mode="json") for one in ten],
            "early_warning": warning.model_dump(mode="json"),
        }
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:

        def said(words: Wording) -> str:
            return str(words.zh if options.language == "zh" else words.en)

        for one in (*ten, warning):
            print(f"{one.light.symbol} {said(one.light.word)}   {said(one.title)}: {said(one.reason)}")
    return 1 if Light.RED in {one.light for one in (*ten, warning)} else 0
