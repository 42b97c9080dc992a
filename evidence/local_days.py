"""What plans and mappings say of local days: the zone they are of, and the time of day at which one begins."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator


def _existing_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("no such time zone; use a name of the IANA database such as Asia/Shanghai") from error
    return name


def _quarter_hour(value: object) -> object:
    if isinstance(value, time):
        return value
    if isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):(00|15|30|45)", value):
        return time.fromisoformat(value)
    raise ValueError("is no quarter of an hour; write it with quotes: '08:00'")


ZoneName = Annotated[str, AfterValidator(_existing_zone)]
"""A name of the IANA database, such as ``Asia/Shanghai``."""

QuarterHour = Annotated[time, BeforeValidator(_quarter_hour)]
"""A time of day at which an interval of 15 minutes begins."""
