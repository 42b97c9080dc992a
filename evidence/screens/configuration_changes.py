"""Settings of a meter that changed between the first day of the baseline and the last of the reporting period."""

from __future__ import annotations

from evidence.result import ScreenPlace, Wording
from evidence.screen import Found, NotChecked, Screen, Strength, Subject

CHANGES_NAMED = 3


class ConfigurationChanges(Screen):
    """Are the meters read and set in the reporting period as they were in the baseline?"""

    name = "configuration_changes"
    strength = Strength.STRONG
    title = Wording(en="Configuration changes between periods", zh="两个时期之间的配置变更")
    meaning = Wording(
        en="Serial number, CT or PT ratio, scale or address of a measured series is not what it was: before and after "
        "are measured differently until somebody shows that they are not.",
        zh="计量序列的表号、互感器变比、系数或地址与此前不同：在有人证实之前，前后的计量口径并不相同。",
    )
    limits = Wording(
        en="A change can be right and documented: a replaced meter, a corrected ratio. A ratio changed inside a meter "
        "that does not tell it is not seen here; the lattice and the sub-meters may show it.",
        zh="变更可能正当且有记录：换表、纠正变比。在电表内部更改而电表不上报的变比在此看不到，可由格点与分表检查发现。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """List the changes within the plan's span."""
        if subject.signed is None:
            return NotChecked(
                "Needs the descriptors and events that a gateway signs.", "需要网关签名的描述记录与事件记录。"
            )
        from_ms, to_ms = subject.baseline_ms[0], subject.reporting_ms[1]
        changes = sorted(
            (one for one in subject.signed.changes if from_ms <= one.time_ms < to_ms),
            key=lambda one: (one.time_ms, one.device, one.setting),
        )
        devices = tuple(sorted({channel.meter for channel in subject.channels if channel.meter}))
        if not changes:
            return Found(devices, "No setting of these devices changed.", "这些设备的配置没有变更。")
        named = "; ".join(
            f"{one.device} {one.setting}: {one.before} → {one.after}"
            if one.before
            else f"{one.device} {one.setting}: {one.after}"
            for one in changes[:CHANGES_NAMED]
        )
        more = len(changes) - CHANGES_NAMED
        places = tuple(
            ScreenPlace(series=(one.device,), start_ms=one.time_ms, end_ms=one.time_ms + 1, figures={})
            for one in changes
        )
        return Found(
            devices,
            f"{len(changes)} change(s): {named}" + (f"; and {more} more." if more > 0 else "."),
            f"{len(changes)} 项变更：{named}" + (f"；另有 {more} 项。" if more > 0 else "。"),
            places,
        )
