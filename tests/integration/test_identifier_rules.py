"""Section 5 of the design: each rule that is built, as a night in a small district."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import pytest

from nightly import Nightly, as_csv, clever, other, pupil, section, student, tutor
from reconciling import Planned, Roster

# ---- rules 1 to 3: what an identifier is --------------------------------------------------------


def test_rule_1_identifiers_that_differ_in_case_are_two_people_with_an_info_finding(nightly: Nightly) -> None:
    nightly.run([student("ab1"), other(2) | {"userId": "AB1"}], until="check")
    assert nightly.accepted("users", "user_id") == [("AB1",), ("ab1",)]
    assert nightly.findings() == [("ID-CASE", "users.csv", 2), ("ID-CASE", "users.csv", 3)]


def test_rule_2_blanks_around_an_identifier_are_trimmed_and_leading_zeros_kept(nightly: Nightly) -> None:
    nightly.run([student(" 00300 ")], until="check")
    assert nightly.accepted("users", "user_id") == [("00300",)]
    assert nightly.findings() == [("VAL-TRIMMED", "users.csv", 2)]


def test_rule_2_other_characters_reject_the_line_in_batch_upload(nightly: Nightly) -> None:
    damaged = [other(number, userId=name) for number, name in enumerate(["3 0", "30!", "30-1", "ä30"], start=2)]
    result = nightly.run([*damaged, other(1)], until="check")
    assert nightly.findings() == [("ID-CHARSET", "users.csv", line) for line in (2, 3, 4, 5)]
    assert nightly.accepted("users", "user_id") == [("u1",)]
    assert result["counts"]["users"] | {"create": 1, "rejected": 4} == result["counts"]["users"]


def test_rule_2_extended_characters_are_legal_in_clever(nightly: Nightly) -> None:
    nightly.settings["primary_source"] = "clever"
    nightly.run(clever([pupil(1, Student_id="ä.b-c_d/e@f")]), until="check")
    assert ("ä.b-c_d/e@f",) in nightly.accepted("users", "user_id")
    assert nightly.findings() == []


def test_rule_3_a_missing_identifier_rejects_the_line(nightly: Nightly) -> None:
    nightly.run([other(2, userId=""), other(3, schoolId=""), other(4, classId=""), other(1)], until="check")
    assert nightly.findings() == [("ID-MISSING", "users.csv", line) for line in (2, 3, 4)]
    assert nightly.accepted("users", "user_id") == [("u1",)]


def test_rule_3_staff_need_no_class(nightly: Nightly) -> None:
    nightly.run([student(userRole="staff", classId="", className="")], until="check")
    assert nightly.findings() == []
    assert nightly.accepted("users", "user_id, role") == [("300", "staff")]


# ---- rules 4 and 5: shared and dangerous identifiers --------------------------------------------


def test_rule_4_an_identifier_of_a_teacher_and_a_student_is_withheld_from_both(nightly: Nightly) -> None:
    nightly.settings["primary_source"] = "clever"
    nightly.run(clever([pupil(1, Student_id="7"), pupil(2)], teachers=[tutor("7"), tutor("T1")]), until="check")
    assert {code for code, _, _ in nightly.findings()} == {"ID-WITHHELD"}
    assert nightly.accepted("users", "user_id, source_key") == [
        ("T1", "staff:T1"), ("p-2", "student:p-2"), (None, "staff:7"), (None, "student:7"),
    ]  # fmt: skip


@pytest.mark.parametrize(("setting", "loads", "found"), [
    ("warning", True, True), ("critical", False, True), ("off", True, False),
])  # fmt: skip
def test_rule_5_a_social_security_number_is_treated_as_the_district_says(
    nightly: Nightly, setting: str, loads: bool, found: bool
) -> None:
    nightly.settings["identifiers"] = {"ssn": setting}
    nightly.run([student("123456789"), other(1)], until="check")
    assert (("123456789",) in nightly.accepted("users", "user_id")) is loads
    assert nightly.findings() == ([("ID-SSN", "users.csv", 2)] if found else [])


def test_rule_5_such_a_number_stands_in_no_report(nightly: Nightly, great_expectations: None) -> None:
    nightly.settings |= {"identifiers": {"ssn": "critical"}, "data_docs": True}
    nightly.run([student("123456789"), other(1)])
    run = Path(nightly.workspace)
    shown = [run / "report.html", run / "report.json", run / "findings.csv", run / "run.json",
             *(run / "data_docs").rglob("*.html")]  # fmt: skip
    assert len(shown) > 5
    assert all("123456789" not in page.read_text() for page in shown)
    assert "123456789" in (run / "quarantine" / "users-errors.csv").read_text()


# ---- rules 6 and 7: rows that disagree, secondary IDs -------------------------------------------


def test_rule_6_rows_that_speak_of_different_people_all_wait(nightly: Nightly) -> None:
    differing = [
        {"userFirstName": "Lina"}, {"userLastName": "Smith"}, {"userBirthDate": "2015-03-10"},
        {"userEmail": "other@demo.example"}, {"userRole": "teacher"},
    ]  # fmt: skip
    rows = [
        row
        for number, values in enumerate(differing, start=2)
        for row in (other(number), other(number, classId="C2", **values), other(number, classId="C3"))
    ]
    nightly.run([*rows, other(1)], until="check")
    assert nightly.findings() == [("ID-DUPLICATE", "users.csv", line) for line in range(2, 2 + len(rows))]
    assert nightly.accepted("users", "user_id") == [("u1",)]


def test_rule_6_the_record_in_the_database_stays_as_it_is(nightly: Nightly) -> None:
    nightly.begin([student(), other(1)])
    before = nightly.everything()
    nightly.run([student(userGrade="6"), student(userFirstName="Lina", userGrade="6"), other(1)])
    assert nightly.everything() == before


def test_rule_6_an_empty_value_is_no_disagreement(nightly: Nightly) -> None:
    nightly.run([student(), student(classId="C2", userEmail="", userBirthDate="")], until="check")
    assert nightly.findings() == []
    assert nightly.accepted("users", "email, birth_date") == [("leena@demo.example", "2015-03-09")]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_rule_6_of_other_values_the_most_frequent_is_taken_in_any_row_order(
    nightly: Nightly, order: tuple[int, ...]
) -> None:
    rows = [student(userGrade="5"), student(classId="C2", userGrade="6"), student(classId="C3", userGrade="6")]
    nightly.run([rows[place] for place in order], until="check")
    assert nightly.accepted("users", "grade") == [("6",)]
    assert {code for code, _, _ in nightly.findings()} == {"VAL-CONFLICT"}


def test_rule_6_a_tie_is_broken_by_code_point_order(nightly: Nightly) -> None:
    nightly.run([student(userMiddleName="b"), student(classId="C2", userMiddleName="B")], until="check")
    assert nightly.accepted("users", "middle_name") == [("B",)]


def test_rule_7_a_secondary_id_of_two_people_is_stored_for_neither(nightly: Nightly) -> None:
    nightly.run([student(userStateId="9"), other(1, userStateId="9"), other(2, userStateId="8")], until="check")
    assert nightly.findings() == [("SEC-DUPLICATE", "users.csv", 2), ("SEC-DUPLICATE", "users.csv", 3)]
    assert nightly.accepted("users", "user_id, user_state_id") == [("300", None), ("u1", None), ("u2", "8")]


def test_rule_7_an_absent_column_keeps_the_value_and_an_empty_one_clears_it(nightly: Nightly) -> None:
    nightly.run([student(userDistrictId="D1", userMiddleName="May")])
    row = student(userMiddleName="")
    nightly.run({"users.csv": ",".join(row) + "\n" + ",".join(row.values()) + "\n"})
    assert nightly.view("users", "user_district_id, middle_name") == [("D1", None)]


def test_rule_7_a_value_that_cannot_be_understood_keeps_what_the_roster_has(nightly: Nightly) -> None:
    nightly.begin([student()])
    result = nightly.run([student(userGrade="grade five", userBirthDate="31/31/2015")])
    assert result["outcome"] == "in_sync"
    assert nightly.view("users", "grade, birth_date") == [("5", "2015-03-09")]
    assert nightly.findings() == [("VAL-INVALID", "users.csv", 2)]


# ---- rule 8: identifiers to remember ------------------------------------------------------------


def test_rule_8_an_opaque_class_identifier_is_advised_against_and_loads(nightly: Nightly) -> None:
    opaque = ["1048576", "00012345", "5f3a9c0e1b2d4c6f8a7b", "58d9f2a04c1b7e3300aa11ff"]
    speaking = ["ALG1P3LEE", "0001MATHKP1S1", "12345", "2026FALL"]
    nightly.run([student(classId=name) for name in opaque + speaking], until="check")
    assert nightly.findings() == [("ID-OPAQUE", "users.csv", line) for line in (2, 3, 4, 5)]
    assert nightly.accepted("classes", "class_id") == sorted((name,) for name in opaque + speaking)


def test_rule_8_a_uuid_is_opaque(nightly: Nightly) -> None:
    nightly.settings["primary_source"] = "clever"
    opaque = "3b241101-e2bb-4255-8caf-4136c566a962"
    nightly.run(clever([pupil(1)], sections=[section(opaque)], enrollments=[(opaque, "p-1")]), until="check")
    assert nightly.findings() == [("ID-OPAQUE", "sections.csv", 2)]


def advice(nightly: Nightly) -> list[str]:
    """What findings.csv says of opaque identifiers, behind the sentence that is the same for all."""
    with Path(nightly.workspace, "findings.csv").open(newline="") as stream:
        said = [row["message"] for row in csv.DictReader(stream) if row["code"] == "ID-OPAQUE"]
    return [message.partition(" not allowed).")[2].strip() for message in said]


def test_rule_8_each_opaque_class_is_told_what_it_could_be_called(nightly: Nightly) -> None:
    taught = {"userRole": "teacher", "userFirstName": "Zoë", "userLastName": "Müller", "userEmail": "z@demo.example"}
    rows = [
        student(classId="1048576", className="Algebra 1"),
        student("t1", **taught, classId="1048576", className="Algebra 1", primaryTeacher="true"),
        student("t1", **taught, classId="1048577", className="Algebra 1", primaryTeacher="true"),
        other(1, classId="1048578", className=""),
    ]
    nightly.run(rows, until="check")
    first, second = "This class could be ALGEBRA1MULLER.", "This class could be ALGEBRA1MULLER2."
    assert advice(nightly) == [first, first, second, ""]
    nightly.run(rows[::-1], until="check")
    assert advice(nightly) == ["", second, first, first]
    assert not any(name in message.upper() for message in advice(nightly) for name in ("PARATH", "FAMILY1"))


def test_rule_8_where_hyphens_are_allowed_they_join_course_period_and_teacher(nightly: Nightly) -> None:
    nightly.settings["primary_source"] = "clever"
    header = "School_id,Section_id,Teacher_id,Name,Course_number,Period"
    named = section("10000001", Name="Math", Course_number="ALG1", Period="3")
    files = clever([pupil(1)], enrollments=[("10000001", "p-1")]) | {"sections.csv": as_csv([named], header)}
    nightly.run(files, until="check")
    assert advice(nightly) == ["This class could be ALG1-P3-LEE."]


# ---- rules 9 and 10: changed and recycled identifiers -------------------------------------------


def test_rule_9_a_row_that_differs_in_the_identifier_alone_is_the_same_person(nightly: Nightly) -> None:
    nightly.begin([student("300"), other(1)])
    key = nightly.view("users", "user_key", "user_id = '300'")
    result = nightly.run([student("301")])
    assert result["counts"]["users"] | {"reidentify": 1, "create": 0, "deactivate": 0} == result["counts"]["users"]
    assert nightly.view("users", "user_key", "user_id = '301'") == key
    assert nightly.view("enrollments", "class_id, user_id") == [("C1", "301"), ("C1", "u1")]
    assert nightly.view("identifier_history", "entity, old_id, new_id") == [("users", "300", "301")]
    assert nightly.again()["outcome"] == "in_sync"


def test_rule_9_an_almost_fit_waits_and_the_rest_applies(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    changes: list[dict[str, str]] = [
        {"userGrade": "6"}, {"userEmail": "new@demo.example"}, {"userMiddleName": "May"}, {"userStateId": "7"},
        {"schoolId": "S2", "schoolName": "South", "classId": "C9"},
    ]  # fmt: skip
    known = [other(number) for number in range(10, 10 + len(changes))]
    roster.night([*known, other(1)])
    rows = [row | {"userId": f"new{row['userId']}"} | values for row, values in zip(known, changes, strict=True)]
    planned = roster.night([*rows, other(2)])
    assert planned.held == [("PLAN-AMBIGUOUS", row["userId"]) for row in rows]
    assert planned.plan.counts["users"]["held"] == len(changes)
    assert set(roster.people()) == {row["userId"] for row in [*known, other(1), other(2)]}
    assert len(roster.attending()) == len(roster.people())


def planned_after(folder: Path, known: Iterable[dict[str, str]], rows: Iterable[dict[str, str]]) -> Planned:
    """What a delivery would change in a roster that has what `known` brought."""
    roster = Roster(folder)
    roster.night(known)
    return roster.plan(rows)


def test_rule_9_two_candidates_wait(tmp_path: Path) -> None:
    planned = planned_after(tmp_path, [student("300")], [student("301"), student("302")])
    assert planned.held == [("PLAN-AMBIGUOUS", "301"), ("PLAN-AMBIGUOUS", "302")]
    assert planned.plan.operations == 0


def test_rule_9_another_person_of_that_name_is_simply_new(tmp_path: Path) -> None:
    stranger = student("301", userEmail="second@demo.example", userBirthDate="2012-01-01")
    planned = planned_after(tmp_path, [student("300")], [stranger])
    assert (planned.held, planned.done()) == ([], {"301": "create"})


def test_rule_9_when_the_old_identifier_is_still_there_both_are_people(tmp_path: Path) -> None:
    rows = [student("300"), student("301", userEmail="twin@demo.example")]
    assert planned_after(tmp_path, [student("300")], rows).done() == {"301": "create"}


def test_rule_9_in_a_snapshot_the_changed_identifier_does_not_deactivate_the_person(tmp_path: Path) -> None:
    roster = Roster(tmp_path, "clever", "snapshot")
    people = [other(number) for number in range(1, 13)]
    roster.night(people)
    attending = roster.attending()
    planned = roster.night([other(1, userId="q1"), *people[1:]])
    assert planned.done() == {"q1": "reidentify"}
    assert roster.attending() == attending


def test_rule_10_another_person_behind_a_known_identifier_waits(tmp_path: Path) -> None:
    bo = student("300", userFirstName="Bo", userLastName="Li", userEmail="bo@demo.example")
    planned = planned_after(tmp_path, [student("300")], [bo, other(1)])
    assert (planned.held, planned.done()) == ([("PLAN-RECYCLED", "300")], {"u1": "create"})
    assert planned.plan.counts["enrollments"]["held"] == 1


def test_rule_10_a_new_name_alone_is_an_update(tmp_path: Path) -> None:
    renamed = student("300", userFirstName="Leen", userLastName="Smith")
    planned = planned_after(tmp_path, [student("300")], [renamed])
    (row,) = planned.operations["users"]
    assert (row["operation"], row["given_name"], row["family_name"]) == ("update", "Leen", "Smith")


def test_rule_9_a_swap_by_rows_alone_is_applied_as_a_whole(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.night([student("1"), other(2)])
    before = roster.people()
    planned = roster.night([student("u2"), other(2) | {"userId": "1"}])
    assert (planned.held, planned.done()) == ([], {"1": "reidentify", "u2": "reidentify"})
    assert roster.people() == {"u2": before["1"], "1": before["u2"]}
