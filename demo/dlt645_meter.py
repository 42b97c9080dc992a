"""A simulated three-phase meter that speaks DL/T 645-2007; also `python -m demo.dlt645_meter`.

It knows the identifiers that the device model ``dlt645-2007-three-phase`` reads, one by one and in blocks (FFH), and
answers the others with "no such data". What is longer than one frame comes in several.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone

from agent.dlt645_frame import (
    ABNORMAL,
    ANSWER,
    FOLLOWS,
    IDENTIFIER_LENGTH,
    READ,
    READ_ADDRESS,
    READ_FOLLOWING,
    Dlt645Frame,
    encode,
    parse,
    parse_address,
    same_meter,
)
from demo.meter_line import MeterLine, options_of, serve, together
from wire.words import WordOrder, encode_decimal

OTHER_ERROR = 0x01
NO_SUCH_DATA = 0x02

_CHINA = timezone(timedelta(hours=8))
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_MEAN_KW = 48.0
_SWING_KW = 20.0
_EXPORT_KW = 0.5
_TARIFF_SHARES = (0.15, 0.35, 0.3, 0.2)
_FROZEN_DAYS = 62
_ADDRESS_ITSELF = bytes.fromhex("04000401")[::-1]


def identifier(text: str) -> bytes:
    """Return an identifier written as in the standard, DI3 first, in the order of the wire."""
    return bytes.fromhex(text)[::-1]


def digits(value: float, decimals: int, length: int, *, signed: bool = False) -> bytes:
    """Return ``value`` as ``length`` bytes of decimal digits, ``decimals`` of them behind the point, low ones first."""
    return encode_decimal(round(value * 10**decimals), length, WordOrder.DCBA, signed=signed)


def meter_data(time_ms: int) -> dict[bytes, bytes]:
    """Return the data of the simulated meter by identifier at an instant (ms since the epoch, UTC)."""
    power = _MEAN_KW + _SWING_KW * math.sin(2 * math.pi * (time_ms % _DAY_MS) / _DAY_MS)
    parts = (0.36 * power, 0.33 * power, 0.31 * power)
    volts = (230.1, 229.4, 231.0)
    factor = 0.93
    data: dict[str, bytes] = {}
    for code, average in (("0001", _MEAN_KW), ("0002", _EXPORT_KW)):
        _fill(data, f"{code}{{:02X}}00", _energies(average, time_ms))
    _fill(data, "0201{:02X}00", [digits(volt, 1, 2) for volt in volts], first=1)
    amperes = [1000 * part / factor / volt for part, volt in zip(parts, volts, strict=True)]
    _fill(data, "0202{:02X}00", [digits(ampere, 3, 3, signed=True) for ampere in amperes], first=1)
    reactive = math.tan(math.acos(factor))
    _fill(data, "0203{:02X}00", [digits(kw, 4, 3, signed=True) for kw in (power, *parts)])
    _fill(data, "0204{:02X}00", [digits(-reactive * kw, 4, 3, signed=True) for kw in (power, *parts)])
    _fill(data, "0206{:02X}00", [digits(factor, 3, 2, signed=True)] * 4)
    data["02800002"] = digits(50.02, 2, 2)
    now = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(_CHINA)
    data["04000101"] = bytes.fromhex(f"{now:%y%m%d}{now.isoweekday() % 7:02d}")[::-1]
    data["04000102"] = bytes.fromhex(f"{now:%H%M%S}")[::-1]
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for back in range(_FROZEN_DAYS):
        frozen = midnight - timedelta(days=back)
        frozen_ms = round(frozen.timestamp() * 1000)
        data[f"050600{back + 1:02X}"] = bytes.fromhex(f"{frozen:%y%m%d%H%M}")[::-1]
        data[f"050601{back + 1:02X}"] = b"".join(_energies(_MEAN_KW, frozen_ms))
        data[f"050602{back + 1:02X}"] = b"".join(_energies(_EXPORT_KW, frozen_ms))
    return {identifier(text): value for text, value in data.items()}


def _energies(average_kw: float, time_ms: int) -> list[bytes]:
    total = average_kw * (time_ms % (1000 * _DAY_MS)) / _HOUR_MS
    return [digits(energy, 2, 4) for energy in (total, *(share * total for share in _TARIFF_SHARES))]


def _fill(data: dict[str, bytes], pattern: str, values: list[bytes], first: int = 0) -> None:
    for number, value in enumerate(values, first):
        data[pattern.format(number)] = value
    data[pattern.format(0xFF)] = b"".join(values)


class Dlt645Meter:
    """One meter: answers requests to its address with ``data``, which may change at any time.

    ``data`` is by identifier in the order of the wire; ``frame_data`` is how much of it a frame holds.
    """

    def __init__(self, address: str, data: Mapping[bytes, bytes], *, frame_data: int = 190) -> None:
        self.address = parse_address(address)
        self.data = data
        self._frame_data = frame_data

    def answer(self, request: Dlt645Frame) -> Dlt645Frame | None:
        """Return the answer to ``request``; ``None`` when it is for somebody else or no request at all."""
        if request.is_answer or not same_meter(request.address, self.address):
            return None
        if request.control == READ_ADDRESS:
            return Dlt645Frame(self.address, READ_ADDRESS | ANSWER, self.address)
        if request.control not in (READ, READ_FOLLOWING):
            return self._refuse(request, OTHER_ERROR)
        wanted, sequence = request.data[:IDENTIFIER_LENGTH], request.data[IDENTIFIER_LENGTH:]
        data = self.address if wanted == _ADDRESS_ITSELF else self.data.get(wanted)
        start = self._frame_data * (sequence[0] if sequence else 0)
        if data is None or start >= len(data):
            return self._refuse(request, NO_SUCH_DATA)
        end = start + self._frame_data
        control = request.control | ANSWER | (FOLLOWS if end < len(data) else 0)
        return Dlt645Frame(self.address, control, wanted + data[start:end] + sequence)

    def _refuse(self, request: Dlt645Frame, error: int) -> Dlt645Frame:
        return Dlt645Frame(self.address, request.control | ANSWER | ABNORMAL, bytes([error]))


def line_of(*meters: Dlt645Meter, echo: bool = False, collide: bool = False) -> MeterLine[Dlt645Frame]:
    """Return a line with ``meters`` on it; ``collide``: those that answer the same request do so at the same time."""

    def reply(request: Dlt645Frame) -> bytes:
        answers = (meter.answer(request) for meter in meters)
        sent = (b"\xfe\xfe\xfe\xfe" + encode(answer) for answer in answers if answer is not None)
        return together(sent, collide=collide)

    return MeterLine(parse, reply, echo=echo)


class LiveData(Mapping[bytes, bytes]):
    """`meter_data` of this very moment."""

    def __getitem__(self, key: bytes) -> bytes:
        return meter_data(time.time_ns() // 1_000_000)[key]

    def __iter__(self) -> Iterator[bytes]:
        return iter(meter_data(0))

    def __len__(self) -> int:
        return len(meter_data(0))


def main(arguments: list[str] | None = None) -> int:
    """Serve one meter until interrupted."""
    options = options_of("python -m demo.dlt645_meter", __doc__ or "", "000000000161").parse_args(arguments)
    line = line_of(Dlt645Meter(options.address, LiveData()), echo=options.echo)
    return serve(line, options)


if __name__ == "__main__":
    raise SystemExit(main())
