"""The command line as a whole: every subcommand explains itself, and a mistake is a message."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shopfloor.main import build_parser, main

REPOSITORY = Path(__file__).parents[2]


def commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from commands(child, (*path, name))


ALL = list(commands(build_parser()))


@pytest.mark.parametrize(("path", "parser"), ALL, ids=[" ".join(path) or "shopfloor" for path, _ in ALL])
def test_every_command_and_option_has_help(path: tuple[str, ...], parser: argparse.ArgumentParser) -> None:
    assert parser.description, f"{path} says nothing about itself"
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            assert action.help, f"{' '.join(path)}: {action.option_strings or action.dest} is not explained"


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["agnet"])
    assert caught.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_a_missing_file_is_a_message_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "check", "no-such-file.yaml"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "no-such-file.yaml" in message
    assert "Traceback" not in message


def test_commands_named_in_the_readmes_exist() -> None:
    known = {" ".join(path) for path, _ in ALL}
    for name in ("README.md", "README.zh-CN.md"):
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        named = re.findall(r"^\$? ?(?:\.venv/bin/)?shopfloor ([a-z]+(?: [a-z]+)?)", text, flags=re.MULTILINE)
        assert named, f"{name} shows no command"
        for command in named:
            assert command in known or command.split()[0] in known, f"{name} names 'shopfloor {command}'"


@pytest.mark.parametrize(
    "arguments",
    [
        "dashboards run --database postgresql://127.0.0.1/x --port 99999",
        "ingest quarantine list --database postgresql://127.0.0.1/x --limit 0",
        "ingest run --embedded x --server-key y --http eighty",
        "demo --days 0",
    ],
)
def test_a_number_out_of_range_is_refused_by_name(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2
    assert f"argument {arguments.split()[-2]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["ingest status", "ingest incidents list", "dashboards run", "dashboards dossier P"]
)
def test_a_mistyped_folder_is_not_made_into_a_database(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "no-such-folder"
    assert main([*command.split(), "--embedded", str(folder)]) == 3
    assert str(folder) in capsys.readouterr().err
    assert not folder.exists()
