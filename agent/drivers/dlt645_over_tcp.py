"""DL/T 645-2007 behind a serial server in transparent mode, reading only."""

from __future__ import annotations

from agent.clock import Clock
from agent.dlt645 import Dlt645Bus, Dlt645Connection
from agent.meter_bus import MeterHost


class Settings(Dlt645Bus, MeterHost):
    """A serial server with the meters of its bus."""


def connect(settings: Settings, clock: Clock) -> Dlt645Connection:
    """Return an unopened connection."""
    return settings.connection(clock)
