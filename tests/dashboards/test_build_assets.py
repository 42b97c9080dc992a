"""The browser libraries: pinned by a lock file that names no registry, and copied only when it changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashboards import build_assets


def lock() -> dict[str, dict[str, dict[str, str]]]:
    content: dict[str, dict[str, dict[str, str]]] = json.loads(
        (build_assets.FOLDER / "package-lock.json").read_text("utf-8")
    )
    return content


def test_the_lock_pins_every_package_and_names_no_host() -> None:
    packages = {name: entry for name, entry in lock()["packages"].items() if name}
    assert {"node_modules/echarts", "node_modules/htmx.org"} <= set(packages)
    assert all(entry["version"] and entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert "://" not in (build_assets.FOLDER / "package-lock.json").read_text("utf-8")


def test_installed_libraries_belong_to_the_lock() -> None:
    assert build_assets.is_up_to_date()
    assert build_assets.build() is False


def test_a_missing_file_or_another_lock_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_assets, "VENDOR", tmp_path)
    monkeypatch.setattr(build_assets, "STAMP", tmp_path / "stamp")
    for name in build_assets.COPIED.values():
        (tmp_path / name).write_text("library", "utf-8")
    (tmp_path / "stamp").write_text(build_assets.lock_digest(), "ascii")
    assert build_assets.is_up_to_date()
    (tmp_path / "htmx.min.js").unlink()
    assert not build_assets.is_up_to_date()
    (tmp_path / "htmx.min.js").write_text("library", "utf-8")
    (tmp_path / "stamp").write_text("0" * 64, "ascii")
    assert not build_assets.is_up_to_date()


def test_without_npm_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_assets, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(build_assets, "npm_command", lambda: None)
    with pytest.raises(SystemExit, match="--install-node"):
        build_assets.build()
