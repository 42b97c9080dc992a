"""Device models: every one that is shipped, against its golden vectors."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from agent.config import DeviceConfig, parse_config
from agent.description import describe, maximum_rate, transformer_factor
from agent.errors import ModelError
from agent.models import Confidence, DeviceModel, Ratio, Side, load_template, model_names
from agent.planner import Value, plan
from wire.document import parse_document
from wire.errors import DocumentError

MODEL = """
model: secondary
title: a meter that states secondary-side values
provenance: [{document: made for this test}]
confidence: A
side: secondary
series:
  energy:
    {quantity: energy, unit: kWh, kind: counter, function: 3, address: 0, type: uint32, scale: 0.01, ratio: ct_pt}
golden: [{series: energy, words: [0, 100], value: 1.0}]
"""


METERS = {
    "abb-b23", "acrel-adl400", "acrel-adl400-secondary", "acrel-adw300", "acrel-dtsd1352", "carlo-gavazzi-em300",
    "chint-dtsu666", "eastron-sdm630", "janitza-umg96rm", "schneider-iem3000", "schneider-pm5000", "schneider-pm710",
    "siemens-sentron-pac2200", "siemens-sentron-pac3200", "siemens-sentron-pac3220", "siemens-sentron-pac4200",
}  # fmt: skip
"""Electricity meters on Modbus."""

ENERGY_UNITS = {"Wh", "kWh", "MWh", "varh", "kvarh", "Mvarh", "VAh", "kVAh", "MVAh"}


def test_the_models_of_the_catalogue_are_installed() -> None:
    assert METERS | {"generic-modbus-plc", "pulse-meter"} <= set(model_names())


@pytest.mark.parametrize("name", model_names())
def test_a_model_gives_the_values_of_its_golden_vectors(name: str) -> None:
    model = load_template(name).model
    known = model.every_series()
    for vector in model.golden:
        value = vector.decoded(known[vector.series])
        assert value == (None if vector.value is None else pytest.approx(vector.value, rel=1e-12)), vector


@pytest.mark.parametrize("name", model_names())
def test_a_model_can_be_read_within_its_own_limits(name: str) -> None:
    model = load_template(name).model
    values = [Value(s.function, s.address, s.type.words) for s in model.series.values() if s.function]
    blocks = plan(values, model.limits)
    assert sorted(value for block in blocks for value in block.values) == sorted(set(values))


@pytest.mark.parametrize("name", model_names())
def test_every_value_of_a_model_has_a_golden_vector(name: str) -> None:
    model = load_template(name).model
    shown = {vector.series for vector in model.golden if vector.value is not None}
    assert set(model.every_series()) - shown == set()
    silent = {vector.series for vector in model.golden if vector.value is None}
    with_sentinel = {key for key, one in model.series.items() if one.invalid}
    assert with_sentinel - silent == set(), "a sentinel is shown to decode to null"


@pytest.mark.parametrize("name", sorted(METERS))
def test_a_meter_says_how_its_tariffs_add_up_and_what_bounds_its_counters(name: str) -> None:
    model = load_template(name).model
    assert model.tariff is not None
    assert model.rating is not None
    assert model.confidence in Confidence
    stated = DeviceConfig(id="m", model=name, interval=10_000, ct_ratio=60, pt_ratio=1)
    for key, series in model.series.items():
        if series.kind == "counter":
            assert series.unit in ENERGY_UNITS, f"{name} {key}"
            rate = maximum_rate(stated, series)
            assert rate is not None, f"{name} {key}"
            assert rate >= 400, "a bound below what 600/5 A at 400 V carries would refuse true readings"
            assert series.maximum_rate is None or series.maximum_rate == rate


@pytest.mark.parametrize("name", sorted(METERS - {"eastron-sdm630"}))
def test_a_meter_is_read_with_holding_registers_as_its_sources_do(name: str) -> None:
    assert {series.function for series in load_template(name).model.every_series().values()} == {3}


def test_a_series_of_one_tariff_is_never_called_the_whole_import() -> None:
    for name in METERS:
        model = load_template(name).model
        sums = {} if model.tariff is None else model.tariff.sums
        for total, parts in sums.items():
            assert total not in model.series
            assert len(parts) >= 2
    pac = load_template("siemens-sentron-pac3200").model
    assert pac.series["active_energy_import_t1"].address == 801
    assert pac.tariff is not None
    assert pac.tariff.sums["active_energy_import"] == ("active_energy_import_t1", "active_energy_import_t2")


def test_what_sources_dispute_is_left_out() -> None:
    assert not any(s.kind == "counter" for s in load_template("chint-dtsu666").model.series.values())
    for name in ("siemens-sentron-pac2200", "acrel-adl400-secondary", "acrel-dtsd1352"):
        assert "frequency" not in load_template(name).model.series


def test_a_bound_needs_to_know_the_side_of_the_transformers() -> None:
    def rate(model: str, more: str = "") -> float | None:
        text = (
            "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n"
            "  - {id: line, protocol: modbus-tcp, host: 127.0.0.1, devices: "
            f"[{{id: m, model: {model}, interval: 10s{more}}}]}}\n"
        )
        (device,) = describe(parse_config(text, "gateway.yaml", Path("/"))).devices
        return next(s for s in device.series if s.name.startswith("active_energy_import")).maximum_rate

    terminals = 3 * 125 * 480 / 1000
    assert rate("acrel-adl400") is None, "the values contain a ratio that nobody has stated"
    assert rate("acrel-adl400", ", ct_ratio: 60") is None
    assert rate("acrel-adl400", ", ct_ratio: 60, pt_ratio: 1") == pytest.approx(60 * terminals)
    assert rate("acrel-adl400-secondary") == pytest.approx(terminals), "as the values themselves: not multiplied"
    assert rate("acrel-adl400-secondary", ", ct_ratio: 60") == pytest.approx(60 * terminals)
    assert rate("acrel-adl400", ", maximum_power: 630") == 630.0
    own = ", maximum_power: 630, overrides: {active_energy_import: {maximum_rate: 100}}"
    assert rate("acrel-adl400", own) == 100.0
    watt_hours = ", maximum_power: 2, overrides: {active_energy_import: {unit: Wh}}"
    assert rate("acrel-adl400", watt_hours) == 2000.0


def test_stored_readings_are_scaled_to_the_primary_side_whatever_the_side_of_the_meter() -> None:
    text = (
        "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n"
        "  - {id: line, protocol: modbus-tcp, host: 127.0.0.1, devices: "
        "[{id: m, model: acrel-adl400, interval: 10s, ct_ratio: 60, pt_ratio: 1}]}\n"
    )
    (device,) = describe(parse_config(text, "gateway.yaml", Path("/"))).devices
    series = {one.name: one for one in device.series}
    assert series["active_energy_import"].scale == pytest.approx(0.1)
    assert series["daily_active_energy"].scale == pytest.approx(0.6)
    assert (series["daily_active_energy"].address, series["monthly_active_energy"].address) == (0x6002, 0x7002)
    assert series["ct_ratio"].kind == "state"


@pytest.mark.parametrize("name", model_names())
def test_the_template_hash_is_that_of_the_file(name: str) -> None:
    data = (files("gateway_configs") / "devices" / f"{name}.yaml").read_bytes()
    assert load_template(name).hash == hashlib.sha256(data).digest()


def test_sdm630_is_asked_for_no_more_than_its_sixty_registers_at_even_addresses() -> None:
    limits = load_template("eastron-sdm630").model.limits
    assert (limits.maximum_registers, limits.even_addresses) == (60, True)


def test_an_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'eastron-sdm630'"):
        load_template("eastron-sdm63")


def test_wrong_template_history_can_be_corrected_because_words_and_template_hash_are_kept() -> None:
    """evcc#33432, evcc#17173, OpenEMS#3215: a wrong template made history irreparable. Here it is an interpretation of
    kept words."""
    wrong = load_template("acrel-adl400").model.series["active_energy"]
    words = (0x0001, 0xE240)
    corrected = replace(wrong, scale=0.01)
    assert (wrong.decode(words), corrected.decode(words)) == (pytest.approx(12345.6), pytest.approx(1234.56))


def test_the_documented_model_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "agent" / "device-models.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n")[1].split("```")[0]
    model = parse_document(DeviceModel, example, "device-models.md")
    for vector in model.golden:
        assert model.series[vector.series].decode(vector.words) == pytest.approx(vector.value, rel=1e-12)


def test_every_model_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "agent" / "device-models.md").read_text(encoding="utf-8")
    short = text.replace("`-pac", "`siemens-sentron-pac")
    assert [name for name in model_names() if f"`{name}`" not in short] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("series: energy,", "series: enregy,"), "no series 'enregy'; did you mean 'energy'"),
        (("provenance: [{document: made for this test}]", "provenance: []"), "provenance"),
        (("function: 3", "function: 6"), "function"),
        (("address: 0, ", ""), "has a function but no address"),
        (("address: 0,", "address: 65535,"), "leaves no room"),
        (("kind: counter", "kind: gauge, modulus: 100"), "modulus belongs to counters only"),
        (("scale: 0.01", "invalid: [0x100000000]"), "more than the 32 bits"),
        (("scale: 0.01", "scale: 0"), "scale must not be 0"),
        (("type: uint32", "type: uint24"), "type"),
        (("confidence: A", "confidence: D"), "confidence"),
        (("side: sec", "tariff: {rule: r, sums: {energy: [energy]}}\nside: sec"), "is a series of its own"),
        (("side: sec", "tariff: {rule: r, sums: {sum: [enregy]}}\nside: sec"), "no series 'enregy'; did you mean"),
        (("side: sec", "settings: {energy: {address: 1}}\nside: sec"), "two series, settings or stored values"),
        (
            (
                "side: sec",
                "history: {h: {period: day, address: 65000, stride: 100, entries: 9, registers: 2, series: {}}}\n"
                "side: sec",
            ),
            "entry 9 lies behind the last register",
        ),
        (
            (
                "side: sec",
                "history: {h: {period: day, address: 0, stride: 9, entries: 9, registers: 2, "
                "series: {e: {quantity: e, unit: kWh, position: 1, type: uint32}}}}\nside: sec",
            ),
            "e does not end inside the 2 registers",
        ),
    ],
)
def test_a_faulty_model_is_refused_with_the_reason(change: tuple[str, str], message: str) -> None:
    assert change[0] in MODEL
    with pytest.raises(DocumentError, match=message):
        parse_document(DeviceModel, MODEL.replace(*change), "model.yaml")


@pytest.mark.parametrize(
    ("ratio", "factor"), [(Ratio.NONE, 1.0), (Ratio.CT, 40.0), (Ratio.PT, 100.0), (Ratio.CT_PT, 4000.0)]
)
def test_secondary_side_values_are_multiplied_by_the_ratios_that_concern_them(ratio: Ratio, factor: float) -> None:
    model = parse_document(DeviceModel, MODEL, "model.yaml")
    assert (model.side, model.series["energy"].ratio) == (Side.SECONDARY, Ratio.CT_PT)
    device = DeviceConfig(id="m", model="acrel-adl400", interval=10_000, ct_ratio=40, pt_ratio=100)
    assert transformer_factor(device, ratio) == factor
