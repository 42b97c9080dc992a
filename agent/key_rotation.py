"""Replacing the gateway's evidence key, on record: the old key signs which one follows, and the chain goes on.

Whatever interrupts it, one of the two keys is in force afterwards, and which one is read from the chain itself: the new
key lies beside the old one until the record that names it is on disk.
"""

from __future__ import annotations

from pathlib import Path

from agent.clock import Clock, SystemClock
from agent.config import GatewayConfig
from agent.errors import ConfigurationError
from agent.journal import Journal
from agent.keyfile import load_key, write_key
from wire.errors import KeyFormatError, fault_text
from wire.keys import SigningKey, VerifyingKey


def open_journal(config: GatewayConfig, clock: Clock) -> Journal:
    """Open the chain of the gateway with the key in force; finishes a change of keys that was interrupted.

    Raises `ConfigurationError` for an unusable key, `SpoolError` when the disk fails or another process has the chain.
    """
    key, path = load_key(config.key_file), _next(config.key_file)
    successor = load_key(path) if path.exists() else None
    journal = Journal(
        config.data_directory,
        config.gateway,
        key,
        config.spool_bytes,
        clock,
        uplinks=[uplink.id for uplink in config.all_uplinks],
        chain_id=_chain_id(config.key_file, key),
        successor=successor,
    )
    if successor is not None and journal.key.public == successor.public:
        _adopt(config.key_file)
    return journal


def rotate_key(config: GatewayConfig, clock: Clock | None = None) -> tuple[VerifyingKey, VerifyingKey, int]:
    """Replace the key; return the old one, the new one, and the record that says so.

    Raises as `open_journal`: no agent may run on the chain meanwhile.
    """
    journal = open_journal(config, SystemClock() if clock is None else clock)
    try:
        old, path = journal.key, _next(config.key_file)
        if not path.exists():
            write_key(path, SigningKey.generate())
        _remember_first(config.key_file, old.public)
        new = load_key(path)
        record = journal.rotate(new)
        _adopt(config.key_file)
    finally:
        journal.close()
    return old.public, new.public, record.seq


def _next(key_file: Path) -> Path:
    return key_file.with_name(key_file.name + ".next")


def _first(key_file: Path) -> Path:
    return key_file.with_name(key_file.name + ".first")


def _adopt(key_file: Path) -> None:
    """Put the new key in the place of the old one."""
    try:
        _next(key_file).replace(key_file)
    except OSError as error:
        raise ConfigurationError(f"{key_file}: the new key cannot take its place: {fault_text(error)}") from error


def _chain_id(key_file: Path, key: SigningKey) -> bytes:
    """Return the id of the key that the chain began with: what the spool knows its owner by."""
    path = _first(key_file)
    try:
        return VerifyingKey.from_text(path.read_text(encoding="ascii")).key_id
    except FileNotFoundError:
        return key.public.key_id
    except (OSError, ValueError, KeyFormatError) as error:
        raise ConfigurationError(f"{path}: is not the public key that the chain began with: {error}") from error


def _remember_first(key_file: Path, key: VerifyingKey) -> None:
    path = _first(key_file)
    if path.exists():
        return
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(key.text + "\n", encoding="ascii")
        new.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {fault_text(error)}") from error
