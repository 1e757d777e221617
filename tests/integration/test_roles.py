"""Roles of people in their schools: each role is a membership, and one of them is the primary one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enrollsync import steps
from enrollsync.database import migrations, open_store
from nightly import Nightly, Query, as_csv, clever, pupil, student, tutor
from old_rosters import TURNED_TEACHER
from reconciling import Planned, Roster


def planned_roles(planned: Planned) -> list[tuple[str, str, bool]]:
    """Operation, role and mark of each membership that a plan touches."""
    done = planned.operations["memberships"]
    return sorted((row["operation"], row["role"], row["is_primary"]) for row in done)


def employee(role: str, **values: str) -> dict[str, str]:
    return student("900", userRole=role, userGrade="", userBirthDate="", **values)


def in_files(*teachers: str, staff: tuple[str, ...] = ()) -> dict[str, Any]:
    """A Clever set with the same people as teachers and as other staff."""
    people = [{name: value for name, value in tutor(one).items() if name != "Teacher_email"} for one in staff]
    rows = [{"Staff_id": one.pop("Teacher_id"), **one} for one in people]
    listed = as_csv(rows, "School_id,Staff_id,Last_name,First_name")
    return clever([pupil(1)], teachers=[tutor(one) for one in ("T1", *teachers)]) | {"staff.csv": listed}


# ---- one role a person -----------------------------------------------------------------------------------------------

AIDE = [employee("staff", classId="", className="", primaryTeacher=""), student()]
TURNED = [employee("teacher"), student()]


@pytest.mark.parametrize("mode", ["delta", "snapshot"])
def test_who_turns_teacher_in_the_same_school_leaves_the_old_role_and_may_have_it_again(
    tmp_path: Path, mode: str
) -> None:
    roster = Roster(tmp_path, mode=mode)
    roster.night(AIDE)
    planned = roster.night(TURNED)
    assert planned_roles(planned) == [("create", "teacher", True), ("deactivate", "staff", False)]
    assert planned.plan.counts["memberships"]["unchanged"] == 1
    again = roster.plan(TURNED)
    assert (again.plan.operations, again.plan.counts["memberships"]["unchanged"]) == (0, 2)
    assert planned_roles(roster.plan(AIDE)) == [("deactivate", "teacher", False), ("reactivate", "staff", True)]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_undo_gives_the_old_role_back(nightly_everywhere: Nightly) -> None:
    nightly = nightly_everywhere
    nightly.begin(AIDE)
    before = nightly.everything()
    result = nightly.run(TURNED)
    assert result["outcome"] == "applied"
    assert nightly.roles("900") == [("S1", "staff", False, "inactive"), ("S1", "teacher", True, "active")]
    moved = {name: number for name, number in result["counts"]["memberships"].items() if number}
    assert moved == {"create": 1, "deactivate": 1, "unchanged": 1}
    after = nightly.everything()
    undone = nightly.undo(result["run_id"])
    assert nightly.everything() == before
    nightly.undo(undone["run_id"])
    assert nightly.everything() == after


def test_whoever_stands_in_the_files_of_two_roles_has_both_and_leaves_the_one_whose_row_goes(nightly: Nightly) -> None:
    nightly.settings["primary_source"] = "clever"
    nightly.begin(in_files("T2", staff=("T2", "T3")))
    both = [("S1", "staff", True, "active"), ("S1", "teacher", False, "active")]
    assert nightly.roles("T2") == both, "the role of a person in two files is the first by code point"
    nightly.run(in_files("T2", staff=("T3",)))
    assert nightly.roles("T2") == [("S1", "staff", False, "inactive"), ("S1", "teacher", True, "active")]
    assert nightly.run()["outcome"] == "in_sync"


def test_a_role_whose_file_is_not_delivered_is_left_alone(nightly: Nightly) -> None:
    nightly.settings["primary_source"] = "clever"
    nightly.begin(in_files("T2", staff=("T2", "T3")))
    files = in_files("T2")
    del files["staff.csv"]
    nightly.run(files)
    assert nightly.roles("T2") == [("S1", "staff", False, "active"), ("S1", "teacher", True, "active")]


def test_rows_that_give_a_person_two_roles_in_one_school_are_two_memberships(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    planned = roster.night([employee("teacher"), employee("staff"), employee("teacher", classId="C2")])
    assert planned_roles(planned) == [("create", "staff", False), ("create", "teacher", True)]
    assert planned_roles(roster.plan([employee("staff"), employee("teacher"), employee("teacher")])) == []


def test_a_role_stays_of_which_a_rejected_row_speaks(nightly: Nightly) -> None:
    nightly.begin(AIDE)
    nightly.run([employee("teacher"), employee("staff", classId="C 2"), student()])
    assert nightly.roles("900") == [("S1", "staff", False, "active"), ("S1", "teacher", True, "active")]


def test_nobody_removes_the_role_that_another_source_brought(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.night([employee("staff")])
    roster.tables["memberships"][0]["source"] = "another"
    assert planned_roles(roster.plan([employee("teacher")])) == [
        ("create", "teacher", True),
        ("update", "staff", False),
    ]


# ---- what is counted and asked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["delta", "snapshot"])
def test_a_change_of_roles_is_no_removal_to_the_guard(tmp_path: Path, mode: str) -> None:
    roster = Roster(tmp_path, mode=mode)
    people = [
        {**employee("staff"), "userId": f"9{number}", "userEmail": f"{number}@demo.example"} for number in range(9)
    ]
    roster.night(people)
    planned = roster.plan([{**row, "userRole": "teacher"} for row in people])
    share = next(share for share in planned.plan.shares if share.entity == "memberships")
    assert (share.deactivated, share.changed, share.created, share.fields) == (0, 9, 0, {"role": 9})
    assert "GUARD-DEACTIVATE" not in planned.holds() and "GUARD-EMPTY" not in planned.holds()
    assert planned.plan.counts["memberships"]["deactivate"] == planned.plan.counts["memberships"]["create"] == 9


def test_approved_without_removals_both_roles_stay_as_in_a_run_that_only_adds(nightly: Nightly) -> None:
    nightly.settings["thresholds"] = {"update_percent": 0, "floor": 1}
    nightly.begin(AIDE)
    assert nightly.run(TURNED)["outcome"] == "held"
    steps.load(nightly.workspace, approved_by="pat", answer="without_removals")
    assert nightly.roles("900") == [("S1", "staff", False, "active"), ("S1", "teacher", True, "active")]


# ---- an older roster -------------------------------------------------------------------------------------------------


def test_a_run_of_before_that_changed_a_role_is_undone(tmp_path: Path, unmigrated_url: str, query: Query) -> None:
    nightly = Nightly(tmp_path, unmigrated_url, query)
    nightly.settings["primary_source"] = "clever"
    store = open_store(nightly.database_url)
    store.backend.prepare()
    with store.backend.connect(create=True).begin() as connection:
        migrations.upgrade(connection, "0007")
        for statement in TURNED_TEACHER:
            connection.exec_driver_sql(statement)
    store.migrate()
    after = nightly.everything()
    undone = nightly.undo("run-2")
    assert nightly.roles("7") == [("S1", "staff", True, "active"), ("S2", "staff", False, "active")]
    nightly.undo(undone["run_id"])
    assert nightly.everything() == after
