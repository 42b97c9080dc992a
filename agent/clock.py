"""Time for the agent: the system's, or one that a simulation drives.

Everything in the agent that waits for a moment in time asks a `Clock`. Waiting for the network is not the clock's
business. Tasks that the clock must wait for before it may advance are *participants* (see `start`); for the system
clock this means nothing, for the driven clock it is what makes a simulated year deterministic.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import logging
import platform
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from wire.event import Event
from wire.record import ClockState

log = logging.getLogger(__name__)

UNKNOWN = ClockState(synchronised=None, offset_us=None, error_us=None)
_SLICE_SECONDS = 1.0

CLOCK_STEP_MS = 250
"""A difference between time of day and monotonic time that is put on record; slewing changes both alike."""

DRIFT_WINDOW_MS = 3_600_000
"""How long the time of day is measured against the oscillator for one value of the drift."""

MAXIMUM_DRIFT_PPM = 500.0
"""A faster drift is put on record: beyond it the kernel's discipline does not steer (NTP's MAXFREQ, RFC 5905), so that
the clock is being slewed, or its oscillator is broken."""


class Clock(Protocol):
    """What the agent needs of a clock. All times are milliseconds since the Unix epoch, UTC."""

    def now_ms(self) -> int:
        """Return the time of day."""
        ...

    def elapsed_ms(self) -> int:
        """Return a time that never steps; only differences have a meaning."""
        ...

    def unsteered_ms(self) -> int:
        """Return the time of the bare oscillator, which nobody sets or steers; only differences have a meaning."""
        ...

    async def sleep_until(self, time_ms: int) -> None:
        """Return when the time of day is ``time_ms``, or when the time that was left at the call has passed.

        The second condition ends a wait that a clock set back would otherwise prolong.
        """
        ...

    def state(self) -> ClockState:
        """Return what is known about synchronisation; unknown is said as ``None``."""
        ...

    def join(self) -> None:
        """Add a participant: the clock does not advance while one is neither asleep nor gone."""
        ...

    def leave(self) -> None:
        """Remove a participant."""
        ...


def start(clock: Clock, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Run ``work`` as a task that is a participant of ``clock`` until it ends."""
    clock.join()
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(lambda _: clock.leave())
    return task


_OSCILLATOR = getattr(time, "CLOCK_MONOTONIC_RAW", time.CLOCK_MONOTONIC)


class SystemClock:
    """The clock of the operating system."""

    def now_ms(self) -> int:
        """Return the time of day."""
        return time.time_ns() // 1_000_000

    def elapsed_ms(self) -> int:
        """Return the monotonic time."""
        return time.monotonic_ns() // 1_000_000

    def unsteered_ms(self) -> int:
        """Return the monotonic time without the frequency corrections of the kernel's clock discipline."""
        return time.clock_gettime_ns(_OSCILLATOR) // 1_000_000

    async def sleep_until(self, time_ms: int) -> None:
        """See `Clock.sleep_until`. A clock set forward ends the wait within a second."""
        time_ns = time_ms * 1_000_000
        deadline_ns = time.monotonic_ns() + time_ns - time.time_ns()
        while (left_ns := min(deadline_ns - time.monotonic_ns(), time_ns - time.time_ns())) > 0:
            await asyncio.sleep(min(left_ns / 1e9, _SLICE_SECONDS))

    def state(self) -> ClockState:
        """Return what the kernel's clock discipline says."""
        return clock_state()

    def join(self) -> None:
        """Do nothing: time advances by itself."""

    def leave(self) -> None:
        """Do nothing."""


class DrivenClock:
    """A discrete-event clock: it stands still while a participant works, then jumps to the earliest sleeper.

    Sleepers of the same moment are woken in the order in which they fell asleep, before time goes on. ``on_advance`` is
    called with the new time before any of them runs, so that a simulated world is already there when it is read.
    """

    def __init__(self, start_ms: int, on_advance: Callable[[int], None] | None = None) -> None:
        self._now_ms = start_ms
        self._on_advance = on_advance
        self._participants = 0
        self._asleep = 0
        self._order = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        if on_advance is not None:
            on_advance(start_ms)

    def now_ms(self) -> int:
        """Return the driven time."""
        return self._now_ms

    def elapsed_ms(self) -> int:
        """Return the driven time: it never steps."""
        return self._now_ms

    def unsteered_ms(self) -> int:
        """Return the driven time: nobody steers it."""
        return self._now_ms

    async def sleep_until(self, time_ms: int) -> None:
        """Return when the driven time has come to ``time_ms``. Only participants may sleep."""
        if time_ms <= self._now_ms:
            return
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (time_ms, self._order, waiter))
        self._asleep += 1
        loop.call_soon(self._advance)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.done() or waiter.cancelled():
                self._asleep -= 1
            raise

    def state(self) -> ClockState:
        """Say that nothing is known: a driven clock follows no reference."""
        return UNKNOWN

    def join(self) -> None:
        """Add a participant."""
        self._participants += 1

    def leave(self) -> None:
        """Remove a participant; the others may have waited for it alone."""
        self._participants -= 1
        asyncio.get_running_loop().call_soon(self._advance)

    def _advance(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if self._asleep < self._participants or not self._sleepers:
            return
        next_ms = self._sleepers[0][0]
        self._now_ms = next_ms
        if self._on_advance is not None:
            self._on_advance(next_ms)
        while self._sleepers and self._sleepers[0][0] <= next_ms:
            waiter = heapq.heappop(self._sleepers)[2]
            if not waiter.done():
                self._asleep -= 1
                waiter.set_result(None)


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The time of day was set: it would have been ``before_ms`` when it was ``after_ms``."""

    before_ms: int
    after_ms: int

    def belongs_before(self, time_ms: int) -> bool:
        """Tell whether ``time_ms`` was read before the step, by which side it is nearer to."""
        return abs(time_ms - self.before_ms) < abs(time_ms - self.after_ms)

    def event(self) -> Event:
        """Return the event that puts the step on record."""
        step_ms = self.after_ms - self.before_ms
        return Event("clock_step", {"before_ms": self.before_ms, "after_ms": self.after_ms, "step_ms": step_ms})


class ClockWatch:
    """Watches a clock for what must be on record: that it was set, gained or lost its reference, or runs away.

    ``drift_ppm`` is what the time of day gained on the bare oscillator in the last full window, in parts per million;
    ``None`` before the first. A disciplined clock shows its oscillator's error here, up to some 100 ppm.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._state = clock.state()
        self._reference = clock.now_ms() - clock.elapsed_ms()
        self.drift_ppm: float | None = None
        self._open_window()

    def step(self) -> ClockStep | None:
        """Return the step since the last call, if there was one. Cheap: to be asked with every read."""
        now_ms = self._clock.now_ms()
        reference = now_ms - self._clock.elapsed_ms()
        step_ms = reference - self._reference
        if abs(step_ms) < CLOCK_STEP_MS:
            return None
        log.warning("the clock was set by %d ms", step_ms)
        self._reference = reference
        self._open_window()
        return ClockStep(now_ms - step_ms, now_ms)

    def change(self) -> Event | None:
        """Return the event of a gained or lost reference or of a running away since the last call, if there is one."""
        before, self._state = self._state, self._clock.state()
        runs_away = self._measure_drift()
        if before.synchronised == self._state.synchronised and not runs_away:
            return None
        after = self._state
        log.warning("the clock is %s, it was %s", _said(after), _said(before))
        detail: dict[str, int | float | str | bytes] = {"before": _said(before), "after": _said(after)}
        if self.drift_ppm is not None:
            detail["drift_ppm"] = self.drift_ppm
        return Event("clock_state", detail)

    def _open_window(self) -> None:
        self._window = self._clock.now_ms(), self._clock.unsteered_ms()

    def _measure_drift(self) -> bool:
        """Close the window when it is over; tell whether the clock ran away in it."""
        now_ms, unsteered_ms = self._window
        passed_ms = self._clock.unsteered_ms() - unsteered_ms
        if passed_ms < DRIFT_WINDOW_MS:
            return False
        gained_ms = self._clock.now_ms() - now_ms - passed_ms
        self.drift_ppm = round(1e6 * gained_ms / passed_ms, 3)
        self._open_window()
        return abs(self.drift_ppm) > MAXIMUM_DRIFT_PPM


def _said(state: ClockState) -> str:
    return {True: "synchronised", False: "not synchronised", None: "unknown"}[state.synchronised]


class _Timex(ctypes.Structure):
    """``struct timex`` of Linux <sys/timex.h>; see adjtimex(2).

    Systems of 32 bits with a 64-bit time lay it out differently from the time on, and larger: what is read here comes
    before, and the reserve at the end has room for the difference.
    """

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_seconds", ctypes.c_long),
        ("time_microseconds", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("pps", ctypes.c_long * 2),
        ("shift", ctypes.c_int),
        ("pps_counts", ctypes.c_long * 5),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 32),
    )


_UNSYNCHRONISED = 0x0040
_NANOSECONDS = 0x2000
_libc: ctypes.CDLL | None = None


def clock_state() -> ClockState:
    """Ask the Linux kernel whether its clock is synchronised, with its estimated offset and error (adjtimex(2)).

    Anything that cannot be learned (another system, a sandbox that forbids the call) is ``None``, never a guess. While
    the kernel says "not synchronised" its offset and error are meaningless and given as ``None``. The error is the
    kernel's *maximum* error, which grows from one correction to the next: its estimated error is left at 0 by common
    time services (systemd-timesyncd), which no clock deserves.
    """
    global _libc  # noqa: PLW0603 - the C library is loaded once
    if platform.system() != "Linux":
        return UNKNOWN
    try:
        if _libc is None:
            _libc = ctypes.CDLL(None, use_errno=True)
        timex = _Timex()
        if _libc.adjtimex(ctypes.byref(timex)) < 0:
            return UNKNOWN
    except (OSError, AttributeError):
        return UNKNOWN
    if timex.status & _UNSYNCHRONISED:
        return ClockState(synchronised=False, offset_us=None, error_us=None)
    offset_us = timex.offset // 1000 if timex.status & _NANOSECONDS else timex.offset
    return ClockState(synchronised=True, offset_us=int(offset_us), error_us=int(timex.maxerror))
