"""Since when a plan and its records stand: the server's dates, not what a record says of itself."""

from __future__ import annotations

from evidence.events.registration import registration
from evidence.plan import load_plan

EVENT = """
non_routine_events:
  - {id: outage, what: furnace relined, from: 2025-07-21, to: 2025-07-31, series: energy, factor: furnaces,
     treatment: exclude, recorded_by: Wang, recorded: 2025-08-01}
"""
ANOTHER = """
  - {id: press, what: second press, from: 2025-10-20, to: 2025-10-22, series: energy, factor: presses,
     treatment: exclude, recorded_by: Wang, recorded: 2025-10-22}
"""


def stand(*texts: str) -> tuple[int, dict[str, int]]:
    found = registration(load_plan(texts[-1], "plan"), list(enumerate(texts, start=1)))
    return found.settled, found.records


def test_records_leave_the_rest_of_the_plan_as_it_was_registered(retrofit_text: str) -> None:
    texts = (retrofit_text, retrofit_text + EVENT, retrofit_text + EVENT + ANOTHER.lstrip("\n"))
    assert stand(*texts) == (1, {"event outage": 2, "event press": 3})


def test_comments_and_layout_are_no_amendment(retrofit_text: str) -> None:
    assert stand(retrofit_text, "# a comment\n" + retrofit_text) == (1, {})


def test_another_target_is_an_amendment(retrofit_text: str) -> None:
    lower = retrofit_text.replace("{saving: 0.08}", "{saving: 0.05}")
    assert stand(retrofit_text, lower, lower + EVENT) == (2, {"event outage": 3})
    assert stand(retrofit_text, lower, retrofit_text) == (3, {})


def test_a_record_that_was_changed_is_as_old_as_its_change(retrofit_text: str) -> None:
    longer = EVENT.replace("2025-07-31", "2025-08-02")
    assert stand(retrofit_text + EVENT, retrofit_text + longer) == (1, {"event outage": 2})


def test_a_revision_that_cannot_be_read_any_more_holds_nothing(retrofit_text: str) -> None:
    assert stand("plan: 0\n", retrofit_text + EVENT) == (2, {"event outage": 2})
