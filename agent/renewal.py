"""Renews the certificates of enrolled uplinks when two thirds of their life are over, while the agent runs."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from agent.enrolment import APPROVED, renew, standings
from wire.errors import ShopfloorError

LOOK_SECONDS = 3_600.0

log = logging.getLogger(__name__)


async def keep_certificates_fresh(data_directory: Path, look_seconds: float = LOOK_SECONDS) -> None:
    """Look every ``look_seconds`` whether a certificate is due, until cancelled; what fails is tried again then.

    An uplink shows the new certificate from its next connection on; the old one stays valid until it expires.
    """
    while True:
        await asyncio.to_thread(renew_due, data_directory)
        await asyncio.sleep(look_seconds)


def renew_due(data_directory: Path) -> list[str]:
    """Renew what is due now; return the uplinks whose certificate was renewed."""
    renewed = []
    try:
        known = standings(data_directory)
    except ShopfloorError as error:
        log.error("%s", error)
        return []
    for one in known:
        if one.state == APPROVED and time.time_ns() // 1_000_000 >= one.renew_ms:
            try:
                renew(data_directory, one.uplink)
            except ShopfloorError as error:
                left = (one.expires_ms - time.time_ns() // 1_000_000) / 86_400_000
                log.error("uplink %s: the certificate is not renewed, %.0f days are left: %s", one.uplink, left, error)
            else:
                log.info("uplink %s: the certificate was renewed", one.uplink)
                renewed.append(one.uplink)
    return renewed
