"""What is read once after start and then daily: transformer ratios, settings, and readings that a meter froze."""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pymodbus.exceptions import NoSuchIdException

from agent import daily
from agent.clock import DrivenClock
from agent.commissioning import notes, read_once
from agent.config import GatewayConfig, parse_config
from agent.daily import FIRST_AFTER_MS, MEMORY_FILE, DailyReads, next_round_ms
from agent.drivers import Reading
from agent.export import export_records
from agent.keyfile import ensure_key
from agent.runtime import run_agent
from shopfloor.main import main
from wire.descriptor import Descriptor, Series
from wire.event import Event
from wire.frame import STATUS_OK, STATUS_TIMEOUT, Frame
from wire.keys import SigningKey
from wire.record import Payload
from wire.words import decode_words

Payloads = Callable[[GatewayConfig], list[Payload]]

SHANGHAI = ZoneInfo("Asia/Shanghai")
START = 1_751_299_200_000
"""2025-07-01 00:00 in Shanghai: the first round is at 00:02, later ones at 00:30."""
MINUTE, DAY = 60_000, 86_400_000
STRIDE = 0x22

POLLED = dict.fromkeys(range(0x0800, 0x0858), 0)
RATIOS = {0x008D: 1, 0x008E: 60}


def frozen(base: int, entries: int) -> dict[int, int]:
    """Stored readings as the meter keeps them: entry n was frozen n days (months) ago, 100 counts less each."""
    registers = {}
    for entry in range(1, entries + 1):
        start = base + (entry - 1) * STRIDE
        counts = 1_000_000 - 100 * entry
        registers |= dict.fromkeys(range(start, start + STRIDE), 0xA5A5)
        registers |= {
            start: 0x1907,
            start + 1: (31 - (entry - 1) % 31) << 8,
            start + 2: counts >> 16,
            start + 3: counts & 0xFFFF,
        }
    return registers


def gateway(
    directory: Path, port: int, more: str, model: str = "acrel-adl400", interval: str = "1min"
) -> GatewayConfig:
    text = (
        "gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1min\nconnections:\n"
        f"  - {{id: line, protocol: modbus-tcp, host: 127.0.0.1, port: {port}, timeout: 200ms, "
        f"devices: [{{id: meter-1, model: {model}, unit: 1, interval: {interval}{more}}}]}}\n"
    )
    config = parse_config(text, "gateway.yaml", directory)
    ensure_key(config.key_file)
    return config


def events(known: Iterable[Payload]) -> list[Event]:
    return [payload.body for payload in known if isinstance(payload.body, Event)]


def told(known: Iterable[Payload]) -> list[tuple[str, dict[str, Any]]]:
    """The events of this matter, without their times."""
    names = {"ratio_changed", "ratio_mismatch", "setting_changed", "history"}
    return [
        (event.name, {key: value for key, value in event.detail.items() if key != "time_ms"})
        for event in events(known)
        if event.name in names
    ]


def frames(known: Iterable[Payload], first: int, last: int) -> list[Frame]:
    return [
        frame
        for payload in known
        for frame in payload.frames
        if isinstance(frame, Frame) and first <= frame.address < last
    ]


async def run(
    config: GatewayConfig, until_ms: int, start_ms: int = START, world: Callable[[int], None] | None = None
) -> None:
    await run_agent(config, DrivenClock(start_ms, world), until_ms)


def test_ratios_are_read_after_start_and_then_daily_and_agreement_is_no_event(
    tmp_path: Path, modbus_site: Any, payloads: Payloads
) -> None:
    async def play() -> None:
        async with modbus_site({1: POLLED | RATIOS}) as site:
            config = gateway(tmp_path, site.port, ", ct_ratio: 60, pt_ratio: 1, history: false", interval="5min")
            await run(config, START + 3 * DAY)
            taken = frames(payloads(config), 0x8D, 0x8F)
            assert [(time_ms - START) // MINUTE for frame in taken for time_ms in frame.times_ms] == [
                5, 30, DAY // MINUTE + 30, 2 * DAY // MINUTE + 30,
            ]  # fmt: skip
            assert {words for frame in taken for _, _, words in frame.samples()} == {(1, 60)}
            assert told(payloads(config)) == []
            descriptor = next(p.body for p in payloads(config) if isinstance(p.body, Descriptor))
            assert {"ct_ratio", "pt_ratio"} <= {series.name for series in descriptor.devices[0].series}

    asyncio.run(play())


def test_a_ratio_that_somebody_changes_is_an_event_with_both_values(
    tmp_path: Path, modbus_site: Any, payloads: Payloads
) -> None:
    async def play() -> None:
        async with modbus_site({1: POLLED | RATIOS}) as site:

            def world(now: int) -> None:
                if now >= START + DAY // 2:
                    site.registers[1][0x008E] = 120

            config = gateway(tmp_path, site.port, ", ct_ratio: 60, history: false", interval="5min")
            await run(config, START + 3 * DAY, world=world)
            assert told(payloads(config)) == [
                ("ratio_changed", {"device": "meter-1", "setting": "ct_ratio", "before": 60.0, "after": 120.0}),
                ("ratio_mismatch", {"device": "meter-1", "setting": "ct_ratio", "meter": 120.0, "configured": 60.0}),
            ]
            changed = next(event for event in events(payloads(config)) if event.name == "ratio_changed")
            assert changed.detail["time_ms"] == START + DAY + 30 * MINUTE

    asyncio.run(play())


def test_a_change_while_the_agent_was_off_shows(tmp_path: Path, modbus_site: Any, payloads: Payloads) -> None:
    async def play() -> None:
        registers = dict.fromkeys(range(0x2000, 0x2046), 0) | {0x2: 0, 0x3: 0, 0x6: 60, 0x7: 10, 0x2C: 1}
        async with modbus_site({1: registers}) as site:
            config = gateway(tmp_path, site.port, ", ct_ratio: 60", model="chint-dtsu666")
            await run(config, START + 5 * MINUTE)
            assert told(payloads(config)) == []
            site.registers[1][0x2] = 1
            await run(config, START + 65 * MINUTE, START + 60 * MINUTE)
            assert told(payloads(config)) == [
                ("setting_changed", {"device": "meter-1", "setting": "energy_clear", "before": 0.0, "after": 1.0})
            ]
            replaced = gateway(tmp_path, site.port, ", ct_ratio: 60, serial_number: B2", model="chint-dtsu666")
            site.registers[1][0x3] = 5
            await run(replaced, START + 125 * MINUTE, START + 120 * MINUTE)
            assert len(told(payloads(config))) == 1, "another meter has settings of its own: nothing has changed"

    asyncio.run(play())


def test_a_ratio_unlike_the_gateway_file_is_told_at_every_start_but_not_every_day(
    tmp_path: Path, modbus_site: Any, payloads: Payloads
) -> None:
    async def play() -> None:
        async with modbus_site({1: dict.fromkeys(range(0x180), 0) | RATIOS}) as site:
            config = gateway(tmp_path, site.port, ", history: false", "acrel-adl400-secondary", "5min")
            await run(config, START + 2 * DAY)
            mismatch = {"device": "meter-1", "setting": "ct_ratio", "meter": 60.0, "configured": 1.0}
            assert told(payloads(config)) == [("ratio_mismatch", mismatch)], (
                "a ratio that is not stated counts as 1 here"
            )
            await run(config, START + 3 * DAY, START + 2 * DAY)
            assert told(payloads(config)) == 2 * [("ratio_mismatch", mismatch)]

    asyncio.run(play())


@pytest.mark.parametrize("content", ["", "[]", '{"meter-1": 7}', '{"meter-1": {"serial_number": "", "settings": []}}'])
def test_a_damaged_memory_costs_nothing_but_the_memory(
    tmp_path: Path, modbus_site: Any, content: str, payloads: Payloads
) -> None:
    async def play() -> None:
        async with modbus_site({1: POLLED | RATIOS}) as site:
            config = gateway(tmp_path, site.port, ", history: false")
            config.data_directory.mkdir()
            (config.data_directory / MEMORY_FILE).write_text(content)
            await run(config, START + 5 * MINUTE)
            assert told(payloads(config)) == []
            site.registers[1][0x008E] = 30
            await run(config, START + 65 * MINUTE, START + 60 * MINUTE)
            assert [name for name, _ in told(payloads(config))] == ["ratio_changed"]

    asyncio.run(play())


def stored_energy(known: list[Payload], name: str) -> dict[int, tuple[float | int | None, ...]]:
    """What a reader of the records finds, with nothing but descriptor, event and frames: (month, day, kWh) by entry."""
    descriptor = next(p.body for p in known if isinstance(p.body, Descriptor))
    (event,) = (p.body for p in known if isinstance(p.body, Event) and p.body.detail.get("name") == name)
    layout = {series.name: series for series in descriptor.devices[0].series}
    detail = {key: value for key, value in event.detail.items() if isinstance(value, int)}
    last = detail["address"] + detail["entries"] * detail["stride"]
    found = {}
    for frame in frames(known, detail["address"], last):
        assert frame.count == detail["registers"]
        entry, rest = divmod(frame.address - detail["address"], detail["stride"])
        assert rest == 0
        for _, status, words in frame.samples():
            if status != STATUS_OK or words is None:
                continue

            def value(series: Series, words: tuple[int, ...] = words) -> float | int | None:
                start = series.address - detail["address"]
                part = words[start : start + series.type.words]
                return decode_words(part, series.type, series.order, scale=series.scale, invalid=series.invalid)

            year_month, day_hour = value(layout[f"{name}_year_month"]), value(layout[f"{name}_day_hour"])
            assert isinstance(year_month, int)
            assert isinstance(day_hour, int)
            found[entry + 1] = (year_month & 0xFF, day_hour >> 8, value(layout[f"{name}_active_energy"]))
    return found


def test_stored_readings_come_whole_and_can_be_read_from_the_records_alone(
    tmp_path: Path, modbus_site: Any, payloads: Payloads
) -> None:
    async def play() -> None:
        registers = POLLED | RATIOS | frozen(0x6000, 90) | frozen(0x7000, 48)
        async with modbus_site({1: registers}) as site:
            config = gateway(tmp_path, site.port, ", ct_ratio: 60, pt_ratio: 1")
            await run(config, START + 10 * MINUTE)
            days, months = stored_energy(payloads(config), "daily"), stored_energy(payloads(config), "monthly")
            assert (len(days), len(months)) == (90, 48)
            assert days[1] == (7, 31, pytest.approx(999_900 * 0.01 * 60))
            assert days[30] == (7, 2, pytest.approx(997_000 * 0.01 * 60))
            (block,) = (frame for frame in frames(payloads(config), 0x6000, 0x6001))
            assert next(words for _, _, words in block.samples())[14:] == (0xA5A5,) * 20  # type: ignore[index]
            assert [detail for name, detail in told(payloads(config)) if name == "history"] == [
                {
                    "device": "meter-1", "name": "daily", "period": "day", "function": 3, "address": 0x6000,
                    "stride": 34, "registers": 34, "entries": 90, "good": 90,
                },
                {
                    "device": "meter-1", "name": "monthly", "period": "month", "function": 3, "address": 0x7000,
                    "stride": 34, "registers": 34, "entries": 48, "good": 48,
                },
            ]  # fmt: skip

    asyncio.run(play())


def test_the_months_before_the_gateway_came_are_a_table_of_one_command(
    tmp_path: Path, modbus_site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async def play() -> GatewayConfig:
        async with modbus_site({1: POLLED | RATIOS | frozen(0x6000, 90) | frozen(0x7000, 48)}) as site:
            config = gateway(tmp_path, site.port, ", ct_ratio: 60, pt_ratio: 1")
            await run(config, START + 10 * MINUTE)
            return config

    config = asyncio.run(play())
    exported = tmp_path / "gw-01.records"
    export_records(config.data_directory, exported, None, None)
    assert main(["evidence", "stored", str(exported), "--key", ensure_key(config.key_file).public.text]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    energy = {int(row["entry"]): row for row in rows if row["series"] == "monthly_active_energy"}
    assert set(energy) == set(range(1, 49))
    assert (float(energy[48]["value"]), energy[48]["unit"]) == (pytest.approx(995_200 * 0.01 * 60), "kWh")
    assert energy[1]["read"] == "2025-06-30T16:02:00+00:00"
    assert len([row for row in rows if row["series"] == "daily_active_energy"]) == 90

    assert main(["evidence", "stored", str(exported), "--key", SigningKey.generate().public.text]) == 1
    assert "wrong-key" in capsys.readouterr().err
    assert main(["evidence", "stored", str(exported)]) == 0
    assert "NOT CHECKED" in capsys.readouterr().err


def test_a_meter_that_keeps_less_than_its_model_gives_what_it_has(
    tmp_path: Path, modbus_site: Any, payloads: Payloads
) -> None:
    async def play() -> None:
        async with modbus_site({1: POLLED | RATIOS | frozen(0x6000, 3)}) as site:
            config = gateway(tmp_path, site.port, "")
            await run(config, START + 10 * MINUTE)
            assert set(stored_energy(payloads(config), "daily")) == {1, 2, 3}
            history = [detail for name, detail in told(payloads(config)) if name == "history"]
            assert [(detail["name"], detail["good"]) for detail in history] == [("daily", 3)]
            refused = [
                s for frame in frames(payloads(config), 0x6000, 0x8000) for _, s, _ in frame.samples() if s != STATUS_OK
            ]
            assert refused == [2] * (87 + 48), "what the meter refused is on record"

    asyncio.run(play())


def test_a_meter_that_is_silent_on_stored_readings_costs_two_time_outs_and_no_poll(
    tmp_path: Path, modbus_site: Any, payloads: Payloads
) -> None:
    async def play() -> None:
        async with modbus_site({1: POLLED | RATIOS | frozen(0x6000, 90) | frozen(0x7000, 48)}) as site:

            def deaf() -> None:
                if site.requests[-1][2] >= 0x6000:
                    raise NoSuchIdException

            site.on_request = deaf
            config = gateway(tmp_path, site.port, "")
            await run(config, START + 10 * MINUTE)
            assert [request[2] for request in site.requests if request[2] >= 0x6000] == [0x6000, 0x7000]
            assert told(payloads(config)) == []
            polls = [status for frame in frames(payloads(config), 0x0800, 0x0900) for _, status, _ in frame.samples()]
            assert polls == [STATUS_OK] * 10
            silent = [status for frame in frames(payloads(config), 0x6000, 0x8000) for _, status, _ in frame.samples()]
            assert silent == [STATUS_TIMEOUT] * 2

    asyncio.run(play())


def test_a_slow_bus_is_not_held_up_one_request_stands_between_two_polls(
    tmp_path: Path, modbus_site: Any, monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    monkeypatch.setattr(daily, "FIRST_AFTER_MS", 0)

    async def play() -> None:
        async with modbus_site({1: POLLED | RATIOS | frozen(0x6000, 90)}) as site:
            site.on_request = lambda: time.sleep(0.02)
            config = gateway(tmp_path, site.port, "", interval="100ms")
            stop = asyncio.Event()
            agent = asyncio.create_task(run_agent(config, stop=stop))
            await until(lambda: sum(request[2] >= 0x6000 for request in site.requests) >= 5)
            stop.set()
            await agent
            kinds = ["poll" if request[2] == 0x0800 else "daily" for request in site.requests]
            assert ("daily", "daily") not in list(pairwise(kinds))

    asyncio.run(play())


def test_a_rarely_polled_meter_gives_its_history_between_the_polls_of_a_quick_neighbour(
    tmp_path: Path, modbus_site: Any, monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    monkeypatch.setattr(daily, "FIRST_AFTER_MS", 0)

    async def play() -> None:
        async with modbus_site(
            {1: POLLED | RATIOS | frozen(0x6000, 90), 2: {0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0}}
        ) as site:
            site.on_request = lambda: time.sleep(0.02)
            neighbour = "}, {id: pulses, model: pulse-meter, unit: 2, interval: 100ms"
            config = gateway(tmp_path, site.port, neighbour, interval="1h")
            stop = asyncio.Event()
            agent = asyncio.create_task(run_agent(config, stop=stop))
            await until(lambda: sum(request[2] >= 0x6000 for request in site.requests) >= 5)
            stop.set()
            await agent
            kinds = ["poll" if unit == 2 else "daily" for unit, _, address, _ in site.requests if address != 0x0800]
            assert ("daily", "daily") not in list(pairwise(kinds))

    asyncio.run(play())


def test_history_that_is_switched_off_is_neither_read_nor_described(
    tmp_path: Path, modbus_site: Any, payloads: Payloads
) -> None:
    async def play() -> None:
        async with modbus_site({1: POLLED | RATIOS | frozen(0x6000, 3)}) as site:
            config = gateway(tmp_path, site.port, ", history: false")
            await run(config, START + 10 * MINUTE)
            assert not [request for request in site.requests if request[2] >= 0x6000]
            descriptor = next(p.body for p in payloads(config) if isinstance(p.body, Descriptor))
            assert not [one for one in descriptor.devices[0].series if one.name.startswith(("daily", "monthly"))]

    asyncio.run(play())


def local(text: str, zone: ZoneInfo) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "now", "following"),
    [
        ("Asia/Shanghai", "2025-07-01 00:02", "2025-07-01 00:30"),
        ("Asia/Shanghai", "2025-07-01 00:30", "2025-07-02 00:30"),
        ("Asia/Shanghai", "2025-12-31 23:59", "2026-01-01 00:30"),
        ("Europe/Berlin", "2025-10-26 00:30", "2025-10-27 00:30"),
        ("Europe/Berlin", "2025-03-30 00:31", "2025-03-31 00:30"),
    ],
)
def test_rounds_keep_to_the_local_clock(zone: str, now: str, following: str) -> None:
    there = ZoneInfo(zone)
    assert next_round_ms(local(now, there), there) == local(following, there)


def answered(reads: DailyReads, now_ms: int) -> Iterator[int]:
    while (block := reads.next(now_ms)) is not None:
        yield block.address
        reads.take(Reading(now_ms, STATUS_OK, [1] * block.count, 1))


def test_a_change_is_told_again_when_the_agent_may_have_died_before_it_was_on_disk(tmp_path: Path) -> None:
    config = gateway(tmp_path, 502, ", history: false")
    (device,) = config.connections[0].devices

    def changes(ratio: int, *, lives_ms: int) -> list[str]:
        reads = DailyReads(device, SHANGHAI, tmp_path / MEMORY_FILE, MINUTE)
        assert reads.next(START) is None
        assert reads.next(START + FIRST_AFTER_MS) is not None
        told = reads.take(Reading(START + FIRST_AFTER_MS, STATUS_OK, [1, ratio], 1))
        assert reads.next(START + FIRST_AFTER_MS + lives_ms) is None
        return [event.name for event in told]

    assert changes(60, lives_ms=2 * MINUTE) == []
    assert changes(120, lives_ms=MINUTE) == ["ratio_changed"]
    assert changes(120, lives_ms=2 * MINUTE) == ["ratio_changed"]
    assert changes(120, lives_ms=2 * MINUTE) == []


def test_a_clock_that_is_set_back_by_years_does_not_end_the_rounds(tmp_path: Path) -> None:
    config = gateway(tmp_path, 502, ", history: false")
    (device,) = config.connections[0].devices
    reads = DailyReads(device, SHANGHAI, tmp_path / MEMORY_FILE, MINUTE)
    assert list(answered(reads, START)) == []
    assert list(answered(reads, START + FIRST_AFTER_MS)) == [0x8D]
    past = START - 1000 * DAY
    assert list(answered(reads, past)) == []
    assert list(answered(reads, past + DAY)) == [0x8D]


def test_a_check_that_reads_tells_a_ratio_unlike_the_gateway_file(tmp_path: Path, modbus_site: Any) -> None:
    async def play() -> None:
        async with modbus_site({1: POLLED | RATIOS}) as site:
            (agrees,) = await read_once(gateway(tmp_path, site.port, ", ct_ratio: 60, pt_ratio: 1"))
            assert agrees.faults == ()
            assert agrees.values["ct_ratio"] == (60.0, "1")
            (differs,) = await read_once(gateway(tmp_path, site.port, ", ct_ratio: 40"))
            assert differs.faults == ("ct_ratio is 60 in the meter, 40 in the gateway file; make them equal",)
            (unstated,) = await read_once(gateway(tmp_path, site.port, ""))
            assert unstated.faults == (), "the meter multiplies by itself, and the file claims nothing"
        async with modbus_site({1: POLLED}) as site:
            (without,) = await read_once(gateway(tmp_path, site.port, ", ct_ratio: 40"))
            assert "ct_ratio" not in without.values
            assert without.faults == (), "a meter need not have these registers"

    asyncio.run(play())


def test_a_check_says_what_evidence_needs_to_know(tmp_path: Path) -> None:
    def said(model: str, more: str = "") -> list[str]:
        return [text for _, text in notes(gateway(tmp_path, 502, more, model))]

    pac = said("siemens-sentron-pac3200", ", maximum_power: 630")
    wanted = "from: [gw-01/meter-1/active_energy_import_t1, gw-01/meter-1/active_energy_import_t2]"
    assert len(pac) == 2
    assert wanted in pac[0]
    assert "nothing bounds how fast active_energy" in said("acrel-adl400")[0]
    assert said("acrel-adl400", ", ct_ratio: 60, pt_ratio: 1") == []
