"""What the routes answer, as OpenAPI describes it. Every number says its unit; every time is ISO 8601 in UTC."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="ISO 8601, UTC.")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256, hexadecimal.")]
Next = Annotated[str | None, Field(description="Cursor of the next page; null on the last one.")]
RecordKind = Literal["frames", "descriptor", "event", "head"]


class Strict(BaseModel):
    """Base of the answers: what is not described is not sent."""

    model_config = ConfigDict(extra="forbid")


class Gateway(Strict):
    """An enrolled gateway."""

    id: str
    name: str
    fingerprint: str = Field(description="Of the public key, as people compare it.")
    public_key: str = Field(
        description="ed25519:<base64url>, as enrolled. Its first records are signed with it; where the gateway took "
        "another key, an event of its chain says so."
    )
    added: Time
    revoked: Time | None = Field(description="Since when nothing is taken from it; null while it is trusted.")
    head_seq: int = Field(description="Number of the last record of the contiguous chain; 0 before the first.")
    newest_record: Time | None = Field(description="When the newest record was closed, by the gateway's clock.")
    newest_received: Time | None = Field(description="When the newest record was received, by the server's clock.")


class GatewayPage(Strict):
    """Gateways by id."""

    gateways: list[Gateway]
    next: Next


class DescribedSeries(Strict):
    """A series as the gateway's newest descriptor has it: value = raw * scale + offset, in ``unit``."""

    id: str
    name: str
    quantity: str
    unit: str
    kind: Literal["counter", "gauge", "state"]
    scale: float
    offset: float = Field(description="In the unit of the series.")
    modulus: float | None = Field(description="Where a counter rolls over, in the unit of the series.")
    maximum_rate: float | None = Field(description="The most a counter can rise, in the unit of the series per hour.")


class Device(Strict):
    """A meter or controller as the gateway's newest descriptor has it."""

    id: str
    model: str
    serial_number: str
    protocol: str
    unit_address: int = Field(description="Address on the bus; 0 where there is none.")
    ct_ratio: float = Field(description="Ratio of the current transformers, without unit.")
    pt_ratio: float = Field(description="Ratio of the voltage transformers, without unit.")
    interval_ms: int = Field(description="How often it is polled, in milliseconds.")
    series: list[DescribedSeries]


class Devices(Strict):
    """What a gateway reads, by its newest descriptor."""

    gateway: str
    timezone: str = Field(description="IANA name; where the gateway stands.")
    software: str
    descriptor: Sha256
    descriptor_record: int = Field(description="Number of the record that holds the descriptor.")
    devices: list[Device]


class LatestValue(Strict):
    """The newest sample of a series."""

    time: Time
    value: float | None = Field(description="In ``unit``; null when it could not be read.")
    unit: str
    status: int = Field(description="0 good; else the status byte, or the upper half of an OPC UA status code.")


class Series(Strict):
    """A series that is stored. What its newest descriptor says is null once the gateway no longer describes it."""

    id: str = Field(description="gateway/device/name")
    gateway: str
    device: str
    name: str
    unit: str | None
    quantity: str | None
    kind: Literal["counter", "gauge", "state"] | None
    latest: LatestValue | None


class SeriesPage(Strict):
    """Series by id."""

    series: list[Series]
    next: Next


class Sample(Strict):
    """One read of one series, as signed."""

    time: Time
    series: str
    value: float | None = Field(description="In ``unit``; null when the read failed or the device had no value.")
    unit: str
    status: int = Field(
        description="0 good; 1 to 127 Modbus exception, 240 time-out, 241 no connection, 242 malformed answer; "
        "of an OPC UA node its status code."
    )
    record: int = Field(description="Number of the signed record of the gateway that the sample stands in.")


class SkippedRecord(Strict):
    """A record of the range whose samples are not among the rows."""

    gateway: str
    record: int
    reason: str


class SamplePage(Strict):
    """Samples by time, then series, then record."""

    samples: list[Sample]
    skipped_records: int = Field(description="How many records of the range could not be read.")
    skipped: list[SkippedRecord] = Field(description="Which ones; the first thousand of them.")
    next: Next


class Interval(Strict):
    """A quarter of an hour of one series, labelled by its start. Values are in ``unit``."""

    time: Time
    series: str
    unit: str | None = Field(description="Of the series as it is now described; null when that is not known.")
    first: float | None
    last: float | None
    minimum: float | None
    maximum: float | None
    sum: float | None = Field(description="Of the readings, in ``unit``.")
    count: int = Field(description="Good readings.")
    mean: float | None = Field(description="Weighted by time; gauges only.")
    increase: float | None = Field(description="What a counter grew by; counters only.")
    coverage: float = Field(description="Observed fraction of the interval, 0 to 1.")
    states: dict[str, int] | None = Field(description="Milliseconds in each state; states only.")


class IntervalPage(Strict):
    """Intervals by time, then series."""

    interval_ms: int = Field(description="Length of every interval, in milliseconds.")
    intervals: list[Interval]
    next: Next


class IncidentDecision(Strict):
    """What somebody decided about an incident."""

    closed: bool = Field(description="True: it was closed; false: it was opened again.")
    actor: str = Field(description="Who decided; ``ingestion`` when it was raised again.")
    reason: str
    at: Time


class Incident(Strict):
    """Something authentic but odd."""

    id: int
    gateway: str
    kind: str
    record: int | None = Field(description="Number of the record that it is about.")
    at: Time
    detail: dict[str, Any]
    bytes: int | None = Field(description="Size of what was taken into custody, in bytes; null when nothing was.")
    closed: Time | None = Field(description="Since when it is closed; null while it is open.")
    decisions: list[IncidentDecision] = Field(description="Closings and reopenings, the oldest first.")


class IncidentPage(Strict):
    """Incidents, the newest first."""

    incidents: list[Incident]
    next: Next


class QuarantineReason(Strict):
    """What was refused for one reason."""

    reason: str
    messages: int
    bytes: int
    first_received: Time
    latest_received: Time


class Quarantine(Strict):
    """What was refused because it was not authentic: never stored as records, never acknowledged."""

    messages: int
    bytes: int
    reasons: list[QuarantineReason]


class Record(Strict):
    """A signed record without its bytes."""

    record: int = Field(description="Number in the chain of its gateway, from 1.")
    kind: RecordKind
    closed: Time
    first_sample: Time | None
    last_sample: Time | None
    received: Time
    sha256: Sha256
    descriptor: Sha256
    samples: int
    bytes: int


class RecordPage(Strict):
    """Records by number."""

    records: list[Record]
    next: Next
