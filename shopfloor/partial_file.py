"""A file that is fetched in pieces, and can be gone on with after an interruption.

What has arrived stands in ``FILE.part``, how far that is in ``FILE.part.json``; when it is whole it takes its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from shopfloor.errors import RefusedError
from wire.errors import fault_text


class PartialFile:
    """A context manager; ``cursor`` is where to go on, None at the beginning.

    ``skipped`` is how many records of what has arrived the server could not read.

    :param query: what is fetched: what has arrived for another query is begun anew.
    :raises RefusedError: the files cannot be written.
    """

    def __init__(self, path: Path, query: Mapping[str, Any]) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._state = path.with_name(f"{path.name}.part.json")
        self._query = json.loads(json.dumps(query))
        self._file: BinaryIO
        self._size = 0
        self.cursor: str | None = None
        self.skipped = 0

    def __enter__(self) -> Self:
        try:
            self._resume()
            self._file = self._part.open("r+b" if self._size else "wb")
            self._file.truncate(self._size)
            self._file.seek(self._size)
        except OSError as error:
            raise self._failure(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, data: bytes, cursor: str | None, skipped: int) -> None:
        """Append a piece, behind which ``cursor`` goes on; it is on disk when this returns."""
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._size += len(data)
            self.cursor = cursor
            self.skipped += skipped
            state = {"query": self._query, "bytes": self._size, "cursor": cursor, "skipped": self.skipped}
            made = self._state.with_name(f"{self._state.name}.new")
            made.write_text(json.dumps(state), encoding="utf-8")
            made.replace(self._state)
        except OSError as error:
            raise self._failure(error) from error

    def finish(self, ending: bytes = b"") -> None:
        """The last piece has come: append ``ending`` and give the file its name."""
        try:
            self._file.write(ending)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._part.replace(self._path)
            self._state.unlink(missing_ok=True)
        except OSError as error:
            raise self._failure(error) from error

    def _resume(self) -> None:
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
            size, cursor, skipped = int(state["bytes"]), state["cursor"], int(state["skipped"])
            if state["query"] == self._query and cursor is not None and self._part.stat().st_size >= size:
                self._size, self.cursor, self.skipped = size, str(cursor), skipped
        except (OSError, ValueError, KeyError, TypeError):
            return

    def _failure(self, error: OSError) -> RefusedError:
        return RefusedError(f"{self._path}: cannot be written: {fault_text(error)}")
