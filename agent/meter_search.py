"""Finds the numbers of meters on a line by asking for parts of a number: pure but for the asking.

Every meter takes the byte AAH of an address for its own (缩位寻址: low digits are given, AAH stands for the rest). So
all are asked at once. Where several answer, or what is heard is no frame because they spoke at the same time, each of
the 100 values of the next two digits is asked for, low digits first, and so on until every meter answers alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

ANY = "AA"
"""Stands for two digits of a number, whatever they are."""

COLLISIONS_BELIEVED = 16
"""When more of the 100 parts of a number collide, it is not the meters that are heard, it is noise."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back: the ``addresses`` of the meters that were understood, and whether there was anything else."""

    addresses: frozenset[str]
    noise: bool

    @property
    def nothing(self) -> bool:
        """Whether the line was silent."""
        return not self.addresses and not self.noise

    @property
    def several(self) -> bool:
        """Whether more than one meter spoke, as far as can be told."""
        return self.noise or len(self.addresses) > 1


class Searchable(Protocol):
    """The master of a line whose meters can be asked for by parts of their number."""

    @property
    @abstractmethod
    def anybody(self) -> str:
        """The address that means every meter: as many `ANY` as it has pairs of digits."""

    @abstractmethod
    async def hear(self, address: str) -> Heard:
        """Ask whatever meters ``address`` means for something that all of them have, and listen to all answers.

        Raises `ConnectionError` when the line is lost.
        """


@dataclass
class Found:
    """The ``addresses`` that were found, sorted; ``unresolved``: addresses that several meters answered to and of which
    no part made them answer alone; ``noisy``: the search was given up because the line itself makes noise."""

    addresses: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    noisy: bool = False


async def find_meters(line: Searchable, tell: Callable[[float, str], None]) -> Found:
    """Look for all meters on ``line``; ``tell`` is called with the share that is done and what is being done.

    Raises `ConnectionError` when the line is lost.
    """
    found = Found()
    tell(0.0, f"all meters ({line.anybody})")
    waiting = [line.anybody] if _takes_note(found, await line.hear(line.anybody)) else []
    while waiting and not found.noisy:
        address = waiting.pop(0)
        collided = await _parts(line, address, found, tell)
        if len(collided) > COLLISIONS_BELIEVED:
            found.noisy = True
        waiting = collided + waiting
    found.addresses.sort()
    return found


async def _parts(line: Searchable, address: str, found: Found, tell: Callable[[float, str], None]) -> list[str]:
    """Ask for the parts of ``address``; return those that several meters answered to."""
    collided: list[str] = []
    silent = True
    for number, part in enumerate(parts_of(address)):
        tell(number / 100, f"{part}, {len(found.addresses)} found")
        heard = await line.hear(part)
        silent = silent and heard.nothing
        if _takes_note(found, heard):
            collided.append(part)
        if len(collided) > COLLISIONS_BELIEVED:
            break
    if silent:
        found.unresolved.append(address)
    return collided


def _takes_note(found: Found, heard: Heard) -> bool:
    """Keep the addresses that were understood; tell whether there may be more behind them."""
    found.addresses.extend(sorted(heard.addresses - set(found.addresses)))
    return heard.several


def parts_of(address: str) -> Iterator[str]:
    """Yield ``address`` with each value of the lowest two digits that are open; nothing when none is."""
    open_pairs = 0
    while address.startswith(ANY, 2 * open_pairs):
        open_pairs += 1
    for value in range(100 if open_pairs else 0):
        yield f"{ANY * (open_pairs - 1)}{value:02d}{address[2 * open_pairs :]}"
