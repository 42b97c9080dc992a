"""Making a gateway file by being asked: through a terminal, through a pipe, and without questions."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import load_config
from agent.meter_scan import LineFound, MeterFound
from agent.models import load_template, model_names
from agent.scan import BusFound, Fit, UnitFound
from agent.scan_answers import scan_answers
from shopfloor.main import main

SERVER_KEY = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
ANSWERS = {
    "Gateway id": "gw-07",
    "Time zone": "",
    "Does the gateway send": "n",
    "Id of the connection": "",
    "Protocol": "",
    "Host": "192.0.2.10",
    "Port": "",
    "Id of the device": "",
    "Device model": "acrel-adl400",
    "Modbus unit": "3",
    "Read every": "",
    "Serial number": "00123",
    "Ratio of the current": "40",
    "Ratio of the voltage": "",
    "Another device": "",
    "Another connection": "",
}


def interview(monkeypatch: pytest.MonkeyPatch, output: Path, *answers: str, options: tuple[str, ...] = ()) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{answer}\n" for answer in answers)))
    return main(["agent", "init", "--output", str(output), *options])


def test_through_a_terminal(tmp_path: Path) -> None:
    """Each question is answered when it is asked; what comes out passes the check."""
    near, far = pty.openpty()
    command = [sys.executable, "-m", "shopfloor", "agent", "init"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=far, stdout=far, stderr=far) as process:
        os.close(far)
        left, shown = dict(ANSWERS), ""
        while True:
            try:
                piece = os.read(near, 4096).decode()
            except OSError:
                break
            shown += piece
            for question, answer in list(left.items()):
                if question in shown and shown.endswith(": "):
                    shown = ""
                    del left[question]
                    os.write(near, f"{answer}\n".encode())
                    break
        assert process.wait(30) == 0
    os.close(near)
    assert left == {}
    config = load_config(tmp_path / "gateway.yaml")
    ((connection, device),) = config.devices()
    assert (config.gateway, connection.address) == ("gw-07", "192.0.2.10:502")
    assert (device.model, device.unit, device.serial_number, device.ct_ratio) == ("acrel-adl400", 3, "00123", 40)
    assert main(["agent", "check", str(tmp_path / "gateway.yaml")]) == 0


def test_a_wrong_answer_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "gateway.yaml"
    given = list(ANSWERS.values())
    wrong = ["GW 7", *given[:8], "acrel-adl40", given[8], "300", *given[9:10], "7s", *given[10:]]
    assert interview(monkeypatch, output, *wrong) == 0
    shown = capsys.readouterr().out
    for complaint in (
        "use 1 to 64 of a-z",
        "no such device model; did you mean 'acrel-adl400'?",
        "less than or equal to 255",
        "a poll interval must divide a day",
    ):
        assert complaint in shown
    assert next(load_config(output).devices())[1].unit == 3


def test_two_buses_and_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "gateway.yaml"
    uplink = ["y", "http://x", "mqtts://broker.example", "nonsense", SERVER_KEY]
    first = ["", "modbus-rtu", "/dev/ttyUSB0", "", "even", ""]
    meter = ["", "eastron-sdm630", "1", "", "", "", ""]
    taken = ["meter-1", *meter]
    same_port = [
        "",
        "dlt645",
        "/dev/ttyUSB0",
        "",
        "",
        "",
        "",
        "dlt645-2007-three-phase",
        "000012345678",
        "",
        "",
        "",
        "",
        "",
    ]
    other_port = ["", "dlt645", "/dev/ttyUSB1", *same_port[3:]]
    answers = ["gw-07", "", *uplink, *first, *meter, "y", *taken, "", "y", *same_port, *other_port, ""]
    assert interview(monkeypatch, output, *answers) == 0
    shown = capsys.readouterr().out
    assert "'meter-1' is used already" in shown
    assert "/dev/ttyUSB0 is already used by the connection" in shown
    config = load_config(output)
    assert [uplink.url for uplink in config.all_uplinks] == ["mqtts://broker.example"]
    assert [(connection.address, device.id) for connection, device in config.devices()] == [
        ("/dev/ttyUSB0 9600 8E1", "meter-1"),
        ("/dev/ttyUSB0 9600 8E1", "meter-2"),
        ("/dev/ttyUSB1 2400 8E1", "meter-3"),
    ]
    assert 'address: "000012345678"' in output.read_text(encoding="utf-8")


def test_a_device_that_the_protocol_cannot_read_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "gateway.yaml"
    start = list(ANSWERS.values())[:7]
    wrong = ["", "cjt188-water", "12345678901234", "", ""]
    assert interview(monkeypatch, output, *start, *wrong, *list(ANSWERS.values())[7:]) == 0
    assert "does not go: " in capsys.readouterr().out
    assert [device.model for _, device in load_config(output).devices()] == ["acrel-adl400"]


def test_what_the_options_say_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "gateway.yaml"
    options = (
        "--gateway",
        "gw-09",
        "--timezone",
        "Asia/Urumqi",
        "--uplink-url",
        "mqtt://b:1",
        "--server-key",
        SERVER_KEY,
    )
    assert interview(monkeypatch, output, *list(ANSWERS.values())[3:], options=options) == 0
    config = load_config(output)
    assert (config.gateway, config.timezone, config.all_uplinks[0].port) == ("gw-09", "Asia/Urumqi", 1)


def test_an_end_of_the_input_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interview(monkeypatch, tmp_path / "gateway.yaml", "gw-07", "") == 2
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "gateway.yaml"
    output.write_text("mine\n")
    assert interview(monkeypatch, output, *ANSWERS.values()) == 2
    assert "--force" in capsys.readouterr().err
    assert output.read_text() == "mine\n"
    assert interview(monkeypatch, output, *ANSWERS.values(), options=("--force",)) == 0
    assert load_config(output).gateway == "gw-07"
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.yaml"]


def test_answers_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers, output = tmp_path / "answers.yaml", tmp_path / "gateway.yaml"
    text = (
        "gateway: gw-05\nflush: 30s\nconnections:\n  - id: a\n    protocol: modbus-tcp\n    host: 192.0.2.1\n"
        "    devices:\n"
        "      - {id: m, model: eastron-sdm630, interval: 10s, series: [frequency], serial_number: '007'}\n"
    )
    answers.write_text(text)
    assert main(["agent", "init", "--answers", str(answers), "--output", str(output)]) == 0
    config = load_config(output)
    assert (config.gateway, config.flush, config.key_file.name) == ("gw-05", 30_000, "gw-05.key")
    ((_, device),) = config.devices()
    assert (device.series, device.serial_number) == (("frequency",), "007")

    answers.write_text(text.replace("sdm630", "sdm63"))
    assert main(["agent", "init", "--answers", str(answers), "--output", str(output), "--force"]) == 2
    assert f"{answers}:8: connections[0].devices[0].model: no such device model" in capsys.readouterr().err
    assert load_config(output).gateway == "gw-05"


@pytest.mark.parametrize("model", model_names())
def test_every_model_can_be_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    by_number = any(series.request for series in load_template(model).model.series.values())
    if model == "opc-ua-plc":
        start = ["gw-1", "", "n", "", "opc-ua", "opc.tcp://192.0.2.1", "", "", model]
        assert interview(monkeypatch, tmp_path / "gateway.yaml", *start, *[""] * 4) == 0
        return
    protocol = ("cjt188-over-tcp" if "cjt188" in model else "dlt645-over-tcp") if by_number else "modbus-tcp"
    station = "1012345678901234" if "cjt188" in model else "123456789012" if by_number else "1"
    start = ["gw-1", "", "n", "", protocol, "192.0.2.1", "8899", "", model, station]
    assert interview(monkeypatch, tmp_path / "gateway.yaml", *start, *[""] * 8) == 0
    assert next(load_config(tmp_path / "gateway.yaml").devices())[1].model == model


def test_what_a_scan_found_makes_a_gateway_file_without_a_question(tmp_path: Path) -> None:
    fit = Fit("eastron-sdm630", True, "voltage_l1 230 V")
    other = Fit("acrel-adl400", True, "voltage_l1 230 V")
    plc = UnitFound(4, "holding register 0 is 0007", (Fit("abb-b23", False, "voltage_l1 7 V"),))
    bus = BusFound("h:502", {"protocol": "modbus-tcp", "host": "192.0.2.10", "port": 502, "timeout": 300}, True)
    bus.units = [UnitFound(1, "holding register 0 is 0000", (fit, other)), plc]
    line = LineFound("/dev/ttyS1 2400 8E1", {"protocol": "dlt645", "serial_port": "/dev/ttyS1", "timeout": 800}, True)
    line.meters = [MeterFound("000000000161", (Fit("dlt645-2007-three-phase", True, ""),))]
    silent = BusFound("h:503", {"protocol": "modbus-tcp", "host": "192.0.2.11", "port": 502}, True)
    answers = tmp_path / "answers.yaml"
    made = scan_answers([bus, silent, line])
    assert made.devices == 2
    assert "model: eastron-sdm630 # fits as well: acrel-adl400" in made.text
    answers.write_text(made.text)
    output = tmp_path / "gateway.yaml"
    assert main(["agent", "init", "--answers", str(answers), "--gateway", "gw-09", "--output", str(output)]) == 0
    config = load_config(output)
    assert (config.gateway, config.key_file.name) == ("gw-09", "gw-09.key")
    assert [(c.protocol, c.timeout, [d.model for d in c.devices]) for c in config.connections] == [
        ("modbus-tcp", 3_000, ["eastron-sdm630"]),
        ("dlt645", 3_000, ["dlt645-2007-three-phase"]),
    ]
    assert config.connections[1].devices[0].address == "000000000161"


def test_a_scan_writes_its_answers_and_never_over_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = tmp_path / "answers.yaml"
    arguments = ["agent", "scan", "--host", "127.0.0.1:1", "--answers", str(answers)]
    assert main(arguments) == 1
    assert "0 devices" in capsys.readouterr().err
    assert "connections: []" in answers.read_text()
    assert main(arguments) == 2
    assert "answers.yaml: cannot be written: File exists" in capsys.readouterr().err
