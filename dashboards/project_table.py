"""The table that a project is evaluated on, whatever its series are made of: gateways, meters' histories, documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboards.imported_series import read_imported
from dashboards.stored_rounds import first_rounds
from evidence.errors import TableError
from evidence.meter_history import history_spans
from evidence.origin import Origin, origin_of_plan
from evidence.plan import Plan, SeriesPlan
from evidence.quantities import Aggregation
from evidence.spans import Spans, table_of_spans, together
from evidence.table import IntervalTable, day_start_ms
from store.database import Connection
from wire.keys import VerifyingKey


def gateway_part(plan: Plan) -> Plan:
    """The plan with only those series that gateways measure, at least from some day on."""
    return plan.model_copy(update={"series": {name: one for name, one in plan.series.items() if one.sources}})


def draws_on_gateways(plan: Plan) -> bool:
    """Whether anything of a plan rests on the records of a gateway."""
    return any(one.sources or one.stored_sources for one in plan.series.values())


def history_gateways(plan: Plan) -> set[str]:
    """The gateways whose meters' histories a plan draws on."""
    return {source.split("/", 1)[0] for series in plan.series.values() for source in series.stored_sources}


def project_table(
    connection: Connection, plan: Plan, measured: IntervalTable, keys: Mapping[str, VerifyingKey]
) -> tuple[IntervalTable, Origin]:
    """The table of all series and where they come from. ``measured`` has the series of `gateway_part`.

    Raises `evidence.errors.TableError` when a document or a history does not have what the plan says, and
    `dashboards.errors.ImportAlteredError`.
    """
    if all(series.only_gateways for series in plan.series.values()):
        return measured, origin_of_plan(plan)
    imported = read_imported(connection, plan)
    histories = _Histories(connection, plan, keys)
    pieces: dict[str, list[Spans]] = {}
    for name, series in plan.series.items():
        found = []
        if series.sources:
            times = measured.time_ms
            found.append(Spans(times, times + measured.step_ms, measured.values[name]).known())
        if series.documents and imported is not None:
            found.append(imported.spans(series, series.documents))
        if series.stored:
            found.append(histories.spans(series, series.stored))
        earlier = series.earlier
        if earlier is not None:
            until_ms = day_start_ms(earlier.until, plan.day_start, plan.zone)
            found = [piece.since(until_ms) for piece in found]
            if earlier.documents and imported is not None:
                found.append(imported.spans(series, earlier.documents).before(until_ms))
            else:
                found.append(histories.spans(series, earlier.stored).before(until_ms))
        pieces[name] = found
    made = table_of_spans(plan, pieces)
    screened = measured if measured.values else None
    return made.table, origin_of_plan(plan, made.spread, screened)


class _Histories:
    """What the meters of a plan had frozen, as far as their gateways' records hold it; read once, when asked for."""

    def __init__(self, connection: Connection, plan: Plan, keys: Mapping[str, VerifyingKey]) -> None:
        self._connection, self._plan, self._keys = connection, plan, keys
        self._rounds = {
            gateway: first_rounds(connection, gateway, keys[gateway], plan.span_ms)
            for gateway in sorted(history_gateways(plan) & set(keys))
        }

    def spans(self, series: SeriesPlan, sources: Sequence[str]) -> Spans:
        """The amounts between frozen readings of these sources, added up."""
        parts = []
        for source in sources:
            gateway, device, name = source.split("/")
            found = [
                (told, readings)
                for told, readings in self._rounds.get(gateway, [])
                if told.device == device and name.startswith(f"{told.name}_")
            ]
            if not found:
                raise TableError([f"{source}: no record of {gateway} holds such a history of {device}"])
            told, readings = found[0]
            parts.append(history_spans(readings, source, told.period, series, self._plan.zone))
        return together(parts, increments=series.definition.aggregation is Aggregation.INCREMENT)
