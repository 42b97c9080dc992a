"""The evidence key is replaced on record, and whatever interrupts that, the chain stays one that verifies."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.clock import DrivenClock
from agent.config import GatewayConfig, parse_config
from agent.errors import SpoolError
from agent.export import export_records
from agent.journal import Journal
from agent.key_rotation import open_journal, rotate_key
from agent.keyfile import ensure_key, load_key, write_key
from wire.chain import RunResult, verify_run
from wire.descriptor import Descriptor
from wire.event import Event
from wire.keys import SigningKey, VerifyingKey
from wire.record_file import read_records

START_MS = 1_751_299_200_000
FILE = """\
gateway: gw-01
key_file: gw-01.key
data_directory: data
connections:
  - {id: c, protocol: modbus-tcp, host: h, devices: [{id: m, model: pulse-meter, interval: 1min}]}
"""


@pytest.fixture
def config(tmp_path: Path) -> GatewayConfig:
    return parse_config(FILE, "gateway.yaml", tmp_path)


@pytest.fixture
def first(config: GatewayConfig) -> VerifyingKey:
    return ensure_key(config.key_file).public


def write(config: GatewayConfig, *, descriptor: bool = False) -> None:
    """Write two records, as a run of the agent does."""
    journal = open_journal(config, DrivenClock(START_MS))
    if descriptor:
        journal.append(Descriptor("gw-01", "test", "Asia/Shanghai", ()))
    journal.append(Event("start"))
    journal.append(Event("stop"))
    journal.close()


def verified(config: GatewayConfig, first: VerifyingKey, target: Path) -> RunResult:
    """Verify the whole chain, as exported, from its first key."""
    export_records(config.data_directory, target, None, None)
    with target.open("rb") as file:
        return verify_run(list(read_records(file)), first, gateway="gw-01")


def test_the_chain_goes_on_under_another_key(config: GatewayConfig, first: VerifyingKey, tmp_path: Path) -> None:
    write(config, descriptor=True)
    for expected in (4, 7, 10):
        old, new, seq = rotate_key(config)
        assert seq == expected
        assert load_key(config.key_file).public == new != old
        write(config)
    result = verified(config, first, tmp_path / "all.records")
    assert result.faults == []
    assert result.keys is not None
    assert result.keys.newest == load_key(config.key_file).public
    assert [result.keys.at(seq) == result.keys.at(seq + 1) for seq in (3, 4, 7, 10)] == [True, False, False, False]
    assert sorted(path.name for path in tmp_path.glob("gw-01.key*")) == ["gw-01.key", "gw-01.key.first"]
    assert config.key_file.stat().st_mode & 0o077 == 0


def test_the_descriptor_that_the_old_key_signed_stays_in_force(config: GatewayConfig, first: VerifyingKey) -> None:
    assert first
    write(config, descriptor=True)
    rotate_key(config)
    journal = open_journal(config, DrivenClock(START_MS))
    assert journal.descriptor() == Descriptor("gw-01", "test", "Asia/Shanghai", ())
    journal.close()


def test_interrupted_before_the_record_the_old_key_stays(
    config: GatewayConfig, first: VerifyingKey, tmp_path: Path
) -> None:
    write(config)
    write_key(tmp_path / "gw-01.key.next", SigningKey.generate())
    write(config)
    assert load_key(config.key_file).public == first
    assert verified(config, first, tmp_path / "before.records").faults == []
    # Asked again, it goes on with the key that was made then.
    begun = load_key(tmp_path / "gw-01.key.next").public
    assert rotate_key(config)[1] == begun


def test_interrupted_after_the_record_the_new_key_signs(
    config: GatewayConfig, first: VerifyingKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(config)
    with monkeypatch.context() as patch:
        patch.setattr("agent.key_rotation._adopt", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rotate_key(config)
    assert load_key(config.key_file).public == first
    write(config)
    assert load_key(config.key_file).public != first
    result = verified(config, first, tmp_path / "after.records")
    assert result.faults == []
    assert result.seq == 5


def test_no_key_is_replaced_under_a_running_agent(config: GatewayConfig, first: VerifyingKey) -> None:
    journal = open_journal(config, DrivenClock(START_MS))
    with pytest.raises(SpoolError):
        rotate_key(config)
    journal.append(Event("start"))
    journal.close()
    assert load_key(config.key_file).public == first


def test_a_key_that_is_not_the_chain_s_is_still_refused(config: GatewayConfig, first: VerifyingKey) -> None:
    assert first
    write(config)
    rotate_key(config)
    with pytest.raises(SpoolError, match="holds the chain of gateway"):
        Journal(config.data_directory, "gw-01", SigningKey.generate(), config.spool_bytes, DrivenClock(START_MS))
