"""The server's key file is made once, kept private, and never replaced in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.errors import ServerKeyError
from ingest.server_key import load_server_key


def test_key_is_made_when_absent_and_stays_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new" / "server.key"
    made = load_server_key(path)
    assert load_server_key(path).seed == made.seed
    assert path.stat().st_mode & 0o777 == 0o600


def test_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "server.key"
    load_server_key(path)
    path.chmod(0o644)
    with pytest.raises(ServerKeyError, match="chmod 600"):
        load_server_key(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begin with"),
        ("ed25519-private:AAAA\n", "damaged"),
        ("ed25519-private:!!!\n", "damaged"),
        ("\u00e9", "cannot"),
    ],
    ids=["empty", "too-short", "not-base64", "not-ascii"],
)
def test_file_that_is_no_key_is_refused_and_left_alone(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "server.key"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(ServerKeyError, match=message):
        load_server_key(path)
    assert path.read_text(encoding="utf-8") == text
