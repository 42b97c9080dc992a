"""What one reading of a series is worth: the series applied to the words, bytes or values that were read."""

from __future__ import annotations

from collections.abc import Sequence

from wire.descriptor import AnswerPlace, Series
from wire.errors import WordsError
from wire.node import NodeValue
from wire.words import decode_octets, decode_words, scaled


def value_in_words(series: Series, words: Sequence[int], address: int) -> float | int | None:
    """Return the value of ``series`` in ``words``, the registers from ``address`` on; ``None`` when not available.

    Raises `WordsError` when they do not hold it.
    """
    first = series.address - address
    if first < 0 or series.place is not None:
        raise WordsError(f"series {series.name} does not stand in registers from {address} on")
    return decode_words(
        words[first : first + series.words],
        series.type,
        series.order,
        scale=series.scale,
        offset=series.offset,
        invalid=series.invalid,
        bit=series.bit,
    )


def value_in_answer(series: Series, data: bytes) -> float | int | None:
    """Return the value of ``series`` in the bytes of one answer to its request; ``None`` when not available.

    Raises `WordsError` when they do not hold it.
    """
    place = series.place
    if not isinstance(place, AnswerPlace) or place.start + place.length > len(data):
        raise WordsError(f"series {series.name} does not stand in an answer of {len(data)} bytes")
    return decode_octets(
        data[place.start : place.start + place.length],
        series.type,
        series.order,
        scale=series.scale,
        offset=series.offset,
        invalid=series.invalid,
        bit=series.bit,
    )


def value_of_node(series: Series, value: NodeValue | None) -> float | int | None:
    """Return what ``value`` of an OPC UA node is worth in the unit of ``series``; ``None`` for a text or no value."""
    if value is None or isinstance(value, str):
        return None
    return scaled(int(value) if isinstance(value, bool) else value, series.scale, series.offset)
