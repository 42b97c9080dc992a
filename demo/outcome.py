"""What a run of the demonstration showed: as JSON for machines, as a table for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from demo.truth import Truth
from demo.verification import Verification

_VERDICTS = {
    "met": ("met / 达成", "green"),
    "not_met": ("not met / 未达成", "red"),
    "not_distinguishable": ("not distinguishable / 无法区分", "yellow"),
    "insufficient_data": ("insufficient data / 数据不足", "yellow"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts of one history, its verification, and the evidence computed from it.

    ``made`` is what the agent signed, ``committed`` what the database holds; ``evaluation`` and ``proof`` are the
    JSON of the project's dossier; ``seconds`` are by phase.
    """

    made: int
    committed: int
    quarantined: int
    samples: int
    verification: Verification
    evaluation: dict[str, Any]
    proof: dict[str, Any]
    truth: Truth | None
    seconds: dict[str, float]

    @property
    def complete(self) -> bool:
        """Whether every record that was made is committed, verified and in its chain, and none is in quarantine."""
        return (
            self.made == self.committed == self.verification.verified
            and self.quarantined == 0
            and self.verification.intact
        )

    def to_json(self) -> dict[str, Any]:
        """The document of ``shopfloor demo --json``. ``change`` and ``interval`` are fractions, negative = decrease."""
        return {
            "project": self.evaluation["project"],
            "records": {
                "made": self.made,
                "committed": self.committed,
                "verified": self.verification.verified,
                "quarantined": self.quarantined,
            },
            "samples": self.samples,
            "wire_bytes": self.verification.wire_bytes,
            "chain": {
                "intact": self.verification.intact,
                "faults": [
                    {"seq": fault.seq, "fault": fault.fault, "text": fault.text} for fault in self.verification.faults
                ],
            },
            "proof": self.proof,
            "kpis": self.evaluation["kpis"],
            "truth": None if self.truth is None else truth_json(self.truth),
            "totals": self.evaluation["totals"],
            "seconds": self.seconds,
        }

    def table(self) -> Table:
        """The KPIs with their verdicts, and beside them what only the simulator knows."""
        table = Table(title=f"Evidence of project {self.evaluation['project']}", title_justify="left")
        known = () if self.truth is None else ("true change",)
        for heading in ("KPI", "baseline", "reporting", "change", "interval", "target", "verdict", *known):
            table.add_column(heading, justify="left" if heading in {"KPI", "verdict"} else "right")
        for kpi in self.evaluation["kpis"]:
            wording, colour = _VERDICTS[kpi["verdict"]]
            interval = kpi["interval"]
            table.add_row(
                kpi["id"],
                _figure(kpi["baseline"], kpi["unit"]),
                _figure(kpi["reporting"], kpi["unit"]),
                _percent(kpi["change"]),
                "-" if interval is None else f"{_percent(interval[0])} .. {_percent(interval[1])}",
                _percent(kpi["target"]),
                Text(wording, style=colour),
                *(() if self.truth is None else (_percent(true_change(self.truth, kpi["kind"])),)),
            )
        return table

    def sentences(self) -> list[str]:
        """Records, and the reasons behind each verdict."""
        samples = max(self.samples, 1)
        lines = [
            f"{self.made} records made, {self.committed} committed, {self.verification.verified} verified one by one, "
            f"{self.quarantined} in quarantine; chain {'intact' if self.verification.intact else 'BROKEN'}; "
            f"{self.samples} samples at {self.verification.wire_bytes / samples:.2f} bytes each on the wire."
        ]
        lines += [f"Record {fault.seq}: {fault.fault}: {fault.text}" for fault in self.verification.faults[:10]]
        lines += [f"{kpi['id']}: {reason['en']}" for kpi in self.evaluation["kpis"] for reason in kpi["reasons"]]
        return lines


def true_change(truth: Truth, kind: str) -> float | None:
    """What a KPI of ``kind`` would say if it knew everything; None where the simulator has no truth for it."""
    return {"adjusted_saving": -truth.saving, "energy_intensity": truth.intensity_change}.get(kind)


def truth_json(truth: Truth) -> dict[str, float]:
    """The truth under the names that KPIs use; ``change`` is what `saving` estimates (negative = decrease)."""
    return {
        "saving": truth.saving,
        "change": -truth.saving,
        "intensity_change": truth.intensity_change,
        "actual_kwh": truth.actual_kwh,
        "counterfactual_kwh": truth.counterfactual_kwh,
    }


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction:+.1%}"


def _figure(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:,.4g} {unit}" if abs(value) < 1000 else f"{value:,.0f} {unit}"
