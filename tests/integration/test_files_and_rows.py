"""Section 6 of the design, files and rows: what is refused, what is reported, what never is a problem."""

from __future__ import annotations

import csv
import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from enrollsync import steps
from enrollsync.run.workspace import Workspace
from enrollsync.validate.quarantine import error_file
from enrollsync.words.errors import ConfigurationError, EnrollSyncError
from nightly import BATCH_HEADER, Nightly, add_up, as_csv, clever, other, pupil, section, student, tutor, write_csv

HEADER = ",".join(BATCH_HEADER)


def line(**values: str) -> str:
    """One line of users.csv."""
    return ",".join(values.get(name, "") for name in BATCH_HEADER)


GOOD = line(**student())
SECOND = line(**other(2))


# ---- file level: nothing loads ------------------------------------------------------------------


@pytest.mark.parametrize(("files", "code", "says"), [
    ({"users.csv": b""}, "FILE-EMPTY", "empty"),
    ({"users.csv": HEADER.replace("userId", "userID") + "\n" + GOOD}, "FILE-HEADER", "userId is missing"),
    ({"users.csv": HEADER.replace("userGrade", "userGrad") + "\n" + GOOD}, "FILE-HEADER", "is 'userGrade' meant?"),
    ({"users.csv": HEADER + ",userId\n" + GOOD + ",300"}, "FILE-HEADER", "2 times"),
    ({"users.csv": HEADER + ",shoeSize\n" + GOOD + ",41"}, "FILE-HEADER", "'shoeSize' is not known"),
    ({"users.csv": (HEADER + "\n" + GOOD).encode() + b"\xff\n"}, "FILE-ENCODING", "line 2"),
    ({"users.csv": b"\x89PNG\r\n\x1a\n" + bytes(range(256))}, "FILE-ENCODING", "a PNG picture"),
    ({"users.csv": HEADER + "\n" + GOOD + "\n,S1,North,C1"}, "FILE-INCOMPLETE", "line 3"),
    ({"users.csv": HEADER + "\n" + GOOD + "\n", "more.part": ""}, "FILE-INCOMPLETE", "still being written"),
    ({"pupils.csv": "a,b\n1,2\n"}, "FILE-MISSING", "none of the files is known"),
    ({"users.csv": HEADER + "\n"}, "FILE-EMPTY", "no readable rows"),
])  # fmt: skip
def test_a_file_that_cannot_be_used_refuses_the_batch_in_one_line(
    nightly: Nightly, files: dict[str, Any], code: str, says: str
) -> None:
    result = nightly.run(files)
    assert (result["outcome"], result["findings"]) == ("refused", {code: 1})
    assert says in result["message"]
    assert "\n" not in result["message"]
    assert nightly.view("users") == []
    assert (Path(nightly.workspace) / "report.html").is_file()


def test_a_clever_set_without_a_required_file_is_refused(nightly: Nightly) -> None:
    nightly.settings["primary_source"] = "clever"
    files = clever([pupil(1)])
    del files["enrollments.csv"]
    assert "enrollments.csv" in nightly.run(files)["message"]


@pytest.mark.parametrize(("manifest", "refused"), [
    ("file,rows\nusers.csv,3\n", None),
    ("file,rows\nusers.csv,2\n", "users.csv: manifest.csv says '2' rows; it has 3; deliver the whole set again"),
    ("file,rows\nusers.csv,5\n", "users.csv: manifest.csv says '5' rows; it has 3; deliver the whole set again"),
    ("file,rows\nusers.csv,3\nstaff.csv,1\n", "staff.csv: manifest.csv says '1' rows; the file is not there; "
     "deliver the whole set again"),
    ("file,rows\nusers.csv,3\nstaff.csv,0\n", None),
    ("file,rows\nusers.csv,many\n", "users.csv: manifest.csv says 'many' rows; write a whole number there"),
], ids=["as said", "too many", "too few", "a file less", "none expected", "no number"])  # fmt: skip
def test_a_delivery_whose_manifest_says_other_numbers_of_rows_is_refused(
    nightly: Nightly, manifest: str, refused: str | None
) -> None:
    text = f"{HEADER}\n{GOOD}\n{SECOND}\n,only,three\n,,\n"
    result = nightly.run({"users.csv": text, "manifest.csv": manifest}, until="check")
    if refused is None:
        assert (result["outcome"], "FILE-IGNORED" in result["findings"]) == ("checked", False)
    else:
        assert (result["outcome"], result["message"]) == ("refused", f"FILE-INCOMPLETE {refused}")


def test_a_manifest_may_stand_beside_files_of_another_format_than_oneroster(clever_district: Nightly) -> None:
    result = clever_district.run(clever([pupil(1)]) | {"manifest.csv": "file,rows\nstudents,1\n"}, until="check")
    assert (result["outcome"], result["findings"].get("FILE-IGNORED")) == ("checked", None)


def test_a_folder_that_is_not_there_is_refused(nightly: Nightly) -> None:
    result = nightly.run(source=str(nightly.folder / "nowhere"))
    assert (result["outcome"], result["findings"]) == ("refused", {"FILE-MISSING": 1})


def _zip(path: Path, entries: dict[str, str]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return str(path)


def test_a_zip_is_read_like_a_folder_and_leaves_no_copy_behind(nightly: Nightly) -> None:
    source = _zip(nightly.folder / "set.zip", {"export/users.csv": f"{HEADER}\n{GOOD}\n"})
    assert nightly.run(source=source, until="check")["outcome"] == "checked"
    assert not (Path(nightly.workspace) / "batch").exists()


@pytest.mark.parametrize("entries", [
    {"../users.csv": "x"}, {"/etc/users.csv": "x"}, {"..\\users.csv": "x"}, {"users.csv": "0" * (1 << 27)},
])  # fmt: skip
def test_an_unsafe_archive_is_refused_and_writes_nothing_outside(nightly: Nightly, entries: dict[str, str]) -> None:
    result = nightly.run(source=_zip(nightly.folder / "set.zip", entries))
    assert (result["outcome"], result["findings"]) == ("refused", {"FILE-UNSAFE": 1})
    assert not (Path(nightly.workspace) / "users.csv").exists()


def test_an_archive_with_a_link_is_refused(nightly: Nightly) -> None:
    path = nightly.folder / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("users.csv")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert nightly.run(source=str(path))["findings"] == {"FILE-UNSAFE": 1}


def test_of_several_deliveries_the_newest_complete_one_is_taken(nightly: Nightly) -> None:
    landing = nightly.folder / "landing"
    for name, row, age in (("a", student("1"), 30), ("b", other(2), 20), ("c", other(3), 10)):
        (landing / name).mkdir(parents=True)
        write_csv(landing / name / "users.csv", [row], BATCH_HEADER)
        moment = 1_790_000_000 - age
        os.utime(landing / name / "users.csv", (moment, moment))
    (landing / "c" / "users.csv.part").touch()
    nightly.run(source=str(landing), until="check")
    assert nightly.accepted("users", "user_id") == [("u2",)]


# ---- never a problem ----------------------------------------------------------------------------


def test_spelling_of_the_file_is_never_a_problem(nightly: Nightly) -> None:
    header, first, second = (",".join(reversed(text.split(","))) for text in (HEADER, GOOD, SECOND))
    nightly.run({"users.csv": f"\ufeff{header},,\r\n\n{first},,\n\r\r\n{second},,".encode()}, until="check")
    assert nightly.findings() == []
    assert nightly.accepted("users", "user_id, given_name, grade") == [("300", "Leena", "5"), ("u2", "Given2", "5")]


def test_another_encoding_and_renamed_headers_are_read_when_the_district_names_them(nightly: Nightly) -> None:
    nightly.settings["source"] = {"path": "x", "encoding": "cp1252", "columns": {"sis_id": "userId"}}
    text = f"{HEADER.replace('userId', 'sis_id')}\n{line(**student(userFirstName='José'))}\n"
    nightly.run({"users.csv": text.encode("cp1252")}, until="check")
    assert nightly.accepted("users", "user_id, given_name") == [("300", "José")]


# ---- row level: a finding on that line, the rest goes on ----------------------------------------


def test_a_malformed_line_is_reported_alone_and_the_rest_goes_on(nightly: Nightly) -> None:
    bad = [
        ",S1,North,C1", SECOND + ",more", SECOND.replace("Given2", "Giv\0en2"), SECOND.replace("Given2", "Giv\x07en2"),
        SECOND.replace("Given2", '"Given2'), SECOND.replace("Given2", '"Gi"ven2'),
    ]  # fmt: skip
    good = [line(**other(number)) for number in range(10, 10 + len(bad))]
    lines = [text for pair in zip(bad, good, strict=True) for text in pair]
    result = nightly.run({"users.csv": "\n".join([HEADER, *lines, ""])}, until="check")
    assert nightly.findings() == [("ROW-MALFORMED", "users.csv", number) for number in range(2, 2 + len(lines), 2)]
    assert len(nightly.accepted("users", "user_id")) == len(good)
    assert result["counts"]["users"]["rejected"] == len(bad)


def test_a_malformed_line_does_not_taint_other_lines_of_the_same_record(nightly: Nightly) -> None:
    nightly.run({"users.csv": f"{HEADER}\n{GOOD}\n{GOOD},extra\n"}, until="check")
    assert nightly.accepted("users", "user_id") == [("300",)]


def test_tabs_and_quoted_line_breaks_are_no_control_characters(nightly: Nightly) -> None:
    row = line(**student(className='"Math\nfor all"', schoolName="North\tSide"))
    damaged = line(**other(3, userId="3!", classId="C3", schoolId="S3"))
    nightly.run({"users.csv": f"{HEADER}\n{row}\n{damaged}\n"}, until="check")
    assert nightly.accepted("classes", "name") == [("Math\nfor all",)]
    assert nightly.findings() == [("ID-CHARSET", "users.csv", 4)]


def test_the_quarantine_holds_every_rejected_line_whole(nightly: Nightly) -> None:
    cut = ",S1,North,C1"
    wrong = line(**student("3!", userFirstName='"O, ""Bo"""'))
    nightly.run({"users.csv": f"{HEADER}\n{GOOD}\n{cut}\n{wrong}\n"}, until="check")
    text = (Path(nightly.workspace) / "quarantine" / "users-errors.csv").read_text()
    header, first, second = list(csv.reader(io.StringIO(text)))
    assert header == ["errors", *BATCH_HEADER]
    assert first[0].startswith("line 3: ROW-MALFORMED") and first[1] == cut
    assert second[0].startswith("line 4: ID-CHARSET userId") and second[11] == 'O, "Bo"'


@pytest.mark.parametrize("name", ["users-errors.csv", "users.csv"])
def test_rejected_lines_load_when_their_error_file_comes_back_corrected(nightly: Nightly, name: str) -> None:
    wrong = line(**student("3!", userFirstName="=Leena"))
    nightly.run({"users.csv": f"{HEADER}\n{SECOND}\n,S1,North\n{wrong}\n"})
    text = error_file(Workspace(Path(nightly.workspace)), "users.csv").read_text()
    assert "'=Leena" in text
    result = nightly.run({name: text.replace("3!", "300")})
    assert nightly.view("users", "user_id, given_name") == [("300", "=Leena"), ("u2", "Given2")]
    assert nightly.findings() == [("ROW-MALFORMED", "users.csv", 2)]
    assert result["findings"]["FILE-CORRECTED"] == 1


def test_a_corrected_file_in_place_of_a_whole_one_does_not_pass_the_guard(clever_district: Nightly) -> None:
    clever_district.begin(clever([pupil(number) for number in range(12)]))
    files = clever([pupil(1)])
    rows = files.pop("students.csv").splitlines()
    files["students-errors.csv"] = f"errors,{rows[0]}\nline 2: ID-MISSING: empty,{rows[1]}\n"
    assert clever_district.run(files, until="plan")["outcome"] == "held"


def test_an_error_file_beside_the_file_that_it_came_from_is_not_read(nightly: Nightly) -> None:
    result = nightly.run(
        {"users.csv": f"{HEADER}\n{GOOD}\n", "users-errors.csv": f"errors,{HEADER}\n,{SECOND}\n"}, until="check"
    )
    assert (result["findings"], nightly.accepted("users", "user_id")) == ({"FILE-IGNORED": 1}, [("300",)])


def _errors(nightly: Nightly, file: str = "users.csv") -> list[list[str]]:
    """The rows of an error file of the last run, its header line left out."""
    path = error_file(Workspace(Path(nightly.workspace)), file)
    return list(csv.reader(io.StringIO(path.read_text(), newline="")))[1:]


@pytest.mark.parametrize(("place", "later"), [
    ("folder", None), ("folder", [other(7)]), ("folder", {"users.csv": "other,columns\n"}), ("zip", None),
])  # fmt: skip
def test_a_plan_made_again_reads_nothing_of_what_lies_in_the_landing_place_later(
    nightly: Nightly, place: str, later: Any
) -> None:
    text = f"{HEADER}\n{GOOD}\n{line(**student('3!'))}\n"
    source = _zip(nightly.folder / "set.zip", {"users.csv": text}) if place == "zip" else None
    nightly.run({"users.csv": text}, until="plan", source=source)
    before = _errors(nightly)
    (nightly.folder / "set.zip").unlink(missing_ok=True)
    shutil.rmtree(nightly.folder / "delivery")
    if later is not None:
        nightly.deliver(later)
    assert steps.plan(nightly.workspace)["outcome"] == "planned"
    assert _errors(nightly) == before
    assert [row[7] for row in before] == ["3!"] and before[0][0].startswith("line 3: ID-CHARSET userId")


def test_a_line_without_what_is_required_does_not_load(nightly: Nightly) -> None:
    bad = [("userFirstName", ""), ("userLastName", ""), ("userRole", "pupil"), ("userRole", ""), ("action", "DELETE")]
    rows = [other(number, **{column: value}) for number, (column, value) in enumerate(bad, start=2)]
    nightly.run([other(1), *rows], until="check")
    assert sorted(number for _, _, number in nightly.findings()) == [3, 4, 5, 6, 7]
    assert nightly.accepted("users", "user_id") == [("u1",)]


# ---- references, email, other sources -----------------------------------------------------------


@pytest.fixture
def clever_district(nightly: Nightly) -> Nightly:
    nightly.settings["primary_source"] = "clever"
    return nightly


def test_an_enrollment_of_an_unknown_class_or_user_is_rejected(clever_district: Nightly) -> None:
    people = [pupil(1)]
    result = clever_district.run(
        clever(people, enrollments=[("X1", "p-1"), ("X9", "p-1"), ("X1", "p-9")]), until="check"
    )
    assert clever_district.findings() == [("REF-UNKNOWN", "enrollments.csv", 3), ("REF-UNKNOWN", "enrollments.csv", 4)]
    assert clever_district.accepted("enrollments", "class_source_key, user_source_key") == [
        ("X1", "staff:T1"), ("X1", "student:p-1"),
    ]  # fmt: skip
    assert result["counts"]["enrollments"]["rejected"] == 2


def test_a_class_of_an_unknown_school_is_rejected_and_its_enrollments_held(clever_district: Nightly) -> None:
    result = clever_district.run(clever([pupil(1)], sections=[section("X1", School_id="S9")]))
    assert clever_district.findings() == [("REF-UNKNOWN", "sections.csv", 2)]
    assert clever_district.view("classes") == clever_district.view("enrollments") == []
    assert result["counts"]["enrollments"]["held"] == 2
    waits = "waits for line 2 of sections.csv: its class was rejected"
    assert clever_district.set_aside() == [("enrollments", 2, waits), ("enrollments", 2, waits)]


def test_a_user_of_an_unknown_school_loads_without_the_membership(clever_district: Nightly) -> None:
    clever_district.run(clever([pupil(1, School_id="S9"), pupil(2)]), until="check")
    assert clever_district.findings() == [("REF-UNKNOWN", "students.csv", 2)]
    assert clever_district.accepted("users", "user_id", "role = 'student'") == [("p-1",), ("p-2",)]
    assert clever_district.accepted("memberships", "user_source_key", "role = 'student'") == [("student:p-2",)]


def test_a_student_with_two_schools_has_two_memberships(clever_district: Nightly) -> None:
    schools = [{"School_id": "S1", "School_name": "North"}, {"School_id": "S2", "School_name": "South"}]
    clever_district.run(clever([pupil(1), pupil(1, School_id="S2")], schools=schools))
    memberships = clever_district.view("memberships", "organization_id, is_primary", "user_id = 'p-1'")
    assert [(name, bool(primary)) for name, primary in memberships] == [("S1", True), ("S2", False)]
    assert clever_district.findings() == []


def test_email_is_stored_as_given_and_told_when_its_shape_is_odd_or_two_of_a_kind_have_it(nightly: Nightly) -> None:
    said = ["leena at school", "one@demo.example", "ONE@demo.example", "two@demo.example"]
    rows = [other(number, userEmail=email) for number, email in enumerate(said)]
    nightly.run([*rows, other(9, userEmail="two@demo.example", userRole="teacher")], until="check")
    assert nightly.accepted("users", "email") == sorted([(email,) for email in [*said, "two@demo.example"]], key=str)
    assert nightly.findings() == [
        ("VAL-EMAIL", "users.csv", 2), ("VAL-EMAIL-DUPLICATE", "users.csv", 3), ("VAL-EMAIL-DUPLICATE", "users.csv", 4),
    ]  # fmt: skip


def test_with_another_primary_source_batch_upload_brings_staff_alone(clever_district: Nightly) -> None:
    clever_district.run([student(), other(1, userRole="staff", classId="")], until="check")
    assert clever_district.findings() == [("ROW-STAFF-ONLY", "users.csv", 2)]
    assert clever_district.accepted("users", "user_id, role") == [("u1", "staff")]


def test_with_another_primary_source_an_uploaded_teacher_comes_without_class_and_enrollment(
    clever_district: Nightly,
) -> None:
    result = clever_district.run([other(1, userRole="teacher"), other(2, userRole="staff")])
    found = [("ROW-STAFF-CLASS", "users.csv", line) for line in (2, 3)]
    assert (result["outcome"], clever_district.findings()) == ("applied", found)
    assert clever_district.view("users", "user_id, role") == [("u1", "teacher"), ("u2", "staff")]
    assert clever_district.view("classes", "class_id") == clever_district.view("enrollments", "class_id") == []
    add_up(result, users=2, memberships=2, classes=2, enrollments=1)


def test_a_staff_upload_beside_another_source_is_utf_8_whatever_that_sources_encoding(clever_district: Nightly) -> None:
    clever_district.settings["source"] = {"path": "x", "encoding": "cp1252", "columns": {"userFirstName": "userGrade"}}
    clever_district.run([other(1, userRole="staff", classId="", userFirstName="José")], until="check")
    assert clever_district.accepted("users", "given_name") == [("José",)]


def test_a_run_that_reads_another_sources_delivery_when_it_is_repeated_takes_that_sources_settings(
    clever_district: Nightly,
) -> None:
    clever_district.settings["source"] = {"path": "x", "encoding": "cp1252"}
    clever_district.run([other(1, userRole="staff", classId="")], until="check")
    files = clever([pupil(1, First_name="José")])
    clever_district.deliver({name: text.encode("cp1252") for name, text in files.items()})
    steps.ingest(clever_district.workspace)
    names = pq.read_table(Workspace(Path(clever_district.workspace)).canonical_table("users"))["given_name"]
    assert names.to_pylist().count("José") == 1


WITHOUT_CLASSES = ("schoolId", "userId", "userRole", "userFirstName", "userLastName")


def test_a_file_of_staff_alone_needs_no_column_for_classes(nightly: Nightly) -> None:
    result = nightly.run({"users.csv": as_csv([other(1, userRole="staff")], ",".join(WITHOUT_CLASSES))})
    assert (result["outcome"], nightly.findings()) == ("applied", [])
    assert nightly.view("users", "user_id, role") == [("u1", "staff")]


@pytest.mark.parametrize("header", [WITHOUT_CLASSES, (*WITHOUT_CLASSES, "classId")])
def test_a_student_or_teacher_without_a_class_is_rejected(nightly: Nightly, header: tuple[str, ...]) -> None:
    roles = {1: "staff", 2: "student", 3: "teacher"}
    rows = [other(number, userRole=role, classId="") for number, role in roles.items()]
    nightly.run({"users.csv": as_csv(rows, ",".join(header))}, until="check")
    assert nightly.findings() == [("ID-MISSING", "users.csv", 3), ("ID-MISSING", "users.csv", 4)]
    assert nightly.accepted("users", "user_id") == [("u1",)]


def test_demographics_is_accepted_and_said_not_to_be_read(nightly: Nightly) -> None:
    result = nightly.run({"users.csv": [student()], "demographics.csv": "anything\nat all\n"}, until="check")
    assert (result["outcome"], result["findings"]) == ("checked", {"FILE-IGNORED": 1})


def test_a_file_whose_name_is_no_text_is_said_not_to_be_read(nightly: Nightly) -> None:
    nightly.deliver([student()])
    (nightly.folder / "delivery" / os.fsdecode(b"r\xe9.csv")).touch()
    result = nightly.run(until="check")
    assert (result["outcome"], result["findings"]) == ("checked", {"FILE-IGNORED": 1})
    assert [notice.file for notice in Workspace(Path(nightly.workspace)).read().notices] == ["r\ufffd.csv"]


def test_a_delivery_whose_name_is_no_text_is_refused_before_a_run_begins(nightly: Nightly) -> None:
    named = str(nightly.folder / os.fsdecode(b"r\xe9"))
    with pytest.raises(ConfigurationError, match="r\ufffd: its name is not UTF-8; rename it"):
        nightly.run([student()], source=named)


def test_a_run_whose_folder_cannot_be_made_says_which(nightly: Nightly, monkeypatch: pytest.MonkeyPatch) -> None:
    (nightly.folder / "file").touch()
    monkeypatch.setenv("ENROLLSYNC_HOME", str(nightly.folder / "file"))
    with pytest.raises(EnrollSyncError, match=r"folder .*/file/data/runs/demo/run-001 cannot be made: Not a directory"):
        nightly.run([student()])


def test_a_workspace_file_that_may_not_be_read_ends_the_run_with_one_line(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "accepted")

    monkeypatch.setattr("enrollsync.validate.accept.accept", forbidden)
    result = nightly.run([student()])
    assert result["outcome"] == "failed"
    assert "a file cannot be read or written, or there is not enough room: [Errno 13]" in result["message"]


def test_a_password_is_never_kept(clever_district: Nightly) -> None:
    files = clever([pupil(1, Student_id="a b")])
    rows = files["students.csv"].splitlines()
    files["students.csv"] = f"{rows[0]},Password\n{rows[1].replace('a b', 'a!b')},hunter2\n"
    clever_district.run(files)
    assert ("ID-CHARSET", "students.csv", 2) in clever_district.findings()
    kept = [path for path in Path(clever_district.workspace).rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if b"hunter2" in path.read_bytes()]


def test_teachers_of_a_section_are_enrolled_and_the_first_is_primary(clever_district: Nightly) -> None:
    files = clever([], teachers=[tutor("T1"), tutor("T2")], sections=[section("X1", Teacher_2_id="T2")])
    files["students.csv"] += "S1,p-1,,,Family,Given,5,,\n"
    files["enrollments.csv"] += "S1,X1,p-1\n"
    clever_district.run(files)
    teachers = clever_district.view("enrollments", "user_id, is_primary", "role = 'teacher'")
    assert [(name, bool(primary)) for name, primary in teachers] == [("T1", True), ("T2", False)]


# ---- records that are set aside -----------------------------------------------------------------


def test_a_record_that_is_set_aside_says_for_which_line_it_waits(clever_district: Nightly) -> None:
    people = [pupil(1), pupil(2, Student_id="p 2"), pupil(3)]
    sections = [section("X1"), section("X 2"), section("X3", School_id="S?")]
    schools = [{"School_id": "S1", "School_name": "North"}, {"School_id": "S?", "School_name": "Odd"}]
    pairs = [("X1", "p-1"), ("X1", "p 2"), ("X 2", "p-1"), ("X3", "p-3"), ("X 2", "p 2")]
    result = clever_district.run(clever(people, sections=sections, enrollments=pairs, schools=schools), until="check")
    assert clever_district.set_aside() == [
        ("classes", 4, "waits for line 3 of schools.csv: its organization was rejected"),
        ("enrollments", 3, "waits for line 3 of sections.csv, which was rejected"),
        ("enrollments", 3, "waits for line 3 of students.csv: its user was rejected"),
        ("enrollments", 4, "waits for line 3 of sections.csv: its class was rejected"),
        ("enrollments", 4, "waits for line 4 of sections.csv: its class is set aside too"),
        ("enrollments", 5, "waits for line 4 of sections.csv: its class is set aside too"),
        ("enrollments", 6, "waits for line 3 of sections.csv: its class was rejected"),
        ("memberships", 3, "waits for line 3 of students.csv, which was rejected"),
    ]
    assert {entity: numbers["held"] for entity, numbers in result["counts"].items()} == {
        "organizations": 0, "users": 0, "memberships": 1, "classes": 1, "enrollments": 6,
    }  # fmt: skip
    assert (result["outcome"], result["findings"]) == ("checked", {"ID-CHARSET": 3, "ROW-WAITS": 8})


def test_what_hangs_on_a_row_that_waits_for_a_decision_says_so(nightly: Nightly) -> None:
    nightly.begin([student(), other(1)])
    rows = [student(userFirstName="Omar", userLastName="Diaz", userBirthDate="2016-05-01"), other(1), other(2)]
    result = nightly.run(rows)
    assert nightly.set_aside() == [
        ("enrollments", 2, "waits for line 2 of users.csv: its user waits for a decision (PLAN-RECYCLED)"),
        ("memberships", 2, "waits for line 2 of users.csv: its user waits for a decision (PLAN-RECYCLED)"),
        ("users", 2, "the identifier now stands for somebody else; the row waits"),
    ]
    assert result["findings"] == {"PLAN-RECYCLED": 1, "ROW-WAITS": 2}
    assert result["counts"]["enrollments"]["held"] == result["counts"]["memberships"]["held"] == 1


def test_a_conflict_says_from_which_line_the_value_was_taken(nightly: Nightly) -> None:
    def message(*rows: dict[str, str]) -> set[str]:
        nightly.run(list(rows), until="check")
        (found,) = {
            row["message"]
            for row in pq.read_table(Workspace(Path(nightly.workspace)).findings).to_pylist()
            if row["code"] == "VAL-CONFLICT"
        },  # fmt: skip
        return set(found)

    other_class = {"classId": "C2", "className": "Art"}
    six, five = student(userGrade="6"), student(userGrade="5", **other_class)
    said = "Other rows of the same person give another value. The value of line {} of users.csv is taken."
    assert message(six, five) == {said.format(3)}, "ties go by code-point order"
    assert message(six, five, student(userGrade="6", classId="C3", className="Gym")) == {said.format(2)}
    rejected = student(userGrade="6", classId="C 3", className="Gym")
    assert message(five, rejected) == {said.format(2)}


# ---- a district's own rules ------------------------------------------------------------------------------------------


def test_a_districts_rules_hold_through_the_night_and_the_error_file_has_what_was_delivered(
    nightly: Nightly,
) -> None:
    """Left out is absent: in a snapshot that student goes. A rejected line comes back in the district's own words."""
    nightly.settings["source"] = {
        "path": "x", "mode": "snapshot", "values": {"userGrade": {"TK": "PreKindergarten"}},
        "case": {"userEmail": "lower"}, "skip": [{"file": "users.csv", "column": "Status", "one_of": ["Withdrawn"]}],
    }  # fmt: skip
    rows = [other(number, Status="Active", userGrade="TK", userEmail=f"U{number}@Demo.Example") for number in (1, 2)]
    header = ",".join(rows[0])
    assert nightly.run({"users.csv": as_csv(rows, header)})["findings"]["ROW-RULE-UNUSED"] == 1
    later = [rows[0], rows[1] | {"Status": "Withdrawn"}, other(3, Status="Active", userId="", userGrade="tk")]
    result = nightly.run({"users.csv": as_csv(later, header)})
    assert result["findings"]["ROW-SKIPPED"] == 1
    assert nightly.view("users", "user_id, grade, email, status") == [
        ("u1", "PreKindergarten", "u1@demo.example", "active"),
        ("u2", "PreKindergarten", "u2@demo.example", "inactive"),
    ]
    assert ",tk," in Path(nightly.workspace, "quarantine", "users-errors.csv").read_text()
