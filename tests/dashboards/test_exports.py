"""Files for spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json

import pytest

from dashboards.exports import csv_bytes, json_bytes

COLUMNS = [("day", ""), ("energy", "kWh"), ("used", "")]


def test_csv_opens_as_utf8_and_reads_back() -> None:
    written = csv_bytes([*COLUMNS, ("remark", "")], [("2025-07-01", 0.1 + 0.2, True, "缺 3,5")])
    assert written.startswith(b"\xef\xbb\xbf")
    assert written.count(b"\r\n") == 2
    (row,) = csv.DictReader(io.StringIO(written.decode("utf-8-sig")))
    assert row == {"day": "2025-07-01", "energy [kWh]": "0.30000000000000004", "used": "yes", "remark": "缺 3,5"}


def test_a_missing_value_is_an_empty_field() -> None:
    written = csv_bytes(COLUMNS, [("2025-07-02", None, False)]).decode("utf-8-sig")
    assert written.splitlines()[1] == "2025-07-02,,no"


def test_text_is_never_a_formula() -> None:
    written = csv_bytes([("a", "")], [("=HYPERLINK(1)",), (-1.5,)]).decode("utf-8-sig")
    assert written.splitlines()[1:] == ["'=HYPERLINK(1)", "-1.5"]


def test_json_is_utf8_without_nan() -> None:
    assert json.loads(json_bytes({"单位": [1, None]})) == {"单位": [1, None]}
    with pytest.raises(ValueError, match="JSON compliant"):
        json_bytes({"value": float("nan")})
