"""What of a device is read once after start and then once a day, beside its polls: settings and stored readings.

Ratios of transformers, wiring and the like decide what every other word means, and anybody with a laptop on the bus can
change them. So they are read again and again, their words go on record, and what changed or does not agree with the
gateway file is an event. Readings that a meter froze by itself are recorded whole: the words or bytes of each entry in
frames of its own, and one event that says how the entries stand (see `history_event`).
"""

from __future__ import annotations

import json
import logging
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from agent.config import DeviceConfig, GatewayConfig
from agent.drivers import Reading
from agent.models import AnyStoredReadings, SeriesModel, Side, StoredRegisters, load_template
from agent.planner import Block, Value, plan
from agent.queries import Query
from wire.event import Event, EventName
from wire.frame import STATUS_CONNECTION, STATUS_OK, STATUS_TIMEOUT

log = logging.getLogger(__name__)

FIRST_AFTER_MS = 120_000
"""The first round begins this long after the first poll: what a start has to do goes first."""

DAILY_AT = time(0, 30)
"""Later rounds begin at this local time: meters freeze their readings at midnight, and their clocks are not exact."""

MEMORY_FILE = "settings.json"
"""Beside the spool: what the settings were when they were last read, so that a change while the agent was off shows."""

_LONGEST_WAIT_MS = 26 * 3_600_000
_NO_ANSWER = frozenset({STATUS_TIMEOUT, STATUS_CONNECTION, 10, 11})
_RATIOS = ("ct_ratio", "pt_ratio")


@dataclass
class _Section:
    """The requests of one matter. ``name`` is that of the stored readings, ``None`` for settings.

    Each request stands beside the entry that it belongs to (0 of settings); ``good`` are the entries that were
    answered, wholly or in part: a meter need not store all that its standard names.
    """

    name: str | None
    requests: deque[tuple[int, Block | Query]]
    good: set[int] = field(default_factory=set)
    last_ms: int = 0
    read: dict[str, float] = field(default_factory=dict)


class DailyReads:
    """The daily round of one device.

    ``next`` tells what to read now, ``take`` the answer. A request that a device refuses is on record and asked again
    the next day; one that it does not answer at all also ends its matter for the day, because each costs a time-out.
    """

    def __init__(self, device: DeviceConfig, timezone: ZoneInfo, memory: Path, flush_ms: int) -> None:
        self._device = device
        self._timezone = timezone
        self._memory = memory
        self._settle_ms = 2 * flush_ms
        self._known: dict[str, float] | None = None
        self._unwritten_ms: int | None = None
        self._model = load_template(device.model).model
        self._watched = self._model.watched()
        self._stored = self._model.history if device.history else {}
        self._setting_requests = setting_requests(device)
        self._due_ms: int | None = None
        self._sections: deque[_Section] = deque()
        self._told: dict[str, float] = {}

    def next(self, now_ms: int) -> Block | Query | None:
        """Return the next request that is due, ``None`` when there is none."""
        if self._due_ms is None:
            self._due_ms = now_ms + FIRST_AFTER_MS
        elif self._due_ms - now_ms > _LONGEST_WAIT_MS:
            self._due_ms = next_round_ms(now_ms, self._timezone)
        if self._unwritten_ms is not None and self._known is not None and now_ms >= self._unwritten_ms:
            self._unwritten_ms = None
            _remember(self._memory, self._device, self._known)
        if not self._sections and now_ms >= self._due_ms:
            self._due_ms = next_round_ms(now_ms, self._timezone)
            self._sections.extend(self._round())
        return self._sections[0].requests[0][1] if self._sections else None

    def take(self, reading: Reading) -> list[Event]:
        """Take the answer to the request that `next` returned; return the events that it calls for."""
        section = self._sections[0]
        entry, request = section.requests.popleft()
        section.last_ms = reading.time_ms
        if reading.status == STATUS_OK and reading.words is not None:
            section.good.add(entry)
            if isinstance(request, Block) and section.name is None:
                section.read |= settings_in(self._watched, request, reading.words)
        elif reading.status in _NO_ANSWER:
            section.requests.clear()
        if section.requests:
            return []
        self._sections.popleft()
        if not section.good:
            log.info("%s: does not give its %s", self._device.id, section.name or "settings")
            return []
        if section.name is None:
            return self._compare(section.read, section.last_ms)
        stored = self._stored[section.name]
        return [history_event(self._device.id, section.name, stored, len(section.good), section.last_ms)]

    def _round(self) -> list[_Section]:
        sections = [_Section(None, deque((0, block) for block in self._setting_requests))]
        sections.extend(
            _Section(name, deque(stored_requests(stored, self._device.address)))
            for name, stored in self._stored.items()
        )
        return [section for section in sections if section.requests]

    def _compare(self, read: Mapping[str, float], time_ms: int) -> list[Event]:
        events = []
        before = _remembered(self._memory, self._device) if self._known is None else self._known
        for name, value in read.items():
            known = before.get(name)
            if known is not None and known != value:
                log.warning("%s: %s in the meter was %g, is %g", self._device.id, name, known, value)
                kind: EventName = "ratio_changed" if name in _RATIOS else "setting_changed"
                events.append(self._event(kind, name, time_ms, before=known, after=value))
            configured = configured_ratio(self._device, name)
            differs = configured is not None and not agrees(value, configured)
            if configured is not None and differs and self._told.get(name) != value:
                log.warning(
                    "%s: %s is %g in the meter, %g in the gateway file", self._device.id, name, value, configured
                )
                events.append(self._event("ratio_mismatch", name, time_ms, meter=value, configured=configured))
            self._told[name] = value
        self._known = {**before, **read}
        if self._known != before:
            # Only when the events are surely on disk: after a kill in between they are told again, not lost.
            self._unwritten_ms = time_ms + self._settle_ms
        return events

    def _event(self, kind: EventName, name: str, time_ms: int, **values: float) -> Event:
        return Event(kind, {"device": self._device.id, "setting": name, "time_ms": time_ms, **values})


def daily_reads(device: DeviceConfig, config: GatewayConfig) -> DailyReads | None:
    """Return what of ``device`` is read daily, ``None`` when its model names nothing."""
    if not device.daily_series():
        return None
    return DailyReads(device, ZoneInfo(config.timezone), config.data_directory / MEMORY_FILE, config.flush)


def setting_requests(device: DeviceConfig) -> tuple[Block, ...]:
    """Return the requests that read the ratios and settings of ``device``; none reads along what is not asked for."""
    watched = load_template(device.model).model.watched().values()
    limits = replace(device.effective_limits(), maximum_gap=0)
    return plan([Value(one.function, one.address, one.type.words) for one in watched], limits)


def stored_requests(stored: AnyStoredReadings, address: str) -> Iterator[tuple[int, Block | Query]]:
    """Yield the requests that read ``stored`` of the meter with number ``address``, each beside its entry, 1 first."""
    for entry in range(1, stored.entries + 1):
        if isinstance(stored, StoredRegisters):
            yield entry, Block(stored.function, stored.address_of(entry), stored.registers, ())
        else:
            for request, places in stored.requests_of(entry).items():
                yield entry, Query(address, request, places)


def configured_ratio(device: DeviceConfig, name: str) -> float | None:
    """Return what the gateway file says of ``ct_ratio`` or ``pt_ratio``; ``None`` when it does not matter.

    A ratio that is not stated is 1 for a meter whose values are multiplied here, and not known for the others.
    """
    multiplied = load_template(device.model).model.side is Side.SECONDARY
    if name not in _RATIOS:
        return None
    stated = device.ct_ratio if name == "ct_ratio" else device.pt_ratio
    return 1.0 if stated is None and multiplied else stated


def agrees(ratio: float, configured: float) -> bool:
    """Whether a ratio in the meter is the one in the gateway file."""
    return math.isclose(ratio, configured, rel_tol=1e-6)


def history_event(device: str, name: str, stored: AnyStoredReadings, good: int, time_ms: int) -> Event:
    """Return the event that says how the stored readings of the frames before it stand.

    The descriptor's series named ``name_...`` say what stands in entry 1, the newest. Entry n is the frame of
    ``registers`` registers at ``address + (n - 1) * stride``, and the same offset holds for its values; or the frames
    of the requests of entry 1 with n - 1 added to their byte ``entry_byte``. ``good`` of ``entries`` were read, the
    last one at ``time_ms``.
    """
    place: dict[str, int | float | str | bytes]
    if isinstance(stored, StoredRegisters):
        place = {
            "function": stored.function,
            "address": stored.address,
            "stride": stored.stride,
            "registers": stored.registers,
        }
    else:
        place = {"entry_byte": stored.entry_byte}
    common = {"device": device, "name": name, "period": stored.period}
    return Event("history", {**common, **place, "entries": stored.entries, "good": good, "time_ms": time_ms})


def next_round_ms(now_ms: int, timezone: ZoneInfo) -> int:
    """Return the first `DAILY_AT` after ``now_ms``."""
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(timezone)
    day = local.date() if local.time() < DAILY_AT else local.date() + timedelta(days=1)
    return int(datetime.combine(day, DAILY_AT, timezone).timestamp() * 1000)


def settings_in(watched: Mapping[str, SeriesModel], block: Block, words: Sequence[int]) -> dict[str, float]:
    """Return those of the ``watched`` registers that stand in the ``words`` of ``block``."""
    found = {}
    for name, one in watched.items():
        start = one.address - block.address
        end = start + one.type.words
        if one.function == block.function and start >= 0 and end <= block.count:
            value = one.decode(tuple(words[start:end]))
            if value is not None:
                found[name] = float(value)
    return found


def _remembered(path: Path, device: DeviceConfig) -> dict[str, float]:
    """Return what was last read from this very meter; nothing when the file is absent or damaged."""
    known = _read(path).get(device.id)
    if not isinstance(known, dict) or known.get("serial_number") != device.serial_number:
        return {}
    settings = known.get("settings")
    found = settings if isinstance(settings, dict) else {}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _remember(path: Path, device: DeviceConfig, settings: Mapping[str, float]) -> None:
    known = _read(path) | {device.id: {"serial_number": device.serial_number, "settings": dict(settings)}}
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
        new.replace(path)
    except OSError as error:
        log.warning("%s: cannot be written: %s; a change while the agent is off will not show", path, error)


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
