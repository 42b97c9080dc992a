"""The elements that the KPIs of ISO 22400-2:2014 (GB/T 34044.2-2017) are computed from, named once.

Time elements are those of clause 7 of the standard, KPIs those of its clause 8. Other sheets use other words: what ISO
22400 calls *effectiveness* many call *performance*, and many keep set-up time inside *availability*. Each result
therefore names its formula.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evidence.kpi_description import KpiInput
from evidence.quantities import SECONDS_PER_UNIT
from evidence.result import Wording
from wire.document import DocumentModel

ELEMENTS: dict[str, tuple[str, str, str]] = {
    "planned_busy_time": ("PBT", "planned busy time: planned operation time less planned downtime", "计划占用时间"),
    "busy_time": ("AUBT", "actual unit busy time: executing orders, delays included", "设备实际占用时间"),
    "processing_time": ("AUPT", "actual unit processing time: set-up and production", "设备实际加工时间"),
    "setup_time": ("AUST", "actual unit set-up time", "设备实际准备时间"),
    "production_time": ("APT", "actual production time: value is added", "实际生产时间"),
    "delay_time": ("ADET", "actual unit delay time: stops, malfunctions", "设备实际延误时间"),
    "order_execution_time": ("AOET", "actual order execution time", "订单实际执行时间"),
    "planned_run_time": ("PRI", "planned run time of an item: {value: 1, unit: s}", "单件计划运行时间"),
    "produced": ("PQ", "produced quantity, good or not", "生产数量"),
    "good": ("GQ", "good quantity", "合格数量"),
    "scrap": ("SQ", "scrap quantity", "废品数量"),
    "rework": ("RQ", "rework quantity", "返工数量"),
    "operating_time": ("TBF", "operating time, from restoration to the next failure", "运行时间"),
    "repair_time": ("TTR", "time to repair, from failure to restoration", "修复时间"),
    "failures": ("FE", "failure events", "故障次数"),
}


def element_inputs(*fields: str) -> tuple[KpiInput, ...]:
    """Describe the fields of a KPI that hold elements of the standard."""
    return tuple(
        KpiInput(field=field, symbol=symbol, meaning=Wording(en=en, zh=zh))
        for field, (symbol, en, zh) in ((field, ELEMENTS[field]) for field in fields)
    )


def clause(name: str) -> str:
    """Cite a KPI of the standard."""
    return f"ISO 22400-2:2014, clause 8, '{name}' (GB/T 34044.2-2017)"


class RunTime(DocumentModel):
    """A planned run time of one item."""

    value: float = Field(gt=0)
    unit: Literal["s", "min", "h"]

    @property
    def seconds(self) -> float:
        """The run time in seconds."""
        return self.value * SECONDS_PER_UNIT[self.unit]
