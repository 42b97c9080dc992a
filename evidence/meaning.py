"""What words are taken for, against what the gateway signed that they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evidence.finding import ProofFault
from wire.descriptor import Descriptor, Device, Series
from wire.record import Payload


@dataclass(frozen=True)
class DescriptorUses:
    """The descriptors that samples of a range name, in order: (hash, seq of the first such record, descriptor).

    The descriptor is None when its record is not there.
    """

    gateway: str
    uses: tuple[tuple[bytes, int, Descriptor | None], ...]

    @classmethod
    def of(
        cls, gateway: str, first_uses: Mapping[bytes, int], descriptors: Mapping[bytes, Descriptor]
    ) -> DescriptorUses:
        """``first_uses`` is the number of the first record of the range whose samples name a descriptor."""
        ordered = sorted(first_uses.items(), key=lambda item: item[1])
        return cls(gateway, tuple((hash_, seq, descriptors.get(hash_)) for hash_, seq in ordered))

    def series(self) -> Iterator[tuple[int, str, Device, Series]]:
        """Yield (seq, full series id, device, series) of every descriptor that is there."""
        for _, seq, descriptor in self.uses:
            for device in descriptor.devices if descriptor is not None else ():
                for series in device.series:
                    yield seq, f"{self.gateway}/{device.id}/{series.name}", device, series


def has_samples(payload: Payload, span: tuple[int, int]) -> bool:
    """Whether a payload has samples within ``span`` (ms, half-open)."""
    return any(frame.times_ms[0] < span[1] and frame.times_ms[-1] >= span[0] for frame in payload.frames)


def meaning_faults(uses: DescriptorUses, units: Mapping[str, str], *, missing_is_named: bool) -> Iterator[ProofFault]:
    """Yield one fault for each descriptor that is missing, and for each series in another unit than ``units`` take.

    ``units`` is by full series id, empty where the unit does not matter. ``missing_is_named``: missing descriptors are
    among other faults already.
    """
    gateway = uses.gateway
    for descriptor_hash, seq, descriptor in uses.uses:
        if descriptor is None and not missing_is_named:
            name = descriptor_hash.hex()[:16]
            yield ProofFault(
                gateway,
                seq,
                "descriptor-missing",
                en=f"{gateway}, record {seq}: the descriptor {name}, which says what its words mean, is missing",
                zh=f"{gateway} 第 {seq} 号记录：说明其数据含义的描述记录 {name} 缺失",
            )
    for seq, series_id, _, series in uses.series():
        unit = units.get(series_id) or series.unit
        if unit != series.unit:
            yield ProofFault(
                gateway,
                seq,
                "unit-differs",
                en=f"{series_id} from record {seq} on is in {series.unit}, but is taken for {unit}",
                zh=f"{series_id} 自第 {seq} 号记录起的单位为 {series.unit}，而计划按 {unit} 使用",
            )


def meaning_notices(uses: DescriptorUses, units: Mapping[str, str]) -> Iterator[ProofFault]:
    """Yield one notice for each change of how the words of a series in ``units`` are read.

    The gateway may sign a change of transformer ratio like any other: a reader has to know that there was one.
    """
    known: dict[str, dict[str, object]] = {}
    for seq, series_id, device, series in uses.series():
        if series_id not in units:
            continue
        meaning: dict[str, object] = {
            "serial number": device.serial_number,
            "register": f"{series.function}/{series.address}",
            "type": f"{series.type} {series.order}",
            "scale": series.scale,
            "offset": series.offset,
        }
        before = known.get(series_id, meaning)
        known[series_id] = meaning
        changes = [f"{name} {before[name]} → {meaning[name]}" for name in meaning if before[name] != meaning[name]]
        if changes:
            said = ", ".join(changes)
            yield ProofFault(
                uses.gateway,
                seq,
                "meaning-changed",
                en=f"{series_id}: configured anew from record {seq} on, signed: {said}",
                zh=f"{series_id}：自第 {seq} 号记录起配置变更（已签名）：{said}",
            )
