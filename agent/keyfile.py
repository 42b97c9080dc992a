"""The gateway's private key on disk: made on the device, readable by its owner alone, never shown."""

from __future__ import annotations

import os
from pathlib import Path

from agent.errors import ConfigurationError
from wire.errors import KeyFormatError, fault_text
from wire.keys import SigningKey


def load_key(path: Path) -> SigningKey:
    """Read the key; raise `ConfigurationError` when it is absent, unreadable, or readable by others."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: no key; make it with: shopfloor agent key CONFIG") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as a key: {fault_text(error)}") from error
    if mode & 0o077:
        raise ConfigurationError(f"{path}: other users may read this key; run: chmod 600 {path}")
    try:
        return SigningKey.from_private_text(text)
    except KeyFormatError as error:
        raise ConfigurationError(f"{path}: is not a key file of this software: {error}") from error


def ensure_key(path: Path) -> SigningKey:
    """Read the key, or make it when there is none."""
    if not path.exists():
        write_key(path, SigningKey.generate())
    return load_key(path)


def write_key(path: Path, key: SigningKey) -> None:
    """Write ``key`` to a new file; raise `ConfigurationError` when the file exists or cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(key.private_text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {fault_text(error)}") from error
