"""The exceptions of the evidence engine: what is wrong with a plan, a table, or the use of one.

Insufficient data is no exception: it is a verdict, with reasons (see `evidence.result`). Exceptions say that the input
cannot be read as what it claims to be.
"""

from __future__ import annotations

from collections.abc import Sequence

from wire.errors import ShopfloorError


class EvidenceError(ShopfloorError):
    """Root of the exceptions of the evidence engine."""


class PlanError(EvidenceError):
    """A plan is readable but makes no sense. ``problems`` holds one line a problem: file, line, field, fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class TableError(EvidenceError):
    """An interval table cannot be read. ``problems`` holds one line a problem: source, row, column, fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class TrialError(EvidenceError):
    """A model is to be tried that does not exist, or that the plan has no use for."""


class ColumnsError(EvidenceError):
    """A series is asked of a frame that does not hold its registers."""


class IntervalError(EvidenceError):
    """Intervals are asked for a range that does not consist of whole steps, or of records of several gateways."""


class FileError(EvidenceError):
    """A file that was named cannot be read or written."""


class ProgrammeError(EvidenceError):
    """A programme file contradicts itself in a way that its sources do not, or a programme is asked for that does not
    exist."""


class ImportFileError(EvidenceError):
    """A document that was handed in cannot be read as a table."""


class ImportRowsError(EvidenceError):
    """Rows of a document cannot be taken as its mapping says. ``problems`` holds one line a problem: file, sheet, cell,
    column, fault, what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class MappingError(EvidenceError):
    """A mapping is readable but makes no sense. ``problems`` holds one line a problem: file, line, field, fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))
