"""The exceptions of the store."""

from __future__ import annotations

from wire.errors import ShopfloorError


class StoreError(ShopfloorError):
    """The database could not do what was asked. Root of the store's exceptions."""

    exit_code = 3


class DatabaseAddressError(StoreError):
    """The text given as the address of the database is not one."""

    exit_code = 2


class DatabaseUnreachableError(StoreError):
    """No connection to the database, or the connection was lost. What was not committed did not happen; try again."""


class EmbeddedPostgresError(StoreError):
    """The PostgreSQL server that we run ourselves could not be made, started or stopped."""


class MigrationError(StoreError):
    """The tables of the database are not those that this version knows how to bring forward."""


class InstantRangeError(StoreError):
    """A time does not fit into the years 1 to 9999."""


class DuplicateRecordError(StoreError):
    """A record with this gateway, sequence number and time is stored already."""


class DuplicateGatewayError(StoreError):
    """A gateway with this id is enrolled already, with another key."""

    exit_code = 2


class RowsOutsideRangeError(StoreError):
    """Interval rows were offered for a time or a gateway other than the one to be replaced."""


class DuplicateTokenError(StoreError):
    """A valid token has this name already."""

    exit_code = 2


class BackupError(StoreError):
    """A backup cannot be written, read, or restored here."""

    exit_code = 2


class NotOfferedError(StoreError):
    """The database server does not have what was asked for."""


class UnknownIncidentError(StoreError):
    """There is no incident with this number."""

    exit_code = 2


class ImportedDocumentError(StoreError):
    """A document cannot be imported beside what is there, or is not there to be withdrawn."""

    exit_code = 2
