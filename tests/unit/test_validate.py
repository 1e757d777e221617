"""What the suites find in tiny canonical tables, rule by rule, and what they leave alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import quicker
from canonical_rows import (
    Row,
    district_for,
    enrollment,
    manifest_for,
    membership,
    organization,
    person,
    run_for,
    school_class,
    write_canonical,
)
from enrollsync.run.workspace import Workspace
from enrollsync.validate import checking, expectations, validate
from enrollsync.words import findings
from enrollsync.words.canonical import BY_NAME, ENTITIES, USERS
from enrollsync.words.errors import EnrollSyncError

Found = list[tuple[str, str | None, int]]
"""`code, column, line` of each finding, in the order of the file."""


def rows_of(workspace: Workspace) -> list[Row]:
    return pq.read_table(workspace.findings).to_pylist()


Check = Callable[..., list[Row]]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "run").create()


@pytest.fixture
def check(workspace: Workspace, great_expectations: None, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Validate tables and return the findings; for speed without the suites of tables not given."""

    def run(
        source: str = "batch_upload", mode: str | None = None, district: Row | None = None, **tables: Any
    ) -> list[Row]:
        write_canonical(workspace, tables)
        asked = tuple(entity for entity in ENTITIES if not tables or entity.name in tables)
        monkeypatch.setattr("enrollsync.validate.ENTITIES", asked)
        manifest = manifest_for(source, **({"mode": mode} if mode else {}))
        validate(run_for(manifest, district_for(source, **(district or {})), workspace))
        return rows_of(workspace)

    return run


def brief(found: list[Row]) -> Found:
    return [(row["code"], row["column"], row["line"]) for row in found]


def clever(row: Row, file: str = "students.csv", prefix: str = "student") -> Row:
    return {**row, "file": file, "source_key": f"{prefix}:{row['source_key']}"}


# Clean rows


def test_clean_tables_of_batch_upload_have_no_finding(check: Check) -> None:
    teacher = person(user_id="T1", role="teacher", email="t@x.org", birth_date="1980-02-29")
    student = person(grade="5", email="u@x.org", birth_date="2015-03-09", user_district_id="7")
    assert not check(
        organizations=[organization()], users=[student, teacher], memberships=[membership()],
        classes=[school_class(grade="5", action="remove"), school_class(source_key="C2", class_id="C2")],
        enrollments=[enrollment(is_primary="true")],
    )  # fmt: skip


def test_empty_tables_have_no_finding(check: Check) -> None:
    assert not check() and not check("clever")


def test_rows_of_one_record_that_fill_in_each_others_blanks_agree(check: Check) -> None:
    assert not check(
        users=[person(email="a@x.org", grade=None), person(email=None, grade="5"), person(email="A@X.org")]
    )


# Rule 1 to 5: identifiers


def test_rule_1_identifiers_that_differ_in_case_only_are_an_info_on_both(check: Check) -> None:
    found = check(users=[person(user_id="ab1"), person(user_id="AB1", given_name="Bo"), person(user_id="ab2")])
    assert brief(found) == [("ID-CASE", "userId", 2), ("ID-CASE", "userId", 3)]
    assert {row["severity"] for row in found} == {"info"}


def test_rule_1_a_class_and_a_person_may_have_the_same_identifier(check: Check) -> None:
    assert not check(users=[person(user_id="x1")], classes=[school_class(source_key="X1", class_id="X1")])


def test_rule_2_other_than_ascii_letters_and_digits_is_critical_in_batch_upload(check: Check) -> None:
    bad = ["a b", "a-b", "é1", "１", "a\nb", "a.b", "a_b", "a\n"]
    found = check(users=[person(user_id=identifier) for identifier in [*bad, "Ab01"]])
    assert brief(found) == [("ID-CHARSET", "userId", line) for line in range(2, len(bad) + 2)]
    assert {row["severity"] for row in found} == {"critical"}


def test_rule_2_extended_takes_unicode_letters_ascii_digits_and_five_signs(check: Check) -> None:
    good = ["Ångström", "学1", "a.b-c_d/e@f", "09"]
    bad = ["a b", "٣", "a\n", "½"]
    found = check("clever", users=[clever(person(user_id=name)) for name in good + bad])
    assert brief(found) == [("ID-CHARSET", "Student_id", line) for line in (6, 7, 8, 9)]


def test_rule_2_the_district_may_choose_the_other_charset(check: Check) -> None:
    assert not check(users=[person(user_id="a-b")], district={"identifiers": {"charset": "extended"}})


def test_rule_2_trimmed_blanks_are_an_info_for_each_column_and_once_a_line(check: Check) -> None:
    blanks = "schoolId\nuserId"
    found = check(
        organizations=[organization(blanks="schoolId")], users=[person(blanks="userId")],
        memberships=[membership(blanks=blanks)], enrollments=[enrollment(blanks="userId")],
    )  # fmt: skip
    assert brief(found) == [("VAL-TRIMMED", "schoolId", 2), ("VAL-TRIMMED", "userId", 2)]
    assert [row["entity"] for row in found] == ["organizations", "users"]


def test_rule_3_a_missing_identifier_is_one_critical_finding_on_its_column(check: Check) -> None:
    found = check(
        organizations=[organization(source_key=None, organization_id=None, line=2)],
        users=[person(source_key=None, user_id=None, line=3)],
        classes=[school_class(source_key=None, class_id=None, line=4)],
        memberships=[membership(organization_source_key=None, line=2), membership(user_source_key=None, line=3)],
        enrollments=[enrollment(user_source_key=None, line=3), enrollment(class_source_key=None, line=4)],
    )  # fmt: skip
    assert brief(found) == [("ID-MISSING", "schoolId", 2), ("ID-MISSING", "userId", 3), ("ID-MISSING", "classId", 4)]
    assert {row["severity"] for row in found} == {"critical"}


def test_rule_4_an_identifier_missing_beside_a_source_key_is_a_warning(check: Check) -> None:
    other_column = {"identifiers": {"columns": {"students": "Student_number"}}}
    rows = [clever(person()) | {"user_id": None}, clever(person()) | {"source_key": None, "user_id": None}]
    found = check("clever", users=rows, district=other_column)
    assert brief(found) == [("ID-MISSING", "Student_number", 2), ("ID-MISSING", "Student_id", 3)]
    assert [row["severity"] for row in found] == ["warning", "critical"]


def test_rule_4_an_identifier_that_student_and_teacher_share_is_withheld_from_both(check: Check) -> None:
    teacher = clever(person(role="teacher", given_name="Bo"), "teachers.csv", "staff")
    found = check("clever", users=[clever(person()), teacher])
    assert brief(found) == [("ID-WITHHELD", "Student_id", 2), ("ID-WITHHELD", "Teacher_id", 3)]
    assert {row["severity"] for row in found} == {"warning"}


def test_rule_5_a_possible_social_security_number_is_a_warning_and_another_number_is_nothing(check: Check) -> None:
    possible = ["123456789", "123-45-6789", "665010001", "667-99-9999", "899990001", "001010001"]
    others = [
        "000456789", "666456789", "900456789", "999-45-6789", "123006789", "123450000", "12345678", "1234567890",
        "123-456789", "12345-6789", "A23456789",
    ]  # fmt: skip
    found = check(
        users=[person(user_id=identifier) for identifier in [*possible, *others]],
        district={"identifiers": {"charset": "extended"}},
    )
    assert brief(found) == [("ID-SSN", "userId", line) for line in range(2, len(possible) + 2)]
    assert {row["severity"] for row in found} == {"warning"}


def test_rule_5_the_district_decides_how_bad_it_is(check: Check) -> None:
    rows = {
        "users": [person(user_id="123456789")],
        "classes": [school_class(source_key="123456780", class_id="123456780")],
    }
    critical, off = (check(**rows, district={"identifiers": {"ssn": setting}}) for setting in ("critical", "off"))
    assert [row["severity"] for row in critical if row["code"] == "ID-SSN"] == ["critical"] * 2
    assert "ID-SSN" not in {row["code"] for row in off}


# Rule 6: rows that disagree


@pytest.mark.parametrize(
    "other",
    [
        {"given_name": "Bo"},
        {"family_name": "Kim"},
        {"birth_date": "2014-01-01"},
        {"email": "b@x.org"},
        {"role": "teacher"},
    ],
)
def test_rule_6_two_people_under_one_identifier_are_critical_on_every_row(check: Check, other: Row) -> None:
    first = {"birth_date": "2015-03-09", "email": "a@x.org"}
    rows = [
        person(**first),
        person(**{**first, **other}),
        person(**first, grade="5"),
        person(user_id="U2", given_name="Bo"),
    ]
    found = check(users=rows)
    assert brief(found) == [("ID-DUPLICATE", "userId", line) for line in (2, 3, 4)]
    assert {row["severity"] for row in found} == {"critical"}


def test_two_people_under_one_identifier_are_told_what_differs_and_on_which_other_lines(check: Check) -> None:
    ann = {"birth_date": "2015-03-09", "email": "A@x.org"}
    rows = [
        person(**ann, lines=[2, 5]),
        person(**{**ann, "given_name": "Bo", "email": "a@x.org"}, line=3),
        person(**{**ann, "birth_date": "2014-01-01"}, line=4),
        *(person(user_id="U2", email=f"{number}@x.org", line=10 + number) for number in range(8)),
    ]
    told = {row["line"]: row["message"] for row in check(users=rows) if row["code"] == "ID-DUPLICATE"}
    differ = "Rows with this identifier differ in userFirstName, userBirthDate"
    assert told[2] == told[5] == f"{differ} (see line 3, line 4): they are different people."
    assert told[3] == f"{differ} (see line 2, line 4): they are different people."
    assert told[17] == (
        "Rows with this identifier differ in userEmail (see line 10, line 11, line 12, line 13, line 14 and 2 more): "
        "they are different people."
    )


def test_rule_6_other_values_that_disagree_are_a_warning_on_their_column(check: Check) -> None:
    found = check(
        users=[person(grade="5", lines=[2, 7]), person(grade="6", line=3)],
        organizations=[organization(line=4), organization(name="South", line=5)],
    )
    assert brief(found) == [
        ("VAL-CONFLICT", "userGrade", 2), ("VAL-CONFLICT", "userGrade", 3), ("VAL-CONFLICT", "schoolName", 4),
        ("VAL-CONFLICT", "schoolName", 5), ("VAL-CONFLICT", "userGrade", 7),
    ]  # fmt: skip
    assert {row["severity"] for row in found} == {"warning"}


def test_a_value_that_is_itself_at_fault_contradicts_nobody(check: Check) -> None:
    found = check(
        users=[person(grade="5", birth_date="2015-03-09"), person(grade="fifth", birth_date="31/31/2015")],
        classes=[
            school_class(grade="5", term_end="2027-06-01", line=4),
            school_class(grade="six", term_end="May", line=5),
        ],
    )
    assert [row["code"] for row in found] == ["VAL-INVALID"] * 4


def test_different_people_are_not_told_besides_that_their_rows_disagree(check: Check) -> None:
    rows = [person(grade="5", user_state_id="1"), person(given_name="Bo", grade="6", user_state_id="2")]
    assert brief(check(users=rows)) == [("ID-DUPLICATE", "userId", 2), ("ID-DUPLICATE", "userId", 3)]


def test_a_misspelt_identifier_is_no_second_person_with_the_same_email_and_ids(check: Check) -> None:
    same = {"email": "a@x.org", "user_district_id": "7", "user_state_id": "8"}
    assert brief(check(users=[person(**same), person(user_id="U 1", **same)])) == [("ID-CHARSET", "userId", 3)]


def test_rule_6_one_school_in_two_rows_of_a_class_is_no_conflict_but_two_are(check: Check) -> None:
    rows = [
        school_class(name="A"),
        school_class(name="A", action="remove"),
        school_class(organization_source_key="S2"),
    ]
    assert brief(check(classes=rows)) == [("VAL-CONFLICT", "schoolId", line) for line in (2, 4)]


def test_rule_6_a_member_of_staff_with_two_roles_is_one_conflict_a_line(check: Check) -> None:
    found = check(
        users=[person(role="teacher"), person(role="staff")],
        memberships=[membership(role="teacher"), membership(role="staff")],
    )
    assert brief(found) == [("VAL-CONFLICT", "userRole", 2), ("VAL-CONFLICT", "userRole", 3)]


# Rule 7: secondary IDs


@pytest.mark.parametrize(("column", "name"), [("user_district_id", "userDistrictId"), ("user_state_id", "userStateId")])
def test_rule_7_a_secondary_id_of_two_people_is_a_warning_on_both(check: Check, column: str, name: str) -> None:
    rows = [person(**{column: "9"}), person(user_id="U2", **{column: "9"}), person(user_id="U3", **{column: "8"})]
    assert brief(check(users=rows)) == [("SEC-DUPLICATE", name, 2), ("SEC-DUPLICATE", name, 3)]


def test_rule_7_the_two_kinds_of_secondary_id_do_not_clash_with_each_other(check: Check) -> None:
    assert not check(users=[person(user_district_id="9"), person(user_id="U2", user_state_id="9")])


# Section 6: references


def test_references_to_nothing_are_critical_in_a_snapshot(check: Check) -> None:
    found = check(
        "clever",
        organizations=[organization(file="schools.csv")],
        users=[clever(person())],
        memberships=[membership(file="students.csv", user_source_key="student:U1", organization_source_key="S9")],
        classes=[school_class(file="sections.csv", organization_source_key="S9")],
        enrollments=[
            enrollment(file="enrollments.csv", user_source_key="student:U1"),
            enrollment(file="enrollments.csv", user_source_key="student:U9"),
            enrollment(file="enrollments.csv", class_source_key="C9", user_source_key="student:U1"),
            enrollment(file="sections.csv", user_source_key="staff:T9", line=2),
            enrollment(file="sections.csv", user_source_key="staff:T8", line=2),
        ],
    )
    assert [(row["file"], *cells) for row, cells in zip(found, brief(found), strict=True)] == [
        ("enrollments.csv", "REF-UNKNOWN", "Student_id", 3),
        ("enrollments.csv", "REF-UNKNOWN", "Section_id", 4),
        ("sections.csv", "REF-UNKNOWN", "School_id", 2),
        ("sections.csv", "REF-UNKNOWN", "Teacher_id", 2),
        ("sections.csv", "REF-UNKNOWN", "Teacher_id", 2),
        ("students.csv", "REF-UNKNOWN", "School_id", 2),
    ]
    assert len({row["row_id"] for row in found if row["column"] == "Teacher_id"}) == 2


def test_references_are_left_to_the_database_in_a_delta(check: Check) -> None:
    assert not check("clever", mode="delta", enrollments=[enrollment(file="enrollments.csv")])


def test_a_reference_to_a_row_that_is_itself_rejected_is_known(check: Check) -> None:
    rejected = clever(person(user_id="a b"))
    found = check(
        "clever",
        organizations=[organization(file="schools.csv")],
        users=[rejected],
        classes=[school_class(file="sections.csv")],
        enrollments=[enrollment(file="enrollments.csv", user_source_key="student:a b")],
    )
    assert brief(found) == [("ID-CHARSET", "Student_id", 2)]


def test_a_missing_link_of_clever_is_one_finding_on_its_column(check: Check) -> None:
    found = check(
        "clever",
        organizations=[organization(file="schools.csv")],
        users=[clever(person()), clever(person(user_id="T1", role="teacher"), "teachers.csv", "staff")],
        memberships=[membership(file="students.csv", user_source_key="student:U1", organization_source_key=None)],
        classes=[
            school_class(file="sections.csv", organization_source_key=None),
            school_class(file="sections.csv", source_key=None, class_id=None),
        ],
        enrollments=[
            enrollment(file="enrollments.csv", class_source_key=None, user_source_key="student:U1"),
            enrollment(file="enrollments.csv", user_source_key=None),
            enrollment(file="sections.csv", class_source_key=None, user_source_key="staff:T1", line=3),
        ],
    )
    assert [(row["file"], *cells) for row, cells in zip(found, brief(found), strict=True)] == [
        ("enrollments.csv", "ID-MISSING", "Section_id", 2),
        ("enrollments.csv", "ID-MISSING", "Student_id", 3),
        ("sections.csv", "ID-MISSING", "School_id", 2),
        ("sections.csv", "ID-MISSING", "Section_id", 3),
        ("students.csv", "REF-UNKNOWN", "School_id", 2),
    ]


# Section 6: values


@pytest.mark.parametrize(("column", "name"), [("given_name", "userFirstName"), ("family_name", "userLastName")])
def test_a_missing_name_is_critical(check: Check, column: str, name: str) -> None:
    found = check(users=[person(**{column: None})])
    assert [(row["code"], row["severity"], row["column"]) for row in found] == [("VAL-MISSING", "critical", name)]


def test_a_missing_role_is_missing_and_an_unknown_one_unknown(check: Check) -> None:
    found = check(users=[person(role=None), person(user_id="U2", role="wizard")])
    assert brief(found) == [("VAL-MISSING", "userRole", 2), ("VAL-ACTION", "userRole", 3)]


def test_a_schools_name_is_required_by_clever_alone(check: Check) -> None:
    assert not check(organizations=[organization(name=None)])
    found = check("clever", organizations=[organization(file="schools.csv", name=None)])
    assert brief(found) == [("VAL-MISSING", "School_name", 2)]


def test_a_row_that_asks_for_a_removal_needs_to_name_it_and_nothing_else(check: Check) -> None:
    nothing = {"given_name": None, "family_name": None, "role": None, "grade": "fifth", "birth_date": "never"}
    rows = [person(user_id=name, action="remove", **nothing) for name in ("U1", "a b")]
    assert brief(check(users=rows)) == [("ID-CHARSET", "userId", 3)]


def test_an_unknown_action_is_one_finding_a_line_under_the_class_where_there_is_one(check: Check) -> None:
    found = check(
        users=[person(action="DROP", lines=[2, 3])],
        classes=[
            school_class(action="DROP", line=2),
            school_class(source_key="C2", class_id="C2", action="remove"),
        ],
    )
    assert [(row["entity"], *cells) for row, cells in zip(found, brief(found), strict=True)] == [
        ("classes", "VAL-ACTION", "action", 2),
        ("users", "VAL-ACTION", "action", 3),
    ]


def test_unknown_grades_dates_and_flags_are_warnings_on_their_column(check: Check) -> None:
    found = check(
        users=[person(grade="14th", birth_date="2015-02-29", line=2)],
        classes=[school_class(grade="fifth", line=3)],
        enrollments=[enrollment(is_primary="maybe", line=4)],
    )
    assert brief(found) == [
        ("VAL-INVALID", "userBirthDate", 2), ("VAL-INVALID", "userGrade", 2),
        ("VAL-INVALID", "classGrade", 3), ("VAL-INVALID", "primaryTeacher", 4),
    ]  # fmt: skip
    assert {row["severity"] for row in found} == {"warning"}


def test_a_birth_date_is_a_real_day_from_1900_to_the_districts_today(check: Check) -> None:
    """The run's 03:00 in UTC is still the evening of the 31st in New York."""
    good = ["1900-01-01", "2026-10-31", "2016-02-29"]
    bad = [
        "1899-12-31",
        "2026-11-01",
        "2015-02-29",
        "2015-3-9",
        "3/9/15",
        "2015-13-01",
        "2015-03-09 00:00:00",
        "０123-01-01",
    ]
    people = [person(user_id=f"U{number}", birth_date=date) for number, date in enumerate([*bad, *good])]
    found = check(users=people, district={"timezone": "America/New_York"})
    assert brief(found) == [("VAL-INVALID", "userBirthDate", line) for line in range(2, len(bad) + 2)]


def test_dates_of_terms_may_lie_in_the_future_but_must_be_dates(check: Check) -> None:
    found = check(
        "clever", mode="delta", classes=[school_class(file="sections.csv", term_start="2027-01-08", term_end="June")]
    )
    assert brief(found) == [("VAL-INVALID", "Term_end", 2)]


def test_an_email_of_odd_shape_is_a_warning(check: Check) -> None:
    bad = ["ann", "ann@", "@x.org", "ann@x", "a b@x.org", "ann@x..org", "ann@@x.org"]
    good = ["ann@x.org", "o'neil+a.b@mail.x.org", "änn@schule.de"]
    found = check(users=[person(user_id=f"U{number}", email=email) for number, email in enumerate([*bad, *good])])
    assert brief(found) == [("VAL-EMAIL", "userEmail", line) for line in range(2, len(bad) + 2)]
    assert {row["severity"] for row in found} == {"warning"}


def test_one_email_for_two_of_a_kind_ignoring_case_is_a_warning_on_both(check: Check) -> None:
    rows = [person(email="a@x.org"), person(user_id="U2", email="A@X.org"), person(user_id="U3", email="b@x.org")]
    assert brief(check(users=rows)) == [
        ("VAL-EMAIL-DUPLICATE", "userEmail", 2),
        ("VAL-EMAIL-DUPLICATE", "userEmail", 3),
    ]


def test_an_employee_and_a_student_may_share_an_email(check: Check) -> None:
    assert not check(users=[person(email="a@x.org"), person(user_id="T1", role="teacher", email="a@x.org")])


def test_batch_upload_beside_another_primary_source_may_bring_staff_only(check: Check) -> None:
    rows = [person(), person(user_id="T1", role="teacher")]
    assert brief(check(users=rows, district={"primary_source": "clever"})) == [("ROW-STAFF-ONLY", "userRole", 2)]
    assert not check(users=rows)


def test_batch_upload_beside_another_primary_source_brings_no_class_by_anybodys_row(check: Check) -> None:
    tables = {"users": [person(), person(user_id="T1", role="teacher")], "classes": [school_class(lines=[2, 3])]}
    assert brief(check(**tables, district={"primary_source": "clever"})) == [
        ("ROW-STAFF-ONLY", "userRole", 2),
        ("ROW-STAFF-CLASS", "classId", 3),
    ]
    assert not check(**tables)


# Class size


def attending(students: int, class_id: str = "C1", first: int = 1) -> list[Row]:
    people = range(first, first + students)
    return [enrollment(class_source_key=class_id, user_source_key=f"U{number}") for number in people]


@pytest.mark.parametrize("source", ["batch_upload", "clever"])
def test_a_class_of_more_than_80_students_is_one_info_on_its_first_line(check: Check, source: str) -> None:
    file = {"batch_upload": "users.csv", "clever": "sections.csv"}[source]
    lines = [school_class(file=file, lines=[4, 5]), school_class(file=file, lines=[2, 3], grade="5")]
    (found,) = check(source, organizations=[organization()], classes=lines, enrollments=attending(81), users=[
        person(user_id=f"U{number}") for number in range(1, 82)
    ])  # fmt: skip
    assert (found["code"], found["severity"], found["line"]) == ("VAL-CLASS-SIZE", "info", 2)
    assert "at most 80" in found["message"]


def test_80_students_and_their_teachers_are_no_finding(check: Check) -> None:
    teachers = [row | {"role": "teacher"} for row in attending(5, first=81)]
    assert not check(classes=[school_class()], enrollments=attending(80) + teachers)


def test_a_student_who_stands_twice_in_a_class_is_one_student(check: Check) -> None:
    assert not check(classes=[school_class()], enrollments=attending(80) + attending(80))


def test_the_students_of_two_classes_are_not_added_up(check: Check) -> None:
    classes = [school_class(), school_class(source_key="C2", class_id="C2")]
    assert not check(classes=classes, enrollments=attending(50) + attending(50, "C2", first=51))


# The table of findings


def test_a_malformed_line_is_a_finding_of_its_files_principal_entity(workspace: Workspace, check: Check) -> None:
    malformed = pa.table({
        "file": ["users.csv", "users.csv"], "line": [3, 5], "last_line": [3, 9],
        "reason": ["has 3 fields instead of 17", "has an open quotation mark"], "raw": ["a", "b"],
    })  # fmt: skip
    pq.write_table(malformed, workspace.source / "malformed.parquet")
    assert [tuple(row.values()) for row in check()] == [
        ("ROW-MALFORMED", "critical", "users", None, "users.csv", 3, None, None, "has 3 fields instead of 17"),
        (
            "ROW-MALFORMED",
            "critical",
            "users",
            None,
            "users.csv",
            5,
            None,
            None,
            "has an open quotation mark (lines 5 to 9)",
        ),
    ]


def test_every_line_that_says_a_faulty_row_has_its_finding_in_order(check: Check, workspace: Workspace) -> None:
    count = 30_000
    found = check(
        users=[person(user_id="a b", lines=list(range(2, count + 2))), person(given_name=None, line=count // 2)]
    )
    assert [(row["line"], row["code"]) for row in found] == sorted((row["line"], row["code"]) for row in found)
    assert len(found) == count + 1


def test_the_table_has_the_declared_columns(check: Check, workspace: Workspace) -> None:
    check(users=[person(user_id="a b")])
    with duckdb.connect() as connection:
        described = connection.sql(f"DESCRIBE FROM read_parquet('{workspace.findings}')").fetchall()
    assert {name: kind for name, kind, *_ in described} == findings.COLUMNS


def test_a_row_with_several_faults_has_one_finding_for_each(check: Check) -> None:
    found = check(users=[person(user_id="123-45-6789", grade="x", email="odd")])
    assert [row["code"] for row in found] == ["ID-CHARSET", "ID-SSN", "VAL-EMAIL", "VAL-INVALID"]


@pytest.mark.slow
def test_what_is_told_once_would_be_told_alike_each_time(
    check: Check, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "run_suite", quicker._run_suite)  # which keeps no answers of before
    found = check(**planted()), workspace.checks.read_text()
    entered = []
    monkeypatch.setattr(checking, "_each_told_once", lambda: nullcontext(entered.append(True)))
    assert (check(**planted()), workspace.checks.read_text()) == found
    assert entered
    assert len(found[0]) > 5


# Trust


SECRETS = ("Zebulonia", "Quagmire", "zebulonia.quagmire", "987-65-4320x", "Xanaduclass", "SEC4711", "1897-01-09")


def planted() -> dict[str, list[Row]]:
    secret = {column.name: "SEC4711" for column in USERS.described if column.private and column.kind != "key"}
    secret |= {"given_name": "Zebulonia", "family_name": "Quagmire", "email": "zebulonia.quagmire"}
    bad = person(**secret | {"user_id": "987-65-4320x", "birth_date": "1897-01-09"})
    return {
        "users": [bad, {**bad, "given_name": "Zebulonia2"}, person(**secret | {"user_id": "U2"})],
        "classes": [school_class(name="Xanaduclass", grade="Zebulonia"), school_class(name="Xanaduclass2")],
    }


@pytest.mark.slow
def test_no_value_of_a_student_reaches_the_messages_or_the_site(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    write_canonical(workspace, planted())
    validate(run_for(manifest_for("batch_upload"), district_for("batch_upload", data_docs=True), workspace))
    pages = [page for page in workspace.data_docs.rglob("*") if page.is_file()]
    assert workspace.data_docs / "index.html" in pages
    assert [page for page in pages if page.parts[-4] == "users" or page.parts[-3] == "users"]
    told = (
        b"".join(page.read_bytes() for page in pages) + "".join(row["message"] for row in rows_of(workspace)).encode()
    )
    printed = capfd.readouterr()
    told += (printed.out + printed.err).encode()
    told += workspace.checks.read_bytes()
    assert len(rows_of(workspace)) > 10
    assert [secret for secret in SECRETS if secret.encode() in told] == []


def test_without_a_wish_no_site_is_written_and_every_check_is_counted_all_the_same(
    check: Check, workspace: Workspace
) -> None:
    check(users=[person(grade="x"), person(user_id="U2", grade="5"), person(user_id="U3")])
    assert not workspace.data_docs.exists()
    checks = json.loads(workspace.checks.read_text())
    assert len(checks) > 15 and {one["entity"] for one in checks} == {"users"}
    assert [one for one in checks if one["code"] == "VAL-INVALID" and one["column"] == "grade"] == [{
        "entity": "users", "expectation": "expect_column_values_to_be_in_set", "column": "grade",
        "code": "VAL-INVALID", "rows": 2, "failed": 1,
    }]  # fmt: skip


def test_a_row_that_asks_for_a_removal_fails_no_check_that_does_not_count_for_it(
    check: Check, workspace: Workspace
) -> None:
    check(users=[person(grade="x", given_name=None, action="remove"), person(user_id="U2", grade="x")])
    checks = json.loads(workspace.checks.read_text())
    assert [(one["column"], one["failed"]) for one in checks if one["failed"]] == [("grade", 1)]


@pytest.mark.slow
def test_nothing_is_printed_and_nothing_written_outside_of_the_workspace(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    write_canonical(workspace, planted())
    validate(run_for(manifest_for("batch_upload"), place=workspace))
    assert capfd.readouterr() == ("", "")
    assert list(elsewhere.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"run", "elsewhere"}


@pytest.mark.slow
def test_a_check_that_raises_ends_the_run_without_its_words(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("cannot compare Zebulonia")

    monkeypatch.setattr("enrollsync.validate.expectations.is_date", broken)
    write_canonical(workspace, {"users": [person(birth_date="2015-01-01")]})
    with pytest.raises(EnrollSyncError, match="users: expect_column_values_to_be_dates for VAL-INVALID") as raised:
        validate(run_for(manifest_for("batch_upload"), place=workspace))
    assert "Zebulonia" not in str(raised.value)
    assert not workspace.findings.exists()


@pytest.mark.slow
def test_a_check_is_given_no_more_than_the_columns_it_looks_at(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations copies all columns of a batch several times a check, which took half of the time."""
    given: dict[str, list[str]] = {}
    engine = checking.PandasExecutionEngine
    load = engine.load_batch_data

    def noted(self: Any, batch_id: str, batch_data: Any) -> None:
        given[batch_id] = list(batch_data.columns)
        load(self, batch_id, batch_data)

    monkeypatch.setattr(engine, "load_batch_data", noted)
    check(users=[person()])
    assert given["grade"] == ["grade"] and given["record sound_grade"] == ["record", "sound_grade"]
    assert all(name == " ".join(columns) for name, columns in given.items())


@pytest.mark.slow
def test_which_rows_fail_is_not_worked_out_a_second_time(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    is_date = expectations.is_date

    def noted(*asked: Any) -> Any:
        looked.append(asked)
        return is_date(*asked)

    monkeypatch.setattr(expectations, "is_date", noted)
    assert brief(check(users=[person(birth_date="soon")])) == [("VAL-INVALID", "userBirthDate", 2)]
    assert len(looked) == 1


def test_every_canonical_identity_is_a_column_of_its_table() -> None:
    assert all(set(BY_NAME[name].identity) <= set(BY_NAME[name].columns) for name in BY_NAME)
