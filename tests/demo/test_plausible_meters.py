"""The simulated meters obey the physics that commissioning checks: what it finds there would be its own mistake."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.config import parse_config
from agent.description import describe
from agent.plausibility import Outcome, checks
from agent.readout import DeviceReadout, ValueRead
from demo.devices import AcrelAdl400, EastronSdm630
from demo.factory import DEFAULT_EFFECT, Factory
from wire.values import value_in_words

SECONDS = 120


@pytest.mark.parametrize("hour", [3, 10, 15, 22])
@pytest.mark.parametrize(("meter", "model"), [(AcrelAdl400, "acrel-adl400"), (EastronSdm630, "eastron-sdm630")])
def test_every_check_of_a_simulated_meter_passes(
    meter: type[AcrelAdl400 | EastronSdm630], model: str, hour: int
) -> None:
    text = (
        "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n  - id: a\n    protocol: modbus-tcp\n"
        f"    host: 127.0.0.1\n    devices: [{{id: m, model: {model}, interval: 1s}}]\n"
    )
    config = parse_config(text, "gateway.yaml", Path("/nowhere"))
    (described,) = describe(config).devices
    device = DeviceReadout("", next(config.devices())[1], described)
    simulated = meter(Factory(1, DEFAULT_EFFECT))
    start_ms = round(datetime(2025, 9, 17, hour, 7, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp() * 1000)
    polled = [one for one in described.series if one.name in device.config.effective_series()]
    for time_ms in range(start_ms, start_ms + 1000 * SECONDS + 1, 10_000):
        words = simulated.words(time_ms)
        device.rounds.append(
            {one.name: ValueRead(time_ms, "", value_in_words(one, words, simulated.first), one.unit) for one in polled}
        )
    found = {check.name: check for check in checks(device)}
    assert [check for check in found.values() if check.outcome is Outcome.FAIL] == []
    assert found["sum of the phases, active_power"].outcome is Outcome.PASS
    assert found["active_power against V * I * PF"].outcome is Outcome.PASS
