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


class AuthorityError(IngestError):
    """The certificate authority cannot be made, opened or used."""


class ListenError(IngestError):
    """An address to listen on would be open to others without encryption."""


class EnrolmentError(IngestError):
    """A gateway cannot be enrolled, approved, refused or revoked."""


class RebuildError(IngestError):
    """What is to be checked or rebuilt is not there."""


class ProgrammeError(IngestError):
    """The database holds the evidence of another programme, or none is named where one has to be."""


class UnknownJobError(IngestError):
    """A background task is not known, or cannot be run here."""


class RetentionError(IngestError):
    """Records cannot be removed as asked for."""


class QuarantineError(IngestError):
    """A message in quarantine is not there, or is not named in a way that can be followed."""
