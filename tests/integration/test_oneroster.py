"""OneRoster as CSV, from delivery to roster: the sample set, what is the whole and what changed, roles, identifiers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from enrollsync.run.workspace import Workspace
from integration.test_settling import settle
from nightly import Nightly, add_up
from oneroster_files import (
    ENROLLMENTS,
    NAMES,
    ROLES,
    SESSIONS,
    USERS,
    delivery,
    enrolled,
    group,
    has,
    newer,
    user,
)

SAMPLE = {
    "academicSessions.csv": """\
sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear
001_S1,active,2012-04-23T18:25:43.511Z,S1,term,8/27/2018,12/20/2018,2019,2019
""",
    "classes.csv": """\
sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,termSourcedIds
C1,active,2012-04-23T18:25:43.511Z,Mathematics 5,5,10007,Math5,scheduled,Room M1,Sch_000002,267_FYT
C2,active,2012-04-23T18:25:43.511Z,Reading,"01,05",10005,Reading1,scheduled,Room T1,Sch_000001,267_FYT
C3,toBeDeleted,2012-04-23T18:25:43.511Z,Language Arts,PK,10006,Arts1,scheduled,Room T2,Sch_000001,267_FYT
""",
    "courses.csv": """\
sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,orgSourcedId
10005,active,2012-04-23T18:25:43.511Z,2019,Reading For Life,RL1,Summit
10006,active,2012-04-23T18:25:43.511Z,2019,Lang Arts For Life,LA1,Summit
10007,active,2012-04-23T18:25:43.511Z,2019,Math For Life,MA1,Summit
""",
    "enrollments.csv": """\
sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,,,
e1,active,2012-04-23T18:25:43.511Z,C1,Sch_S00002,14043,student,,,
e2,active,2012-04-23T18:25:43.511Z,C2,Sch_000001,14058,student,,,
""",
    "orgs.csv": """\
sourcedId,status,dateLastModified,name,type,identifier
Sch_000001,active,2012-04-23T18:25:43.511Z,Summit Middle School,school,
Sch_S00002,active,2012-04-23T18:25:43.511Z,Summit High,school,
Summit,active,2012-04-23T18:25:43.511Z,Summit District,district,
""",
    "users.csv": """\
sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,givenName,familyName,middleName,password,email
14043,active,2012-04-23T18:25:43.511Z,TRUE,Sch_000002,student,S1@summit.example,Joe,Smith,,secret1,S1@summit.example
14058,active,2012-04-23T18:25:43.511Z,FALSE,Sch_000001,student,S2@summit.example,Ann,Jones,Jon,secret1,S2@summit.example
""",
}
"""A dirty set as a vendor publishes it, shortened: a school and a term that are not there, a class that goes."""


@pytest.fixture
def on_sqlite(nightly: Nightly) -> Nightly:
    """A district whose source is OneRoster; its first nights are small, so that no limit holds them."""
    nightly.settings |= {"primary_source": "oneroster", "thresholds": {"floor": 100}}
    return nightly


def test_the_faults_of_a_dirty_set_are_findings_with_their_lines_and_the_rest_loads(on_sqlite: Nightly) -> None:
    result = on_sqlite.run(SAMPLE)
    assert result["outcome"] == "applied"
    add_up(result, organizations=3, users=2, memberships=2, classes=2, enrollments=2)
    assert on_sqlite.findings() == [
        ("REF-UNKNOWN", "classes.csv", 2), ("REF-UNKNOWN", "classes.csv", 3), ("REF-UNKNOWN", "classes.csv", 4),
        ("REF-UNKNOWN", "users.csv", 2),
    ]  # fmt: skip
    assert on_sqlite.view("users", "user_id, role, middle_name, status") == [
        ("14043", "student", None, "active"), ("14058", "student", "Jon", "inactive"),
    ]  # fmt: skip
    assert on_sqlite.view("classes", "class_id, course_code, course_name, grade, term") == [
        ("C2", "RL1", "Reading For Life", None, None)
    ]
    assert on_sqlite.again()["outcome"] == "in_sync"


def test_a_zip_of_a_set_loads_with_all_its_values_and_no_password_is_kept(on_sqlite: Nightly, tmp_path: Path) -> None:
    people = [*USERS, user("p3", identifier="D3", username="p.three", grades="KG", password="hunter2")]
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in delivery(users=people).items():
            archive.writestr(f"oneroster/{name}", content)
    assert on_sqlite.run(source=str(packed))["outcome"] == "applied"
    assert on_sqlite.view("organizations", "organization_id, type, status") == [
        ("D", "district", "active"), ("S1", "school", "active"), ("S2", "school", "active"),
    ]  # fmt: skip
    assert on_sqlite.view("users", "user_district_id, username, grade", "user_id = 'p3'") == [
        ("D3", "p.three", "Kindergarten")
    ]
    assert on_sqlite.roles("p2") == [("S1", "student", True, "active"), ("S2", "student", False, "active")]
    assert on_sqlite.view("classes", "course_name, subject, grade, period, term", "class_id = 'C1'") == [
        ("Algebra", "Math", "5", "3", "Fall; Spring")
    ]
    assert on_sqlite.view("enrollments", "user_id, role, is_primary", "class_id = 'C1'") == [
        ("p1", "student", 0), ("p2", "student", 0), ("t1", "teacher", 1),
    ]  # fmt: skip
    kept = [path for path in Path(on_sqlite.workspace).rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if b"hunter2" in path.read_bytes()]


def test_what_a_bulk_set_lacks_goes_but_for_classes_of_ended_terms(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery())
    result = on_sqlite.run(delivery(users=USERS[1:], classes=[group("C4")], enrollments=[enrolled("C4", "p2")]))
    assert result["outcome"] == "applied"
    assert on_sqlite.view("users", "user_id", "status = 'inactive'") == [("p1",)]
    assert on_sqlite.view("classes", "class_id", "status = 'inactive'") == [("C1",), ("C3",)]
    assert on_sqlite.again()["outcome"] == "in_sync"


@pytest.mark.parametrize(("terms", "gone"), [
    ("spring", ["C3"]), ("spring;fall", ["C1", "C3"]), ("fall,spring", ["C1", "C3"]), ("past", ["C3"]),
])  # fmt: skip
def test_a_class_of_several_terms_goes_when_the_set_covers_all_of_them(
    on_sqlite: Nightly, terms: str, gone: list[str]
) -> None:
    on_sqlite.begin(delivery())
    others = [group(f"N{number}", termSourcedIds=own) for number, own in enumerate(terms.split(";"))]
    result = on_sqlite.run(delivery(classes=others, enrollments=[enrolled("N0", "p1")]))
    assert result["outcome"] == "applied"
    assert on_sqlite.view("classes", "class_id", "status = 'inactive'") == [(name,) for name in gone]


@pytest.mark.parametrize("word", ["tobedeleted", "toBeDeleted", "TOBEDELETED", "inactive"])
def test_a_record_to_be_deleted_is_deactivated_with_its_links_in_any_spelling(on_sqlite: Nightly, word: str) -> None:
    on_sqlite.begin(delivery())
    gone = [user("p1", status=word, orgSourcedIds="nowhere"), *USERS[1:]]
    result = on_sqlite.run(delivery(users=gone, enrollments=[*ENROLLMENTS[:2], enrolled("C1", "t1", status=word)]))
    assert (result["outcome"], result["findings"]) == ("applied", {})
    assert on_sqlite.view("users", "user_id, status", "user_id IN ('p1', 't1')") == [
        ("p1", "inactive"), ("t1", "active"),
    ]  # fmt: skip
    assert on_sqlite.view("enrollments", "user_id, class_id", "status = 'active'") == [("p2", "C1")]
    back = on_sqlite.run(delivery())
    assert (back["outcome"], back["counts"]["users"]["reactivate"]) == ("applied", 1)


def test_somebody_who_is_not_enabled_loads_as_inactive_and_comes_back(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery(users=[user("p1", enabledUser="FALSE"), *USERS[1:]]))
    assert on_sqlite.view("users", "user_id", "status = 'inactive'") == [("p1",)]
    assert on_sqlite.run(delivery())["counts"]["users"]["reactivate"] == 1
    assert on_sqlite.view("enrollments", "class_id", "user_id = 'p1' AND status = 'active'") == [("C1",), ("C2",)]


def test_who_is_neither_enabled_nor_not_stays_as_they_are(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery(users=[user("p1", enabledUser="FALSE"), *USERS[1:]]))
    perhaps = [user(name, enabledUser="perhaps") for name in ("p1", "p2", "p9")]
    result = on_sqlite.run(delivery(users=[*perhaps, *USERS[2:]]))
    assert (result["outcome"], result["findings"]) == ("applied", {"VAL-INVALID": 3})
    assert on_sqlite.view("users", "user_id, status", "role = 'student'") == [
        ("p1", "inactive"), ("p2", "active"), ("p9", "active"),
    ]  # fmt: skip


@pytest.mark.parametrize(("role", "stored"), [
    ("administrator", "staff"), ("aide", "staff"), ("proctor", "staff"), ("Teacher", "teacher"), ("counselor", "staff"),
])  # fmt: skip
def test_roles_of_employees_are_staff(on_sqlite: Nightly, role: str, stored: str) -> None:
    on_sqlite.run(delivery(users=[*USERS, user("x", role=role)]), until="check")
    assert on_sqlite.accepted("users", "role", "user_id = 'x'") == [(stored,)]
    assert on_sqlite.accepted("memberships", "role", "user_source_key = 'x'") == [(stored,)]


def test_families_and_helpers_in_a_class_are_passed_over_and_told_an_unknown_role_is_rejected(
    on_sqlite: Nightly,
) -> None:
    family = [user("f1", role="Parent"), user("f2", role="guardian"), user("x", role="wizard")]
    helpers = [enrolled("C1", "t1", "aide"), enrolled("C1", "p1", "wizard")]
    result = on_sqlite.run(delivery(users=[*USERS, *family], enrollments=[*ENROLLMENTS[1:], *helpers]))
    add_up(result, users=4, memberships=5, enrollments=4)
    assert on_sqlite.findings() == [("VAL-ACTION", "enrollments.csv", 6), ("VAL-ACTION", "users.csv", 7)]
    assert result["findings"]["ROW-PASSED"] == 2
    told = (Path(on_sqlite.workspace) / "findings.csv").read_text()
    assert "lines of parents, guardians or relatives are passed over, 2 in all: 5, 6" in told
    assert "f1" not in told


# ---- what the manifest says ------------------------------------------------------------------------------------------

ALL_BULK = dict.fromkeys(NAMES, "bulk")
ALL_DELTA = dict.fromkeys(NAMES, "delta")


def test_in_a_delta_what_is_missing_stays_and_what_is_to_be_deleted_goes(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery(ALL_BULK))
    said = ALL_DELTA | {"orgs": "absent", "academicSessions": "absent", "courses": "absent"}
    changed = [user("p2", status="active", orgSourcedIds="S2,S1", givenName="New"), user("p3", status="active")]
    left = [enrolled("C1", "p1", status="ToBeDeleted"), enrolled("C1", "p3", status="active")]
    result = on_sqlite.run(delivery(said, users=changed, classes=[group("C2", status="tobedeleted")], enrollments=left))
    assert (result["outcome"], result["findings"]) == ("applied", {})
    assert on_sqlite.view("users", "user_id, given_name, status") == [
        ("p1", "Givenp1", "active"), ("p2", "New", "active"), ("p3", "Givenp3", "active"), ("t1", "Givent1", "active"),
    ]  # fmt: skip
    assert on_sqlite.view("classes", "class_id, term, status") == [
        ("C1", "Fall; Spring", "active"), ("C2", "Summer", "inactive"), ("C3", None, "active"),
    ]  # fmt: skip
    assert on_sqlite.view("enrollments", "class_id, user_id", "status = 'active'") == [
        ("C1", "p2"), ("C1", "p3"), ("C1", "t1"),
    ]  # fmt: skip
    assert on_sqlite.again()["outcome"] == "in_sync"


def test_who_moves_leaves_the_old_school_in_a_delta_unless_the_new_one_is_unknown(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery())
    said = dict.fromkeys(NAMES, "absent") | {"users": "delta"}
    moved = [user("p1", orgSourcedIds="S2"), user("p2", orgSourcedIds="S2,S9"), user("t1", orgSourcedIds="S9")]
    result = on_sqlite.run(delivery(said, users=moved[:2]))
    assert result["outcome"] == "applied"
    assert on_sqlite.roles("p1") == [("S1", "student", False, "inactive"), ("S2", "student", True, "active")]
    assert on_sqlite.roles("t1") == [("S1", "teacher", True, "active")]
    assert on_sqlite.again()["outcome"] == "in_sync"


def test_each_file_is_whole_or_a_delta_by_itself(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery(ALL_BULK))
    said = ALL_BULK | {"classes": "delta"}
    result = on_sqlite.run(delivery(said, users=[USERS[0], USERS[2]], classes=[], enrollments=ENROLLMENTS[:1]))
    assert result["outcome"] == "applied"
    assert on_sqlite.view("users", "user_id", "status = 'inactive'") == [("p2",)]
    assert on_sqlite.view("classes", "class_id", "status = 'active'") == [("C1",), ("C2",), ("C3",)]
    assert on_sqlite.view("enrollments", "class_id, user_id", "status = 'active'") == [("C1", "p1"), ("C2", "p1")]


def test_a_file_that_the_manifest_calls_absent_is_not_read_and_says_nothing(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery())
    files = delivery(ALL_BULK | {"enrollments": "absent"})
    result = on_sqlite.run(files | {"enrollments.csv": "classSourcedId,classSourcedId\n"})
    assert (result["outcome"], result["findings"]) == ("in_sync", {"FILE-IGNORED": 1})


def test_a_file_that_the_manifest_promises_and_nobody_sent_refuses_the_delivery(on_sqlite: Nightly) -> None:
    files = delivery(ALL_DELTA)
    del files["enrollments.csv"]
    result = on_sqlite.run(files, until="check")
    assert (result["outcome"], result["findings"]) == ("refused", {"FILE-MISSING": 1})


def test_a_manifest_may_say_how_many_rows_a_file_has_and_others_refuse_the_delivery(on_sqlite: Nightly) -> None:
    files = delivery(ALL_BULK)
    files["manifest.csv"] += "rows.users,1\n"
    result = on_sqlite.run(files, until="check")
    assert (result["outcome"], result["findings"]) == ("refused", {"FILE-INCOMPLETE": 1})


@pytest.mark.parametrize("word", ["", "full"])
def test_a_file_of_which_the_manifest_says_nothing_known_is_read_and_removes_nobody(
    on_sqlite: Nightly, word: str
) -> None:
    on_sqlite.begin(delivery())
    result = on_sqlite.run(delivery(ALL_BULK | {"users": word}, users=USERS[:1], enrollments=ENROLLMENTS[:1]))
    assert result["outcome"] == "applied"
    assert (result["findings"], result["counts"]["users"]["deactivate"]) == ({"FILE-LISTING": 1}, 0)


def test_a_manifest_that_speaks_of_no_file_means_the_whole_set(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery())
    result = on_sqlite.run(delivery({}, users=USERS[:2], enrollments=ENROLLMENTS[:2]))
    assert (result["outcome"], result["counts"]["users"]["deactivate"]) == ("applied", 1)


@pytest.mark.parametrize(("mode", "gone"), [("delta", 0), ("snapshot", 0)])
def test_a_delta_stays_one_whatever_the_district_says_of_its_files(on_sqlite: Nightly, mode: str, gone: int) -> None:
    on_sqlite.settings["source"] = {"path": str(on_sqlite.folder / "delivery"), "mode": mode}
    on_sqlite.begin(delivery(ALL_BULK))
    result = on_sqlite.run(delivery(ALL_DELTA, users=USERS[:2], enrollments=ENROLLMENTS[:1]))
    assert (result["outcome"], result["counts"]["users"]["deactivate"]) == ("in_sync", gone)


def test_what_one_source_does_not_read_is_told(on_sqlite: Nightly) -> None:
    result = on_sqlite.run(delivery() | {"demographics.csv": "sourcedId,sex\np1,x\n"}, until="check")
    assert (result["outcome"], result["findings"]) == ("checked", {"FILE-IGNORED": 1})


# ---- which column is the identifier ----------------------------------------------------------------------------------


def test_typed_user_ids_can_be_the_identifier_and_a_secondary_id(on_sqlite: Nightly) -> None:
    on_sqlite.settings["identifiers"] = {"columns": {"users": "userIds:SIS", "user_state_id": "userids:State ID"}}
    ids = [
        user("p1", userIds="{LDAP:x},{sis: 17 },{State ID:4711}"), user("p2", userIds="{State ID:4712}"),
        user("t1", role="teacher", userIds="{SIS:18}"),
    ]  # fmt: skip
    result = on_sqlite.run(delivery(users=ids))
    assert (result["outcome"], result["findings"]) == ("applied", {"ID-MISSING": 1})
    assert on_sqlite.view("users", "source_key, user_id, user_state_id") == [
        ("p1", "17", "4711"), ("p2", None, "4712"), ("t1", "18", None),
    ]  # fmt: skip
    assert on_sqlite.view("enrollments", "user_id, class_id", "user_id IS NOT NULL AND class_id = 'C1'") == [
        ("17", "C1"), ("18", "C1"),
    ]  # fmt: skip


# ---- 1.2: roles in a file of their own -------------------------------------------------------------------------------


def test_somebody_with_several_roles_in_several_schools_keeps_them_all(on_sqlite: Nightly) -> None:
    more = [
        *ROLES, has("t1", "districtAdministrator", "D", "secondary"), has("t1", "aide", "S1", "secondary"),
        has("t1", "parent", "S2", "secondary"), has("f1", "parent"), has("p1", "relative", "S2", "secondary"),
    ]  # fmt: skip
    result = on_sqlite.run(newer(roles=more, users=[*USERS, user("f1")]))
    assert (result["outcome"], result["findings"]) == ("applied", {"ROW-PASSED": 2})
    assert on_sqlite.view("users", "user_id, role") == [("p1", "student"), ("p2", "student"), ("t1", "teacher")]
    assert on_sqlite.roles("t1") == [
        ("D", "staff", False, "active"), ("S1", "staff", False, "active"), ("S1", "teacher", True, "active"),
    ]  # fmt: skip
    assert on_sqlite.again()["outcome"] == "in_sync"


def test_roles_come_and_go_one_by_one_in_a_delta(on_sqlite: Nightly) -> None:
    on_sqlite.begin(newer(roles=[*ROLES, has("t1", "aide", "S1", "secondary")]))
    said = dict.fromkeys(NAMES, "absent") | {"roles": "delta"}
    changed = [has("t1", "aide", "S1", "secondary", status="tobedeleted"), has("t1", "principal", "S2", "secondary")]
    result = on_sqlite.run(newer(said, roles=changed))
    assert (result["outcome"], result["findings"]) == ("applied", {})
    assert on_sqlite.roles("t1") == [
        ("S1", "staff", False, "inactive"), ("S1", "teacher", False, "active"), ("S2", "staff", True, "active"),
    ]  # fmt: skip


def test_a_delta_may_leave_the_role_of_known_people_to_the_roster_and_that_of_nobody_new(on_sqlite: Nightly) -> None:
    on_sqlite.begin(newer())
    said = dict.fromkeys(NAMES, "absent") | {"users": "delta", "roles": "delta"}
    people = [user("t1", givenName="New"), user("n1"), user("n2")]
    result = on_sqlite.run(newer(said, users=people, roles=[has("n2", "student")]))
    assert (result["outcome"], result["findings"]) == ("applied", {"PLAN-NO-ROLE": 1})
    assert on_sqlite.view("users", "user_id, given_name, role", "user_id IN ('t1', 'n1', 'n2')") == [
        ("n2", "Givenn2", "student"), ("t1", "New", "teacher"),
    ]  # fmt: skip


def test_the_manifests_version_tells_1_2_where_no_roles_are_delivered(on_sqlite: Nightly) -> None:
    on_sqlite.begin(newer())
    said = dict.fromkeys((*NAMES, "roles"), "absent") | {"users": "delta"}
    files = newer(said, users=[user("t1", givenName="New")])
    assert "roles.csv" not in files
    assert on_sqlite.run(files)["outcome"] == "applied"
    assert on_sqlite.view("users", "given_name, role", "user_id = 't1'") == [("New", "teacher")]


def test_a_delta_of_sessions_and_courses_that_lacks_a_classs_own_keeps_what_the_roster_has(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery())
    session = {**SESSIONS[0], "title": "Autumn"}
    result = on_sqlite.run(
        delivery(ALL_DELTA, classes=[group("C1", title="New")], academicSessions=[session], courses=[])
    )
    assert (result["outcome"], result["findings"]) == ("applied", {"REF-UNKNOWN": 2})
    assert on_sqlite.view("classes", "name, course_name, term", "class_id = 'C1'") == [
        ("New", "Algebra", "Fall; Spring")
    ]


def test_a_row_that_a_person_settles_brings_the_roles_that_stand_in_another_file(on_sqlite: Nightly) -> None:
    on_sqlite.begin(newer())
    another = user("t1", givenName="Nina", familyName="New", email="nina@demo.example")
    assert "PLAN-RECYCLED" in on_sqlite.run(newer(users=[*USERS[:2], another]))["findings"]
    (row,) = pq.read_table(Workspace(Path(on_sqlite.workspace)).waiting).to_pylist()
    assert settle(on_sqlite, row, same=False)["outcome"] == "applied"
    assert on_sqlite.view("users", "given_name, role, status", "role = 'teacher'") == [
        ("Givent1", "teacher", "inactive"), ("Nina", "teacher", "active"),
    ]  # fmt: skip
    assert ("S1", "teacher", True, "active") in on_sqlite.roles("t1")
