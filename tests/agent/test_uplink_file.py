"""An uplink is written into the gateway file, and nothing else in it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import UplinkConfig, load_config
from agent.errors import ConfigurationError
from agent.uplink_file import add_uplink

KEY = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
HEAD = "gateway: gw-01 # of hall 2\nkey_file: k\ndata_directory: d\n"
TAIL = (
    "connections:\n  - {id: c, protocol: modbus-tcp, host: h, devices: [{id: m, model: pulse-meter, interval: 1min}]}\n"
)
OTHER = f"    url: mqtts://own.example\n    server_key: {KEY}\n"


def uplink(tmp_path: Path, url: str = "mqtts://city.example:8883") -> UplinkConfig:
    files = tmp_path / "d" / "enrolment" / "city"
    return UplinkConfig(
        id="city",
        url=url,
        server_key=KEY,
        ca_file=files / "authority.pem",
        client_certificate=files / "gateway.pem",
        client_key=files / "tls.key",
    )


@pytest.mark.parametrize(
    "text",
    [
        HEAD + TAIL,
        HEAD + TAIL.rstrip("\n"),
        f"{HEAD}uplinks:\n  - id: own\n{OTHER}{TAIL}",
        f"{HEAD}{TAIL}uplinks: # where records go\n- id: own\n{OTHER.replace('    ', '  ')}",
        f"{HEAD}uplinks:\n  # our own\n  - id: own\n{OTHER}{TAIL}",
    ],
    ids=["none", "no-end-of-line", "another-before", "another-at-the-end", "with-comments"],
)
def test_it_is_added_where_it_belongs(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    before = load_config(path)
    assert add_uplink(path, uplink(tmp_path))
    config = load_config(path)
    assert uplink(tmp_path) in config.all_uplinks
    assert {one.id for one in config.all_uplinks} == {"city", *(one.id for one in before.all_uplinks)}
    written = path.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line not in written.splitlines()] == []
    assert "ca_file: d/enrolment/city/authority.pem" in written
    assert not add_uplink(path, uplink(tmp_path)), "it is there already"
    assert path.read_text(encoding="utf-8") == written


def test_files_elsewhere_are_named_by_their_full_path(tmp_path: Path) -> None:
    """A service has its gateway file in /etc and its data in /var/lib."""
    path = tmp_path / "etc" / "gateway.yaml"
    path.parent.mkdir()
    path.write_text(HEAD + TAIL, encoding="utf-8")
    assert add_uplink(path, uplink(tmp_path))
    assert uplink(tmp_path) in load_config(path).all_uplinks
    assert f"ca_file: {tmp_path}/d/enrolment/city/authority.pem" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}uplinks:\n  - id: city\n{OTHER}{TAIL}",
        f"{HEAD}uplink: {{url: mqtts://own.example, server_key: '{KEY}'}}\n{TAIL}",
        f"{HEAD}uplinks: [{{id: own, url: mqtts://own.example, server_key: '{KEY}'}}]\n{TAIL}",
        f"{HEAD}uplinks:\n" + "".join(f"  - id: u{n}\n{OTHER}" for n in range(3)) + TAIL,
    ],
    ids=["says-something-else", "single", "on-one-line", "three-already"],
)
def test_where_it_cannot_be_added_the_lines_are_shown_and_the_file_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"client_key: d/enrolment/city/tls\.key"):
        add_uplink(path, uplink(tmp_path))
    assert path.read_text(encoding="utf-8") == text


def test_a_file_that_cannot_be_written_is_no_dead_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(HEAD + TAIL, encoding="utf-8")

    def refuse(_self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ConfigurationError, match=r"(?s)Permission denied.*add:\nuplinks:\n  - id: city"):
        add_uplink(path, uplink(tmp_path))
