"""The gateway file while the agent runs: noticing that it changed, and reading it again without trusting it."""

from __future__ import annotations

from pathlib import Path

from agent.config import GatewayConfig
from agent.errors import ConfigurationError
from agent.models import template_file
from agent.reading import read_apart

WATCH_SECONDS = 2.0
"""How often the files are looked at. What changed is read when it stood still that long: nothing half-written is."""

_FIXED = ("gateway", "key_file", "data_directory", "spool_bytes")

_Signature = tuple[tuple[str, int, int, int] | None, ...]


class ConfigurationFile:
    """The file that a running agent was started with, and the device models that it uses."""

    def __init__(self, path: Path, config: GatewayConfig) -> None:
        self._path = path
        self._config = config
        self._paths = _paths(path, config)
        self._read = self._seen = self._signature()

    def changed(self) -> bool:
        """Tell whether the files differ from those that were read last, and stood still since the last call."""
        seen, self._seen = self._seen, self._signature()
        return self._seen != self._read and self._seen == seen

    def read(self) -> GatewayConfig:
        """Read the files again and check everything that the agent will need of them.

        Raises `ShopfloorError` when there is a mistake in them, or a change that only a restart can make; what was read
        before then stays in force, and the files are not called changed until they are once more.
        """
        self._read = self._seen = self._signature()
        config = read_apart(self._path)
        for name in _FIXED:
            if getattr(config, name) != getattr(self._config, name):
                raise ConfigurationError(f"{self._path}: {name}: cannot change while the agent runs; restart the agent")
        self._config = config
        self._paths = _paths(self._path, config)
        # The gateway file counts as it was before it was read: a change since then is one that nobody has seen.
        self._read = self._seen = (self._read[0], *self._signature()[1:])
        return config

    def _signature(self) -> _Signature:
        return tuple(_stat(path) for path in self._paths)


def _paths(path: Path, config: GatewayConfig) -> tuple[Path, ...]:
    models = sorted({device.model for _, device in config.devices()})
    return path, *(Path(str(template_file(model))) for model in models)


def _stat(path: Path) -> tuple[str, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_mtime_ns, status.st_size, status.st_ino
