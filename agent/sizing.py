"""How long the records of a gateway fit its spool, and what its uplinks cost on a metered line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from agent.config import GatewayConfig, UplinkConfig
from wire.keys import SigningKey
from wire.receipt import Acknowledgement, sign_acknowledgement
from wire.topics import ack_topic, health_topic, record_topic

SIX_MONTHS_DAYS = 184

_DAY_MS = 86_400_000
_HEAD_BYTES = 320
_ROW_BYTES = 92
"""What the spool keeps of a record beside its bytes: hashes, numbers, lengths."""

_PAGE_BYTES = 4096
_PAGE_ROOM, _OVERFLOW_ROOM = _PAGE_BYTES - 8, _PAGE_BYTES - 4
_MOST_LOCAL, _LEAST_LOCAL = _PAGE_BYTES - 35, (_PAGE_BYTES - 12) * 32 // 255 - 23
"""How SQLite shares a row out to pages (https://www.sqlite.org/fileformat.html, 1.6)."""

_SEGMENT_BYTES, _HEADER_BYTES, _TLS_BYTES = 1_400, 52, 29
"""Of TCP over IPv4 with time stamps (RFC 9293, RFC 7323), and what TLS 1.2 or 1.3 adds to each message at most."""

_HEALTH_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class Sizing:
    """``spool_days``: for how long the spool keeps everything; ``six_months_bytes``: the budget that takes six months.

    ``uplinks``: bytes a day on the line in both directions, by uplink, while nothing is sent again.
    """

    spool_days: float
    six_months_bytes: int
    uplinks: Mapping[str, int]


def sizing(config: GatewayConfig, bytes_a_day: int) -> Sizing:
    """Return what ``bytes_a_day`` of records, as `agent.commissioning.estimated_bytes_a_day` says, come to."""
    fastest_ms = min((device.interval for _, device in config.devices()), default=_DAY_MS)
    frames = _DAY_MS / max(config.flush, fastest_ms)
    heads = _DAY_MS / max(config.head_interval, config.flush)
    records, size = frames + heads, bytes_a_day + heads * _HEAD_BYTES
    spool_a_day = frames * _spool_bytes(bytes_a_day / frames) + heads * _spool_bytes(_HEAD_BYTES)
    return Sizing(
        spool_days=config.spool_bytes / spool_a_day,
        six_months_bytes=ceil(spool_a_day * SIX_MONTHS_DAYS),
        uplinks={one.id: round(_line_bytes(config, one, records, size)) for one in config.all_uplinks},
    )


def _spool_bytes(size: float) -> float:
    """Return the bytes of database pages that a record of ``size`` bytes takes up."""
    row = ceil(size) + _ROW_BYTES
    local, overflow = row, 0
    if row > _MOST_LOCAL:
        local = _LEAST_LOCAL + (row - _LEAST_LOCAL) % _OVERFLOW_ROOM
        local = local if local <= _MOST_LOCAL else _LEAST_LOCAL
        overflow = ceil((row - local) / _OVERFLOW_ROOM)
    return _PAGE_BYTES * (overflow + 1 / max(1, _PAGE_ROOM // local))


def _line_bytes(config: GatewayConfig, uplink: UplinkConfig, records: float, size: float) -> float:
    """Return bytes a day: each record with its PUBACK, the server's word with its, health, and pings when idle."""
    statement = Acknowledgement(config.gateway, 2**32, bytes(32), 2**41)
    said = len(sign_acknowledgement(statement, SigningKey.generate()))
    record = _message(uplink, size / records, record_topic(config.gateway))
    acknowledgement = _message(uplink, said, ack_topic(config.gateway))
    health = _message(uplink, _HEALTH_BYTES, health_topic(config.gateway))
    total = records * (record + acknowledgement) + _DAY_MS / config.health_interval * health
    if uplink.keepalive < min(config.health_interval, _DAY_MS / records):
        total += _DAY_MS / uplink.keepalive * (2 * _packet(uplink, 2) + _HEADER_BYTES)
    return total


def _message(uplink: UplinkConfig, size: float, topic: str) -> float:
    """Return the bytes of a message of QoS 1 with its PUBACK and the segments that confirm both."""
    packet = size + len(topic) + 10
    return _packet(uplink, packet) + _packet(uplink, 4) + 2 * _HEADER_BYTES


def _packet(uplink: UplinkConfig, size: float) -> float:
    return size + ceil(size / _SEGMENT_BYTES) * _HEADER_BYTES + (_TLS_BYTES if uplink.tls else 0)
