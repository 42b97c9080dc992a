"""DL/T 645-2007 on a serial bus, reading only."""

from __future__ import annotations

from agent.clock import Clock
from agent.dlt645 import Dlt645Bus, Dlt645Connection
from agent.meter_bus import MeterSerialLine


class Settings(Dlt645Bus, MeterSerialLine):
    """A serial port; 2400 baud and even parity unless the meters were set otherwise."""


def connect(settings: Settings, clock: Clock) -> Dlt645Connection:
    """Return an unopened connection."""
    return settings.connection(clock)
