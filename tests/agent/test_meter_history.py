"""The 62 midnights that a DL/T 645 meter keeps: read beside the polls, signed, and found again in the records alone."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import dlt645_frame
from agent.clock import DrivenClock
from agent.config import GatewayConfig, parse_config
from agent.dlt645_frame import Dlt645Frame
from agent.export import export_records
from agent.keyfile import ensure_key
from agent.models import DeviceModel
from agent.runtime import run_agent
from demo.dlt645_meter import Dlt645Meter, identifier, line_of, meter_data
from demo.meter_line import MeterLine
from shopfloor.main import main
from wire.document import parse_document
from wire.errors import DocumentError
from wire.event import Event
from wire.frame import STATUS_OK, STATUS_TIMEOUT, AnswerFrame
from wire.record import Payload

Payloads = Callable[[GatewayConfig], list[Payload]]

ADDRESS = "000000000161"
MINUTE = 60_000
DAY = 86_400_000
NOW = 1_751_299_200_000
"""2025-07-01 00:00 in China."""

TIME, IMPORT, EXPORT = (identifier(f"0506{kind:02X}01") for kind in (0, 1, 2))


def midnight(entry: int) -> str:
    """The 10 digits of the freeze of ``entry``, 1 the newest."""
    local = datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(hours=8)
    return f"{local - timedelta(days=entry - 1):%y%m%d%H%M}"


def meter_of(days: int) -> dict[bytes, bytes]:
    """The data of a meter that has been there for ``days`` midnights."""
    data = meter_data(NOW)
    return {key: value for key, value in data.items() if key[2:] != TIME[2:] or key[0] <= days}


async def run(
    line: MeterLine[Any], directory: Path, more: str = "", until_ms: int = NOW + 15 * MINUTE
) -> GatewayConfig:
    async with line:
        port = await line.listen("127.0.0.1", 0)
        config = parse_config(
            "gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1min\nconnections:\n"
            f"  - {{id: bus, protocol: dlt645-over-tcp, host: 127.0.0.1, port: {port}, timeout: 200ms, devices: "
            f'[{{id: meter-1, model: dlt645-2007-three-phase, address: "{ADDRESS}", interval: 1min, ct_ratio: 60, '
            f"series: [active_energy_import]{more}}}]}}\n",
            "gateway.yaml",
            directory,
        )
        ensure_key(config.key_file)
        await run_agent(config, DrivenClock(NOW), until_ms)
        return config


def history(known: Iterable[Payload]) -> list[dict[str, Any]]:
    bodies = [payload.body for payload in known]
    return [dict(body.detail) for body in bodies if isinstance(body, Event) and body.name == "history"]


def frozen_frames(known: Iterable[Payload]) -> list[AnswerFrame]:
    frames = [frame for payload in known for frame in payload.frames if isinstance(frame, AnswerFrame)]
    return [frame for frame in frames if frame.request[3:] == TIME[2:]]


def stored_table(config: GatewayConfig, file: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    export_records(config.data_directory, file, None, None)
    assert main(["evidence", "stored", str(file), "--key", ensure_key(config.key_file).public.text]) == 0
    return list(csv.DictReader(capsys.readouterr().out.splitlines()))


def test_sixty_two_midnights_are_signed_and_are_a_table_of_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], payloads: Payloads
) -> None:
    config = asyncio.run(run(line_of(Dlt645Meter(ADDRESS, meter_data(NOW))), tmp_path))
    (event,) = history(payloads(config))
    assert event.pop("time_ms") >= NOW + 2 * MINUTE
    assert event == {
        "device": "meter-1", "name": "daily", "period": "day", "entry_byte": 1, "entries": 62, "good": 62,
    }  # fmt: skip
    rows = stored_table(config, tmp_path / "gw-01.records", capsys)
    table = {(int(row["entry"]), row["series"]): row for row in rows}
    assert len(table) == 62 * 7
    for entry in range(1, 63):
        assert table[entry, "daily_time"]["value"] == midnight(entry)
        frozen_ms = NOW - (entry - 1) * DAY
        energy = table[entry, "daily_active_energy_import"]
        assert energy["unit"] == "kWh"
        total = 60 * 48.0 * (frozen_ms % (1000 * DAY)) / 3_600_000
        assert float(energy["value"]) == pytest.approx(total, abs=0.6), "on the primary side: 300/5 A"
        tariff = table[entry, "daily_active_energy_import_tariff_2"]
        assert float(tariff["value"]) == pytest.approx(0.35 * total, abs=0.6)


def test_every_answer_is_on_record_as_it_came_in_a_frame_of_its_own(tmp_path: Path, payloads: Payloads) -> None:
    data = meter_data(NOW)
    config = asyncio.run(run(line_of(Dlt645Meter(ADDRESS, data)), tmp_path))
    frames = frozen_frames(payloads(config))
    assert len(frames) == 3 * 62
    for frame in frames:
        assert [(status, answer) for _, status, answer in frame.samples()] == [(STATUS_OK, data[frame.request[1:]])]


def test_a_young_meter_gives_the_midnights_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], payloads: Payloads
) -> None:
    config = asyncio.run(run(line_of(Dlt645Meter(ADDRESS, meter_of(5))), tmp_path))
    assert [event["good"] for event in history(payloads(config))] == [5]
    rows = stored_table(config, tmp_path / "gw-01.records", capsys)
    assert {int(row["entry"]) for row in rows} == {1, 2, 3, 4, 5}
    refused = [frame.status for frame in frozen_frames(payloads(config)) if frame.status != bytes([STATUS_OK])]
    assert refused == [b"\x02"] * 3 * 57, "what the meter refused is on record"


def test_a_meter_without_reverse_energy_still_gives_its_midnights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], payloads: Payloads
) -> None:
    data = {key: value for key, value in meter_data(NOW).items() if key[1:] != EXPORT[1:]}
    config = asyncio.run(run(line_of(Dlt645Meter(ADDRESS, data)), tmp_path))
    assert [event["good"] for event in history(payloads(config))] == [62]
    rows = stored_table(config, tmp_path / "gw-01.records", capsys)
    assert {row["value"] for row in rows if row["series"] == "daily_active_energy_export"} == {""}
    assert "" not in {row["value"] for row in rows if row["series"] == "daily_active_energy_import"}


def line_deaf_to(deaf: Callable[[Dlt645Frame], bool]) -> MeterLine[Dlt645Frame]:
    meter = Dlt645Meter(ADDRESS, meter_data(NOW))

    def reply(request: Dlt645Frame) -> bytes:
        answer = None if deaf(request) else meter.answer(request)
        return b"" if answer is None else dlt645_frame.encode(answer)

    return MeterLine(dlt645_frame.parse, reply)


def test_a_meter_that_is_silent_on_stored_days_costs_one_time_out_a_day_and_no_poll(
    tmp_path: Path, payloads: Payloads
) -> None:
    config = asyncio.run(run(line_deaf_to(lambda request: request.data[2:4] == TIME[2:]), tmp_path))
    assert [frame.status for frame in frozen_frames(payloads(config))] == [bytes([STATUS_TIMEOUT])]
    assert history(payloads(config)) == []
    polls = [
        frame
        for payload in payloads(config)
        for frame in payload.frames
        if frame not in frozen_frames(payloads(config))
    ]
    assert {status for frame in polls for status in frame.status} == {STATUS_OK}
    assert sum(frame.n for frame in polls) == 15


def test_the_round_comes_again_the_next_day(tmp_path: Path, payloads: Payloads) -> None:
    line = line_of(Dlt645Meter(ADDRESS, meter_of(3)))
    config = asyncio.run(run(line, tmp_path, until_ms=NOW + DAY + 60 * MINUTE))
    times = [(event["time_ms"] - NOW) // MINUTE for event in history(payloads(config))]
    assert len(times) == 3, "after the start, at half past twelve, and again"
    assert times[2] - times[1] == DAY // MINUTE


def test_history_that_is_switched_off_is_neither_read_nor_described(tmp_path: Path, payloads: Payloads) -> None:
    config = asyncio.run(run(line_of(Dlt645Meter(ADDRESS, meter_data(NOW))), tmp_path, ", history: false"))
    assert frozen_frames(payloads(config)) == []
    descriptors = [payload.body for payload in payloads(config) if not isinstance(payload.body, Event | tuple)]
    assert "daily_" not in repr(descriptors)


MODEL = """
model: m
title: t
provenance: [{document: made for this test}]
confidence: C
side: primary
series: {e: {quantity: e, unit: kWh, kind: counter, request: 11 00 00 01 00, length: 4, type: bcd, order: DCBA}}
golden: [{series: e, answer: 01 00 00 00, value: 1}]
history: {d: {period: day, entry_byte: %s, entries: %s, series: {e: %s}}}
"""
VALUE = "{quantity: e, unit: kWh, request: 11 01 01 06 05, length: 4, type: bcd, order: DCBA}"


@pytest.mark.parametrize(
    ("entry_byte", "entries", "value", "message"),
    [
        (1, 256, VALUE, "byte 1 of the request cannot count 256 entries"),
        (5, 62, VALUE, "the request has no byte 5"),
        (1, 62, VALUE.replace("length", "lenght"), "unknown key; did you mean 'length'"),
        (1, 62, VALUE.replace("request: 11 01 01 06 05, ", ""), "request: is missing"),
    ],
)
def test_mistakes_in_a_history_by_identifier_are_named(entry_byte: int, entries: int, value: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse_document(DeviceModel, MODEL % (entry_byte, entries, value), "m.yaml")
    assert parse_document(DeviceModel, MODEL % (1, 255, VALUE), "m.yaml").history["d"].entries == 255
