"""The exceptions of what the command line composes: serving, access, reading from another server."""

from __future__ import annotations

from wire.errors import ShopfloorError


class AccessError(ShopfloorError):
    """Pages or API shall be served in a way that lets strangers in, or the file of users cannot be used."""


class ReadError(ShopfloorError):
    """A server cannot be read from: it does not answer, or breaks off."""

    exit_code = 3


class RefusedError(ReadError):
    """A server answers that it will not: who asks, or what is asked for, is wrong."""

    exit_code = 2


class ServeError(ShopfloorError):
    """A site cannot be served as it was asked for."""


class PolicyError(ShopfloorError):
    """What the database server shall do is not said, or cannot be done so."""

    exit_code = 2
