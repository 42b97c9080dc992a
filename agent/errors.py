"""The exceptions of the edge agent."""

from __future__ import annotations

from wire.errors import ShopfloorError


class AgentError(ShopfloorError):
    """Root of the agent's exceptions."""


class ConfigurationError(AgentError):
    """The gateway file, or a file that it names, cannot be used."""


class ModelError(AgentError):
    """A device model is not usable; the message names the file and the field."""


class PlanError(AgentError):
    """Registers cannot be read within the limits that the device model sets."""


class SpoolError(AgentError):
    """The spool on disk cannot be opened, read or written."""

    exit_code = 3


class UplinkError(AgentError):
    """The broker cannot be reached or refuses the gateway."""

    exit_code = 3


class ProtocolVersionError(UplinkError):
    """The broker does not speak this version of MQTT."""
