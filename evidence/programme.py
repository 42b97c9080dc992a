"""A pilot programme as a file: batches and windows, rates and caps, targets, calendar; every figure with its source.

What the sources say is kept as they say it. Where two places state different values both stand in the file, and where
a sum is not the sum of its parts a note says so: whoever reviews an acceptance sees the conflict, not a guess at it.
Rates and caps are the context in which a project is eligible. Nothing here decides on a payment.

Money is in 万元 (10,000 CNY), rates and shares are fractions, months are those of the source, the last one included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from evidence.errors import ProgrammeError
from evidence.indicators.thresholds import Thresholds
from evidence.kpi import Problem
from evidence.result import ResultModel, Wording
from wire.document import DocumentModel, Location, problem, read_document, suggestion, validate_document

PROGRAMME_NAME = r"^[a-z]+(-[a-z]+)*-\d{4}$"
"""What the name of a programme looks like: words and the year, ``pingluo-2025``."""

Level = Annotated[int, Field(ge=1, le=4)]
"""数字化水平, 一级 to 四级."""
Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class SourceDocument(DocumentModel):
    """One document that figures are taken from. A ``draft`` (征求意见稿) may still change."""

    file: str = Field(min_length=1)
    title: Wording
    status: Literal["draft", "in_force", "unstated"]


class Statement(DocumentModel):
    """What one place of one source says; ``place`` where a source says different things in different places."""

    value: Annotated[float, Field(ge=0)]
    source: str
    place: Wording | None = None


Figure = Annotated[tuple[Statement, ...], Field(min_length=1)]
"""One figure as all its sources state it; in conflict when they state different values."""


def stated_values(figure: Sequence[Statement]) -> tuple[float, ...]:
    """The different values of a figure, the smallest first; more than one is a conflict."""
    return tuple(sorted({statement.value for statement in figure}))


class Months(DocumentModel):
    """From the first day of month ``from`` to the last day of month ``to``."""

    first: Month = Field(alias="from")
    last: Month = Field(alias="to")

    @model_validator(mode="after")
    def _forward(self) -> Months:
        if self.last < self.first:
            raise ValueError(f"ends with {self.last}, before it begins ({self.first})")
        return self

    @property
    def start(self) -> date:
        """The first day."""
        return date.fromisoformat(f"{self.first}-01")

    @property
    def end(self) -> date:
        """The first day after it."""
        return (date.fromisoformat(f"{self.last}-28") + timedelta(days=4)).replace(day=1)


PhaseKind = Literal["preparation", "retrofit", "remediation", "acceptance", "payment", "summary"]


class Phase(Months):
    """A span of the calendar. ``batch`` where it is of one batch only."""

    kind: PhaseKind
    name: Wording
    source: str
    batch: str | None = None


class Deadline(DocumentModel):
    """Something that has to be done ``by`` a month, its last day included, where the source states no beginning."""

    kind: PhaseKind
    by: Month
    source: str
    batch: str | None = None

    @property
    def end(self) -> date:
        """The first day after it."""
        return Months.model_validate({"from": self.by, "to": self.by}).end


class Validity(DocumentModel):
    """From when to when a source is in force, as far as it says so; ``to`` is the last day. ``note`` says the rest."""

    source: str
    start: date | None = Field(default=None, alias="from")
    last: date | None = Field(default=None, alias="to")
    note: Wording | None = None


class Batch(DocumentModel):
    """A batch or stage (批次, 阶段) that projects belong to."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    title: Wording


class RequiredLevel(DocumentModel):
    """The digital level that a project has to reach (None where no source states one), and the standard it is
    assessed by."""

    required: Level | None = None
    standard: Wording
    source: str


class Support(DocumentModel):
    """Which part of which spending may be supported, at most; for one batch or level, or without them for all."""

    of: Wording
    rate: Figure
    cap: Figure
    batch: str | None = None
    level: Level | None = None


class OtherSupport(DocumentModel):
    """A reward or fee beside the support of retrofits: at most ``cap`` each; ``count`` where the source limits it."""

    name: Wording
    cap: Figure
    count: Annotated[int, Field(ge=1)] | None = None


class TallyLine(DocumentModel):
    """One line of a tally: a year, stage or purpose. ``parts`` are in the order of the tally's columns.

    ``conflict`` says what does not add up, and stands exactly where something does not.
    """

    name: Wording
    total: Annotated[float, Field(ge=0)] | None = None
    parts: tuple[Annotated[float, Field(ge=0)], ...] = ()
    conflict: Wording | None = None


class Tally(TallyLine):
    """A target or budget with the lines that it is made of; ``columns`` says what the parts are of.

    ``at_least``: the source says 'at least' or 'more than'.
    """

    unit: Wording
    source: str
    at_least: bool = False
    columns: Literal["industries", "areas"] | None = None
    lines: tuple[TallyLine, ...] = ()


class Provision(DocumentModel):
    """A rule in words: what happens when acceptance fails, what supervision has to carry."""

    text: Wording
    source: str


class Conflict(ResultModel):
    """Where the sources contradict each other or themselves, in words; ``field`` names the place in the file."""

    field: str
    text: Wording


class Programme(DocumentModel):
    """A programme as read from its file. Make one with `load_programme`."""

    programme: Literal[1]
    name: str = Field(pattern=PROGRAMME_NAME)
    title: Wording
    sources: dict[str, SourceDocument] = Field(min_length=1)
    validity: tuple[Validity, ...] = ()
    industries: tuple[Wording, ...] = ()
    areas: tuple[Wording, ...] = ()
    level: RequiredLevel
    batches: tuple[Batch, ...] = Field(min_length=1)
    calendar: tuple[Phase, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    support: tuple[Support, ...] = ()
    hardware_share: Figure | None = None
    project_cap: Figure | None = None
    other_support: tuple[OtherSupport, ...] = ()
    targets: tuple[Tally, ...] = Field(min_length=1)
    budget: Tally | None = None
    provisions: tuple[Provision, ...] = ()
    indicators: Thresholds

    def support_for(self, batch: str | None, level: int | None) -> tuple[Support, ...]:
        """What applies to a project of ``batch`` that reaches ``level``; None = not known, which excludes nothing."""
        return tuple(
            one
            for one in self.support
            if (one.batch is None or batch is None or one.batch == batch)
            and (one.level is None or level is None or one.level == level)
        )

    def acceptance_end(self, batch: str | None) -> date | None:
        """The first day after the last acceptance of ``batch``; None where no source states one.

        Without a batch, and where the calendar names none, it is the last acceptance of the programme.
        """
        every: tuple[Phase | Deadline, ...] = (*self.calendar, *self.deadlines)
        spans = [one for one in every if one.kind == "acceptance"]
        own = [one for one in spans if batch is not None and one.batch == batch] or spans
        return max((one.end for one in own), default=None)

    def conflicts(self) -> tuple[Conflict, ...]:
        """Every contradiction of the sources, in the order of the file."""
        return tuple(_conflicts(self))


def load_programme(text: str, source: str | PurePath) -> Programme:
    """Read a programme file.

    Raises `wire.errors.DocumentError` when the text is no programme file, `evidence.errors.ProgrammeError` when it
    names a source or batch that it does not hold, or sums that do not add up and do not say so; either names every
    problem with file and line.
    """
    document = read_document(text, str(source))
    programme = validate_document(Programme, document)
    found = [problem(document, location, what) for location, what in _contradictions(programme)]
    if found:
        raise ProgrammeError("\n".join(found))
    return programme


def _contradictions(programme: Programme) -> Iterator[Problem]:
    batches = [batch.name for batch in programme.batches]
    for position, batch in enumerate(batches):
        if batch in batches[:position]:
            yield ("batches", position, "name"), f"another batch is called '{batch}' already"
    for location, key, name in _references(programme, ()):
        known = list(programme.sources) if key == "source" else batches
        if name not in known:
            yield (*location, key), f"this file has no {key} '{name}'{suggestion(name, known)}"
    for location, tally in _tallies(programme):
        width = 0 if tally.columns is None else len(getattr(programme, tally.columns))
        lines: list[tuple[Location, TallyLine]] = [(location, tally)]
        lines += [((*location, "lines", position), line) for position, line in enumerate(tally.lines)]
        for place, line in lines:
            if len(line.parts) not in {0, width}:
                yield (*place, "parts"), f"has {len(line.parts)} values for the {width} columns ({tally.columns})"
        if any(len(line.parts) not in {0, width} for _, line in lines):
            continue
        for place, line in lines:
            wrong = _sum_problem(tally, line)
            if wrong is not None and line.conflict is None:
                yield place, f"{wrong}; correct it, or say in 'conflict' that the source does not add up"
            if wrong is None and line.conflict is not None:
                yield (*place, "conflict"), "everything adds up here; remove the note"


def _sum_problem(tally: Tally, line: TallyLine) -> str | None:
    """What does not add up in a line, in words; for the tally itself its lines count too."""
    if line.parts and line.total is not None and sum(line.parts) != line.total:
        return f"the parts add up to {sum(line.parts):g}, the total is {line.total:g}"
    if line is not tally or not tally.lines:
        return None
    totals = [one.total for one in tally.lines if one.total is not None]
    if line.total is not None and len(totals) == len(tally.lines) and sum(totals) != line.total:
        return f"the lines add up to {sum(totals):g}, the total is {line.total:g}"
    if line.parts and all(one.parts for one in tally.lines):
        sums = tuple(sum(column) for column in zip(*(one.parts for one in tally.lines), strict=True))
        if sums != line.parts:
            return f"the parts of the lines add up to {sums}, not {line.parts}"
    return None


def _tallies(programme: Programme) -> Iterator[tuple[Location, Tally]]:
    for position, target in enumerate(programme.targets):
        yield ("targets", position), target
    if programme.budget is not None:
        yield ("budget",), programme.budget


def _references(value: Any, location: Location) -> Iterator[tuple[Location, str, str]]:
    """Every name of a source or a batch in the file, with the place where it stands."""
    if isinstance(value, BaseModel):
        for key in type(value).model_fields:
            part = getattr(value, key)
            if key in {"source", "batch"} and isinstance(part, str):
                yield location, key, part
            else:
                yield from _references(part, (*location, key))
    elif isinstance(value, tuple):
        for position, part in enumerate(value):
            yield from _references(part, (*location, position))


def _conflicts(programme: Programme) -> Iterator[Conflict]:
    for field, name, figure in _figures(programme):
        if len(stated_values(figure)) > 1:
            en = "; ".join(f"{one.value:g} ({_place(programme, one).en})" for one in figure)
            zh = "；".join(f"{one.value:g}（{_place(programme, one).zh}）" for one in figure)
            yield Conflict(field=field, text=Wording(en=f"{name.en}: {en}", zh=f"{name.zh}：{zh}"))
    for batch in programme.batches:
        ends = {one.kind: one.by for one in programme.deadlines if one.batch == batch.name}
        if "retrofit" in ends and "acceptance" in ends and ends["acceptance"] < ends["retrofit"]:
            retrofit, acceptance = ends["retrofit"], ends["acceptance"]
            text = Wording(
                en=f"{batch.title.en}: accepted by {acceptance}, but retrofitted by {retrofit}",
                zh=f"{batch.title.zh}：{acceptance} 前完成验收，而 {retrofit} 前完成改造",
            )
            yield Conflict(field="deadlines", text=text)
    for _, tally in _tallies(programme):
        for line in (tally, *tally.lines):
            if line.conflict is not None:
                en_name = tally.name.en if line is tally else f"{tally.name.en}, {line.name.en}"
                zh_name = tally.name.zh if line is tally else f"{tally.name.zh}，{line.name.zh}"
                text = Wording(en=f"{en_name}: {line.conflict.en}", zh=f"{zh_name}：{line.conflict.zh}")
                yield Conflict(field="targets" if tally is not programme.budget else "budget", text=text)


def _figures(programme: Programme) -> Iterator[tuple[str, Wording, Figure]]:
    titles = {batch.name: batch.title for batch in programme.batches}
    for position, one in enumerate(programme.support):
        whose = titles[one.batch] if one.batch is not None else Wording(en="support", zh="奖补")
        rate = Wording(en=f"{whose.en}, rate", zh=f"{whose.zh}，比例")
        yield f"support[{position}].rate", rate, one.rate
        cap = Wording(en=f"{whose.en}, cap (10,000 CNY)", zh=f"{whose.zh}，上限（万元）")
        yield f"support[{position}].cap", cap, one.cap
    for position, other in enumerate(programme.other_support):
        yield f"other_support[{position}].cap", other.name, other.cap
    if programme.hardware_share is not None:
        yield "hardware_share", Wording(en="share of hardware", zh="硬件占比"), programme.hardware_share
    if programme.project_cap is not None:
        yield "project_cap", Wording(en="all support of a project", zh="单个项目奖补合计"), programme.project_cap


def _place(programme: Programme, statement: Statement) -> Wording:
    title = programme.sources[statement.source].title
    if statement.place is None:
        return title
    return Wording(en=f"{title.en}, {statement.place.en}", zh=f"{title.zh}，{statement.place.zh}")
