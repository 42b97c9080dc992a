"""Looking for meters on lines where all of them speak at once: numbers are found part by part, and only by reading."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
from functools import partial
from typing import Any

import pytest
from dlt645 import MeterServerService
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import cjt188_frame, dlt645_frame
from agent.cjt188_frame import Cjt188Frame
from agent.dlt645_frame import Dlt645Frame
from agent.meter_search import ANY, COLLISIONS_BELIEVED, Heard, find_meters, parts_of
from demo import cjt188_meter, dlt645_meter
from demo.cjt188_meter import Cjt188Meter, metering_data
from demo.dlt645_meter import Dlt645Meter, meter_data
from demo.meter_line import MeterLine
from shopfloor.main import main

NOW = 1_751_299_200_000


class Line:
    """A line of meters with ``numbers``; ``abbreviated``: they know parts of addresses; ``hum``: it is never silent."""

    anybody = 3 * ANY

    def __init__(self, numbers: set[str], *, abbreviated: bool = True, hum: bool = False) -> None:
        self.numbers = numbers
        self.abbreviated = abbreviated
        self.hum = hum
        self.asked: list[str] = []

    async def hear(self, address: str) -> Heard:
        self.asked.append(address)
        known = address.lstrip(ANY) if ANY in address else address
        whole = address in (self.anybody, known)
        mine = {number for number in self.numbers if number.endswith(known) and (whole or self.abbreviated)}
        return Heard(frozenset(mine) if len(mine) == 1 and not self.hum else frozenset(), self.hum or len(mine) > 1)


def find(line: Line) -> Any:
    return asyncio.run(find_meters(line, lambda _share, _remark: None))


@given(st.sets(st.text("0123456789", min_size=6, max_size=6), max_size=12))
@settings(max_examples=200)
def test_every_meter_that_knows_parts_of_its_number_is_found(numbers: set[str]) -> None:
    line = Line(numbers)
    found = find(line)
    assert found.addresses == sorted(numbers)
    assert (found.unresolved, found.noisy) == ([], False)
    assert len(line.asked) == len(set(line.asked)), "nothing is asked twice"


def test_a_single_meter_takes_one_question() -> None:
    line = Line({"000161"})
    assert find(line).addresses == ["000161"]
    assert line.asked == ["AAAAAA"]


def test_meters_that_know_only_the_whole_wildcard_are_told_to_be_there() -> None:
    found = find(Line({"000161", "000262"}, abbreviated=False))
    assert (found.addresses, found.unresolved) == ([], ["AAAAAA"])


def test_a_line_that_makes_noise_by_itself_is_given_up_soon() -> None:
    line = Line(set(), hum=True)
    found = find(line)
    assert (found.addresses, found.noisy) == ([], True)
    assert len(line.asked) == 2 + COLLISIONS_BELIEVED


def test_parts_of_an_address_are_its_next_two_digits_low_ones_first() -> None:
    assert list(parts_of("AAAA61"))[::99] == ["AA0061", "AA9961"]
    assert list(parts_of("000161")) == []


async def scan(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["agent", "scan", "--json", *arguments])


def found_on(line: MeterLine[Any], protocol: str, *, serial: bool = False) -> tuple[int, dict[str, Any]]:
    out = io.StringIO()

    async def run() -> int:
        async with line:
            if serial:
                place = ["--serial", line.open_terminal(), "--baud-rate", "9600"]
            else:
                place = ["--host", f"127.0.0.1:{await line.listen('127.0.0.1', 0)}"]
            return await scan("--protocol", protocol, "--timeout", "50ms", *place)

    with contextlib.redirect_stdout(out):
        code = asyncio.run(run())
    (found,) = json.loads(out.getvalue())
    return code, found


def models(found: dict[str, Any]) -> dict[str, list[str]]:
    return {one["address"]: [fit["model"] for fit in one["fits"] if fit["plausible"]] for one in found["meters"]}


def test_dlt645_meters_that_answer_at_once_are_told_apart_by_parts_of_their_number() -> None:
    numbers = ["202507010061", "202507010062"]
    line = dlt645_meter.line_of(*(Dlt645Meter(one, meter_data(NOW)) for one in numbers), collide=True)
    code, found = found_on(line, "dlt645")
    assert code == 0
    assert models(found) == {one: ["dlt645-2007-three-phase"] for one in numbers}
    assert (found["unresolved"], found["noisy"]) == ([], False)
    checked = [check for meter in found["meters"] for fit in meter["fits"] for check in fit["checks"]]
    assert {check["outcome"] for check in checked} == {"PASS", "NOT CHECKED"}


def test_a_meter_on_a_serial_line_with_echo() -> None:
    line = dlt645_meter.line_of(Dlt645Meter("000000000161", meter_data(NOW)), echo=True)
    code, found = found_on(line, "dlt645", serial=True)
    assert (code, list(models(found))) == (0, ["000000000161"])
    assert found["connection"]["baud_rate"] == 9600


def test_a_meter_that_knows_only_the_command_for_its_address_is_found_and_nothing_but_reads_is_sent() -> None:
    meter = Dlt645Meter("000000000161", meter_data(NOW))
    controls: set[int] = set()

    def reply(request: Dlt645Frame) -> bytes:
        controls.add(request.control)
        wildcard = bytes([dlt645_frame.WILDCARD]) in request.address
        answer = None if wildcard and request.control != dlt645_frame.READ_ADDRESS else meter.answer(request)
        return b"" if answer is None else dlt645_frame.encode(answer)

    _, found = found_on(MeterLine(dlt645_frame.parse, reply), "dlt645")
    assert list(models(found)) == ["000000000161"]
    assert controls <= {0x11, 0x12, 0x13}


def test_cjt188_meters_are_told_apart_in_their_order_of_bytes_and_their_type_says_the_model() -> None:
    kinds = {"1078330011223344": "cjt188-water", "2578330011223345": "cjt188-heat", "3078330011223346": "cjt188-gas"}
    data = {one: metering_data(int(one[:2], 16), NOW) for one in kinds}
    bus = cjt188_meter.line_of(*(Cjt188Meter(one, partial(data.get, one, b"")) for one in kinds), collide=True)
    controls: set[int] = set()

    def reply(request: Cjt188Frame) -> bytes:
        controls.add(request.control)
        wildcard = cjt188_frame.WILDCARD in request.address.octets
        deaf = wildcard and not request.data.startswith(bytes.fromhex("901F"))
        return b"" if deaf else bus.respond(bus.scanner(), cjt188_frame.encode(request))

    code, found = found_on(MeterLine(cjt188_frame.parse, reply), "cjt188")
    assert (code, models(found)) == (0, {one: [model] for one, model in kinds.items()})
    assert controls == {0x01}, "nothing but reads"


@pytest.mark.parametrize("protocol", ["dlt645", "cjt188"])
def test_a_line_without_meters(protocol: str) -> None:
    parse: Any = {"dlt645": dlt645_frame.parse, "cjt188": cjt188_frame.parse}[protocol]
    code, found = found_on(MeterLine(parse, lambda _: b"", echo=True), protocol)
    assert (code, found["opened"], found["meters"], found["unresolved"]) == (1, True, [], [])


def test_an_independent_meter_is_found_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A meter of the `dlt645` package, which is not ours."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = MeterServerService.new_tcp_server("127.0.0.1", port, 5.0)
    service.set_address(bytes.fromhex("610100000000"))
    service.set_00(0x00010000, 123456.78)
    assert service.start()
    try:
        assert main(["agent", "scan", "--protocol", "dlt645", "--host", f"127.0.0.1:{port}"]) == 0
    finally:
        service.stop()
    shown = capsys.readouterr().out
    assert "meter 000000000161" in shown
    assert "fits dlt645-2007-three-phase: active_energy_import 123457 kWh" in shown


def test_mistakes_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    place = ["agent", "scan", "--protocol", "dlt645", "--host", "127.0.0.1:1"]
    assert main([*place, "--units", "1"]) == 2
    assert "--units and --rtu belong to Modbus" in capsys.readouterr().err
    assert main([*place, "--models", "cjt188-water"]) == 2
    assert "its models are dlt645-2007-three-phase" in capsys.readouterr().err
    assert main(place) == 1
    assert "127.0.0.1:1: no connection" in capsys.readouterr().out
