"""The instant that the simulated plant shows: eight bytes shared between two processes.

While history is made, the process that drives the clock writes the driven time and the servers read it; 0 means
that the plant is live and shows the present. Aligned eight-byte stores are atomic on the machines we run on.
"""

from __future__ import annotations

import mmap
import time
from pathlib import Path
from types import TracebackType

from demo.errors import SurroundingsError

_BYTES = 8


class Timebase:
    """Time source backed by a memory-mapped file; milliseconds since the Unix epoch, UTC."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), _BYTES)
        except (OSError, ValueError) as error:
            raise SurroundingsError(f"{path}: the shared clock of the simulation cannot be opened: {error}") from error
        self._word = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, path: Path) -> Timebase:
        """Make the file (showing the present) and open it."""
        path.write_bytes(bytes(_BYTES))
        return cls(path)

    def show(self, time_ms: int) -> None:
        """Let the plant show one instant; 0 lets it follow the system clock."""
        self._word[0] = time_ms

    def now_ms(self) -> int:
        """The instant that the plant shows."""
        return self._word[0] or time.time_ns() // 1_000_000

    def close(self) -> None:
        """Release the mapping; the file stays."""
        self._word.release()
        self._map.close()

    def __enter__(self) -> Timebase:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
