"""One session with an OPC UA server (OPC 10000-4), on asyncua.

asyncua's own reconnecting and re-subscribing are off: when to try again, and what goes on record meanwhile, is decided
by the owner of the session, who makes a new one each time. Only the services in `_SERVICES` can leave: there are no
writes and no method calls among them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import Client, ua
from asyncua.crypto import security_policies, uacrypto
from cryptography import x509

from agent.drivers.opc_ua import Security, Settings
from agent.errors import ForbiddenRequestError, UntrustedServerError
from agent.opc_ua.certificates import Identity, ensure_identity, load_identity, require_trusted

log = logging.getLogger(__name__)

logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)

NODES_A_REQUEST = 200
"""Nodes in one request; servers that take fewer are rare (OPC 10000-5, 6.3.11)."""

_SERVICES = (
    ua.GetEndpointsRequest,
    ua.CreateSessionRequest,
    ua.ActivateSessionRequest,
    ua.CloseSessionRequest,
    ua.ReadRequest,
    ua.BrowseRequest,
    ua.BrowseNextRequest,
    ua.CreateSubscriptionRequest,
    ua.CreateMonitoredItemsRequest,
    ua.PublishRequest,
)

_POLICIES: dict[Security, type[security_policies.SecurityPolicy]] = {
    Security.NONE: security_policies.SecurityPolicyNone,
    Security.BASIC256SHA256: security_policies.SecurityPolicyBasic256Sha256,
    Security.AES128: security_policies.SecurityPolicyAes128Sha256RsaOaep,
    Security.AES256: security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_SESSION_TIMEOUT_MS = 60_000
_KEEP_ALIVE_MS = 5_000
_LIFETIME_KEEP_ALIVES = 10
_MISSED_KEEP_ALIVES = 2
_LARGEST_SEQUENCE_NUMBER = 2**32 - 1

Received = Callable[[int, ua.DataValue], None]
"""What is called with the number that an item was given and its new value."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a session is of no use any more: a status code, and a sentence."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class BrowsedNode:
    """A node of the server's address space: NodeId, browse name, and whether it has a value."""

    node: str
    name: str
    is_variable: bool


class OpcUaSession:
    """An activated session; made by `open_session`."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._lost: asyncio.Future[Loss] = asyncio.get_running_loop().create_future()
        self._received: Received | None = None
        self._subscription = 0
        self._sequence = 0
        self._silence_s = 0.0
        self._heard_s = 0.0
        self.patience_s = settings.timeout / 1000
        """How long it may take until a change that a read has shown is sent."""

        self._publishing_ms = 0.0
        client.connection_lost_callback = self._connection_lost

    async def read(self, nodes: Sequence[str]) -> list[ua.DataValue]:
        """Read the values of ``nodes`` with both time stamps, in their order.

        Raises `asyncua.ua.UaError`, `OSError` or `TimeoutError` when the server does not answer.
        """
        values: list[ua.DataValue] = []
        for start in range(0, len(nodes), NODES_A_REQUEST):
            wanted = [_value_of(node) for node in nodes[start : start + NODES_A_REQUEST]]
            parameters = ua.ReadParameters(MaxAge=0, TimestampsToReturn=ua.TimestampsToReturn.Both, NodesToRead=wanted)
            answered = await self._client.uaclient.read(parameters)
            if len(answered) != len(wanted):
                raise ua.UaError(f"{len(wanted)} nodes were asked for, {len(answered)} values were answered")
            values.extend(answered)
        return values

    async def browse(self, node: str) -> list[BrowsedNode]:
        """Return the objects and variables right below ``node``, in the order of the server. Raises as `read`."""
        wanted = ua.BrowseDescription(
            NodeId=ua.NodeId.from_string(node),
            BrowseDirection=ua.BrowseDirection.Forward,
            ReferenceTypeId=ua.NodeId(ua.Int32(ua.ObjectIds.HierarchicalReferences)),
            IncludeSubtypes=True,
            NodeClassMask=ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable),
            ResultMask=ua.UInt32(ua.BrowseResultMask.All),
        )
        parameters = ua.BrowseParameters(RequestedMaxReferencesPerNode=ua.UInt32(0), NodesToBrowse=[wanted])
        results = await self._client.uaclient.browse(parameters)
        found: list[BrowsedNode] = []
        while True:
            result = results[0]
            result.StatusCode.check()
            for reference in result.References or ():
                is_variable = reference.NodeClass == ua.NodeClass.Variable
                found.append(BrowsedNode(reference.NodeId.to_string(), reference.BrowseName.Name or "", is_variable))
            if not result.ContinuationPoint:
                return found
            more = ua.BrowseNextParameters(ContinuationPoints=[result.ContinuationPoint])
            results = await self._client.uaclient.browse_next(more)

    async def subscribe(self, received: Received) -> None:
        """Make the subscription; values of the items that `monitor` adds come to ``received``. Raises as `read`."""
        publishing_ms = self._settings.publishing
        keep_alives = max(1, -(-_KEEP_ALIVE_MS // publishing_ms))
        self._received = received
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=publishing_ms,
            RequestedLifetimeCount=_LIFETIME_KEEP_ALIVES * keep_alives,
            RequestedMaxKeepAliveCount=keep_alives,
            MaxNotificationsPerPublish=0,
            PublishingEnabled=True,
            Priority=0,
        )
        made = await self._client.uaclient.create_subscription(parameters, self._published)
        self._subscription = made.SubscriptionId
        keep_alive_s = made.RevisedPublishingInterval * made.RevisedMaxKeepAliveCount / 1000
        self._publishing_ms = made.RevisedPublishingInterval
        self._silence_s = _MISSED_KEEP_ALIVES * keep_alive_s + self._settings.timeout / 1000
        self._heard_s = time.monotonic()

    async def monitor(self, items: Sequence[tuple[int, str]]) -> list[int]:
        """Add items, each a number of the caller's and a node; return their status codes. Raises as `read`."""
        codes: list[int] = []
        for start in range(0, len(items), NODES_A_REQUEST):
            wanted = [self._item(number, node) for number, node in items[start : start + NODES_A_REQUEST]]
            parameters = ua.CreateMonitoredItemsParameters(
                SubscriptionId=self._subscription,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=wanted,
            )
            results = await self._client.uaclient.create_monitored_items(parameters)
            codes.extend(int(result.StatusCode.value) for result in results)
            slowest_ms = max(result.RevisedSamplingInterval for result in results) + self._publishing_ms
            self.patience_s = max(self.patience_s, (2 * slowest_ms + self._settings.timeout) / 1000)
        return codes

    async def lost(self) -> Loss:
        """Return when the session is of no use any more: closed by the other side, or silent for too long."""
        while True:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self._lost), 0.5)
            silent_s = time.monotonic() - self._heard_s
            if self._silence_s and silent_s > self._silence_s:
                return Loss(int(ua.StatusCodes.BadTimeout), f"the subscription has been silent for {silent_s:.0f} s")

    def give_up(self, status: int, reason: str) -> None:
        """Let `lost` return: the caller has found out that the session is of no use."""
        if not self._lost.done():
            self._lost.set_result(Loss(status, reason))

    async def close(self) -> None:
        """End the session; never raises for what the other side does."""
        # The subscriptions go with it (DeleteSubscriptions), so that none is left behind at the server.
        try:
            await asyncio.wait_for(self._client.disconnect(), self._settings.timeout / 1000)
        except Exception as error:
            log.debug("%s: not closed in order: %s", self._settings.id, error)
        finally:
            self._client.disconnect_socket()

    def _item(self, number: int, node: str) -> ua.MonitoredItemCreateRequest:
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=_value_of(node),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=number,
                SamplingInterval=self._settings.sampling,
                QueueSize=self._settings.queue,
                DiscardOldest=True,
            ),
        )

    def _published(self, result: ua.PublishResult) -> None:
        self._heard_s = time.monotonic()
        message = result.NotificationMessage
        if not message.NotificationData:
            return
        expected = self._sequence % _LARGEST_SEQUENCE_NUMBER + 1
        missed = self._sequence and message.SequenceNumber != expected
        self._sequence = message.SequenceNumber
        for notification in message.NotificationData:
            if isinstance(notification, ua.DataChangeNotification):
                for item in notification.MonitoredItems or ():
                    if self._received is not None and item.Value is not None:
                        self._received(item.ClientHandle, item.Value)
            elif isinstance(notification, ua.StatusChangeNotification):
                self.give_up(int(notification.Status.value), f"the subscription ended: {notification.Status.name}")
        if missed:
            self.give_up(
                int(ua.StatusCodes.BadSequenceNumberUnknown),
                f"notification {expected} was lost, {message.SequenceNumber} came instead",
            )

    async def _connection_lost(self, error: Exception) -> None:
        self.give_up(status_of(error), f"the connection is lost: {text_of(error)}")


async def open_session(settings: Settings) -> OpcUaSession:
    """Connect to the server and activate a session.

    Raises `UntrustedServerError` for a server whose certificate is not trusted, `ConfigurationError` when own keys
    cannot be used, `asyncua.ua.UaError`, `OSError`, `TimeoutError` or `ValueError` for what the server does.
    """
    client = Client(settings.url, timeout=settings.timeout / 1000, watchdog_intervall=settings.timeout / 1000)
    client.name = client.description = "shopfloor agent"
    client.product_uri = "urn:shopfloor:agent"
    client.session_timeout = _SESSION_TIMEOUT_MS
    only_reads(client)
    await _secure(client, settings)
    if settings.username is not None:
        client.set_user(settings.username)
        client.set_password(settings.password or "")
    if settings.user_certificate_file is not None and settings.user_key_file is not None:
        user = load_identity(settings.user_certificate_file, settings.user_key_file)
        client.user_certificate, client.user_private_key = user.certificate, user.key
    try:
        await client.connect(auto_reconnect=False)
    except BaseException:
        client.disconnect_socket()
        raise
    return OpcUaSession(client, settings)


def only_reads(client: Client) -> None:
    """Let no service but those that read leave ``client``."""
    send = client.uaclient._send_request

    async def guarded(request: Any, *rest: Any, **options: Any) -> Any:
        if type(request) not in _SERVICES:
            raise ForbiddenRequestError(f"{type(request).__name__} is no read and is not sent")
        return await send(request, *rest, **options)

    client.uaclient._send_request = guarded  # type: ignore[method-assign]


def status_of(error: BaseException) -> int:
    """Return the status code that says best what ``error`` means."""
    if isinstance(error, ua.UaStatusCodeError):
        return int(error.code)
    if isinstance(error, UntrustedServerError):
        return int(ua.StatusCodes.BadCertificateUntrusted)
    if isinstance(error, TimeoutError):
        return int(ua.StatusCodes.BadTimeout)
    if isinstance(error, OSError):
        return int(ua.StatusCodes.BadNotConnected)
    return int(ua.StatusCodes.BadCommunicationError)


def text_of(error: BaseException) -> str:
    """Say in words what went wrong; many of asyncua's exceptions have no text."""
    return str(error) or type(error).__name__


async def _secure(client: Client, settings: Settings) -> None:
    if settings.security is Security.NONE:
        return
    mode = ua.MessageSecurityMode[settings.mode]
    policy = _POLICIES[settings.security]
    identity: Identity = await asyncio.to_thread(ensure_identity, settings.certificates)
    endpoint = client.find_endpoint(await client.connect_and_get_server_endpoints(), mode, policy.URI)
    shown: x509.Certificate = uacrypto.x509_from_der(endpoint.ServerCertificate)  # type: ignore[no-untyped-call]
    require_trusted(shown, settings.certificates)
    client.application_uri = identity.application_uri
    client.security_policy = policy(shown, identity.certificate, identity.key, mode)  # type: ignore[assignment]
    client.uaclient.set_security(client.security_policy)


def _value_of(node: str) -> ua.ReadValueId:
    return ua.ReadValueId(NodeId=ua.NodeId.from_string(node), AttributeId=ua.AttributeIds.Value)
