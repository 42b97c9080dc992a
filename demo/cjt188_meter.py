"""A simulated water, gas or heat meter that speaks CJ/T 188-2004; also `python -m demo.cjt188_meter`.

The type of meter, the first two digits of its address, decides what it answers to 901F. The identifier is taken in
either byte order and sent back as it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

from agent.cjt188_frame import (
    ABNORMAL,
    ANSWER,
    IDENTIFIER_LENGTH,
    READ,
    Cjt188Frame,
    encode,
    parse,
    parse_address,
    same_meter,
)
from demo.meter_line import MeterLine, options_of, serve, together
from wire.words import WordOrder, encode_decimal

_CHINA = timezone(timedelta(hours=8))
_HOUR_MS = 3_600_000
_METERING_DATA = (b"\x1f\x90", b"\x90\x1f")
_KWH, _KW, _CUBIC_METRE, _CUBIC_METRE_AN_HOUR = b"\x05", b"\x17", b"\x2c", b"\x35"
_STATUS = b"\x00\x00"
_FLOW = 1.25
_SUPPLY, _RETURN = 55.4, 42.15
_KWH_PER_CUBIC_METRE_KELVIN = 1.163
_HEAT_TYPES = range(0x20, 0x30)
_CYCLE_HOURS = 100_000


def metering_data(meter_type: int, time_ms: int) -> bytes:
    """Return what a meter of this type answers to 901F at an instant, without identifier and sequence number."""
    hours = time_ms / _HOUR_MS % _CYCLE_HOURS
    volume = _FLOW * hours
    now = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(_CHINA)
    clock = bytes.fromhex(f"{now:%Y%m%d%H%M%S}")[::-1]
    if meter_type not in _HEAT_TYPES:
        return _digits(volume, 2, 4) + _CUBIC_METRE + _digits(0.9 * volume, 2, 4) + _CUBIC_METRE + clock + _STATUS
    power = _FLOW * (_SUPPLY - _RETURN) * _KWH_PER_CUBIC_METRE_KELVIN
    heat = power * hours % 1_000_000
    values = (
        (_digits(0.9 * heat, 2, 4), _KWH),
        (_digits(heat, 2, 4), _KWH),
        (_digits(power, 2, 4), _KW),
        (_digits(_FLOW, 4, 4), _CUBIC_METRE_AN_HOUR),
        (_digits(volume, 2, 4), _CUBIC_METRE),
    )
    states = _digits(_SUPPLY, 2, 3) + _digits(_RETURN, 2, 3) + _digits(hours, 0, 3)
    return b"".join(value + unit for value, unit in values) + states + clock + _STATUS


def _digits(value: float, decimals: int, length: int) -> bytes:
    return encode_decimal(int(value * 10**decimals), length, WordOrder.DCBA)


class Cjt188Meter:
    """One meter: answers requests to its address with what ``data`` returns; ``counts``: it sends the master's sequence
    number back, as the standard wants, otherwise always 0, as many do.
    """

    def __init__(self, address: str, data: Callable[[], bytes], *, counts: bool = True) -> None:
        self.address = parse_address(address)
        self._data = data
        self._counts = counts

    def answer(self, request: Cjt188Frame) -> Cjt188Frame | None:
        """Return the answer to ``request``; ``None`` when it is for somebody else or no request at all."""
        if request.is_answer or not same_meter(request.address, self.address):
            return None
        wanted, sequence = request.data[:IDENTIFIER_LENGTH], request.data[IDENTIFIER_LENGTH:]
        if not self._counts:
            sequence = b"\0"
        if request.control != READ or wanted not in _METERING_DATA:
            return Cjt188Frame(self.address, request.control | ANSWER | ABNORMAL, sequence + _STATUS)
        return Cjt188Frame(self.address, request.control | ANSWER, wanted + sequence + self._data())


def line_of(*meters: Cjt188Meter, echo: bool = False, collide: bool = False) -> MeterLine[Cjt188Frame]:
    """Return a line with ``meters`` on it; ``collide``: those that answer the same request do so at the same time."""

    def reply(request: Cjt188Frame) -> bytes:
        answers = (meter.answer(request) for meter in meters)
        sent = (b"\xfe\xfe" + encode(answer) for answer in answers if answer is not None)
        return together(sent, collide=collide)

    return MeterLine(parse, reply, echo=echo)


def main(arguments: list[str] | None = None) -> int:
    """Serve one meter until interrupted."""
    options = options_of("python -m demo.cjt188_meter", __doc__ or "", "1078330011223344").parse_args(arguments)
    meter_type = parse_address(options.address).type
    meter = Cjt188Meter(options.address, lambda: metering_data(meter_type, time.time_ns() // 1_000_000))
    return serve(line_of(meter, echo=options.echo), options)


if __name__ == "__main__":
    raise SystemExit(main())
