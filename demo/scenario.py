"""What the demonstration can show: the simulated factory, or the replay of the real steel works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from demo.almanac import DAY_MS
from demo.errors import DemoError
from demo.factory import DEFAULT_EFFECT, START_MS, Factory, day_index
from demo.gateway import (
    FACTORY_HISTORY,
    FACTORY_LIVE,
    STEEL_HISTORY,
    Installation,
    Rhythm,
    factory_gateway,
    steel_gateway,
)
from demo.steel import ImpulseHistory, read_history
from demo.truth import Truth, truth

BASELINE = (date(2025, 7, 1), date(2025, 9, 29))
REPORTING = (date(2025, 10, 6), date(2025, 11, 20))


class Scenario(Protocol):
    """One thing to show.

    ``history_ms`` is the half-open time of the history (UTC); a last poll falls on its end, so that its last
    interval is closed.
    """

    @property
    def project(self) -> str:
        """Id of the project in the plan."""
        ...

    @property
    def plan_name(self) -> str:
        """File of the plan in ``demo/plans/``."""
        ...

    @property
    def history(self) -> Rhythm:
        """Rhythm of the agent while history is made."""
        ...

    @property
    def live(self) -> Rhythm | None:
        """Rhythm of the agent afterwards; None when there is nothing to read then."""
        ...

    @property
    def server_arguments(self) -> list[str]:
        """Arguments of `demo.servers` beside the clock."""
        ...

    @property
    def history_ms(self) -> tuple[int, int]:
        """Begin and end of the history."""
        ...

    def gateway_file(self, installation: Installation, rhythm: Rhythm) -> str:
        """The gateway file for the real agent."""
        ...

    def truth(self) -> Truth | None:
        """What only the simulator knows; None for real data."""
        ...


@dataclass
class FactoryScenario:
    """The simulated factory, 90 days before and 45 after its retrofit; ``days`` shortens the history to its first
    days.
    """

    seed: int = 1
    effect: float = DEFAULT_EFFECT
    days: int | None = None

    project = "PL-2026-001"
    plan_name = "pingluo.yaml"
    history = FACTORY_HISTORY
    live = FACTORY_LIVE

    def __post_init__(self) -> None:
        self._factory = Factory(self.seed, self.effect)

    @property
    def server_arguments(self) -> list[str]:
        """Arguments of `demo.servers`."""
        return ["--seed", str(self.seed), "--effect", str(self.effect)]

    @property
    def history_ms(self) -> tuple[int, int]:
        """From the beginning of the baseline to the end of the reporting period."""
        return _shortened(START_MS, START_MS + day_index(REPORTING[1]) * DAY_MS, self.days)

    def gateway_file(self, installation: Installation, rhythm: Rhythm) -> str:
        """Two meters and a PLC."""
        return factory_gateway(installation, rhythm)

    def truth(self) -> Truth:
        """The true saving of this seed."""
        return truth(self._factory, BASELINE, REPORTING)


@dataclass
class SteelScenario:
    """The replay of the steel works' published year from ``folder``."""

    folder: Path
    days: int | None = None

    project = "steel-works-2018"
    plan_name = "steel.yaml"
    history = STEEL_HISTORY
    live = None

    @cached_property
    def _impulses(self) -> ImpulseHistory:
        return read_history(self.folder)

    @property
    def server_arguments(self) -> list[str]:
        """Arguments of `demo.servers`."""
        return ["--steel", str(self.folder.absolute())]

    @property
    def history_ms(self) -> tuple[int, int]:
        """The published year."""
        return _shortened(self._impulses.first_ms, self._impulses.last_ms, self.days)

    def gateway_file(self, installation: Installation, rhythm: Rhythm) -> str:
        """One meter."""
        return steel_gateway(installation, rhythm)

    def truth(self) -> None:
        """Nobody knows."""
        return


def plan_text(scenario: Scenario) -> str:
    """The evidence plan of a scenario, as its file stands."""
    return (files("demo") / "plans" / scenario.plan_name).read_text(encoding="utf-8")


def _shortened(begin_ms: int, end_ms: int, days: int | None) -> tuple[int, int]:
    if days is None:
        return begin_ms, end_ms
    if days < 1:
        raise DemoError(f"--days {days}: a history has at least one day")
    return begin_ms, min(end_ms, begin_ms + days * DAY_MS)
