"""The private key with which the server signs acknowledgements, in a file that only its owner can read."""

from __future__ import annotations

import os
from pathlib import Path

from ingest.errors import ServerKeyError
from wire.errors import KeyFormatError, fault_text
from wire.keys import SigningKey


def load_server_key(path: Path) -> SigningKey:
    """Read the key from ``path``, or make one there when there is no such file; an existing file is never overwritten.

    The file holds ``ed25519-private:`` and the 32 secret bytes in base64url. Raises `ServerKeyError` when it cannot be
    read or written, holds something else, or may be read by other users.
    """
    try:
        if not path.exists():
            _write(path, SigningKey.generate())
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServerKeyError(f"{path}: cannot be used as the server's key: {fault_text(error)}") from error
    if mode & 0o077:
        raise ServerKeyError(f"{path}: other users may read this key; run: chmod 600 {path}")
    try:
        return SigningKey.from_private_text(text)
    except KeyFormatError as error:
        raise ServerKeyError(
            f"{path}: is no key file, or is damaged: {error}; give the file that an earlier run has made"
        ) from error


def _write(path: Path, key: SigningKey) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.private_text + "\n")
        file.flush()
        os.fsync(file.fileno())
