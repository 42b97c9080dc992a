"""Clocks: the driven one is deterministic, the system's survives being set, and the unknown is said as unknown."""

from __future__ import annotations

import asyncio

import pytest

from agent.clock import DrivenClock, SystemClock, clock_state, start
from wire.record import ClockState


def test_driven_time_jumps_to_the_earliest_sleeper_and_announces_it_first() -> None:
    events: list[tuple[str, int]] = []
    clock = DrivenClock(1_000, on_advance=lambda now: events.append(("world", now)))

    async def sleeper(name: str, *times: int) -> None:
        for time_ms in times:
            await clock.sleep_until(time_ms)
            events.append((name, clock.now_ms()))

    async def run() -> None:
        await asyncio.gather(start(clock, sleeper("a", 1_500, 3_000), "a"), start(clock, sleeper("b", 2_000), "b"))

    asyncio.run(run())
    assert events == [
        ("world", 1_000), ("world", 1_500), ("a", 1_500), ("world", 2_000), ("b", 2_000),
        ("world", 3_000), ("a", 3_000),
    ]  # fmt: skip


def test_driven_time_stands_still_while_a_participant_works_in_real_time() -> None:
    clock = DrivenClock(0)
    seen: list[int] = []

    async def worker() -> None:
        await clock.sleep_until(10)
        await asyncio.sleep(0.05)
        seen.append(clock.now_ms())
        await clock.sleep_until(1_000)

    async def ticker() -> None:
        for tick in range(1, 1_000):
            await clock.sleep_until(tick)

    async def run() -> None:
        await asyncio.gather(start(clock, worker(), "worker"), start(clock, ticker(), "ticker"))

    asyncio.run(run())
    assert seen == [10]


def test_driven_time_goes_on_when_a_participant_is_cancelled() -> None:
    clock = DrivenClock(0)

    async def run() -> int:
        long = start(clock, clock.sleep_until(10**9), "long")
        short = start(clock, clock.sleep_until(50), "short")
        await short
        long.cancel()
        await asyncio.gather(long, return_exceptions=True)
        last = start(clock, clock.sleep_until(80), "last")
        await last
        return clock.now_ms()

    assert asyncio.run(run()) == 80


def test_sleepers_of_one_moment_wake_in_the_order_in_which_they_fell_asleep() -> None:
    clock, order = DrivenClock(0), []

    async def sleeper(name: int) -> None:
        await clock.sleep_until(100)
        order.append(name)

    async def run() -> None:
        await asyncio.gather(*(start(clock, sleeper(name), str(name)) for name in range(20)))

    asyncio.run(run())
    assert order == list(range(20))


def test_a_driven_clock_claims_no_synchronisation() -> None:
    assert DrivenClock(0).state() == ClockState(None, None, None)


class SetClock(SystemClock):
    """A system clock whose time of day is set by an administrator while something waits."""

    def __init__(self) -> None:
        self.set_by_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.set_by_ms


@pytest.mark.parametrize("set_by_ms", [-3_600_000, 3_600_000])
def test_a_wait_survives_a_clock_that_is_set(set_by_ms: int) -> None:
    """lafrech/oem_gateway#12: no time at boot, then a step. A wait must neither hang for an hour nor be lost."""

    async def run() -> None:
        clock = SetClock()
        wait = asyncio.create_task(clock.sleep_until(clock.now_ms() + 300))
        await asyncio.sleep(0.05)
        clock.set_by_ms = set_by_ms
        await asyncio.wait_for(wait, 20)

    asyncio.run(run())


def test_the_kernel_is_asked_and_an_unsynchronised_clock_claims_no_error() -> None:
    state = clock_state()
    assert state.synchronised in {True, False, None}
    if not state.synchronised:
        assert (state.offset_us, state.error_us) == (None, None)
    else:
        assert state.error_us is not None
        assert state.error_us >= 0
