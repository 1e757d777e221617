"""Section 6 of the design, what goes and when a plan waits; and the promises about running again."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from enrollsync import steps
from enrollsync.plan.plan import load_plan
from enrollsync.run.workspace import Workspace
from enrollsync.words.errors import StalePlan
from nightly import BATCH_HEADER, Nightly, as_csv, clever, other, pupil, section, student, tutor, write_csv

TWENTY = [pupil(number) for number in range(1, 21)]


@pytest.fixture
def district(nightly: Nightly) -> Nightly:
    """A Clever district whose twenty students, one teacher and one section are in the database."""
    nightly.settings["primary_source"] = "clever"
    nightly.begin(clever(TWENTY))
    return nightly


def status(district: Nightly, user_id: str) -> list[tuple[Any, ...]]:
    return district.view("users", "status", f"user_id = '{user_id}'")


# ---- the plain operations -----------------------------------------------------------------------


def test_create_update_deactivate_and_reactivate_reach_the_views(district: Nightly) -> None:
    changed = district.run(clever([pupil(1, Grade="6"), *TWENTY[1:-1]]))
    assert changed["counts"]["users"] | {"update": 1, "deactivate": 1, "unchanged": 19} == changed["counts"]["users"]
    assert changed["counts"]["enrollments"]["deactivate"] == changed["counts"]["memberships"]["deactivate"] == 1
    assert district.view("users", "grade, status", "user_id IN ('p-1', 'p-20')") == [("5", "inactive"), ("6", "active")]
    assert district.view(
        "changes", "operation, before_json, after_json", "entity_id = 'p-1' AND run_id = 'run-002'"
    ) == [("update", '{"grade":"5"}', '{"grade":"6"}')]
    back = district.run(clever([pupil(1, Grade="6"), *TWENTY[1:]]))
    assert back["counts"]["users"] | {"reactivate": 1, "update": 0} == back["counts"]["users"]
    assert status(district, "p-20") == [("active",)]
    assert district.again()["outcome"] == "in_sync"


def test_batch_upload_reaches_the_views_and_is_in_sync_the_next_night(nightly: Nightly) -> None:
    rows = [student(), student(classId="C2", className="Art"), other(1, userRole="teacher", primaryTeacher="Y")]
    first = nightly.run(rows)
    assert {entity: numbers["create"] for entity, numbers in first["counts"].items()} == {
        "organizations": 1, "users": 2, "memberships": 2, "classes": 2, "enrollments": 3,
    }  # fmt: skip
    assert sum(numbers["create"] for numbers in first["counts"].values()) == len(nightly.view("changes"))
    second = nightly.run()
    assert second["outcome"] == "in_sync" and second["counts"]["enrollments"]["unchanged"] == 3
    assert nightly.view("runs", "run_id, outcome") == [("run-001", "applied"), ("run-002", "in_sync")]


# ---- delta: absence is not removal --------------------------------------------------------------


def test_in_a_delta_absence_removes_nobody(nightly: Nightly) -> None:
    nightly.begin([student(), other(1), other(2)])
    nightly.run([other(1, userGrade="6")])
    assert nightly.view("users", "user_id, status") == [("300", "active"), ("u1", "active"), ("u2", "active")]


def test_in_a_delta_another_school_is_added_and_becomes_the_primary_one(nightly: Nightly) -> None:
    nightly.begin([student()])
    result = nightly.run([student(schoolId="S2", schoolName="South", classId="C2")])
    memberships = nightly.view("memberships", "organization_id, is_primary, status")
    assert [(name, bool(primary), state) for name, primary, state in memberships] == [
        ("S1", False, "active"), ("S2", True, "active"),
    ]  # fmt: skip
    assert result["counts"]["memberships"] | {"create": 1, "update": 1} == result["counts"]["memberships"]
    assert nightly.again()["outcome"] == "in_sync"


def test_in_a_snapshot_a_school_that_is_left_is_no_more_the_primary_one_until_that_is_undone(district: Nightly) -> None:
    schools = [{"School_id": "S1", "School_name": "North"}, {"School_id": "S2", "School_name": "South"}]
    before = district.everything()
    result = district.run(clever([pupil(1, School_id="S2"), *TWENTY[1:-1]], schools=schools))
    memberships = district.view("memberships", "organization_id, is_primary, status", "user_id IN ('p-1', 'p-20')")
    assert [(school, bool(primary), status) for school, primary, status in memberships] == [
        ("S1", False, "inactive"), ("S1", False, "inactive"), ("S2", True, "active"),
    ]  # fmt: skip
    assert district.again()["outcome"] == "in_sync"
    district.undo(result["run_id"])
    assert district.everything() == before


def test_remove_class_deactivates_the_class_and_unenrolls_everyone(nightly: Nightly) -> None:
    nightly.begin([student(), other(1), other(2, classId="C2", className="Art")])
    nightly.run([{"action": "REMOVE-CLASS", "schoolId": "S1", "classId": "C1"}])
    assert nightly.view("classes", "class_id, status") == [("C1", "inactive"), ("C2", "active")]
    assert nightly.view("enrollments", "user_id, status") == [("300", "inactive"), ("u1", "inactive"), ("u2", "active")]
    assert nightly.again()["outcome"] == "in_sync"


def test_remove_class_wins_over_other_rows_of_the_class(nightly: Nightly) -> None:
    nightly.begin([student(), other(1), other(2, classId="C2", className="Art")])
    nightly.run([student(action="REMOVE-CLASS"), other(1), other(3)])
    assert nightly.view("classes", "class_id, status") == [("C1", "inactive"), ("C2", "active")]
    assert ("u3",) in nightly.view("users", "user_id")


def test_remove_class_of_an_unknown_class_is_said(nightly: Nightly) -> None:
    nightly.run([student(), {"action": "REMOVE-CLASS", "schoolId": "S1", "classId": "C9"}], until="plan")
    assert nightly.findings() == [("REF-UNKNOWN", "users.csv", 3)]


# ---- snapshot: present but invalid is not absent ------------------------------------------------


def test_a_rejected_row_never_deactivates_its_record_or_what_hangs_on_it(district: Nightly) -> None:
    # A name is missing, an identifier is missing, an identifier is damaged.
    rows = [pupil(18, Last_name=""), pupil(19, Student_id=""), pupil(20, Student_id="p-!20")]
    before = district.everything()
    result = district.run(clever([*TWENTY[:17], *rows], enrollments=[("X1", f"p-{n}") for n in range(1, 18)]))
    assert result["counts"]["users"]["rejected"] == 3
    assert district.everything() == before


def test_a_malformed_line_never_deactivates_its_record(district: Nightly) -> None:
    lines = ["S1,p-18,,,Family18", "S1,,,,Family19,Given19", 'S1,p-20,,,"Family20,Given20,5,,']
    files = clever(TWENTY[:17])
    files["students.csv"] += "\n".join([*lines, "S1,p-21,,,Family21,Given21,5,,", ""])
    district.run(files)
    for number in (18, 19, 20, 21):
        assert status(district, f"p-{number}") == [("active",)]
        assert district.view("memberships", "status", f"user_id = 'p-{number}'") == [("active",)]


@pytest.fixture
def varied(nightly: Nightly) -> Nightly:
    """A Clever district with schools, classes and a teacher besides those that `district` has."""
    nightly.settings["primary_source"] = "clever"
    nightly.begin(VARIED)
    return nightly


VARIED = clever(
    [pupil(1, School_id="S3"), *TWENTY[1:]],
    schools=[{"School_id": "S1", "School_name": "North"}, {"School_id": "S3", "School_name": "South"}],
    teachers=[tutor("T1"), tutor("T9", Last_name="N\u00fa\u00f1ez", First_name="Jos\u00e9", Teacher_email="")],
    sections=[section("X1"), section("C1"), section("A1B", Teacher_id="T9"), section("Espa\u00f1ol")],
    enrollments=[("C1", "p-1"), ("A1B", "p-2"), ("Espa\u00f1ol", "p-3"), *[("X1", f"p-{n}") for n in range(4, 21)]],
)


DAMAGED = {
    "schools and classes": [
        ("schools.csv", "S3,South", "S3\u200b,South"),
        ("sections.csv", "S1,X1,T1,,Class X1", "S1,X1\u200b,T1,,Class"),
        ("sections.csv", "S1,C1,T1,,Class C1", "S1,\u3000C1,T1,,Class"),
        ("sections.csv", "A1B,T9,,Class A1B", "A1\u00adB,T9,,Class"),
        ("sections.csv", "Espa\u00f1ol", "Espan\u0303ol\u200b"),
    ],
    "people and links": [
        ("teachers.csv", "T9,N\u00fa\u00f1ez", "T9\u200b,Nu\u0301n\u0303ez"),
        ("students.csv", "S3,p-1", "S3\u200b,p-1"),
        ("enrollments.csv", "A1B,p-2", "A1B\u200b,p-2"),
        ("enrollments.csv", "X1,p-4", "\uff38\uff11,p-4"),
    ],
    "by the name alone": [("teachers.csv", "T9,N\u00fa\u00f1ez", ",Nu\u0301n\u0303ez")],
}
"""File, what it says of a record, what it says with damage that nobody sees."""


@pytest.mark.parametrize("case", DAMAGED)
def test_a_rejected_row_with_damage_that_nobody_sees_never_deactivates_its_record(varied: Nightly, case: str) -> None:
    before, files = varied.everything(), dict(VARIED)
    for file, said, damaged in DAMAGED[case]:
        assert said in files[file]
        files[file] = files[file].replace(said, damaged)
    result = varied.run(files)
    assert sum(numbers["rejected"] for numbers in result["counts"].values()) >= len(DAMAGED[case])
    assert varied.everything() == before


@pytest.mark.parametrize(("file", "lines", "damaged", "view"), [
    ("schools.csv", "S3,South", "?,?", "organizations"),
    ("sections.csv", "S1,C1,T1,,Class C1,,,\nS1,A1B,T9,,Class A1B,,,", "S1,?,T1,,?,,,", "classes"),
])  # fmt: skip
def test_a_line_in_which_no_school_or_class_is_recognised_may_be_any_of_those_missing(
    varied: Nightly, file: str, lines: str, damaged: str, view: str
) -> None:
    assert lines in VARIED[file]
    varied.run(VARIED | {file: VARIED[file].replace(lines, damaged)})
    assert {row for row in varied.view(view, "status")} == {("active",)}


def test_a_line_in_which_a_class_is_recognised_spares_no_other(varied: Nightly) -> None:
    said, damaged = "S1,C1,T1,,Class C1,,,\nS1,A1B,T9,,Class A1B,,,", "S1,C1\u200b,T1,,Class,,,"
    assert said in VARIED["sections.csv"]
    varied.run(VARIED | {"sections.csv": VARIED["sections.csv"].replace(said, damaged)})
    assert varied.view("classes", "class_id", "status = 'inactive'") == [("A1B",)]


def test_an_enrollment_goes_with_its_student_even_when_a_rejected_row_mentions_it(district: Nightly) -> None:
    files = clever(TWENTY[:19], enrollments=[("X1", f"p-{n}") for n in range(1, 21)])
    district.run(files)
    assert status(district, "p-20") == [("inactive",)]
    assert district.view("enrollments", "status", "user_id = 'p-20'") == [("inactive",)]


def test_a_row_that_waits_does_not_deactivate_the_record_it_resembles(district: Nightly) -> None:
    people = [*TWENTY[:19], pupil(20, Student_id="q-20", Grade="6")]
    district.run(clever(people))
    assert ("PLAN-AMBIGUOUS", "students.csv", 21) in district.findings()
    assert status(district, "p-20") == [("active",)]
    assert district.view("enrollments", "status", "user_id = 'p-20'") == [("active",)]


def test_terms_that_the_batch_lacks_or_that_have_ended_are_not_swept(nightly: Nightly) -> None:
    nightly.settings["primary_source"] = "clever"
    fall = {"Term_name": "Fall", "Term_start": "8/17/2026", "Term_end": "12/18/2026"}
    spring = {"Term_name": "Spring", "Term_start": "1/4/2027", "Term_end": "6/11/2027"}
    ended = {"Term_name": "Summer", "Term_start": "6/15/2026", "Term_end": "7/31/2026"}
    many = [section(f"M{number}", **fall) for number in range(20)]
    some = [section("F", **fall), section("S", **spring), section("E", **ended), section("N")]
    nightly.begin(clever(TWENTY, sections=[*many, *some], enrollments=[("M1", "p-1")]))
    nightly.run(clever(TWENTY, sections=[*many, section("E2", **ended)], enrollments=[("M1", "p-1")]), approve=True)
    states = dict(nightly.view("classes", "class_id, status"))
    assert {name: states[name] for name in "FSEN"} == {
        "F": "inactive", "S": "active", "E": "active", "N": "inactive",
    }  # fmt: skip


# ---- the guard ----------------------------------------------------------------------------------


def test_over_a_tenth_deactivated_holds_the_whole_plan(nightly: Nightly) -> None:
    nightly.settings["primary_source"] = "clever"
    people = [pupil(number) for number in range(59)]
    nightly.begin(clever(people))
    # With the teacher there are 60 users, memberships and enrollments; 6 of each are exactly a tenth.
    assert nightly.run(clever(people[:53]), until="plan")["outcome"] == "planned"
    before = nightly.everything()
    result = nightly.run(clever([*people[:52], pupil(70)]))
    assert result["outcome"] == "held"
    assert {hold["code"] for hold in result["holds"]} == {"GUARD-DEACTIVATE"}
    assert nightly.everything() == before
    assert nightly.run(approve=True)["outcome"] == "applied"
    assert nightly.view("runs", "outcome, approved_by") == [
        ("applied", "a person"), ("applied", None), ("held", None),
    ]  # fmt: skip


def test_over_three_quarters_updated_holds_the_plan(district: Nightly) -> None:
    result = district.run(clever([person | {"Grade": "6"} for person in TWENTY]))
    assert {hold["code"] for hold in result["holds"]} == {"GUARD-UPDATE"}


def test_one_school_that_loses_its_people_holds_the_plan(nightly: Nightly) -> None:
    nightly.settings["primary_source"] = "clever"
    schools = [{"School_id": "S1", "School_name": "North"}, {"School_id": "S2", "School_name": "South"}]
    small = [pupil(number, School_id="S2") for number in range(100, 106)]
    people = [pupil(number) for number in range(80)]
    nightly.begin(clever([*people, *small], schools=schools))
    result = nightly.run(clever(people, schools=schools))
    assert [hold["message"] for hold in result["holds"]] == [
        "6 of 6 active users of South (S2) would be deactivated (100.0 %; the limit is 10 %)"
    ]


def test_explicit_removals_count_district_wide_only(nightly: Nightly) -> None:
    classes = [other(n, classId=f"C{n}", className=f"Class {n}") for n in range(70)]
    small = [other(n, classId=f"D{n}", schoolId="S2", className=f"Class {n}") for n in range(100, 106)]
    nightly.begin([*classes, *small])
    removals = [{"action": "REMOVE-CLASS", "schoolId": "S2", "classId": f"D{n}"} for n in range(100, 106)]
    assert nightly.run(removals)["outcome"] == "applied"


EMPTY = {
    "students.csv": "20 active students", "teachers.csv": "1 active ", "sections.csv": "1 active ",
    "enrollments.csv": "20 active enrollments of students", "schools.csv": "1 active ",
}  # fmt: skip
"""File -> what the roster has of its kind."""


@pytest.mark.parametrize(
    "names", [("students.csv", "sections.csv"), ("teachers.csv", "enrollments.csv", "schools.csv")]
)
def test_a_header_only_file_in_a_snapshot_always_waits(district: Nightly, names: tuple[str, ...]) -> None:
    district.settings["thresholds"] = {"deactivate_percent": 100, "floor": 1000}
    files = clever(TWENTY)
    files |= {name: files[name].splitlines()[0] + "\n" for name in names}
    result = district.run(files)
    assert result["outcome"] == "held"
    said = {hold["message"] for hold in result["holds"] if "no readable rows" in hold["message"]}
    expected = [f"{name} has no readable rows, but the roster has {EMPTY[name]}" for name in sorted(names)]
    assert [told[: len(start)] for told, start in zip(sorted(said), expected, strict=True)] == expected


@pytest.mark.parametrize(("end", "sign"), [("\n", ""), ("", " and the last line of students.csv has no line end")])
def test_a_file_that_was_cut_short_shows_in_the_hold(district: Nightly, end: str, sign: str) -> None:
    files = clever(TWENTY)
    files["students.csv"] = "\n".join(files["students.csv"].splitlines()[:13]) + end
    (said,) = {hold["message"] for hold in district.run(files)["holds"] if "active users would" in hold["message"]}
    assert said.endswith(f"; enrollments still name 8 of them{sign}: students.csv may have been cut short")


def test_students_who_left_with_their_enrollments_are_no_sign_of_a_cut_file(district: Nightly) -> None:
    result = district.run(clever(TWENTY[:12]))
    assert result["outcome"] == "held" and not any("cut short" in hold["message"] for hold in result["holds"])


@pytest.mark.parametrize(("ended", "told"), [("2026-06-12", 1), ("2026-12-18", 0)])
def test_when_all_terms_have_ended_it_is_told_that_no_class_is_removed(nightly: Nightly, ended: str, told: int) -> None:
    nightly.settings["primary_source"] = "clever"
    spring = {"Term_name": "Spring", "Term_start": "2026-01-07", "Term_end": "2026-06-12"}
    sections = [section("X1", **spring), section("X2", **spring | {"Term_end": ended})]
    nightly.begin(clever([pupil(1)], sections=sections))
    result = nightly.run(clever([pupil(1)], sections=sections[:1]))
    assert result["findings"].get("PLAN-TERMS-ENDED", 0) == told
    notices = {notice.code: notice for notice in Workspace(Path(nightly.workspace)).read().notices}
    if told:
        assert notices["PLAN-TERMS-ENDED"].file == "sections.csv"
        assert "all 2 active classes belong to terms that have ended, the last on 2026-06-12" in (
            notices["PLAN-TERMS-ENDED"].message
        )


def test_an_entity_that_vanished_whole_waits_whatever_the_limits(nightly: Nightly) -> None:
    nightly.settings |= {"primary_source": "clever", "thresholds": {"deactivate_percent": 100, "floor": 1000}}
    nightly.begin(clever([pupil(1)]))
    renamed = {"School_id": "S9", "School_name": "Other"}
    files = clever([pupil(1)], sections=[section("X9")], enrollments=[("X9", "p-1")])
    files["schools.csv"] = as_csv([renamed, {"School_id": "S1", "School_name": "North"}], "School_id,School_name")
    result = nightly.run(files)
    assert [hold["message"] for hold in result["holds"]][:1] == [
        "all 1 active classes of this source would go; sections.csv should have brought them"
    ]


def test_a_header_only_batch_upload_changes_nothing_once_there_are_records(nightly: Nightly) -> None:
    nightly.begin([student()])
    assert nightly.run([])["outcome"] == "in_sync"


def test_an_older_delivery_waits_when_found_and_not_when_named(nightly: Nightly) -> None:
    landing = nightly.folder / "landing"
    nightly.settings["source"] = {"path": str(landing)}

    def deliver(row: dict[str, str], moment: int) -> dict[str, Any]:
        folder = nightly.deliver([row])
        landing.mkdir(exist_ok=True)
        os.replace(folder / "users.csv", landing / "users.csv")
        os.utime(landing / "users.csv", (moment, moment))
        return run_found(nightly)

    assert deliver(student(), 1_790_000_000)["outcome"] == "applied"
    held = deliver(student(userGrade="6"), 1_780_000_000)
    assert (held["outcome"], [hold["code"] for hold in held["holds"]]) == ("held", ["GUARD-STALE"])
    assert nightly.run(source=str(landing))["outcome"] == "applied"


def test_an_older_delivery_that_changes_nothing_is_in_sync(nightly: Nightly) -> None:
    rows = [student(), other(1)]
    for moment, outcome in ((1_790_000_000, "applied"), (1_780_000_000, "in_sync")):
        os.utime(nightly.deliver(rows) / "users.csv", (moment, moment))
        assert nightly.run(found=True)["outcome"] == outcome
        rows.reverse()


def test_a_delivery_is_stale_against_those_of_its_own_source_alone(district: Nightly) -> None:
    upload = district.folder / "upload"
    upload.mkdir()
    staff = student("9", userRole="staff", classId="", className="", userFirstName="Bo", userLastName="Li")
    write_csv(upload / "users.csv", [staff], BATCH_HEADER)

    def found(grade: str, moment: int) -> str:
        for path in district.deliver(clever([pupil(1, Grade=grade), *TWENTY[1:]])).iterdir():
            os.utime(path, (moment, moment))
        return str(district.run(found=True)["outcome"])

    assert found("6", 1_780_000_000) == "held"
    (newest,) = district.query(district.database_url, "SELECT delivered_at FROM runs WHERE outcome = 'applied'")
    moment = int(datetime.fromisoformat(newest["delivered_at"]).timestamp()) + 60
    os.utime(upload / "users.csv", (moment + 60, moment + 60))
    assert district.run(source=str(upload))["outcome"] == "applied"
    assert found("6", moment) == "applied"
    assert found("7", moment - 30) == "held"


def run_found(nightly: Nightly) -> dict[str, Any]:
    """A night that looks for its delivery by itself."""
    number = next(nightly._numbers)
    workspace = steps.start(
        nightly.district, run_id=f"found-{number}", as_of=datetime(2026, 11, 23, number, tzinfo=UTC)
    )
    nightly.workspace = workspace
    steps.ingest(workspace)
    steps.validate(workspace)
    if steps.plan(workspace)["outcome"] == "planned":
        steps.load(workspace)
    return steps.report(workspace)


# ---- plans and runs -----------------------------------------------------------------------------


def test_the_plan_is_the_same_for_any_row_order_and_binds_the_state(nightly: Nightly) -> None:
    rows = [student(), student(classId="C2", className="Art"), other(1), other(2)]
    first = nightly.run(rows, until="plan")["plan_id"]
    assert nightly.run(rows[::-1], until="plan")["plan_id"] == first
    assert nightly.run(rows[:3], until="plan")["plan_id"] != first
    assert nightly.run([other(9, schoolId="S9")])["outcome"] == "applied"
    assert nightly.run(rows, until="plan")["plan_id"] != first


def test_planning_without_a_database_leaves_it_missing(nightly_from_nothing: Nightly) -> None:
    result = nightly_from_nothing.run([student()], until="plan")
    assert (result["outcome"], result["counts"]["users"]["create"]) == ("planned", 1)
    assert not Path(nightly_from_nothing.database_url.removeprefix("sqlite:///")).exists()


def test_a_plan_that_a_person_approved_is_refused_when_the_database_moved(nightly: Nightly) -> None:
    nightly.begin([student()])
    nightly.run([student(userGrade="6")], until="plan")
    stale = nightly.workspace
    nightly.run([student(userGrade="7")])
    with pytest.raises(StalePlan, match="nothing was written"):
        steps.load(stale, approved_by="a person")
    assert nightly.view("users", "grade") == [("7",)]


def test_a_plan_fits_no_state_of_the_same_number_that_another_run_led_to(nightly: Nightly) -> None:
    nightly.begin([student()])
    path = nightly.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as roster, closing(sqlite3.connect(":memory:")) as back_up:
        roster.backup(back_up)
        nightly.run([student(userGrade="6")])
        nightly.run([student(userGrade="7")], until="plan")
        stale = nightly.workspace
        back_up.backup(roster)
    nightly.run([other(1)])
    assert steps.is_stale(stale)
    with pytest.raises(StalePlan, match="restored since; nothing was written"):
        steps.load(stale, approved_by="a person")
    assert nightly.view("users", "user_id, grade") == [("300", "5"), ("u1", "5")]


def test_a_plan_that_nobody_approved_is_made_anew_when_the_database_moved(nightly: Nightly) -> None:
    nightly.begin([student()])
    nightly.run([student(userGrade="6")], until="plan")
    stale = nightly.workspace
    nightly.run([other(1)])
    steps.load(stale)
    assert nightly.view("users", "user_id, grade") == [("300", "6"), ("u1", "5")]


def test_running_a_step_again_changes_nothing(nightly: Nightly) -> None:
    first = nightly.run([student(), student("3!")])
    again = nightly.workspace
    for step in (steps.ingest, steps.validate):
        step(again)
    before = nightly.everything()
    plan = load_plan(Workspace(Path(again)))
    steps.load(again)
    assert nightly.everything() == before
    assert plan.counts == first["counts"]
    assert len(nightly.view("runs")) == 1


def test_counts_add_up_to_the_rows_read(nightly: Nightly) -> None:
    nightly.begin([student("300"), other(1), other(5)])
    rows = [
        student("301"), student("301", classId="C2"), other(1, userGrade="6"), other(2), other(2, classId="C2"),
        other(3, userId=""), other(4), other(4, userFirstName="Else"), other(5, userId="u6", userGrade="7"),
    ]  # fmt: skip
    result = nightly.run({"users.csv": rows})
    for entity, numbers in result["counts"].items():
        assert sum(numbers.values()) - numbers["deactivate"] == len(rows), entity


def test_a_new_teacher_is_one_creation(district: Nightly) -> None:
    files = clever(TWENTY, teachers=[tutor("T1"), tutor("T2")])
    assert district.run(files)["counts"]["users"]["create"] == 1
