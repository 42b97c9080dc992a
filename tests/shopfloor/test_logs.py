"""Log lines for machines, and a fault that lasts for weeks does not fill the flash."""

from __future__ import annotations

import io
import json
import logging

from shopfloor.logs import JsonLines, Repeats


def logger_to(stream: io.StringIO, now: list[float]) -> logging.Logger:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.addFilter(Repeats(60, lambda: now[0]))
    logger = logging.Logger("agent.poller")
    logger.addHandler(handler)
    return logger


def lines(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_even_with_a_trace_and_line_breaks() -> None:
    stream = io.StringIO()
    logger = logger_to(stream, [0.0])
    try:
        raise ValueError("两行\nof text")
    except ValueError:
        logger.exception("%s: fails\n", "meter-1")
    (line,) = lines(stream)
    assert line["message"] == "meter-1: fails\n"
    assert (line["level"], line["logger"]) == ("error", "agent.poller")
    assert line["trace"].startswith("Traceback")
    assert line["time"].endswith("+00:00")


def test_the_same_message_is_said_once_a_minute_with_its_count() -> None:
    stream, now = io.StringIO(), [0.0]
    logger = logger_to(stream, now)
    for second in range(150):
        now[0] = second
        logger.warning("%s: does not answer", "meter-1")
        logger.warning("%d bytes wait", second)
    messages = [line["message"] for line in lines(stream)]
    assert messages == [
        "meter-1: does not answer",
        "0 bytes wait",
        "meter-1: does not answer (and 59 times more since it was last said)",
        "60 bytes wait (and 59 times more since it was last said)",
        "meter-1: does not answer (and 59 times more since it was last said)",
        "120 bytes wait (and 59 times more since it was last said)",
    ]


def test_another_device_or_level_is_another_message() -> None:
    stream = io.StringIO()
    logger = logger_to(stream, [0.0])
    for device in ("meter-1", "meter-2"):
        logger.warning("%s: does not answer", device)
        logger.error("%s: does not answer", device)
    assert len(lines(stream)) == 4


def test_what_is_remembered_of_messages_is_bounded() -> None:
    limiter = Repeats(60, lambda: 0.0)
    for number in range(10_000):
        record = logging.LogRecord("agent", logging.WARNING, "", 0, "text %s", (str(number),), None)
        assert limiter.filter(record)
    assert len(limiter._said) <= 256
