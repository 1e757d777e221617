"""What a review found: every bug, as a night that once went wrong."""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from enrollsync import steps
from enrollsync.cli import app
from enrollsync.database import Store, migrations, open_store
from enrollsync.words.errors import DatabaseError
from nightly import BATCH_HEADER, Nightly, as_csv, clever, other, pupil, section, student, tutor

TWELVE = [pupil(number) for number in range(1, 13)]
SCHOOLS = [{"School_id": "S1", "School_name": "North"}, {"School_id": "S2", "School_name": "South"}]


@pytest.fixture
def district(nightly: Nightly) -> Nightly:
    """A Clever district that nothing holds back."""
    nightly.settings |= {"primary_source": "clever", "thresholds": {"deactivate_percent": 100, "update_percent": 100}}
    return nightly


def status(district: Nightly, user_id: str) -> str:
    ((state,),) = district.view("users", "status", f"user_id = '{user_id}'")
    return str(state)


def test_a_line_cut_before_its_password_does_not_deactivate_its_student(district: Nightly) -> None:
    header = "School_id,Student_id,Last_name,First_name,Password"
    rows = [pupil(number, Password="x") for number in range(1, 13)]
    files = clever(TWELVE) | {"students.csv": as_csv(rows, header)}
    district.begin(files)
    files["students.csv"] = as_csv(rows[1:], header) + "S1,p-1\n" + as_csv(rows[:0], header).split("\n", 1)[1]
    files["students.csv"] += "S1,p-99,New,Person,x\n"
    district.run(files)
    assert status(district, "p-1") == "active"


def test_a_damaged_word_next_to_the_identifier_does_not_hide_it(district: Nightly) -> None:
    files = clever(TWELVE)
    district.begin(files)
    files["students.csv"] = files["students.csv"].replace(
        "S1,p-1,,,Family1,Given1,5,1/2/2014,pupil1@demo.example", 'S1,p-1 bad"'
    )
    district.run(files)
    assert status(district, "p-1") == "active"


def test_a_rejected_row_that_says_the_old_identifier_leaves_the_plan_empty_the_next_night(district: Nightly) -> None:
    district.begin(clever(TWELVE, teachers=[tutor("T5", First_name="Ann")], sections=[section("X1", Teacher_id="T5")]))
    changed = clever(TWELVE, teachers=[tutor("T6", First_name="Ann", Teacher_email="t5@demo.example")],
                     sections=[section("X1", Teacher_id="T5")])  # fmt: skip
    first = district.run(changed)
    assert first["counts"]["users"]["reidentify"] == 1
    before = district.everything()
    assert district.again()["outcome"] == "in_sync"
    assert district.everything() == before


def test_who_left_is_deactivated_although_another_row_waits_for_the_identifier(district: Nightly) -> None:
    students = [pupil(number, Student_number=str(number)) for number in range(1, 13)]
    district.settings["identifiers"] = {"columns": {"students": "Student_number"}}
    district.begin(clever(students))
    newcomer = pupil(30, Student_number="5")
    district.run(clever([one for one in students if one["Student_id"] != "p-5"] + [newcomer]))
    assert district.view("users", "status", "source_key = 'student:p-5'") == [("inactive",)]


def test_an_optional_file_that_is_not_delivered_removes_nobody(district: Nightly) -> None:
    staff = as_csv(
        [{"School_id": "S1", "Staff_id": "A1", "Last_name": "Li", "First_name": "Bo"}],
        "School_id,Staff_id,Last_name,First_name",
    )
    district.begin(clever(TWELVE) | {"staff.csv": staff})
    assert district.run(clever(TWELVE))["outcome"] == "in_sync"
    assert status(district, "A1") == "active"


def test_a_rejected_line_protects_no_stranger(district: Nightly) -> None:
    schools = [{"School_id": "12", "School_name": "North"}]
    people = [pupil(number, School_id="12", Student_id=str(number)) for number in range(1, 13)]
    sections = [section("X1", School_id="12")]
    teachers = [tutor("T1", School_id="12")]
    district.begin(clever(people, teachers, sections, schools=schools))
    files = clever(people[:11], teachers, sections, schools=schools)
    files["students.csv"] += "12,99,,\n12,40,,,New,Person,5,,\n"
    district.run(files)
    assert status(district, "12") == "inactive"


def test_there_is_one_active_primary_school_for_each_person(district: Nightly) -> None:
    district.begin(clever([*TWELVE[:11], pupil(12, School_id="S2")], schools=SCHOOLS))
    files = clever(TWELVE, schools=SCHOOLS)
    files["students.csv"] += "S2,p-12,x\nS1,p-50,,,New,Person,5,,\n"
    district.run(files)
    rows = district.view("memberships", "organization_id, is_primary", "user_id = 'p-12' AND status = 'active'")
    assert [name for name, primary in rows if primary] == ["S1"]


def test_a_staff_upload_never_changes_what_the_primary_source_brought(district: Nightly) -> None:
    people = [pupil(number, Student_id=str(number)) for number in range(1, 13)]
    district.begin(clever(people))
    before = district.everything()
    upload = {"classId": "X1", "className": "", "userBirthDate": "", "userEmail": ""}
    rows = [
        student("5", userRole="staff", userFirstName="Bo", userLastName="Li", **upload),
        student("T1", userRole="teacher", userFirstName="Ann", userLastName="Other", **upload),
    ]
    result = district.run(rows)
    assert district.everything() == before
    assert result["outcome"] == "in_sync"
    assert district.run(clever(people))["outcome"] == "in_sync"


def test_settings_of_the_primary_source_do_not_speak_of_an_upload(district: Nightly) -> None:
    district.settings["source"] = {"path": "x", "mode": "snapshot"}
    district.settings["identifiers"] = {"columns": {"students": "Student_id"}}
    district.begin([other(1, userRole="staff", classId=""), other(2, userRole="staff", classId="")])
    district.run([other(1, userRole="staff", classId="")])
    assert district.view("users", "user_id, status") == [("u1", "active"), ("u2", "active")]


def test_removing_a_class_by_upload_is_for_the_primary_source(district: Nightly) -> None:
    district.begin(clever(TWELVE))
    district.run([{"action": "REMOVE-CLASS", "schoolId": "S1", "classId": "X1"}])
    assert district.findings() == [("ROW-STAFF-ONLY", "users.csv", 2)]
    assert district.view("classes", "status") == [("active",)]


def test_a_nine_digit_school_is_masked_where_the_guard_names_it(nightly: Nightly) -> None:
    nightly.settings |= {"thresholds": {"update_percent": 0, "floor": 1}}
    rows = [other(number, schoolId="123456789") for number in range(10)]
    nightly.begin(rows)
    result = nightly.run([row | {"userGrade": "6"} for row in rows])
    assert any("users of North (*****6789)" in hold["message"] for hold in result["holds"])
    for name in ("run.json", "report.html", "report.json", "findings.csv", "plan/plan.json"):
        assert "123456789" not in (Path(nightly.workspace) / name).read_text()


def test_a_row_that_waits_is_told_under_the_files_own_column(nightly: Nightly) -> None:
    nightly.begin([student("300")])
    nightly.run([student("301", userEmail="other@demo.example")])
    lines = (Path(nightly.workspace) / "findings.csv").read_text().splitlines()[1:]
    (found,) = [line for line in lines if "ROW-WAITS" not in line]
    assert found.startswith("warning,PLAN-AMBIGUOUS,users.csv,2,userId,")


def test_a_file_without_a_header_line_shows_no_child(nightly: Nightly) -> None:
    result = nightly.run({"users.csv": as_csv([student()], ",".join(BATCH_HEADER)).split("\n", 1)[1]})
    assert result["outcome"] == "refused"
    assert "Leena" not in result["message"] and "leena@" not in result["message"]


def test_what_hangs_on_a_school_that_waits_waits_too(nightly: Nightly) -> None:
    nightly.begin([student(), other(1)])
    result = nightly.run([other(5, schoolId="S9", classId="C9")])
    assert nightly.findings() == [("PLAN-AMBIGUOUS", "users.csv", 2)]
    assert {entity: numbers["held"] for entity, numbers in result["counts"].items()} == {
        "organizations": 1, "users": 0, "memberships": 1, "classes": 1, "enrollments": 1,
    }  # fmt: skip


@pytest.fixture
def enrollsync(nightly: Nightly) -> Callable[..., Result]:
    """The command on the district's database."""

    def run(command: str, *arguments: str) -> Result:
        return CliRunner().invoke(app, [command, "--district", nightly.district, *arguments])

    return run


def test_a_database_that_cannot_be_read_fails_the_plan_with_the_message(
    nightly: Nightly, enrollsync: Callable[..., Result]
) -> None:
    nightly.deliver([student()])
    with open_store(nightly.database_url).backend.connect(write=True).begin() as connection:
        connection.exec_driver_sql(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '0001'")
    planned = enrollsync("plan", "--json")
    told = json.loads(planned.stdout)
    assert (planned.exit_code, told["outcome"]) == (5, "failed")
    assert "its schema 0001 is old" in told["message"]
    assert steps.result(told["artifacts"])["outcome"] == "failed"


def test_a_sync_that_could_not_read_the_database_is_remembered_as_failed(
    nightly: Nightly, enrollsync: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> int:
        raise DatabaseError("database demo: the connection was lost")

    nightly.deliver([student()])
    monkeypatch.setattr(Store, "export", broken)
    assert enrollsync("sync", "--json").exit_code == 5
    (run,) = open_store(nightly.database_url).runs("demo")
    assert (run["outcome"], run["message"]) == ("failed", "database demo: the connection was lost")


def test_who_lets_recycled_identifiers_through_is_remembered(
    nightly: Nightly, enrollsync: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "pat")
    for rows in ([student("300"), other(1)], [other(2, userId="300"), other(1)]):
        nightly.deliver(rows)
        assert enrollsync("sync", "--release").exit_code == 0
    assert enrollsync("sync", "--release").exit_code == 0
    nightly.deliver([other(3)])
    assert enrollsync("sync").exit_code == 0
    runs = [(run["outcome"], run["approved_by"]) for run in open_store(nightly.database_url).runs("demo")]
    assert runs == [("applied", None), ("in_sync", None), ("applied", "pat"), ("applied", "pat")]
    assert nightly.view("identifier_history", "old_id, changed_by") == [("300", "pat")]


def test_a_header_only_file_waits_once_and_not_for_ever(district: Nightly) -> None:
    district.begin(clever(TWELVE))
    empty = clever(TWELVE, enrollments=[])
    assert district.run(empty)["outcome"] == "held"
    assert district.run(empty, approve=True)["outcome"] == "applied"
    assert district.run(empty)["outcome"] == "in_sync"


def test_a_run_that_was_overtaken_by_its_like_is_in_sync(nightly: Nightly) -> None:
    nightly.run([student()], until="plan")
    late = Path(nightly.workspace)
    manifest = steps.Workspace(late).read()
    steps.Workspace(late).write(manifest.model_copy(update={"dry_run": False}))
    nightly.run([student()])
    steps.load(str(late))
    assert steps.result(str(late))["outcome"] == "in_sync"


def test_the_class_that_a_row_removes_is_not_held(nightly: Nightly) -> None:
    nightly.begin([student(), other(1, classId="C2")])
    result = nightly.run([student(action="REMOVE-CLASS"), other(3), other(4)])
    assert result["counts"]["classes"]["held"] == 0


def test_the_same_teacher_named_twice_stays_the_primary_one(district: Nightly) -> None:
    district.begin(clever(TWELVE, sections=[section("X1", Teacher_2_id="T1")]))
    ((primary,),) = district.view("enrollments", "is_primary", "role = 'teacher'")
    assert bool(primary)


def test_an_identifier_column_of_the_districts_own_is_read_in_any_case(district: Nightly) -> None:
    district.settings["identifiers"] = {"columns": {"students": "LOCAL_ID"}}
    files = clever(TWELVE[:1])
    rows = [pupil(1, LOCAL_ID="L-1")]
    files["students.csv"] = as_csv(rows, "School_id,Student_id,Last_name,First_name,LOCAL_ID")
    district.begin(files)
    assert ("L-1",) in district.view("users", "user_id")
    district.settings["identifiers"] = {"columns": {"students": "student_number"}}
    files["students.csv"] = as_csv(
        [pupil(1, Student_number="N-1")], "School_id,Student_id,Student_number,Last_name,First_name"
    )
    district.run(files)
    assert ("N-1",) in district.view("users", "user_id")


def test_an_identifier_column_of_any_name_serves_from_ingest_to_quarantine(district: Nightly) -> None:
    name = """the "ID", o'clock"""
    district.settings["identifiers"] = {"columns": {"students": name}}
    column = '"' + name.replace('"', '""') + '"'
    students = f"School_id,Student_id,Last_name,First_name,{column}\nS1,p-1,Lee,Ann, L1 \nS1,p-2,,Bo,L2\n"
    assert district.run(clever(TWELVE[:1]) | {"students.csv": students})["outcome"] == "applied"
    assert ("L1",) in district.view("users", "user_id")
    assert (Path(district.workspace) / "quarantine" / "students-errors.csv").read_text().count("L2") == 1


def test_an_identifier_column_that_is_missing_refuses_the_file(district: Nightly) -> None:
    district.settings["identifiers"] = {"columns": {"students": "Local_id"}}
    assert district.run(clever(TWELVE))["findings"] == {"FILE-HEADER": 1}


def test_lines_need_not_repeat_the_empty_cells_that_end_the_header(nightly: Nightly) -> None:
    header = ",".join(BATCH_HEADER)
    nightly.run({"users.csv": as_csv([student(), other(1)], header).replace(header, header + ",,")})
    assert nightly.findings() == []
    assert len(nightly.view("users")) == 2


def test_a_first_load_without_a_readable_line_is_refused(nightly: Nightly) -> None:
    result = nightly.run({"users.csv": ",".join(BATCH_HEADER) + "\na,b\nc,d\n"})
    assert (result["outcome"], result["findings"]["FILE-EMPTY"]) == ("refused", 1)


def test_any_folder_name_will_do(nightly: Nightly, monkeypatch: pytest.MonkeyPatch) -> None:
    home = nightly.folder / "o'brien, dist[1], what? all*"
    home.mkdir()
    monkeypatch.setenv("ENROLLSYNC_HOME", str(home))
    shutil.copytree(nightly.deliver([student(), other(1)]), home / "delivery")
    assert nightly.run(source=str(home / "delivery"))["outcome"] == "applied"
    assert open_store(nightly.database_url).runs("demo")[0]["counts"]["users"]["create"] == 2
