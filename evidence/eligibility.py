"""What a programme's rules say about a project, as context for whoever reviews it. No amount and no payment follows.

A condition whose sources contradict each other is `State.CONFLICT` wherever their difference matters, and one whose
input is missing is `State.NOT_KNOWN`: neither is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from evidence.errors import ProgrammeError
from evidence.programme import Figure, Programme, Support, stated_values
from evidence.result import ResultModel, Wording
from wire.document import suggestion

STATEMENT = Wording(
    en="Context of eligibility for the reviewer; no decision on a payment.",
    zh="仅为审核人员提供的资格背景，不作资金拨付决定。",
)


class State(StrEnum):
    """How a project stands to one condition."""

    FULFILLED = "fulfilled"
    NOT_FULFILLED = "not_fulfilled"
    CONFLICT = "conflict"
    """The sources disagree, and the project fulfils what one says but not what the other says."""
    NOT_KNOWN = "not_known"
    CONTEXT = "context"
    """Nothing to fulfil: what the programme says."""


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What is declared of a project: its batch, the level it reached, total price and hardware's part of it in 万元."""

    batch: str | None = None
    level: int | None = None
    investment: float | None = None
    hardware: float | None = None


class Condition(ResultModel):
    """One rule and how the project stands to it; ``sources`` are keys of the programme's sources."""

    name: str
    state: State
    text: Wording
    sources: tuple[str, ...]


def eligibility(programme: Programme, facts: ProjectFacts) -> tuple[Condition, ...]:
    """Every condition of the programme that the facts are about, in a fixed order.

    Raises `evidence.errors.ProgrammeError` when the programme has no such batch, or the hardware costs more than all.
    """
    known_batch(programme, facts.batch)
    if facts.investment is not None and facts.hardware is not None and facts.hardware > facts.investment:
        raise ProgrammeError(f"hardware ({facts.hardware:g}) costs more than the whole project ({facts.investment:g})")
    return tuple(_conditions(programme, facts))


def known_batch(programme: Programme, batch: str | None) -> None:
    """Raise `evidence.errors.ProgrammeError` for a batch that the programme does not have; None is no batch."""
    batches = [one.name for one in programme.batches]
    if batch is not None and batch not in batches:
        raise ProgrammeError(f"{programme.name} has no batch '{batch}'{suggestion(batch, batches)}")


def _conditions(programme: Programme, facts: ProjectFacts) -> Iterator[Condition]:
    if programme.level.required is not None:
        yield _level(programme, programme.level.required, facts.level)
    if programme.hardware_share is not None:
        yield _hardware(programme.hardware_share, facts)
    for support in programme.support_for(facts.batch, facts.level):
        yield _support(programme, support)
    if programme.project_cap is not None:
        cap = _range(programme.project_cap, "{:g}".format)
        text = Wording(en=f"All support of one project: at most {cap}.", zh=f"单个项目各类奖补合计不超过 {cap} 万元。")
        yield Condition(name="project_cap", state=State.CONTEXT, text=text, sources=_sources(programme.project_cap))


def _level(programme: Programme, required: int, reached: int | None) -> Condition:
    if reached is None:
        state, en, zh = State.NOT_KNOWN, "the level reached is not known", "达到的等级未知"
    else:
        state = State.FULFILLED if reached >= required else State.NOT_FULFILLED
        en, zh = f"reached is level {reached}", f"实际达到 {reached} 级"
    standard = programme.level.standard
    return Condition(
        name="level",
        state=state,
        text=Wording(
            en=f"Required is level {required} or higher ({standard.en}); {en}.",
            zh=f"要求达到 {required} 级及以上（{standard.zh}）；{zh}。",
        ),
        sources=(programme.level.source,),
    )


def _hardware(limit: Figure, facts: ProjectFacts) -> Condition:
    values = stated_values(limit)
    if facts.investment is None or facts.hardware is None or facts.investment <= 0:
        state = State.NOT_KNOWN
        en, zh = "the cost of hardware or of the whole project is not known", "硬件费用或项目总价未知"
    else:
        within = [facts.hardware <= value * facts.investment * (1 + 1e-12) for value in values]
        state = State.FULFILLED if all(within) else State.CONFLICT if any(within) else State.NOT_FULFILLED
        percent = f"{100 * facts.hardware / facts.investment:.4g} %"
        amounts = f"{facts.hardware:g} / {facts.investment:g}"
        en, zh = f"declared is {percent} ({amounts})", f"申报为 {percent}（{amounts} 万元）"
    shown = _range(limit, _percent)
    return Condition(
        name="hardware_share",
        state=state,
        text=Wording(
            en=f"Gateways, routers and other collection and transmission equipment are at most {shown} of the total "
            f"price; {en}.",
            zh=f"网关、路由等数据采集传输设备不超过项目总价的 {shown}；{zh}。",
        ),
        sources=_sources(limit),
    )


def _support(programme: Programme, support: Support) -> Condition:
    titles = {batch.name: batch.title for batch in programme.batches}
    scope = [titles[support.batch]] if support.batch is not None else []
    if support.level is not None:
        scope.append(Wording(en=f"level {support.level}", zh=f"{support.level} 级"))
    scope_en, scope_zh = ", ".join(one.en for one in scope), "，".join(one.zh for one in scope)
    rate, cap = _range(support.rate, _percent), _range(support.cap, "{:g}".format)
    conflict = len(stated_values(support.rate)) > 1 or len(stated_values(support.cap)) > 1
    return Condition(
        name="support",
        state=State.CONFLICT if conflict else State.CONTEXT,
        text=Wording(
            en=f"{scope_en or 'All projects'}: at most {rate} of {support.of.en}, at most {cap} (10,000 CNY).",
            zh=f"{scope_zh or '所有项目'}：不超过{support.of.zh}的 {rate}，且不超过 {cap} 万元。",
        ),
        sources=tuple(dict.fromkeys((*_sources(support.rate), *_sources(support.cap)))),
    )


def _percent(value: float) -> str:
    return f"{100 * value:g} %"


def _range(figure: Figure, written: Callable[[float], str]) -> str:
    """All stated values; a conflict stays visible."""
    return " | ".join(written(value) for value in stated_values(figure))


def _sources(figure: Figure) -> tuple[str, ...]:
    return tuple(dict.fromkeys(statement.source for statement in figure))
