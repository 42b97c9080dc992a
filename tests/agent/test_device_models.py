"""Device models: every one that is shipped, against its golden vectors."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import pytest

from agent.config import DeviceConfig
from agent.description import transformer_factor
from agent.errors import ModelError
from agent.models import DeviceModel, Ratio, Side, load_template, model_names
from agent.planner import Value, plan
from wire.document import parse_document
from wire.errors import DocumentError

MODEL = """
model: secondary
title: a meter that states secondary-side values
provenance: [{document: made for this test}]
side: secondary
series:
  energy:
    {quantity: energy, unit: kWh, kind: counter, function: 3, address: 0, type: uint32, scale: 0.01, ratio: ct_pt}
golden: [{series: energy, words: [0, 100], value: 1.0}]
"""


def test_the_models_of_the_catalogue_are_installed() -> None:
    assert {"acrel-adl400", "eastron-sdm630", "generic-modbus-plc", "pulse-meter"} <= set(model_names())


@pytest.mark.parametrize("name", model_names())
def test_a_model_gives_the_values_of_its_golden_vectors(name: str) -> None:
    model = load_template(name).model
    for vector in model.golden:
        value = model.series[vector.series].decode(vector.words)
        assert value == (None if vector.value is None else pytest.approx(vector.value, rel=1e-12)), vector


@pytest.mark.parametrize("name", model_names())
def test_a_model_can_be_read_within_its_own_limits(name: str) -> None:
    model = load_template(name).model
    values = [Value(s.function, s.address, s.type.words) for s in model.series.values()]
    blocks = plan(values, model.limits)
    assert sorted(value for block in blocks for value in block.values) == sorted(set(values))


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
    """evcc#33432, evcc#17173: a wrong template made history irreparable. Here it is an interpretation of kept words."""
    wrong = load_template("acrel-adl400").model.series["active_energy"]
    words = (0x0001, 0xE240)
    corrected = wrong.model_copy(update={"scale": 0.01})
    assert (wrong.decode(words), corrected.decode(words)) == (pytest.approx(12345.6), pytest.approx(1234.56))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("series: energy,", "series: enregy,"), "no series 'enregy'; did you mean 'energy'"),
        (("provenance: [{document: made for this test}]", "provenance: []"), "provenance"),
        (("function: 3", "function: 6"), "function"),
        (("address: 0,", "address: 65535,"), "leaves no room"),
        (("kind: counter", "kind: gauge, modulus: 100"), "modulus belongs to counters only"),
        (("scale: 0.01", "invalid: [0x100000000]"), "more than the 32 bits"),
        (("scale: 0.01", "scale: 0"), "scale must not be 0"),
        (("type: uint32", "type: uint24"), "type"),
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
    device = DeviceConfig(id="m", model="acrel-adl400", interval="10s", ct_ratio=40, pt_ratio=100)
    assert transformer_factor(device, ratio) == factor
