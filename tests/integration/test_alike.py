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


def test_a_row_that_is_alike_loses_a_secondary_id_that_somebody_else_has(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    one, two = other(1, userStateId="9"), other(2)
    roster.night([one, two])
    (row,) = (row for row in roster.tables["users"] if row["user_id"] == "u2")
    row["user_state_id"] = "9"  # as a hand edit left it
    assert roster.plan([two | {"userStateId": ""}]).done() == {"u2": "update"}
    assert roster.plan([one]).done() == {"u1": "update"}
