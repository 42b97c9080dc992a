"""The exceptions of the edge agent."""

from __future__ import annotations

from wire.errors import ShopfloorError


class AgentError(ShopfloorError):
    """Root of the agent's exceptions."""


class ConfigurationError(AgentError):
    """The gateway file, or a file that it names, cannot be used."""


class ReadingError(AgentError):
    """The process that reads the gateway file could not do it."""

    exit_code = 3


class ModelError(AgentError):
    """A device model is not usable; the message names the file and the field."""


class PlanError(AgentError):
    """Registers cannot be read within the limits that the device model sets."""


class FrameError(AgentError):
    """Bytes are no frame of a meter protocol, or fields do not fit into one."""


class ForbiddenRequestError(AgentError):
    """Something other than a read was about to be sent to a device."""


class UntrustedServerError(AgentError):
    """An OPC UA server shows a certificate that nobody has accepted."""


class SpoolError(AgentError):
    """The spool on disk cannot be opened, read or written."""

    exit_code = 3


class PackError(AgentError):
    """An archive for another machine cannot be made."""

    exit_code = 3


class NotRunningError(AgentError):
    """No agent answers for its status."""

    exit_code = 1


class UnreachableError(AgentError):
    """A device or server that was to be looked at cannot be reached."""

    exit_code = 1


class EnrolmentError(AgentError):
    """This gateway cannot be enrolled with this code, at this server."""


class EnrolmentRefusedError(EnrolmentError):
    """The server says no."""

    exit_code = 1


class UnreachableServerError(AgentError):
    """The server for enrolment does not answer."""

    exit_code = 3


class SpoolFullError(SpoolError):
    """There is no room on the disk for another record."""


class SpoolDamagedError(SpoolError):
    """What the spool has on disk cannot be read any more."""


class ExportError(AgentError):
    """Records cannot be exported: nothing to export, or the file cannot be written."""


class UplinkError(AgentError):
    """The broker cannot be reached or refuses the gateway."""

    exit_code = 3


class ProtocolVersionError(UplinkError):
    """The broker does not speak this version of MQTT."""


class BrokerUnreachableError(UplinkError):
    """There is no connection to the broker: it has received nothing."""


class SparkplugPayloadError(AgentError):
    """Bytes are no Sparkplug payload, or a value does not fit into one."""
