"""Imported rows as the series of a plan: which document gives which series, and a table of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evidence.errors import TableError
from evidence.imports.mapping import SeriesMapping
from evidence.imports.rows import ImportedRows, Value
from evidence.origin import Origin, origin_of_documents
from evidence.plan import Plan, SeriesPlan
from evidence.quantities import Aggregation
from evidence.spans import Spans, make_spans, table_of_spans, together
from evidence.table import MINUTE_MS, IntervalTable
from wire.document import suggestion


class ImportedSeries:
    """The values of all imported series by their full name (``bills-2025/energy``); documents of one mapping name
    continue each other.

    Raises `TableError` when documents of one name disagree about quantity or unit, or when their periods overlap.
    """

    def __init__(self, documents: Sequence[ImportedRows]) -> None:
        self._mapped: dict[str, SeriesMapping] = {}
        self._working_ms: dict[str, int | None] = {}
        values: dict[str, list[Value]] = {}
        problems = []
        for rows in documents:
            minutes = rows.mapping.working_minutes
            for name, series in rows.mapping.series.items():
                full = f"{rows.mapping.name}/{name}"
                known = self._mapped.setdefault(full, series)
                if (known.quantity, known.unit) != (series.quantity, series.unit):
                    problems.append(
                        f"{full}: {rows.document.name} has {series.quantity} in {series.unit}, "
                        f"a document before it {known.quantity} in {known.unit}; give them different names"
                    )
                self._working_ms[full] = None if minutes is None else MINUTE_MS * minutes
                values.setdefault(full, []).extend(rows.of(name))
        if problems:
            raise TableError(problems)
        self._spans = {name: self._make(name, found) for name, found in values.items()}

    def _make(self, name: str, values: Sequence[Value]) -> Spans:
        try:
            return make_spans([(one.start_ms, one.end_ms, one.value) for one in values], self._working_ms[name])
        except ValueError as error:
            raise TableError([f"{name}: two documents have values of the same time; withdraw one of them"]) from error

    @property
    def names(self) -> list[str]:
        """The full names of all series."""
        return list(self._mapped)

    def problems(self, name: str, series: SeriesPlan, wanted: Sequence[str]) -> Iterator[str]:
        """Yield what is wrong with these sources of a series of a plan."""
        for source in wanted:
            mapped = self._mapped.get(source)
            if mapped is None:
                yield f"series '{name}' needs the document series '{source}'{suggestion(source, self.names)}"
            elif (mapped.quantity, mapped.unit) != (series.quantity, series.unit):
                yield (
                    f"series '{name}' is {series.quantity} in {series.unit}, but '{source}' is {mapped.quantity} in "
                    f"{mapped.unit}; say the same in plan and mapping (a mapping converts units)"
                )

    def spans(self, series: SeriesPlan, wanted: Sequence[str]) -> Spans:
        """The values of these sources as one: added up (increments) or averaged (means)."""
        increments = series.definition.aggregation is Aggregation.INCREMENT
        return together([self._spans[source] for source in wanted], increments=increments)


def table_of_documents(plan: Plan, documents: Sequence[ImportedRows]) -> tuple[IntervalTable, Origin]:
    """A table of ``plan`` made of documents alone, and where its values come from.

    A series of the plan takes its ``documents``; one that names none takes the imported series of its own name. Raises
    `TableError` when a series has no document, or one of another quantity or unit.
    """
    imported = ImportedSeries(documents)
    wanted: dict[str, tuple[str, ...]] = {}
    problems = []
    for name, series in plan.series.items():
        own = tuple(full for full in imported.names if full.split("/", 1)[1] == name)
        wanted[name] = series.documents or own
        if not wanted[name]:
            known = sorted({full.split("/", 1)[1] for full in imported.names})
            problems.append(f"series '{name}' is in none of the documents{suggestion(name, known)}")
        elif not series.documents and len(own) > 1:
            problems.append(
                f"series '{name}' is in several documents: {', '.join(own)}; name one as its 'documents' in the plan"
            )
        elif series.earlier is not None:
            problems.append(f"series '{name}' has an 'earlier' part; evaluate it from the database, as a project")
        else:
            problems += imported.problems(name, series, wanted[name])
    if problems:
        raise TableError(problems)
    pieces = {name: [imported.spans(series, wanted[name])] for name, series in plan.series.items()}
    made = table_of_spans(plan, pieces)
    return made.table, origin_of_documents(plan, wanted, made.spread)
