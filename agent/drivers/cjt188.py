"""CJ/T 188-2004 and CJ/T 188-2018 on a serial bus, reading only."""

from __future__ import annotations

from agent.cjt188 import Cjt188Bus, Cjt188Connection
from agent.clock import Clock
from agent.meter_bus import MeterSerialLine


class Settings(Cjt188Bus, MeterSerialLine):
    """A serial port; 2400 baud and even parity unless the meters were set otherwise."""


def connect(settings: Settings, clock: Clock) -> Cjt188Connection:
    """Return an unopened connection."""
    return settings.connection(clock)
