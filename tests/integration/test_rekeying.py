"""Schools and classes that got a new name and a new identifier: told by their people, and proposed to a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightly import other
from reconciling import Planned, Roster

Row = dict[str, str]
NORTH = {"schoolId": "S1", "schoolName": "North"}
NORTHSIDE = {"schoolId": "S9", "schoolName": "Northside"}
SOUTH = {"schoolId": "S2", "schoolName": "South"}
MATH = {"classId": "C1", "className": "Math", "period": "1"}
ALGEBRA = {"classId": "C9", "className": "Algebra", "period": "1"}
ART = {"classId": "C2", "className": "Art", "period": "2"}
REKEYED = "GUARD-REKEYED"


def people(numbers: range, **values: str) -> list[Row]:
    return [other(number, **values) for number in numbers]


def taught(by: int, numbers: range, **values: str) -> list[Row]:
    return [other(by, userRole="teacher", **values), *people(numbers, **values)]


def proposal(roster: Roster) -> str:
    return roster.workspace.proposed_id_changes.read_text()


def message(planned: Planned) -> str:
    (hold,) = [hold for hold in planned.plan.holds if hold.code == REKEYED]
    return hold.message


@pytest.mark.parametrize("mode", ["snapshot", "delta"])
def test_a_renamed_and_renumbered_school_is_proposed_and_keeps_everybody_when_that_is_delivered(
    tmp_path: Path, mode: str
) -> None:
    roster = Roster(tmp_path, mode=mode)
    rest = people(range(50, 90), **SOUTH, **ART)
    roster.night([*people(range(1, 11), **NORTH, **MATH), *rest])
    rows = [*people(range(1, 9), **NORTHSIDE, **MATH), *people(range(20, 23), **NORTHSIDE, **MATH), *rest]
    planned = roster.plan(rows)
    assert REKEYED in planned.holds()
    assert "1 organization seems to be there under another name and identifier, with 8 of the same" in message(planned)
    assert "`--use-proposal`" in message(planned)
    assert proposal(roster).splitlines() == ["entity,old_id,new_id", "organization,S1,S9"]
    taken = roster.night(rows, id_changes=proposal(roster))
    assert REKEYED not in taken.holds()
    assert taken.done("organizations") == {"S9": "reidentify"}
    done = [row["operation"] for row in taken.operations["memberships"]]
    assert done == ["create"] * 3 if mode == "delta" else sorted(done) == ["create"] * 3 + ["deactivate"] * 2
    assert roster.plan(rows).plan.operations == 0


@pytest.mark.parametrize("rows", [
    pytest.param(people(range(1, 5), **NORTHSIDE) + people(range(5, 11), **SOUTH), id="most went elsewhere"),
    pytest.param(people(range(1, 11), **NORTHSIDE) + people(range(50, 70), **NORTHSIDE), id="most came from elsewhere"),
    pytest.param(people(range(1, 11), **SOUTH), id="no new school"),
    pytest.param(people(range(1, 11), **NORTH) + people(range(50, 57), **NORTHSIDE), id="the old one is there"),
])  # fmt: skip
def test_a_school_of_other_people_is_another_school(tmp_path: Path, rows: list[Row]) -> None:
    roster = Roster(tmp_path, mode="snapshot")
    here = people(range(50, 90), **SOUTH)
    roster.night([*people(range(1, 11), **NORTH), *here])
    said = {row["userId"] for row in rows}
    planned = roster.plan([*rows, *(row for row in here if row["userId"] not in said)])
    assert REKEYED not in planned.holds()
    assert not roster.workspace.proposed_id_changes.exists()


def test_a_renamed_and_renumbered_class_is_proposed_where_the_plan_waits(tmp_path: Path) -> None:
    roster = Roster(tmp_path, mode="snapshot")
    rest = taught(200, range(50, 60), **ART)
    roster.night([*taught(100, range(1, 11), **MATH), *rest])
    rows = [*taught(100, range(1, 9), **ALGEBRA), *rest]
    planned = roster.plan(rows)
    assert {"GUARD-DEACTIVATE", REKEYED} <= planned.holds()
    assert "1 class seems" in message(planned) and "with 9 of the same people" in message(planned)
    assert proposal(roster).splitlines()[1:] == ["class,C1,C9"]
    taken = roster.night(rows, id_changes=proposal(roster))
    assert taken.done("classes") == {"C9": "reidentify"}
    assert {row["operation"] for row in taken.operations["enrollments"]} == {"deactivate"}
    assert roster.plan(rows).plan.operations == 0


@pytest.mark.parametrize("now", [
    pytest.param(taught(100, range(1, 11), **ALGEBRA | {"period": "2"}), id="at another time"),
    pytest.param(taught(101, range(1, 11), **ALGEBRA), id="of another teacher"),
    pytest.param(taught(100, range(20, 31), **ALGEBRA), id="of other students"),
])  # fmt: skip
def test_a_class_at_another_time_or_of_other_people_is_another_class(tmp_path: Path, now: list[Row]) -> None:
    roster = Roster(tmp_path, mode="snapshot")
    roster.night(taught(100, range(1, 11), **MATH) + taught(200, range(50, 60), **ART))
    planned = roster.plan(now + taught(200, range(50, 60), **ART))
    assert "GUARD-DEACTIVATE" in planned.holds() and REKEYED not in planned.holds()


def test_one_class_is_no_reason_to_wait(tmp_path: Path) -> None:
    roster = Roster(tmp_path, mode="snapshot")
    rest = [row for n in range(10, 30) for row in people(range(10 * n, 10 * n + 10), classId=f"C{n}", className="Art")]
    roster.night(people(range(1, 11), **MATH) + rest)
    assert roster.plan(people(range(1, 11), **ALGEBRA) + rest).holds() == set()


def test_people_renumbered_among_themselves_with_another_value_are_proposed_together(tmp_path: Path) -> None:
    roster = Roster(tmp_path, mode="snapshot")
    numbers = range(1, 31)
    roster.night(people(numbers))
    rows = [other(number, userId=f"u{number % 30 + 1}", userGrade="6") for number in numbers]
    planned = roster.plan(rows)
    assert {code for code, _ in planned.held} == {"PLAN-AMBIGUOUS"}
    assert "30 of 30 users" in message(planned)
    before = dict(roster.people().values())
    taken = roster.night(rows, id_changes=proposal(roster))
    assert taken.held == [] and set(taken.done().values()) == {"reidentify"}
    assert dict(roster.people().values()) == before
