"""Errors of the dashboards."""

from __future__ import annotations

from wire.errors import ShopfloorError


class DashboardError(ShopfloorError):
    """Root of what the dashboards raise."""


class UnknownProjectError(DashboardError):
    """The address names a project that is not registered."""


class UnknownFigureError(DashboardError):
    """The address names a KPI, series or plan entry that the project's plan does not have."""


class AssetsMissingError(DashboardError):
    """The browser libraries were not installed."""

    exit_code = 3


class AddressInUseError(DashboardError):
    """The host and port to listen on cannot be had."""

    exit_code = 3


class FileError(DashboardError):
    """A file that was named cannot be written."""


class PlanAlteredError(DashboardError):
    """A stored plan is not the one that was registered."""

    exit_code = 1


class ImportAlteredError(DashboardError):
    """A stored document, its mapping or its values are not those that were imported."""

    exit_code = 1
