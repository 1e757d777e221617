"""Rule 9(b) for users, classes and organizations, lost zeros, and recycled identifiers that a person lets through."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from enrollsync import steps
from nightly import Nightly, add_up, as_csv, clever, faults, other, pupil, section, student, tutor

MATH = {"Name": "Math", "Course_number": "M1", "Course_name": "Math 1", "Period": "2", "Term_name": "Fall",
        "Term_start": "8/17/2026", "Term_end": "12/18/2026", "Subject": "math", "Grade": "5"}  # fmt: skip
SECTIONS = ("School_id,Section_id,Teacher_id,Teacher_2_id,Name,Course_number,Course_name,Period,Subject,Grade,"
            "Term_name,Term_start,Term_end")  # fmt: skip
SCHOOLS = [{"School_id": "S1", "School_name": "North"}, {"School_id": "S2", "School_name": "South"}]
PUPILS = [pupil(number) for number in range(1, 13)]


def courses(*sections: dict[str, str], **more: Any) -> dict[str, Any]:
    """A Clever set whose sections have courses; everybody attends the first of them."""
    enrollments = [(sections[0]["Section_id"], one["Student_id"]) for one in PUPILS]
    files = clever(PUPILS, enrollments=enrollments, **more)
    return files | {"sections.csv": as_csv(sections, SECTIONS)}


@pytest.fixture
def district(nightly: Nightly) -> Nightly:
    """A Clever district without anybody yet."""
    nightly.settings["primary_source"] = "clever"
    return nightly


# ---- lost zeros ---------------------------------------------------------------------------------


def test_a_person_whose_identifier_lost_its_zeros_waits(nightly: Nightly) -> None:
    known = [student("00300"), other(5, userId="00500"), other(6, userId="00600")]
    nightly.begin([*known, other(1)])
    # Nothing else changed; other values changed too; a stranger.
    rows = [
        student("300"), other(5, userId="0500", userFirstName="Else", userGrade="6"),
        other(6, userId="600", userFirstName="Bo", userLastName="Li", userEmail="", userBirthDate=""),
    ]  # fmt: skip
    result = nightly.run([*rows, other(2)])
    assert nightly.findings() == [("ID-LEADING-ZERO", "users.csv", line) for line in (2, 3, 4)]
    there = sorted((row["userId"], "active") for row in [*known, other(1), other(2)])
    assert nightly.view("users", "user_id, status") == there
    assert result["counts"]["users"] | {"held": 3, "create": 1} == result["counts"]["users"]
    add_up(result, users=4, memberships=4, enrollments=4)


@pytest.mark.parametrize("rows", [
    pytest.param([student("300"), student("00300", userEmail="twin@demo.example")], id="both are there"),
    pytest.param([student("300", userRole="teacher"), other(7, userId="3000"), other(8, userId="A300")],
                 id="another kind of person, zeros at the end, not a number"),
])  # fmt: skip
def test_nobody_lost_zeros_who_has_an_identifier_of_their_own(nightly: Nightly, rows: list[dict[str, str]]) -> None:
    nightly.begin([student("00300")])
    nightly.run(rows)
    assert "ID-LEADING-ZERO" not in {code for code, _, _ in nightly.findings()}


def test_classes_and_schools_whose_identifiers_lost_their_zeros_wait_with_what_hangs_on_them(nightly: Nightly) -> None:
    nightly.begin([student(schoolId="001", classId="007"), other(1, schoolId="002", classId="C2")])
    before = nightly.everything()
    result = nightly.run([student(schoolId="1", classId="7"), other(1, schoolId="002", classId="C2")])
    assert nightly.findings() == [("ID-LEADING-ZERO", "users.csv", 2)]
    assert nightly.everything() == before
    assert {entity: result["counts"][entity]["held"] for entity in ("organizations", "classes", "memberships")} == {
        "organizations": 1, "classes": 1, "memberships": 1,
    }  # fmt: skip
    nightly.run([student(schoolId="001", classId="7")])
    assert nightly.findings() == [("ID-LEADING-ZERO", "users.csv", 2)]
    assert nightly.everything() == before


def test_in_a_snapshot_what_lost_its_zeros_is_not_deactivated(district: Nightly) -> None:
    district.begin(clever([pupil(20, Student_id="0042"), *PUPILS]))
    result = district.run(clever([pupil(20, Student_id="42"), *PUPILS]))
    assert district.findings() == [("ID-LEADING-ZERO", "students.csv", 2)]
    assert district.view("users", "user_id, status", "user_id LIKE '%42'") == [("0042", "active")]
    assert district.view("enrollments", "status", "user_id = '0042'") == [("active",)]
    assert result["outcome"] == "in_sync"


# ---- classes ------------------------------------------------------------------------------------


def test_a_class_that_differs_in_its_identifier_alone_is_the_same_class(district: Nightly) -> None:
    district.begin(courses(section("X1", **MATH)))
    key = district.view("classes", "class_key")
    result = district.run(courses(section("Y1", **MATH)))
    assert result["counts"]["classes"] | {"reidentify": 1, "create": 0, "deactivate": 0} == result["counts"]["classes"]
    assert result["counts"]["enrollments"]["unchanged"] == 13
    assert district.view("classes", "class_key, class_id, source_key", "status = 'active'") == [(*key[0], "Y1", "Y1")]
    assert district.view("identifier_history", "entity, old_id, new_id") == [("classes", "X1", "Y1")]
    assert district.again()["outcome"] == "in_sync"


@pytest.mark.parametrize(("now", "more"), [
    pytest.param([section("Y1", **MATH | {"Subject": "science"})], {}, id="another value differs too"),
    pytest.param([section("Y1", **MATH), section("Y2", **MATH)], {}, id="two candidates"),
    pytest.param([section("Y1", Name="Math")], {"before": {"Name": "Math"}}, id="neither course nor period nor term"),
])  # fmt: skip
def test_a_class_that_might_be_another_one_waits(
    district: Nightly, now: list[dict[str, str]], more: dict[str, dict[str, str]]
) -> None:
    district.begin(courses(section("X1", **more.get("before", MATH))))
    result = district.run(courses(*now))
    assert {(code, file) for code, file, _ in district.findings()} == {("PLAN-AMBIGUOUS", "sections.csv")}
    assert district.view("classes", "class_id, status") == [("X1", "active")]
    assert {state for (state,) in district.view("enrollments", "status")} == {"active"}
    assert result["counts"]["classes"]["held"] == len(now)
    add_up(result, classes=len(now), enrollments=12 + len(now))


def test_a_class_of_another_schedule_is_a_new_class(district: Nightly) -> None:
    others: list[dict[str, str]] = [
        {"Term_name": "Spring", "Term_start": "1/4/2027", "Term_end": "6/11/2027"},
        {"Term_start": "8/16/2027", "Term_end": "12/17/2027"}, {"Period": "3"}, {"Course_number": "M2"},
    ]  # fmt: skip
    kept = [section(f"K{number}", **MATH) | {"Name": f"Kept {number}"} for number in range(4)]
    gone = [section(f"X{number}", **MATH) | {"Name": f"Gone {number}"} for number in range(4)]
    new = [one | {"Section_id": f"Y{number}"} | others[number] for number, one in enumerate(gone)]
    district.begin(courses(*kept, *gone))
    district.run(courses(*kept, *new), approve=True)
    states = dict(district.view("classes", "class_id, status"))
    assert {name: states[name] for name in ("Y0", "Y1", "Y2", "Y3")} == dict.fromkeys(
        ("Y0", "Y1", "Y2", "Y3"), "active"
    )
    assert "PLAN-AMBIGUOUS" not in {code for code, _, _ in district.findings()}


def test_a_class_of_other_people_is_a_new_class(district: Nightly) -> None:
    teachers = [tutor("T1"), tutor("T2")]
    kept = section("K1", **MATH | {"Name": "Kept"})
    district.begin(courses(kept, section("X1", **MATH), teachers=teachers))
    district.run(courses(kept, section("Y1", **MATH) | {"Teacher_id": "T2"}, teachers=teachers))
    assert dict(district.view("classes", "class_id, status")) == {"K1": "active", "X1": "inactive", "Y1": "active"}


# ---- organizations ------------------------------------------------------------------------------


def moved(number: int, school: str) -> dict[str, str]:
    return pupil(number, School_id=school)


def test_a_school_that_differs_in_its_identifier_alone_keeps_people_and_classes(district: Nightly) -> None:
    district.begin(clever([moved(n, "S1") for n in range(1, 13)], schools=SCHOOLS))
    key = district.view("organizations", "organization_key", "organization_id = 'S1'")
    renamed = [{"School_id": "N1", "School_name": "North"}, SCHOOLS[1]]
    files = clever(
        [moved(n, "N1") for n in range(1, 13)], schools=renamed, sections=[section("X1") | {"School_id": "N1"}],
        teachers=[tutor("T1") | {"School_id": "N1"}],
    )  # fmt: skip
    result = district.run(files)
    assert result["outcome"] == "applied"
    assert {entity: numbers["unchanged"] for entity, numbers in result["counts"].items()} == {
        "organizations": 1, "users": 13, "memberships": 13, "classes": 1, "enrollments": 13,
    }  # fmt: skip
    assert result["counts"]["organizations"]["reidentify"] == 1
    assert district.view("organizations", "organization_key", "organization_id = 'N1'") == key
    assert district.view("identifier_history", "entity, old_id, new_id") == [("organizations", "S1", "N1")]
    assert district.again()["outcome"] == "in_sync"


def test_a_school_and_a_person_may_change_identifiers_in_one_night(nightly: Nightly) -> None:
    nightly.begin([student("300"), other(1), other(2)])
    result = nightly.run([student("301", schoolId="N1"), other(1, schoolId="N1"), other(2, schoolId="N1")])
    assert {entity: numbers["reidentify"] for entity, numbers in result["counts"].items()} == {
        "organizations": 1, "users": 1, "memberships": 0, "classes": 0, "enrollments": 0,
    }  # fmt: skip
    assert nightly.view("memberships", "user_id, organization_id, status") == [
        ("301", "N1", "active"), ("u1", "N1", "active"), ("u2", "N1", "active"),
    ]  # fmt: skip
    assert nightly.again()["outcome"] == "in_sync"


def test_a_school_that_is_merely_called_the_same_waits(nightly: Nightly) -> None:
    nightly.begin([student()])
    before = nightly.everything()
    result = nightly.run([other(1, schoolId="N1", classId="C9", className="Art")])
    assert nightly.findings() == [("PLAN-AMBIGUOUS", "users.csv", 2)]
    after = nightly.everything()
    assert after["organizations"] == before["organizations"]
    assert after["classes"] == before["classes"]
    add_up(result, organizations=1, users=1, memberships=1, classes=1, enrollments=1)


# ---- people, beyond test_identifier_rules -------------------------------------------------------


def test_who_gives_an_identifier_up_to_somebody_new_keeps_everything_and_an_undo_restores_both(
    nightly: Nightly,
) -> None:
    district = nightly
    district.begin([student("300"), other(1), other(2)])
    before, key = district.everything(), dict(district.view("users", "user_id, user_key"))["300"]
    rows = [student("301"), other(9) | {"userId": "300"}, other(1) | {"userId": "u2"}, other(2) | {"userId": "u1"}]
    result = district.run(rows)
    assert result["counts"]["users"] | {"reidentify": 3, "create": 1, "held": 0} == result["counts"]["users"]
    assert result["findings"] == {}
    add_up(result, users=4, memberships=4, enrollments=4)
    assert district.view("users", "user_id, given_name") == [
        ("300", "Given9"), ("301", "Leena"), ("u1", "Given2"), ("u2", "Given1"),
    ]  # fmt: skip
    assert dict(district.view("users", "user_id, user_key"))["301"] == key
    assert district.view("enrollments", "user_id", f"user_key = {key}") == [("301",)]
    assert district.view("identifier_history", "old_id, new_id") == [("300", "301"), ("u1", "u2"), ("u2", "u1")]
    assert district.run(rows[::-1])["outcome"] == "in_sync"
    assert district.undo(result["run_id"])["outcome"] == "undone"
    assert district.everything() == before


def test_a_changed_identifier_under_its_own_source_key_is_a_plain_change(district: Nightly) -> None:
    district.settings["identifiers"] = {"columns": {"students": "Student_number"}}
    people = [pupil(n, Student_number=f"N{n}") for n in range(1, 13)]
    district.begin(clever(people))
    result = district.run(clever([pupil(1, Student_number="M1", Grade="6"), *people[1:]]))
    assert result["counts"]["users"] | {"reidentify": 1, "update": 0, "create": 0} == result["counts"]["users"]
    assert district.view("users", "user_id", "source_key = 'student:p-1'") == [("M1",)]


def test_rule_4_an_identifier_that_was_withheld_and_comes_back_is_explained_without_a_row_of_history(
    district: Nightly,
) -> None:
    district.settings["identifiers"] = {"columns": {"students": "Student_number"}}
    rest = [pupil(n, Student_number=f"N{n}") for n in range(3, 13)]

    def night(one: str, two: str) -> Any:
        return district.run(clever([pupil(1, Student_number=one), pupil(2, Student_number=two), *rest]))

    night("N1", "N2")
    assert night("N2", "N2")["findings"]["ID-WITHHELD"] == 2
    lost = [("users", "N1", None), ("users", "N2", None)]
    assert district.view("identifier_history", "entity, old_id, new_id") == lost
    assert night("N1", "M2")["findings"] == {}
    assert district.view("identifier_history", "entity, old_id, new_id") == lost
    for identifier, source_key, new in (("N1", "student:p-1", "N1"), ("N2", "student:p-2", "M2")):
        (record,) = steps.explain(district.district, "user", identifier)["records"]
        assert (record["source_key"], record["identifier"]) == (source_key, new)
        told = [(event["before"]["user_id"], event["after"]["user_id"]) for event in record["life"][:2]]
        assert told == [(None, new), (identifier, None)]


LEENA = {"userBirthDate": "", "userEmail": "home@demo.example"}


def test_rule_9_an_email_shared_with_an_employee_is_a_strong_value(nightly: Nightly) -> None:
    parent = other(1) | {"userRole": "teacher", "userEmail": "home@demo.example"}
    nightly.begin([student("300", **LEENA), parent])
    result = nightly.run([student("301", **LEENA), parent])
    assert result["counts"]["users"] | {"reidentify": 1, "create": 0} == result["counts"]["users"]
    assert nightly.view("users", "user_id") == [("301",), ("u1",)]


@pytest.mark.parametrize("delivered", [True, False], ids=["in the batch", "in the roster alone"])
def test_rule_9_an_email_that_clashes_is_no_strong_value_and_the_row_waits(nightly: Nightly, delivered: bool) -> None:
    sibling = other(1) | {"userEmail": "home@demo.example"}
    nightly.begin([student("300", **LEENA), sibling])
    result = nightly.run([student("301", **LEENA), *([sibling] if delivered else [])])
    assert result["counts"]["users"]["held"] == 1 and result["findings"]["PLAN-AMBIGUOUS"] == 1
    assert nightly.view("users", "user_id, status") == [("300", "active"), ("u1", "active")]


# ---- recycled identifiers that a person lets through --------------------------------------------

BO = {"userFirstName": "Bo", "userLastName": "Li", "userEmail": "bo@demo.example"}


def release(district: Nightly, files: Any = None, *, apply: bool = True) -> dict[str, Any]:
    """A night with `sync --release`."""
    if files is not None:
        district.deliver(files)
    number = next(district._numbers)
    district.workspace = steps.start(
        district.district, run_id=f"run-{number:03}", as_of=datetime(2026, 11, 23, 7, tzinfo=UTC),
        source=str(district.folder / "delivery"), release=True,
    )  # fmt: skip
    steps.ingest(district.workspace)
    steps.validate(district.workspace)
    if steps.plan(district.workspace)["outcome"] == "planned" and apply:
        steps.load(district.workspace)
    return steps.report(district.workspace)


def why_gone(district: Nightly) -> list[tuple[Any, ...]]:
    """Reason, file and line of every deactivation there was."""
    query = "SELECT reason, file, line FROM changes WHERE operation = 'deactivate'"
    return [tuple(row.values()) for row in district.query(district.database_url, query)]


def test_rule_10_released_a_new_record_takes_the_identifier_and_the_old_one_keeps_its_history(
    nightly: Nightly,
) -> None:
    district = nightly
    district.begin([student("300", userStateId="9"), other(1)])
    old = dict(district.view("users", "user_id, user_key"))["300"]
    rows = [student("300", classId="C2", className="Art", **BO), other(1)]
    assert district.run(rows)["counts"]["users"]["held"] == 1
    result = release(district)
    assert result["outcome"] == "applied"
    assert result["counts"]["users"] | {"create": 1, "deactivate": 1, "held": 0} == result["counts"]["users"]
    add_up(result, users=2, memberships=2, enrollments=2)
    assert district.view("users", "user_id, given_name, status, user_state_id") == [
        ("300", "Bo", "active", None), ("u1", "Given1", "active", None), (None, "Leena", "inactive", "9"),
    ]  # fmt: skip
    assert district.view("enrollments", "class_id, user_id, status", f"user_key = {old}") == [("C1", None, "inactive")]
    assert district.view("memberships", "user_id, status", f"user_key = {old}") == [(None, "inactive")]
    assert why_gone(district) == [("its identifier is somebody else's now", "users.csv", 2)] * 3
    assert district.view("enrollments", "class_id", "user_id = '300'") == [("C2",)]
    assert district.view("identifier_history", "entity, old_id, new_id") == [("users", "300", None)]
    assert district.run()["outcome"] == "in_sync"


def test_rule_10_released_in_a_snapshot_the_old_links_become_inactive(district: Nightly) -> None:
    district.begin(clever(PUPILS))
    old = dict(district.view("users", "user_id, user_key"))["p-1"]
    bo = pupil(1, First_name="Bo", Last_name="Li", DOB="5/6/2013", Student_email="bo@demo.example")
    result = release(district, clever([bo, *PUPILS[1:]]))
    assert result["outcome"] == "applied"
    assert district.view("enrollments", "status", f"user_key = {old}") == [("inactive",)]
    assert district.view("memberships", "status", f"user_key = {old}") == [("inactive",)]
    assert why_gone(district) == [("its identifier is somebody else's now", "students.csv", 2)] * 3
    assert district.view("enrollments", "status", "user_id = 'p-1'") == [("active",)]
    add_up(result, users=13, memberships=13, enrollments=13)
    assert district.run()["outcome"] == "in_sync"


def test_rule_10_a_released_row_that_is_almost_somebody_known_waits_all_the_same(nightly: Nightly) -> None:
    nightly.begin([student("1"), other(2)])
    before = nightly.view("users", "user_id, given_name, status")
    result = release(nightly, [student("u2", userEmail="new@demo.example")])
    assert (result["outcome"], faults(result)) == ("in_sync", {"PLAN-AMBIGUOUS": 1})
    assert nightly.view("users", "user_id, given_name, status") == before


def test_rule_10_an_inactive_record_gives_its_identifier_up_too(district: Nightly) -> None:
    district.begin(clever(PUPILS))
    district.run(clever(PUPILS[:-1]))
    bo = pupil(12, First_name="Bo", Last_name="Li", DOB="5/6/2013", Student_email="bo@demo.example")
    assert release(district, clever([*PUPILS[:-1], bo]))["outcome"] == "applied"
    assert district.view("users", "user_id, status", "given_name IN ('Bo', 'Given12')") == [
        ("p-12", "active"), (None, "inactive"),
    ]  # fmt: skip


def test_a_release_takes_no_short_cut_and_lets_nothing_else_through(nightly: Nightly) -> None:
    nightly.begin([student("300"), other(1)])
    rows = [student("300", **BO), other(2) | {"userId": "u9"}, other(1) | {"userId": "u8", "userGrade": "6"}]
    nightly.run(rows, force=False)
    assert nightly.run(force=False)["outcome"] == "in_sync"
    result = release(nightly)
    assert (result["outcome"], faults(result)) == ("applied", {"PLAN-AMBIGUOUS": 1})
    assert nightly.view("users", "user_id") == [("300",), ("u1",), ("u9",), (None,)]


# ---- rule 7 beyond the batch --------------------------------------------------------------------


HELD_AND_BROUGHT: list[tuple[bool, dict[str, str], dict[str, str], tuple[str | None, str | None]]] = [
    (True, {"userStateId": "9"}, {"userStateId": "9"}, (None, None)),
    (False, {"userDistrictId": "8"}, {"userDistrictId": "8"}, (None, None)),
    (True, {"userDistrictId": "7"}, {"userStateId": "7"}, (None, "7")),
    (False, {"userEmail": "leena@demo.example"}, {"userEmail": "LEENA@demo.example"}, (None, None)),
    (True, {"userEmail": "bo@demo.example"}, {"userEmail": "bo@demo.example", "userRole": "teacher"}, (None, None)),
]
"""Whether who brings a value is known already; what somebody else has, what is brought, what is stored of it."""


def test_rule_7_in_a_delta_what_somebody_has_who_is_only_in_the_roster_is_stored_for_nobody_else(
    nightly: Nightly,
) -> None:
    holders = [other(10 + n, **held) for n, (_, held, _, _) in enumerate(HELD_AND_BROUGHT)]
    brought = [other(20 + n, **values) for n, (_, _, values, _) in enumerate(HELD_AND_BROUGHT)]
    known = [
        other(20 + n, userRole=values.get("userRole", "student"))
        for n, (is_known, _, values, _) in enumerate(HELD_AND_BROUGHT)
        if is_known
    ]
    told, ids = "user_id, user_district_id, user_state_id, email", "user_id LIKE 'u1%'"
    nightly.begin([*holders, *known])
    before = nightly.view("users", told, ids)
    result = nightly.run(brought)
    found = {"SEC-DUPLICATE": 2, "VAL-EMAIL-DUPLICATE": 1}
    assert faults(result) == found
    assert nightly.view("users", "user_id, user_district_id, user_state_id", "user_id LIKE 'u2%'") == [
        (f"u{20 + n}", *stored) for n, (*_, stored) in enumerate(HELD_AND_BROUGHT)
    ]
    emails = dict(nightly.view("users", "user_id, email"))
    assert [emails[row["userId"]] for row in brought] == [row["userEmail"] for row in brought]
    assert nightly.view("users", told, ids) == before
    again = nightly.again()
    assert (again["outcome"], faults(again)) == ("in_sync", found)


def test_rule_7_what_the_holder_himself_says_is_no_clash(nightly: Nightly) -> None:
    nightly.begin([other(n, userStateId=str(n)) for n in (1, 2, 3)])
    # The same row; under a new identifier; handed over.
    rows = [other(1, userStateId="1", userGrade="6"), other(2, userId="u8", userStateId="2"),
            other(3, userStateId="9"), other(4, userStateId="3")]  # fmt: skip
    assert nightly.run(rows)["findings"] == {}
    assert nightly.view("users", "user_id, user_state_id") == [("u1", "1"), ("u3", "9"), ("u4", "3"), ("u8", "2")]


# ---- many new identifiers at once ---------------------------------------------------------------

FORTY = [pupil(number) for number in range(1, 41)]


def rekeyed(people: list[dict[str, str]], **values: str) -> list[dict[str, str]]:
    return [one | values | {"Student_id": f"new-{one['Student_id']}"} for one in people]


def codes_of(result: dict[str, Any]) -> set[str]:
    return {hold["code"] for hold in result["holds"]}


@pytest.mark.parametrize("kept", [0, 15])
def test_many_people_with_new_identifiers_and_another_value_hold_the_plan_with_a_proposal(
    district: Nightly, kept: int
) -> None:
    district.begin(clever(FORTY))
    before = district.everything()
    now = clever([*FORTY[:kept], *rekeyed(FORTY[kept:], Grade="6")])
    result = district.run(now)
    assert result["outcome"] == "held"
    assert "GUARD-REKEYED" in codes_of(result)
    proposal = Path(district.workspace) / "id_changes.csv"
    assert proposal.stat().st_mode & 0o077 == 0
    lines = proposal.read_text().splitlines()
    assert lines[0] == "entity,old_id,new_id"
    assert set(lines[1:]) == {f"user,{one['Student_id']},new-{one['Student_id']}" for one in FORTY[kept:]}
    assert district.everything() == before
    settled = district.run(now | {"id_changes.csv": proposal.read_text()}, approve=True)
    assert settled["counts"]["users"] | {"reidentify": 40 - kept, "held": 0} == settled["counts"]["users"]
    assert settled["counts"]["enrollments"] | {"create": 0, "deactivate": 0} == settled["counts"]["enrollments"]
    assert district.again()["outcome"] == "in_sync"


def test_people_and_classes_that_are_rekeyed_together_are_proposed_together(district: Nightly) -> None:
    sections = [section(f"X{n}", **MATH | {"Period": str(n)}) for n in range(25)]
    pairs = [(f"X{n % 25}", one["Student_id"]) for n, one in enumerate(FORTY)]
    district.begin(clever(FORTY, enrollments=pairs) | {"sections.csv": as_csv(sections, SECTIONS)})
    new_sections = [one | {"Section_id": f"Y{one['Section_id']}", "Teacher_id": "T9"} for one in sections]
    files = clever(
        rekeyed(FORTY, Grade="6"), enrollments=[(f"Y{one}", f"new-{two}") for one, two in pairs], teachers=[tutor("T9")]
    )
    result = district.run(files | {"sections.csv": as_csv(new_sections, SECTIONS)})
    assert "GUARD-REKEYED" in codes_of(result)
    lines = (Path(district.workspace) / "id_changes.csv").read_text().splitlines()[1:]
    assert [sum(line.startswith(entity) for line in lines) for entity in ("user,", "class,")] == [40, 25]


def test_many_people_who_only_have_new_identifiers_are_simply_reidentified(district: Nightly) -> None:
    district.begin(clever(FORTY))
    result = district.run(clever(rekeyed(FORTY)))
    assert codes_of(result) == {"GUARD-UPDATE"}
    assert not (Path(district.workspace) / "id_changes.csv").exists()
    assert result["counts"]["users"] | {"reidentify": 40, "create": 0} == result["counts"]["users"]


@pytest.mark.parametrize("people", [
    pytest.param([*FORTY[:21], *rekeyed(FORTY[21:], Grade="6")], id="fewer than twenty"),
    pytest.param([pupil(number) for number in range(101, 141)], id="other people"),
])  # fmt: skip
def test_fewer_or_other_people_are_no_proposal(district: Nightly, people: list[dict[str, str]]) -> None:
    district.begin(clever(FORTY))
    assert "GUARD-REKEYED" not in codes_of(district.run(clever(people)))
    assert not (Path(district.workspace) / "id_changes.csv").exists()


def test_identifiers_that_all_lost_their_zeros_are_no_proposal(district: Nightly) -> None:
    numbered = [one | {"Student_id": f"00{100 + number}"} for number, one in enumerate(FORTY)]
    district.begin(clever(numbered))
    result = district.run(clever([one | {"Student_id": one["Student_id"][2:], "Grade": "6"} for one in numbered]))
    assert (result["outcome"], faults(result)) == ("in_sync", {"ID-LEADING-ZERO": 40})
