"""Time on record: clocks that are wrong at boot, set, gained, lost, or drifting. What was stamped stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.clock import DRIFT_WINDOW_MS, ClockWatch, SystemClock, _Timex, clock_state
from agent.config import parse_config
from agent.drivers import Reading
from agent.journal import Journal, JournalThread
from agent.keyfile import ensure_key, write_key
from agent.planner import Block, Value
from agent.recorder import Recorder
from agent.runtime import run_agent
from wire.chain import verify_run
from wire.event import Event
from wire.frame import STATUS_OK
from wire.keys import SigningKey
from wire.record import ClockState, Record, open_record

KEY = SigningKey.generate()
BLOCK = Block(3, 0, 2, (Value(3, 0, 2),))
NOW = 1_790_000_000_000
HOUR = 3_600_000
YES, NO, UNKNOWN = ClockState(True, 120, 4_000), ClockState(False), ClockState()


class FakeClock(SystemClock):
    """A system clock whose hands, oscillator and synchronisation the test moves."""

    def __init__(self, now_ms: int, state: ClockState = NO) -> None:
        self.time_ms, self.passed_ms, self.steered_ms = now_ms, 0, 0
        self.known = state

    def now_ms(self) -> int:
        return self.time_ms

    def elapsed_ms(self) -> int:
        return self.passed_ms + self.steered_ms

    def unsteered_ms(self) -> int:
        return self.passed_ms

    def state(self) -> ClockState:
        return self.known

    def pass_(self, milliseconds: int, *, steered_ms: int = 0) -> None:
        self.time_ms += milliseconds + steered_ms
        self.passed_ms += milliseconds
        self.steered_ms += steered_ms

    def set(self, time_ms: int) -> None:
        self.time_ms = time_ms


def recorded(directory: Path, clock: FakeClock, *work: Callable[[Recorder], None]) -> list[Record]:
    """Do each part of ``work`` with a recorder and flush behind it; return all records."""

    async def run() -> list[Record]:
        journal = JournalThread(Journal(directory, "gw-01", KEY, 2**26, clock))
        try:
            recorder = Recorder(journal, clock)
            for part in work:
                part(recorder)
                await recorder.flush()
            messages = await journal.outgoing(0, 10**6, 2**30)
        finally:
            journal.close()
        assert verify_run([message.data for message in messages], KEY.public, gateway="gw-01").faults == []
        return [open_record(message.data, KEY.public) for message in messages]

    return asyncio.run(run())


def read(clock: FakeClock, recorder: Recorder, times: int = 3) -> None:
    for _ in range(times):
        recorder.add(0, 1, BLOCK, Reading(clock.now_ms(), STATUS_OK, (0, 7), 1))
        clock.pass_(1_000)


def times(record: Record) -> list[tuple[int, ...]]:
    return [frame.times_ms for frame in record.payload.frames]


def test_records_are_made_in_1970_and_an_event_tells_by_how_much_time_jumped(tmp_path: Path) -> None:
    """lafrech/oem_gateway#12 "Posting incorrect date while ntp unavailable at boot": silence, or wrong dates for ever.

    The battery is flat: the clock begins at 1970. Everything is read and signed at once; when the time comes, nothing
    is stamped again, and whoever reads the records can shift the first ones by what the event says.
    """
    clock = FakeClock(4_000)

    def boot(recorder: Recorder) -> None:
        read(clock, recorder)
        clock.set(NOW)
        clock.known = YES
        read(clock, recorder)

    records = recorded(tmp_path, clock, boot)
    before, step, after, state = records
    assert times(before) == [(4_000, 5_000, 6_000)]
    assert step.payload.body == Event("clock_step", {"before_ms": 7_000, "after_ms": NOW, "step_ms": NOW - 7_000})
    assert times(after) == [(NOW, NOW + 1_000, NOW + 2_000)]
    assert state.payload.body == Event("clock_state", {"before": "not synchronised", "after": "synchronised"})
    assert state.payload.clock == YES


def test_a_clock_set_back_closes_the_frame_and_rewrites_nothing(tmp_path: Path) -> None:
    """thingsboard-gateway#2119 "overwrites original telemetry timestamp", #410 "order scrambled"."""
    clock = FakeClock(NOW)

    def work(recorder: Recorder) -> None:
        read(clock, recorder)
        clock.set(NOW - HOUR)
        read(clock, recorder)

    before, step, after = recorded(tmp_path, clock, work)
    assert times(before) == [(NOW, NOW + 1_000, NOW + 2_000)]
    assert step.payload.body.detail["step_ms"] == -HOUR - 3_000
    assert times(after) == [(NOW - HOUR, NOW - HOUR + 1_000, NOW - HOUR + 2_000)]


def test_a_read_that_began_before_the_step_stands_before_it(tmp_path: Path) -> None:
    """A request takes time: its answer keeps the time of the asking, on the side of the step where that was."""
    clock = FakeClock(NOW)

    def work(recorder: Recorder) -> None:
        read(clock, recorder, 1)
        began_ms = clock.now_ms()
        clock.pass_(400)
        clock.set(NOW + HOUR)
        recorder.add(0, 1, BLOCK, Reading(began_ms, STATUS_OK, (0, 8), 400))

    before, step = recorded(tmp_path, clock, work)
    assert times(before) == [(NOW, NOW + 1_000)]
    assert step.payload.body.name == "clock_step"


def test_a_device_whose_own_clock_is_wrong_changes_no_time_on_record(tmp_path: Path) -> None:
    """thingsboard-gateway#879: a PLC that resets to the year 2000 took the history with it. Times here are ours."""
    clock = FakeClock(NOW)

    def work(recorder: Recorder) -> None:
        recorder.add(0, 1, BLOCK, Reading(clock.now_ms(), STATUS_OK, (0x386D, 0x4380), 1))

    (record,) = recorded(tmp_path, clock, work)
    assert times(record) == [(NOW,)]
    assert [words for frame in record.payload.frames for _, _, words in frame.samples()] == [(0x386D, 0x4380)]


@pytest.mark.parametrize("step_ms", [-249, 0, 249])
def test_what_is_no_step_is_no_event(step_ms: int) -> None:
    clock = FakeClock(NOW)
    watch = ClockWatch(clock)
    clock.pass_(10_000)
    clock.set(clock.now_ms() + step_ms)
    assert watch.step() is None


def test_small_steps_add_up_until_they_are_one() -> None:
    clock = FakeClock(NOW)
    watch = ClockWatch(clock)
    clock.set(NOW + 200)
    assert watch.step() is None
    clock.set(NOW + 400)
    step = watch.step()
    assert step is not None
    assert (step.before_ms, step.after_ms) == (NOW, NOW + 400)
    assert watch.step() is None


def test_gain_and_loss_of_the_reference_are_events_and_the_same_state_is_none() -> None:
    clock = FakeClock(NOW, UNKNOWN)
    watch = ClockWatch(clock)
    said = []
    for state in (UNKNOWN, NO, NO, YES, ClockState(True, -900, 70), NO):
        clock.known = state
        said.append(watch.change())
    assert [None if event is None else (event.detail["before"], event.detail["after"]) for event in said] == [
        None,
        ("unknown", "not synchronised"),
        None,
        ("not synchronised", "synchronised"),
        None,
        ("synchronised", "not synchronised"),
    ]


def test_the_drift_is_measured_against_the_bare_oscillator_and_a_step_is_no_drift() -> None:
    clock = FakeClock(NOW, YES)
    watch = ClockWatch(clock)
    clock.pass_(DRIFT_WINDOW_MS // 2)
    clock.set(NOW)
    assert watch.step() is not None
    clock.pass_(DRIFT_WINDOW_MS - 1)
    assert watch.change() is None
    assert watch.drift_ppm is None
    clock.pass_(1, steered_ms=144)
    assert watch.change() is None
    assert watch.drift_ppm == 40.0


def test_a_clock_that_is_slewed_beyond_what_discipline_does_is_an_event() -> None:
    clock = FakeClock(NOW, YES)
    watch = ClockWatch(clock)
    clock.pass_(DRIFT_WINDOW_MS, steered_ms=-7_200)
    assert watch.step() is None, "slewing moves time of day and monotonic time alike"
    assert watch.change() == Event(
        "clock_state", {"before": "synchronised", "after": "synchronised", "drift_ppm": -2_000.0}
    )


def test_every_record_says_what_the_clock_was_when_it_was_made(tmp_path: Path) -> None:
    clock = FakeClock(NOW, YES)

    def lose(recorder: Recorder) -> None:
        clock.known = NO
        read(clock, recorder)

    records = recorded(tmp_path, clock, lambda recorder: read(clock, recorder), lose)
    assert [record.payload.clock for record in records] == [YES, NO, NO]


def answer_of_the_kernel(monkeypatch: pytest.MonkeyPatch, result: int, **fields: int) -> ClockState:
    class Library:
        @staticmethod
        def adjtimex(pointer: Any) -> int:
            timex = pointer._obj
            assert isinstance(timex, _Timex)
            assert timex.modes == 0, "the clock is read, never set"
            for name, value in fields.items():
                setattr(timex, name, value)
            return result

    monkeypatch.setattr("agent.clock._libc", Library())
    return clock_state()


def test_the_error_is_the_bound_that_grows_not_the_estimate_that_time_services_leave_at_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = answer_of_the_kernel(monkeypatch, 0, status=0x2001, offset=-1_500_000, maxerror=16_500, esterror=0)
    assert told == ClockState(True, -1_500, 16_500)
    assert answer_of_the_kernel(monkeypatch, 0, status=0x0001, offset=-7, maxerror=9, esterror=0) == ClockState(
        True, -7, 9
    )


def test_without_synchronisation_or_permission_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer_of_the_kernel(monkeypatch, 5, status=0x0040, offset=3, maxerror=16_000_000) == NO
    assert answer_of_the_kernel(monkeypatch, -1) == UNKNOWN


class SetWhileRunning(SystemClock):
    """The real clock, set by an administrator."""

    set_by_ms = -NOW

    def now_ms(self) -> int:
        return super().now_ms() + self.set_by_ms


def test_a_whole_agent_polls_through_a_clock_that_is_set(tmp_path: Path, modbus_site: Any, until: Any) -> None:
    clock = SetWhileRunning()

    async def run() -> None:
        async with modbus_site({1: dict.fromkeys(range(0x0800, 0x0858), 5)}) as site:
            text = (
                "gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1s\nconnections:\n"
                f"  - {{id: line, protocol: modbus-tcp, host: 127.0.0.1, port: {site.port}, devices: "
                "[{id: meter-1, model: acrel-adl400, interval: 100ms}]}\n"
            )
            config = parse_config(text, "gateway.yaml", tmp_path)
            ensure_key(config.key_file)
            stop = asyncio.Event()
            agent = asyncio.create_task(run_agent(config, clock, stop=stop))
            await until(lambda: len(site.requests) >= 5)
            for set_by_ms in (0, -HOUR):
                clock.set_by_ms = set_by_ms
                asked = len(site.requests)
                await until(lambda asked=asked: len(site.requests) >= asked + 5)
            stop.set()
            await agent
            await check(config, len(site.requests))

    async def check(config: Any, asked: int) -> None:
        key = ensure_key(config.key_file)
        journal = Journal(config.data_directory, "gw-01", key, config.spool_bytes, SystemClock())
        try:
            records = [open_record(m.data, key.public) for m in journal.outgoing(0, 10**6, 2**30)]
        finally:
            journal.close()
        steps = [
            r.payload.body for r in records if isinstance(r.payload.body, Event) and r.payload.body.name == "clock_step"
        ]
        assert [round(step.detail["step_ms"], -3) for step in steps] == [NOW, -HOUR]
        assert asked - 1 <= sum(frame.n_ok for r in records for frame in r.payload.frames) <= asked

    asyncio.run(run())


def test_what_is_sent_late_or_again_keeps_its_times_and_no_old_value_gets_a_new_one(
    tmp_path: Path, modbus_site: Any, receiver: Any, gateway_key: SigningKey, until: Any
) -> None:
    """thingsboard-gateway#2119 "overwrites original telemetry timestamp with current time on periodic resend", #2065
    "sends stale telemetry values after connection loss" under new times."""

    async def run() -> tuple[int, int]:
        async with modbus_site({1: dict.fromkeys(range(0x0800, 0x0858), 5)}) as site:
            text = (
                "gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1s\n"
                f"uplink: {{url: 'mqtt://127.0.0.1:{receiver.port}', server_key: '{receiver.key.public.text}'}}\n"
                "connections:\n  - {id: line, protocol: modbus-tcp, timeout: 100ms, "
                f"host: 127.0.0.1, port: {site.port}, "
                "devices: [{id: meter-1, model: acrel-adl400, interval: 100ms}]}\n"
            )
            config = parse_config(text, "gateway.yaml", tmp_path)
            write_key(config.key_file, gateway_key)
            stop = asyncio.Event()
            receiver.deaf = True
            agent = asyncio.create_task(run_agent(config, stop=stop))
            await until(lambda: len(site.requests) >= 10)
            site.silent.add(1)
            asked = len(site.requests)
            await until(lambda: len(site.requests) >= asked + 3)
            silent_ms = SystemClock().now_ms() - 2 * 100
            await asyncio.sleep(1.5)
            heard_ms = SystemClock().now_ms()
            receiver.deaf = False
            await until(lambda: receiver.seq >= 5, 60)
            stop.set()
            await agent
            return silent_ms, heard_ms

    silent_ms, heard_ms = asyncio.run(run())
    records = [receiver.records[seq] for seq in sorted(receiver.records)]
    good, bad = [], []
    for record in records:
        for frame in record.payload.frames:
            for time_ms, status, words in frame.samples():
                (good if status == STATUS_OK else bad).append((time_ms, words))
    assert len(good) >= 9
    assert max(time_ms for time_ms, _ in good) < silent_ms < heard_ms, "no value after the device fell silent"
    assert {words for time_ms, words in bad if time_ms > silent_ms} == {None}
    late = [record for record in records if record.payload.frames and record.payload.time_ms < heard_ms]
    assert late, "records that were made while nobody heard"
    assert all(max(frame.times_ms[-1] for frame in r.payload.frames) <= r.payload.time_ms for r in late)
