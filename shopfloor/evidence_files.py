"""Files that the commands of ``shopfloor evidence`` read and write."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, line ends as they are. Raises `evidence.errors.FileError`."""
    from evidence.errors import FileError

    try:
        # Bytes, so that line ends stay as they are and the hash of a plan is the hash of its file.
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8, in Excel: 'CSV UTF-8'"
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file. Raises `evidence.errors.FileError`."""
    from evidence.errors import FileError

    try:
        path.write_bytes(content)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror}") from error
