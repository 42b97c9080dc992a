"""How the devices answer, as seen by the reads that go on record: whatever the protocol, whoever reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT

_STATUS_TEXTS = {
    STATUS_TIMEOUT: "no answer within the time-out",
    STATUS_CONNECTION: "no connection",
    STATUS_MALFORMED: "an answer that is not one to the request",
    1: "exception 1: illegal function",
    2: "exception 2: illegal data address",
    3: "exception 3: illegal data value",
    4: "exception 4: the device failed",
    6: "exception 6: the device is busy",
    10: "exception 10: the gateway has no path to the device",
    11: "exception 11: the device behind the gateway does not respond",
}
_HIGHEST_BYTE = 0xFF


def status_text(status: int) -> str:
    """Say in words what the status of a failed read means."""
    if status > _HIGHEST_BYTE:
        return f"OPC UA status code 0x{status:04X}0000"
    return _STATUS_TEXTS.get(status, f"exception {status}")


class Answering(StrEnum):
    """What the newest reads of a device say."""

    WAITING = "waiting"
    OK = "ok"
    FAILING = "failing"


@dataclass
class DeviceState:
    """What is known of one device; times in milliseconds since the epoch, ``None`` for never.

    ``fault`` is the status of the newest failed read, see `wire.frame.Frame`; of an OPC UA value the upper 16 bits of
    its status code. ``unsupported`` says in words what the device refuses to be asked.
    """

    answering: Answering = Answering.WAITING
    good_ms: int | None = None
    fault_ms: int | None = None
    fault: int | None = None
    good_since: int = 0
    bad_since: int = 0
    unsupported: tuple[str, ...] = ()


class DeviceStates:
    """The state of every device, by its number in the descriptor."""

    def __init__(self) -> None:
        self._states: dict[int, DeviceState] = {}

    def note(self, device: int, time_ms: int, status: int) -> None:
        """Take the status of one read."""
        state = self._state(device)
        if status == STATUS_OK:
            state.good_ms = time_ms
            state.good_since += 1
        else:
            state.fault_ms, state.fault = time_ms, status
            state.bad_since += 1

    def note_unsupported(self, device: int, what: tuple[str, ...]) -> None:
        """Take what a device refuses to be asked at present; nothing, too."""
        self._state(device).unsupported = what

    def _state(self, device: int) -> DeviceState:
        state = self._states.get(device)
        if state is None:
            state = self._states[device] = DeviceState()
        return state

    def settle(self) -> None:
        """Judge every device by its reads since the last call: one good read is an answer, only failed ones are none.

        A device that was not read since keeps its state.
        """
        for state in self._states.values():
            if state.good_since:
                state.answering = Answering.OK
            elif state.bad_since:
                state.answering = Answering.FAILING
            state.good_since = state.bad_since = 0

    def of(self, device: int) -> DeviceState:
        """Return the state of the descriptor's device number ``device``."""
        return self._states.get(device) or DeviceState()

    def forget(self) -> None:
        """Begin anew: the numbers mean other devices."""
        self._states.clear()
