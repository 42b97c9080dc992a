"""What a programme's rules say of a project: context, with what is unknown and contradictory left so."""

from __future__ import annotations

from importlib.resources import files

import pytest

from evidence.eligibility import ProjectFacts, State, eligibility
from evidence.errors import ProgrammeError
from evidence.programme import Programme, load_programme
from evidence.programmes import programme


def states(of: Programme, facts: ProjectFacts) -> dict[str, State]:
    return {condition.name: condition.state for condition in eligibility(of, facts)}


@pytest.mark.parametrize(
    ("hardware", "state"),
    [(24.0, State.FULFILLED), (24.01, State.NOT_FULFILLED), (0.0, State.FULFILLED), (None, State.NOT_KNOWN)],
)
def test_hardware_is_at_most_the_stated_share_of_the_price(hardware: float | None, state: State) -> None:
    facts = ProjectFacts(investment=80.0, hardware=hardware)
    assert states(programme("pingluo-2025"), facts)["hardware_share"] is state


def test_where_no_share_is_stated_none_is_checked() -> None:
    facts = ProjectFacts(investment=80.0, hardware=79.0)
    assert "hardware_share" not in states(programme("luoyang-2025"), facts)


def test_a_share_between_two_stated_limits_is_a_conflict() -> None:
    pingluo_text = files("evidence.programmes").joinpath("pingluo-2025.yaml").read_text(encoding="utf-8")
    old = "hardware_share:\n  - {value: 0.3, source: drafts}\n"
    assert old in pingluo_text
    two = load_programme(pingluo_text.replace(old, old + "  - {value: 0.4, source: plan}\n"), "pingluo-2025.yaml")
    seen = {cost: states(two, ProjectFacts(investment=100, hardware=cost))["hardware_share"] for cost in (30, 35, 41)}
    assert seen == {30: State.FULFILLED, 35: State.CONFLICT, 41: State.NOT_FULFILLED}


@pytest.mark.parametrize(
    ("level", "state"), [(1, State.NOT_FULFILLED), (2, State.FULFILLED), (4, State.FULFILLED), (None, State.NOT_KNOWN)]
)
def test_the_level_reached_is_compared_with_the_required_one(level: int | None, state: State) -> None:
    assert states(programme("yinchuan-2025"), ProjectFacts(level=level))["level"] is state


def test_where_no_level_is_stated_none_is_compared() -> None:
    assert "level" not in states(programme("wuzhong-2024"), ProjectFacts(level=1))


def test_support_is_that_of_the_batch_with_both_stated_rates() -> None:
    conditions = eligibility(programme("pingluo-2025"), ProjectFacts(batch="2"))
    (support,) = [one for one in conditions if one.name == "support"]
    assert support.state is State.CONFLICT
    assert "40 % | 50 %" in support.text.en
    assert "40 % | 50 %" in support.text.zh
    assert support.sources == ("plan", "measures")


def test_support_is_that_of_the_level_reached() -> None:
    conditions = eligibility(programme("luoyang-2025"), ProjectFacts(level=3))
    (support,) = [one for one in conditions if one.name == "support"]
    assert support.state is State.CONTEXT
    assert "at most 50 (10,000 CNY)" in support.text.en


def test_an_unknown_batch_and_an_impossible_cost_are_refused() -> None:
    with pytest.raises(ProgrammeError, match="pingluo-2025 has no batch '3'"):
        eligibility(programme("pingluo-2025"), ProjectFacts(batch="3"))
    with pytest.raises(ProgrammeError, match="costs more than the whole project"):
        eligibility(programme("pingluo-2025"), ProjectFacts(investment=10, hardware=11))
