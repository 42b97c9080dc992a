"""CJ/T 188-2004 and CJ/T 188-2018 behind a serial server in transparent mode, reading only."""

from __future__ import annotations

from agent.cjt188 import Cjt188Bus, Cjt188Connection
from agent.clock import Clock
from agent.meter_bus import MeterHost


class Settings(Cjt188Bus, MeterHost):
    """A serial server with the meters of its bus."""


def connect(settings: Settings, clock: Clock) -> Cjt188Connection:
    """Return an unopened connection."""
    return settings.connection(clock)
