"""The exceptions of ingestion."""

from __future__ import annotations

from wire.errors import ShopfloorError


class IngestError(ShopfloorError):
    """Root of the exceptions of ingestion."""


class BrokerError(IngestError):
    """The MQTT broker cannot be started or reached."""

    exit_code = 3


class BrokerRefusalError(BrokerError):
    """The MQTT broker answers, and does not let us in."""


class BrokerAddressError(IngestError):
    """A broker URL cannot be understood."""


class ServerKeyError(IngestError):
    """The file with the server's private key cannot be used."""


class HttpServerError(IngestError):
    """The HTTP server of ingestion cannot be started."""

    exit_code = 3


class RecordImportError(IngestError):
    """A file with records cannot be read."""


class PlanFileError(IngestError):
    """The file of an evidence plan cannot be read."""
