"""The people who may log in: a YAML file with their password hashes (Argon2id, RFC 9106), readable by its owner only.

```yaml
users:
  li.wei: {password: "$argon2id$v=19$m=65536,t=3,p=4$..."}
```
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
import unicodedata
from pathlib import Path

import yaml
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from shopfloor.errors import AccessError
from wire.document import DocumentModel, parse_document
from wire.errors import DocumentError, fault_text

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1024
"""Characters; more would only be work for the server."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_AT_ONCE = 2
"""Each check takes 64 MiB and two of them all cores of a small machine: more at once would only be slower."""

Signature = tuple[int, int, int]


class _User(DocumentModel):
    password: str


class _Users(DocumentModel):
    users: dict[str, _User]


class UserFile:
    """The users of one file, read again whenever it has changed.

    :raises AccessError: the file is not there, may be read or written by others, or is no file of users.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._checks = threading.BoundedSemaphore(_AT_ONCE)
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash(os.urandom(16).hex())
        self._signature: Signature | None = None
        self._hashes: dict[str, str] = {}
        self._current()

    @property
    def names(self) -> list[str]:
        """All users, by name."""
        return sorted(self._current())

    def credential(self, name: str) -> bytes | None:
        """A digest of what the password of this user is checked against now; None when there is no such user."""
        known = self._current().get(name)
        return None if known is None else hashlib.sha256(known.encode("utf-8")).digest()

    def check(self, name: str, password: str) -> bytes | None:
        """The credential of this user if the password is right, else None; both take the same time."""
        known = self._current().get(name)
        with self._checks:
            try:
                self._hasher.verify(known or self._nobody, _normal(password))
            except (VerifyMismatchError, VerificationError, InvalidHashError):
                return None
        return None if known is None else hashlib.sha256(known.encode("utf-8")).digest()

    def _current(self) -> dict[str, str]:
        with self._lock:
            try:
                status = self.path.stat()
                signature = (status.st_ino, status.st_mtime_ns, status.st_size)
                if signature != self._signature:
                    self._hashes = read_users(self.path)
                    self._signature = signature
            except OSError as error:
                raise AccessError(f"{self.path}: cannot be read as a file of users: {fault_text(error)}") from error
            return self._hashes


def read_users(path: Path) -> dict[str, str]:
    """Password hashes by user name. Raises `AccessError` as `UserFile`."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise AccessError(f"{path}: is not there; make it with: shopfloor users add NAME --users {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"{path}: cannot be read as a file of users: {fault_text(error)}") from error
    if mode & 0o077:
        raise AccessError(f"{path}: other users of this machine may read or write it; run: chmod 600 {path}")
    try:
        users = parse_document(_Users, text, str(path)).users
    except DocumentError as error:
        raise AccessError(str(error)) from error
    return {name: user.password for name, user in users.items()}


def put_user(path: Path, name: str, password: str) -> bool:
    """Add a user, or give him another password, which ends his sessions; True when he is new.

    :raises AccessError: a name or password that is not accepted, or a file that cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise AccessError(f"'{name}' cannot be a user name: use letters, digits and . _ @ -, at most 64 of them")
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise AccessError(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, this one has {len(password)}; "
            "several words in a row are easier to remember than signs"
        )
    known = read_users(path) if path.exists() else {}
    _write(path, {**known, name: PasswordHasher().hash(_normal(password))})
    return name not in known


def remove_user(path: Path, name: str) -> None:
    """Remove a user, which ends his sessions. Raises `AccessError` when there is none of this name."""
    known = read_users(path)
    if name not in known:
        raise AccessError(f"{path}: there is no user '{name}'; known are: {', '.join(sorted(known)) or 'none'}")
    _write(path, {user: hash_ for user, hash_ in known.items() if user != name})


def _write(path: Path, hashes: dict[str, str]) -> None:
    """Replace the file at once: whoever reads it meanwhile sees the old one or the new one."""
    content = yaml.safe_dump(
        {"users": {name: {"password": hash_} for name, hash_ in sorted(hashes.items())}}, allow_unicode=True, width=200
    )
    try:
        descriptor, made = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(made).replace(path)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise AccessError(f"{path}: cannot be written: {fault_text(error)}") from error


def _normal(password: str) -> bytes:
    """The same password, however a keyboard composes its characters (NIST SP 800-63B-4, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
