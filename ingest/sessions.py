"""The one place that chooses how records are fetched: the scheme of the broker's address says what is spoken."""

from __future__ import annotations

from ingest.address import BrokerAddress, NatsAddress
from ingest.delivery import Sessions
from ingest.errors import BrokerAddressError
from ingest.jetstream import JetStreamSessions
from ingest.session import MqttSessions, MqttVersion


def sessions_with(
    address: BrokerAddress | NatsAddress,
    *,
    client_id: str,
    mqtt_version: MqttVersion = MqttVersion.AUTOMATIC,
    share: str | None = None,
    programme: str | None = None,
) -> Sessions:
    """Return the way to the broker at ``address``; what only MQTT knows is left aside on NATS.

    Raises `BrokerAddressError` for a ``share`` that cannot be had: it needs MQTT 5, and NATS shares without it.
    """
    if isinstance(address, NatsAddress):
        if share is not None:
            raise BrokerAddressError(f"workers at {address} share the records anyway: leave 'share' out")
        return JetStreamSessions(address, programme)
    if share is not None and (mqtt_version is MqttVersion.V311 or not share or set(share) & set("/+#")):
        raise BrokerAddressError(f"the share '{share}' needs MQTT 5 and a name without '/', '+' and '#'")
    return MqttSessions(address, client_id, mqtt_version, share=share)
