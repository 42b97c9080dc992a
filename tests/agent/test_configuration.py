"""The gateway file: what is accepted, and how a mistake is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.config import load_config, parse_config, parse_duration, parse_size
from agent.description import describe, requests_of
from agent.errors import ConfigurationError
from wire.errors import DocumentError

ROOT = Path(__file__).parents[2]
FAULTY = sorted((Path(__file__).parent / "configurations").glob("*.yaml"))


def test_the_documented_example_is_valid_and_describes_every_series() -> None:
    config = load_config(ROOT / "gateway_configs" / "example.yaml")
    polled = [f"gw-01/{device.id}/{name}" for _, device in config.devices() for name in device.effective_series()]
    assert polled == [
        "gw-01/meter-1/active_energy_import",
        "gw-01/meter-1/active_power",
        "gw-01/meter-1/frequency",
        "gw-01/pulses-1/active_energy_import",
        "gw-01/pulses-1/reactive_energy_lagging",
        "gw-01/pulses-1/reactive_energy_leading",
        "gw-01/plc-1/good_count",
        "gw-01/plc-1/scrap_count",
        "gw-01/plc-1/line_state",
        "gw-01/plc-1/outdoor_temperature",
        "gw-01/plc-1/cycle_time",
        "gw-01/plc-1/hall_humidity",
        "gw-01/incoming-1/active_energy_import",
        "gw-01/incoming-1/active_power",
        "gw-01/incoming-1/voltage_l1",
        "gw-01/incoming-1/voltage_l2",
        "gw-01/incoming-1/voltage_l3",
        "gw-01/packer/good_count",
        "gw-01/packer/film_tension",
    ]
    daily = {f"gw-01/{device.id}/{name}" for _, device in config.devices() for name in device.daily_series()}
    assert "gw-01/meter-1/ct_ratio" in daily
    assert set(describe(config).series_ids()) == set(polled) | daily
    assert config.key_file == ROOT / "gateway_configs" / "gw-01.key"
    assert config.flush == 10_000
    assert config.spool_bytes == 256 * 2**20


@pytest.mark.parametrize("path", FAULTY, ids=lambda path: path.stem)
def test_a_mistake_is_told_with_file_line_field_and_remedy(path: Path) -> None:
    expected = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    with pytest.raises(DocumentError) as caught:
        load_config(path)
    assert any(line.startswith(f"{path}:{expected}") for line in str(caught.value).splitlines()), str(caught.value)


def test_every_mistake_of_a_file_is_told_at_once() -> None:
    text = (Path(__file__).parent / "configurations" / "unknown-key.yaml").read_text(encoding="utf-8")
    with pytest.raises(DocumentError) as caught:
        parse_config(text.replace("adl400", "adl40").replace("10s", "ten"), "gw.yaml", Path("/"))
    assert len(caught.value.problems) == 4


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("10s", 10_000), ("5min", 300_000), ("1.5 h", 5_400_000), ("250ms", 250), ("1d", 86_400_000)],
)
def test_durations_are_read_as_people_write_them(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["10", "s", "-1s", "0s", "1.0001ms", "5 minutes", 10, None])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="write a duration"):
        parse_duration(text)


def test_sizes_tell_binary_from_decimal_units() -> None:
    assert (parse_size("4MiB"), parse_size("4MB")) == (4_194_304, 4_000_000)


def test_overrides_reach_the_descriptor_and_the_modulus_follows_the_scale() -> None:
    config = load_config(ROOT / "gateway_configs" / "example.yaml")
    pulses = describe(config).devices[1].series[0]
    assert (pulses.scale, pulses.modulus) == (0.036, 2**32 * 0.036)


def test_ratios_of_a_primary_side_meter_are_on_record_but_not_multiplied() -> None:
    meter = describe(load_config(ROOT / "gateway_configs" / "example.yaml")).devices[0]
    assert (meter.ct_ratio, meter.primary) == (40, True)
    assert next(s.scale for s in meter.series if s.name == "active_energy_import") == 0.1


def test_limits_of_one_device_override_those_of_its_model() -> None:
    config = load_config(ROOT / "gateway_configs" / "example.yaml")
    limits = next(device for _, device in config.devices() if device.id == "plc-1").effective_limits()
    assert (limits.maximum_registers, limits.maximum_gap, limits.even_addresses) == (64, 4, False)


def test_a_subset_of_series_needs_fewer_requests() -> None:
    config = load_config(ROOT / "gateway_configs" / "example.yaml")
    meter = next(device for _, device in config.devices() if device.id == "meter-1")
    every = replace(meter, series=None)
    assert sum(b.count for b in requests_of(meter)) < sum(b.count for b in requests_of(every))
