"""What slows down guessing: after a few failed logins each further attempt has to wait, longer each time.

Failures are counted for a user from one address, for the address, and for the user from everywhere. The last has most
room: otherwise anybody could lock a user out.
"""

from __future__ import annotations

from store.database import Connection
from store.login_failures import add_login_failure, clear_login_failures, login_failures

LONGEST_WAIT_MS = 15 * 60_000
_FIRST_WAIT_MS = 1_000
_PAIR, _ADDRESS, _USER = 5, 20, 100
_DOUBLINGS = 12


def wait_ms(conn: Connection, user: str, address: str, now_ms: int) -> int:
    """How long this user at this address has to wait before a password is looked at; 0 when he need not."""
    waits = [0]
    for subject, allowed in _subjects(user, address).items():
        failures, latest_ms = login_failures(conn, subject, now_ms)
        if failures >= allowed:
            wait = min(_FIRST_WAIT_MS << min(failures - allowed, _DOUBLINGS), LONGEST_WAIT_MS)
            waits.append(latest_ms + wait - now_ms)
    return max(waits)


def failed(conn: Connection, user: str, address: str, now_ms: int) -> None:
    """A login failed."""
    add_login_failure(conn, _subjects(user, address), now_ms)


def succeeded(conn: Connection, user: str, address: str) -> None:
    """A login was good; what failed from the address for other users stays counted."""
    pair, _, everywhere = _subjects(user, address)
    clear_login_failures(conn, [pair, everywhere])


def _subjects(user: str, address: str) -> dict[str, int]:
    return {f"pair\0{user}\0{address}": _PAIR, f"address\0{address}": _ADDRESS, f"user\0{user}": _USER}
