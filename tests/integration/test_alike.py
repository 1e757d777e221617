"""Rows that say what their record is already are set aside in one pass; the plan is the same as if none were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrollsync.plan.reconcile import alike, matching
from nightly import other, student
from reconciling import Roster

Row = dict[str, str]

POOLS = {
    "userId": ["1", "01", "2", "3", "4", "5"],
    "userRole": ["student", "student", "student", "teacher"],
    "userFirstName": ["Ann", "Bo", "ann"],
    "userLastName": ["Li", "Oz"],
    "userEmail": ["a@demo.example", "A@demo.example", "b@demo.example", ""],
    "userStateId": ["9", "8", ""],
    "userBirthDate": ["2015-03-09", "2014-01-02", ""],
    "userGrade": ["5", "6"],
    "classId": ["C1", "C2"],
    "className": ["Math", "Art"],
    "schoolId": ["S1", "S2"],
}
people = st.fixed_dictionaries({name: st.sampled_from(pool) for name, pool in POOLS.items()}).map(
    lambda values: student(**{"user_id": values.pop("userId")} | values)
)
deliveries = st.lists(people, min_size=1, max_size=5, unique_by=lambda row: row["userId"])


def decided(roster: Roster, rows: list[Row], rejected: set[str], id_changes: str) -> tuple[Any, ...]:
    """All that a plan says, its id included, which stands for every row that it leads to."""
    planned = roster.plan(rows, rejected, id_changes)
    plan = planned.plan
    return plan.plan_id, plan.counts, plan.holds, planned.held, planned.operations


@pytest.mark.parametrize("mode", ["snapshot", "delta"])
@pytest.mark.parametrize("source", ["clever", "batch_upload"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_plan_is_the_same_as_when_every_row_is_looked_at(
    source: str, mode: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The second delivery has some rows of the first as they were, and some that are like nothing or like others; in
    between a person may have given somebody another identifier, or made two people one."""
    roster = Roster(tmp_path_factory.mktemp("alike"), source=source, mode=mode)
    first = data.draw(deliveries)
    roster.night(first)
    keys = sorted(row["user_key"] for row in roster.tables["users"])
    if data.draw(st.booleans()):
        roster.edit(data.draw(st.sampled_from(keys)), "7")
    if len(keys) > 1 and data.draw(st.booleans()):
        roster.merge(*data.draw(st.permutations(keys))[:2])
    told = data.draw(st.sampled_from(["", "", "entity,old_id,new_id\nuser,1,6", "entity,old_id,new_id\nuser,2,3"]))
    new = data.draw(deliveries)
    same = [row for row in data.draw(st.permutations(first)) if row["userId"] not in {each["userId"] for each in new}]
    second = [*same, *new]
    rejected = data.draw(st.sets(st.sampled_from([row["userId"] for row in second]), max_size=1))
    found = decided(roster, second, rejected, told)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "find_alike", lambda *given, none: alike.find_alike(*given, none=True))
        assert decided(roster, second, rejected, told) == found


def test_who_comes_back_as_they_were_is_not_alike(tmp_path: Path) -> None:
    roster = Roster(tmp_path, mode="snapshot")
    roster.night([other(1), other(2)])
    roster.night([other(1)])
    assert roster.plan([other(1), other(2)]).done() == {"u2": "reactivate"}


def test_lines_that_swap_two_people_who_are_alike_in_all_else_are_followed(tmp_path: Path) -> None:
    """Each row says what the record behind its key has, and means the other one."""
    roster = Roster(tmp_path)
    twins = [student(number, userEmail="") for number in ("1", "2")]
    roster.night(twins)
    swapped = roster.plan(twins, id_changes="entity,old_id,new_id\nuser,1,2\nuser,2,1")
    assert swapped.done() == {"1": "reidentify", "2": "reidentify"}


def test_enrollments_that_only_one_side_has_or_both_have_otherwise_are_planned(tmp_path: Path) -> None:
    """One that another source brought is taken over, and one that is inactive comes back."""
    roster = Roster(tmp_path, mode="snapshot")
    rows = [other(number, classId=f"C{number}") for number in range(1, 6)]
    roster.night(rows)
    edits = {1: {"role": "teacher"}, 2: {"is_primary": True}, 3: {"status": "inactive"}, 4: {"source": "staff"}}
    for key, edit in edits.items():  # as hand edits left them
        (link,) = (link for link in roster.tables["enrollments"] if link["user_key"] == key)
        link.update(edit)
    planned = roster.plan([*rows[:4], rows[4] | {"classId": "C1"}]).operations["enrollments"]
    assert sorted((row["user_key"], row["class_key"], row["operation"]) for row in planned) == [
        (1, 1, "update"),
        (2, 2, "update"),
        (3, 3, "reactivate"),
        (4, 4, "update"),
        (5, 1, "create"),
        (5, 5, "deactivate"),
    ]


def test_a_row_that_is_alike_loses_a_secondary_id_that_somebody_else_has(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    one, two = other(1, userStateId="9"), other(2)
    roster.night([one, two])
    (row,) = (row for row in roster.tables["users"] if row["user_id"] == "u2")
    row["user_state_id"] = "9"  # as a hand edit left it
    assert roster.plan([two | {"userStateId": ""}]).done() == {"u2": "update"}
    assert roster.plan([one]).done() == {"u1": "update"}
