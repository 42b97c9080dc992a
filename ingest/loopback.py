"""Addresses to listen on: what others can reach is encrypted, or not opened at all."""

from __future__ import annotations

import ipaddress

from ingest.errors import ListenError


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach ``host``; a name other than localhost counts as one others reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_encryption(host: str, *, encrypted: bool) -> None:
    """Raise `ListenError` when others could reach ``host`` and nothing is encrypted there."""
    if not encrypted and not is_loopback(host):
        raise ListenError(
            f"others can reach {host}, and without TLS they could read and write along: "
            "give an authority for certificates, or listen on 127.0.0.1"
        )


def reachable_host(host: str) -> str:
    """Return the address under which this machine reaches a server that listens on ``host``."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
